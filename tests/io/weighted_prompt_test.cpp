#include "io/weighted_prompt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using Parts = std::vector<WeightedText>;

void expect_parts(std::string_view prompt, const Parts& expected) {
  const Parts parts = parse_weights(prompt);
  ASSERT_EQ(parts.size(), expected.size()) << prompt;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ(parts[i].text, expected[i].text) << prompt;
    EXPECT_DOUBLE_EQ(parts[i].weight, expected[i].weight) << prompt;
  }
}

TEST(WeightedPrompt, GivesPartsTheirWeights) {
  expect_parts("", {});
  expect_parts("a fox", {{"a fox", 1}});
  expect_parts("a (red) fox", {{"a ", 1}, {"red", 1.1}, {" fox", 1}});
  expect_parts("(a)(b:0.5)", {{"a", 1.1}, {"b", 0.5}});
  expect_parts("((a))", {{"a", 1.1 * 1.1}});
  expect_parts("(a (b) c:1.5)", {{"a ", 1.5}, {"b", 1.5 * 1.1}, {" c", 1.5}});
  expect_parts("(a (b:2))", {{"a ", 1.1}, {"b", 2}});
  expect_parts("((a:2):3)", {{"a", 2}});
  expect_parts("(a: +.5 )", {{"a", 0.5}});
  expect_parts("(a:-1e0)", {{"a", -1}});
}

TEST(WeightedPrompt, KeepsWhatIsNoWeightAsText) {
  expect_parts(R"(a \(b\) c\d\)", {{R"(a (b) c\d\)", 1}});
  expect_parts(R"((a\):2))", {{"a)", 2}});
  expect_parts("(a:)", {{"a:", 1.1}});
  expect_parts("(a:b)", {{"a:b", 1.1}});
  expect_parts("(a:+-2)", {{"a:+-2", 1.1}});
  expect_parts("(a:1.2.3)", {{"a:1.2.3", 1.1}});
  expect_parts("(a:nan)(a:inf)(a:1e999)", {{"a:nan", 1.1}, {"a:inf", 1.1}, {"a:1e999", 1.1}});
  expect_parts("(a:1000)(b:-1e3)", {{"a", 1000}, {"b", -1000}});
  expect_parts("(:2)", {{":2", 1.1}});
  expect_parts("()", {});
  expect_parts("a (b", {{"a ", 1}, {"(b", 1}});
  expect_parts(R"((a\))", {{"(a)", 1}});
  expect_parts("((a)", {{"(a", 1.1}});
  expect_parts("a) (b:2) c", {{"a) (b:2) c", 1}});
  expect_parts("(a)) (b:2)", {{"a", 1.1}, {") (b:2)", 1}});
}

TEST(WeightedPrompt, MayNotBeNestedWithoutEnd) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '(') + "a" + std::string(depth, ')');
  };
  EXPECT_EQ(parse_weights(nested(64)).size(), 1U);
  expect_error<ConfigError>([&] { parse_weights(nested(65)); }, {"nested deeper than 64"});
  expect_error<ConfigError>([&] { parse_weights(nested(100'000)); }, {"nested deeper than 64"});
}

TEST(WeightedPrompt, TakesNoWeightsThatNoModelReads) {
  expect_error<ConfigError>([] { parse_weights("a (b:1e30)"); }, {"weight of 1e+30", "1000"});
  expect_error<ConfigError>([] { parse_weights("(b:-1000.5)"); }, {"weight of -1000.5"});
}

constexpr std::int64_t kStart = 49406;
constexpr std::int64_t kEnd = 49407;
constexpr std::int64_t kA = 320;
constexpr std::int64_t kPad = 0;

class Sections : public ::testing::Test {
 protected:
  std::vector<TokenSection> of(std::string_view prompt) const {
    const std::vector<TokenSection> sections = sections_of(tokenizer_, prompt);
    for (const TokenSection& section : sections) {
      EXPECT_EQ(section.ids.size(), 77U);
      EXPECT_EQ(section.weights.size(), 77U);
      EXPECT_EQ(section.ids.front(), kStart);
    }
    return sections;
  }
  static std::string repeated(const std::string& text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += text;
    return result;
  }

  ClipTokenizer tokenizer_ = ClipTokenizer::clip("!");
};

TEST_F(Sections, OfAShortPromptIsOne) {
  const std::string text = "a photo of a cat";
  ASSERT_EQ(of(text).size(), 1U);
  EXPECT_EQ(of(text)[0].ids, tokenizer_.encode(text).ids);
  EXPECT_EQ(of(text)[0].weights, std::vector<float>(77, 1));
  EXPECT_EQ(of("")[0].ids, tokenizer_.encode("").ids);
  EXPECT_EQ(of(" \n ")[0].ids, tokenizer_.encode("").ids);
  EXPECT_EQ(of("a\nphoto  of a cat ")[0].ids, tokenizer_.encode(text).ids);
}

TEST_F(Sections, WeighWordsAndNoPadding) {
  const TokenSection section = of("a (a a:1.5) (a)")[0];
  const std::vector<float> weights(section.weights.begin(), section.weights.begin() + 7);
  EXPECT_EQ(weights, (std::vector<float>{1, 1, 1.5F, 1.5F, 1.1F, 1, 1}));
}

TEST_F(Sections, FillUpAndGoOn) {
  EXPECT_EQ(of(repeated("a ", 75)).size(), 1U);
  EXPECT_EQ(of(repeated("a ", 75))[0].ids.back(), kEnd);
  const auto two = of(repeated("a ", 76));
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[0].ids, of(repeated("a ", 75))[0].ids);
  EXPECT_EQ(two[1].ids, of("a")[0].ids);
}

TEST_F(Sections, KeepShortPartsWhole) {
  const std::size_t some = tokenizer_.text_ids("zyxwv").size();
  ASSERT_GT(some, 1U);
  ASSERT_LT(some, 8U);
  const auto whole = of(repeated("a ", 74) + "(zyxwv:1)");
  ASSERT_EQ(whole.size(), 2U);
  EXPECT_EQ(whole[0].ids[75], kEnd);
  EXPECT_EQ(whole[0].ids[76], kPad);
  EXPECT_EQ(whole[1].ids, of("zyxwv")[0].ids);
}

TEST_F(Sections, CutLongParts) {
  const std::string word = repeated("zq", 12);
  const std::vector<std::int64_t> ids = tokenizer_.text_ids(word);
  ASSERT_GE(ids.size(), 8U);
  const auto parted = of(repeated("a ", 73) + "(" + word + ":2)");
  ASSERT_EQ(parted.size(), 2U);
  EXPECT_EQ(parted[0].ids[73], kA);
  EXPECT_EQ(parted[0].ids[74], ids[0]);
  EXPECT_EQ(parted[0].ids[75], ids[1]);
  EXPECT_EQ(parted[0].ids[76], kEnd);
  EXPECT_EQ(parted[0].weights[75], 2);
  EXPECT_EQ(parted[0].weights[76], 1);
  EXPECT_EQ(parted[1].ids[1], ids[2]);
  EXPECT_EQ(parted[1].weights[1], 2);
  const auto between_words = of(repeated("a ", 74) + "zyxwv");
  ASSERT_EQ(between_words.size(), 2U);
  EXPECT_EQ(between_words[0].ids[75], tokenizer_.text_ids("zyxwv")[0]);
}

TEST_F(Sections, HoldEmbeddingsThatAreNamed) {
  const std::vector<AddedWord> words = {{"glow", {-1, -2}}, {"fog,", {-3}}, {"fog", {-4}}};
  const auto text_of = [&](std::string_view prompt) {
    const TokenSection section = sections_of(tokenizer_, prompt, words).at(0);
    const auto end = std::ranges::find(section.ids, kEnd);
    return std::vector<std::int64_t>(section.ids.begin() + 1, end);
  };
  const std::int64_t comma = tokenizer_.text_ids(",").at(0);
  using Ids = std::vector<std::int64_t>;
  EXPECT_EQ(text_of("a embedding:glow a"), (Ids{kA, -1, -2, kA}));
  EXPECT_EQ(text_of("embedding:glow.safetensors"), (Ids{-1, -2}));
  EXPECT_EQ(text_of("embedding:glow, a"), (Ids{-1, -2, comma, kA}));
  EXPECT_EQ(text_of("embedding:fog, a"), (Ids{-3, kA}));
  EXPECT_EQ(text_of("embedding: glow\ta"), (Ids{-1, -2, kA}));
  EXPECT_EQ(text_of("a\nembedding:glow embedding:fog,"), (Ids{kA, -1, -2, -3}));
  EXPECT_EQ(text_of("embedding:fog,, a"), (Ids{-4, tokenizer_.text_ids(",,").at(0), kA}));
  EXPECT_EQ(text_of("glow"), tokenizer_.text_ids("glow"));
  EXPECT_EQ(text_of("a,embedding:glow"), tokenizer_.text_ids("a,embedding:glow"));
  const TokenSection weighted = sections_of(tokenizer_, "a (embedding:glow:1.5)", words).at(0);
  EXPECT_EQ(weighted.ids[3], -2);
  EXPECT_EQ(weighted.weights[2], 1.5F);
  EXPECT_EQ(weighted.weights[3], 1.5F);
  for (const char* unknown : {"embedding:glow2", "embedding:", "embedding:GLOW", "embedding:g"}) {
    expect_error<ConfigError>([&] { sections_of(tokenizer_, unknown, words); },
                              {std::string(unknown).substr(10), "only glow, fog,, fog"});
  }
  expect_error<ConfigError>([&] { of("embedding:glow"); }, {"glow, and there is none"});
}

TEST_F(Sections, AreNotWithoutEnd) {
  EXPECT_EQ(of(repeated("a ", 64 * 75)).size(), 64U);
  expect_error<ConfigError>([&] { of(repeated("a ", 64 * 75 + 1)); }, {"64 texts of 77"});
  expect_error<ConfigError>([&] { of("a \xff"); }, {"UTF-8"});
}

}  // namespace
}  // namespace pcpp
