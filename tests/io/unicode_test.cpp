#include "io/unicode.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>
#include <random>
#include <string>

namespace pcpp {
namespace {

TEST(UnicodeTest, DecodesAndEncodesEveryCharacter) {
  std::u32string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c > 0xDFFF) all.push_back(c);
  }
  EXPECT_EQ(decode_utf8(encode_utf8(all)), all);
}

TEST(UnicodeTest, RefusesWhatIsNotUtf8) {
  for (const char* text : {"\x80", "a\xFF", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80",
                           "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xE2\x82", "\xE2(\xA1"}) {
    EXPECT_FALSE(decode_utf8(text).has_value());
  }
  EXPECT_EQ(decode_utf8({"a\0b", 3}), std::u32string(U"a\0b", 3));
}

TEST(UnicodeTest, ComposesCanonically) {
  EXPECT_EQ(to_nfc(U"e\u0301"), U"\u00e9");
  EXPECT_EQ(to_nfc(U"\u212b"), U"\u00c5");
  EXPECT_EQ(to_nfc(U"s\u0307\u0323"), U"\u1e69");
  EXPECT_EQ(to_nfc(U"\u1100\u1161\u11a8"), U"\uac01");
  EXPECT_EQ(to_nfc(U"\u0958"), U"\u0915\u093c");  // excluded from composition
  EXPECT_EQ(to_nfc(U"\ufb01"), U"\ufb01");        // compatibility only
  EXPECT_EQ(to_nfc(std::u32string(U"\0e\u0301", 3)), std::u32string(U"\0\u00e9", 2));
  EXPECT_EQ(to_nfc(U""), U"");
}

TEST(UnicodeTest, ComposesAsUtf8procDoes) {
  constexpr std::u32string_view kCharacters =
      U"aeo\u00e9\u1e69\u01d5\u0300\u0301\u0307\u0308\u0323\u0328\u0344\u0345\u05b0\u1100\u1161"
      U"\u11a8"
      U"\uac00\u0958\U0001d160";
  std::mt19937 engine(7);
  for (int i = 0; i < 5000; ++i) {
    std::u32string text(engine() % 12, U' ');
    for (char32_t& character : text) character = kCharacters[engine() % kCharacters.size()];
    const std::string encoded = encode_utf8(text);
    utf8proc_uint8_t* const expected =
        utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t*>(encoded.c_str()));
    EXPECT_EQ(encode_utf8(to_nfc(text)), reinterpret_cast<const char*>(expected));
    std::free(expected);
  }
}

// In time that grows with the square of their number it would end at ctest's limit.
TEST(UnicodeTest, OrdersALongRunOfMarks) {
  constexpr std::size_t kPairs = 500'000;
  std::u32string text = U"a";
  for (std::size_t i = 0; i < kPairs; ++i) text += U"\u0301\u0323";
  EXPECT_EQ(to_nfc(text),
            U"\u1ea1" + std::u32string(kPairs - 1, U'\u0323') + std::u32string(kPairs, U'\u0301'));
}

TEST(UnicodeTest, LowersEachCharacterByItself) {
  EXPECT_EQ(to_lower(U"A\u00c9\u03a3\u0410\U00010400"), U"a\u00e9\u03c3\u0430\U00010428");
  EXPECT_EQ(to_lower(U"\u0130"), U"i\u0307");
  EXPECT_EQ(to_lower(U"\u1e9e\u01c5\u2168"), U"\u00df\u01c6\u2178");
}

TEST(UnicodeTest, ClassesFollowTheGeneralCategory) {
  for (const char32_t c : {U'a', U'\u00aa', U'\u01c5', U'\u02b0', U'\u4e00', U'\uac00'}) {
    EXPECT_TRUE(is_letter(c)) << static_cast<unsigned>(c);
  }
  for (const char32_t c : {U'1', U'_', U'\u0301', U'\u2160', U'\u24b6', U' '}) {
    EXPECT_FALSE(is_letter(c)) << static_cast<unsigned>(c);
  }
  for (const char32_t c : {U'0', U'\u0661', U'\u2160', U'\u00bd', U'\u3007'}) {
    EXPECT_TRUE(is_number(c)) << static_cast<unsigned>(c);
  }
  EXPECT_FALSE(is_number(U'\u4e09'));
  for (const char32_t c : {U'\t', U'\n', U'\v', U'\f', U'\r', U' ', U'\u0085', U'\u00a0', U'\u1680',
                           U'\u2028', U'\u2029', U'\u202f', U'\u205f', U'\u3000'}) {
    EXPECT_TRUE(is_space(c)) << static_cast<unsigned>(c);
  }
  for (const char32_t c : {U'\0', U'\u001c', U'\u001f', U'\u200b', U'\u180e', U'\ufeff'}) {
    EXPECT_FALSE(is_space(c)) << static_cast<unsigned>(c);
  }
}

}  // namespace
}  // namespace pcpp
