#include "io/json_file.h"

#include <gtest/gtest.h>

#include <string>

#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::expect_short_error;

void expect_refused(std::string_view text, std::initializer_list<std::string_view> parts) {
  expect_error<CheckpointError>([&] { parse_json(text, "a file"); }, {"a file"});
  expect_error<CheckpointError>([&] { parse_json(text, "a file"); }, parts);
}

TEST(JsonFileTest, ReadsEveryKindOfValue) {
  for (const char* text :
       {"null", "true", "-3", "18446744073709551615", "0.5", "\"a\\u00e9\\n\"", "[]", "{}",
        R"([1, [2, []], {"a": {}}, [[]], "b"])",
        R"({"a": {"b": [1, {"c": 2}], "d": null}, "e": {"b": false}, "": [3]})"}) {
    EXPECT_EQ(parse_json(text, "a file"), json::parse(text)) << text;
  }
}

TEST(JsonFileTest, RefusesWhatIsNoJson) {
  expect_refused("", {"not valid JSON", "line 1, column 1"});
  expect_refused("{\n \"a\": }", {"not valid JSON", "line 2, column 7"});
  expect_refused("[1, 2", {"not valid JSON"});
  expect_refused("{} {}", {"not valid JSON", "column 4"});
  expect_refused("[1e999]", {"not valid JSON", "1e999"});
  expect_refused("[\"\xff\"]", {"not valid JSON"});
}

TEST(JsonFileTest, QuotesWhatItReadLastInPart) {
  const std::string text(1'000'000, 'x');
  for (const std::string& wrong :
       {"[\"" + text, "[\"" + text + "\" 3]", "[" + text, "[-" + text,
        "[1" + std::string(1'000'000, '0') + "]", "{\"" + text + "\": 1, \"" + text + "\": 2}"}) {
    expect_short_error<CheckpointError>([&] { parse_json(wrong, "a file"); });
  }
  expect_refused("[\"" + text, {"last read: '\"xxx", "xxx...'"});
  expect_short_error<CheckpointError>([] { parse_json("[\"\x1b\x9b\n", "a file"); });
}

TEST(JsonFileTest, RefusesAKeyThatStandsTwiceInOneObject) {
  expect_refused(R"({"a": 1, "b": 2, "a": 3})", {"the key \"a\" stands twice"});
  expect_refused(R"([{"x": {"b": {"c": 1}, "b": {}}}])", {"the key \"b\" stands twice"});
  EXPECT_NO_THROW(parse_json(R"([{"a": {"a": 1}}, {"a": 2}])", "a file"));
}

TEST(JsonFileTest, RefusesDeepNesting) {
  const auto nested = [](std::size_t levels) {
    return std::string(levels, '[') + "1" + std::string(levels, ']');
  };
  EXPECT_NO_THROW(parse_json(nested(64), "a file"));
  expect_refused(nested(65), {"deeper than 64"});
  expect_refused(std::string(1'000'000, '['), {"deeper than 64"});
}

// In time that grows with the square of their number it would end at ctest's limit.
// A value takes many times its bytes in memory.
TEST(JsonFileTest, RefusesMillionsOfValues) {
  std::string text = "[0";
  for (int i = 0; i < 4'000'000; ++i) text += ",0";
  expect_refused(text + "]", {"more than 4000000 values"});
}

TEST(JsonFileTest, ReadsManySiblings) {
  constexpr int kCount = 200'000;
  std::string text = "{\"0\": {}";
  for (int i = 1; i < kCount; ++i) text += ",\"" + std::to_string(i) + "\": {\"a\": [0]}";
  EXPECT_EQ(parse_json(text + "}", "a file").size(), kCount);
}

}  // namespace
}  // namespace pcpp
