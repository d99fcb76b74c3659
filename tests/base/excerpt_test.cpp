#include "base/excerpt.h"

#include <gtest/gtest.h>

#include <string>

namespace pcpp {
namespace {

TEST(ExcerptTest, LeavesShortTextsAsTheyAre) {
  for (const std::string text : {"", "conv_in.weight", "h\u00e9 \u4e00 \U0001f98a \\n 'x'"}) {
    EXPECT_EQ(excerpt(text), text);
  }
  EXPECT_EQ(excerpt(std::string(80, 'x')), std::string(80, 'x'));
}

TEST(ExcerptTest, CutsBetweenCharacters) {
  EXPECT_EQ(excerpt(std::string(81, 'x')), std::string(80, 'x') + "...");
  EXPECT_EQ(excerpt(std::string(1'000'000, 'x')), std::string(80, 'x') + "...");
  EXPECT_EQ(excerpt(std::string(79, 'x') + "\u00e9"), std::string(79, 'x') + "...");
  EXPECT_EQ(excerpt(std::string(78, 'x') + "\u00e9"), std::string(78, 'x') + "\u00e9");
  EXPECT_EQ(excerpt(std::string(78, 'x') + "\x1b"), std::string(78, 'x') + "...");
}

TEST(ExcerptTest, EscapesControlCharacters) {
  EXPECT_EQ(excerpt("a\n\r\t\x1b[31m\x7f"), "a\\x0a\\x0d\\x09\\x1b[31m\\x7f");
  EXPECT_EQ(excerpt({"a\0b", 3}), "a\\x00b");
  EXPECT_EQ(excerpt("\u0085\u009b\u00a0"), "\\xc2\\x85\\xc2\\x9b\u00a0");
}

TEST(ExcerptTest, WholeTextsAreEscapedToo) {
  EXPECT_EQ(escaped(std::string(200, 'x') + "\n\x1b"), std::string(200, 'x') + "\\x0a\\x1b");
  EXPECT_EQ(escaped(""), "");
}

TEST(ExcerptTest, EscapesWhatIsNotUtf8) {
  EXPECT_EQ(excerpt("a\xff\xc3(\x80"), "a\\xff\\xc3(\\x80");
  EXPECT_EQ(excerpt("\xe4\xb8"), "\\xe4\\xb8");
  EXPECT_EQ(excerpt("\xc0\x8a"), "\\xc0\\x8a");
}

TEST(ExcerptTest, NamesTheFirstFive) {
  EXPECT_EQ(first_of({}), "");
  EXPECT_EQ(first_of({"a", "b", "c", "d", "e"}), "a, b, c, d, e");
  EXPECT_EQ(first_of({"a", "b", "c", "d", "e", "f", "g"}), "a, b, c, d, e and 2 more");
}

}  // namespace
}  // namespace pcpp
