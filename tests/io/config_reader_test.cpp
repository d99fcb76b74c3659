#include "io/config_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "io/files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::TemporaryFolder;

ConfigReader reader_of(const char* text) { return {json::parse(text), "unet/config.json"}; }

TEST(ConfigReaderTest, ReadsTypedValuesAndDefaults) {
  ConfigReader config = reader_of(R"({"layers": 2, "eps": 1e-5, "act": "silu", "flip": true,
                                      "whole": 3, "blocks": ["a", "b"], "sizes": [1, 2]})");
  EXPECT_EQ(config.integer("layers"), 2);
  EXPECT_EQ(config.integer("none", 7), 7);
  EXPECT_EQ(config.number("eps"), 1e-5);
  EXPECT_EQ(config.number("whole", 0.5), 3.0);
  EXPECT_EQ(config.number("none", 0.5), 0.5);
  EXPECT_EQ(config.text("act"), "silu");
  EXPECT_EQ(config.text("none", "gelu"), "gelu");
  EXPECT_TRUE(config.boolean("flip"));
  EXPECT_TRUE(config.boolean("none", true));
  EXPECT_EQ(config.texts("blocks", {}), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.texts("none", {"c"}), (std::vector<std::string>{"c"}));
  EXPECT_EQ(config.integers("sizes"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(config.integers("none", {3}), (std::vector<std::int64_t>{3}));
  EXPECT_EQ(config.numbers("sizes"), (std::vector<double>{1, 2}));
  EXPECT_EQ(config.value("sizes"), json::parse("[1, 2]"));
  EXPECT_TRUE(config.value("none").is_null());
  config.finish();
}

TEST(ConfigReaderTest, NamesKeysThatAreMissingOrOfAnotherType) {
  ConfigReader config = reader_of(R"({"layers": "2", "eps": 2.5, "list": [1, "x"], "flag": 1,
                                      "huge": 18446744073709551615})");
  expect_error<CheckpointError>([&] { config.integer("none"); },
                                {"unet/config.json", "none is missing"});
  expect_error<CheckpointError>([&] { config.numbers("none"); }, {"none is missing"});
  expect_error<CheckpointError>([&] { config.integer("layers"); },
                                {"unet/config.json", "layers is \"2\"", "an integer"});
  expect_error<CheckpointError>([&] { config.integer("eps", 1); }, {"eps is 2.5", "an integer"});
  expect_error<CheckpointError>([&] { config.integer("huge"); }, {"huge is 18446744073709551615"});
  expect_error<CheckpointError>([&] { config.number("layers"); }, {"a number"});
  expect_error<CheckpointError>([&] { config.boolean("flag"); }, {"flag is 1", "true or false"});
  expect_error<CheckpointError>([&] { config.text("eps"); }, {"eps is 2.5", "a text"});
  expect_error<CheckpointError>([&] { config.integers("list"); }, {"list is [1,\"x\"]", "a list"});
  expect_error<CheckpointError>([&] { config.integers("eps"); }, {"eps is 2.5", "a list"});
}

TEST(ConfigReaderTest, NullIsAValueOfItsOwn) {
  ConfigReader config = reader_of(R"({"a": null})");
  EXPECT_FALSE(config.has("a"));
  EXPECT_EQ(config.optional_number("a"), std::nullopt);
  EXPECT_EQ(config.optional_text("a"), std::nullopt);
  EXPECT_FALSE(config.boolean("a"));
  EXPECT_FALSE(config.boolean("a", true));
  expect_error<CheckpointError>([&] { config.integer("a", 32); }, {"a is null", "an integer"});
  expect_error<CheckpointError>([&] { config.text("a", "x"); }, {"a is null"});
  expect_error<CheckpointError>([&] { config.integers("a", {1}); }, {"a is null"});
  config.require_equal("a", nullptr);
  config.require_equal("a", false);
  expect_error<CheckpointError>([&] { config.require_equal("a", true); }, {"a is null"});
  expect_error<CheckpointError>([&] { config.require_equal("a", 0); }, {"a is null"});
}

TEST(ConfigReaderTest, OptionalValuesAreReadWhereTheyAreThere) {
  ConfigReader config = reader_of(R"({"b": 0.5, "c": "x"})");
  EXPECT_TRUE(config.has("b"));
  EXPECT_EQ(config.optional_number("b"), 0.5);
  EXPECT_EQ(config.optional_text("c"), "x");
  EXPECT_EQ(config.optional_text("d"), std::nullopt);
}

TEST(ConfigReaderTest, OneValueStandsForAList) {
  ConfigReader config = reader_of(R"({"one": 8, "list": [5, 10], "flag": true})");
  EXPECT_EQ(config.integer_or_list("one", 2, 1), (std::vector<std::int64_t>{8, 8}));
  EXPECT_EQ(config.integer_or_list("list", 2, 1), (std::vector<std::int64_t>{5, 10}));
  EXPECT_EQ(config.integer_or_list("none", 2, 1), (std::vector<std::int64_t>{1, 1}));
  EXPECT_EQ(config.boolean_or_list("flag", 2, false), (std::vector<bool>{true, true}));
  expect_error<CheckpointError>([&] { config.integer_or_list("list", 3, 1); },
                                {"list is [5,10]", "3 entries"});
  expect_error<CheckpointError>([&] { config.boolean_or_list("list", 2, false); },
                                {"list is [5,10]", "true or false"});
}

TEST(ConfigReaderTest, RefusesValuesThatAreNotSupported) {
  ConfigReader config = reader_of(R"({"act": "relu", "gamma": 1.0, "type": "text"})");
  expect_error<CheckpointError>([&] { config.require_equal("act", "silu"); },
                                {"unet/config.json", "act is \"relu\"", "only \"silu\""});
  config.require_equal("gamma", 1);
  config.require_equal("none", 5);
  expect_error<CheckpointError>([&] { config.require_equal("none", 5, 6); },
                                {"none is 6", "default", "only 5"});
  EXPECT_EQ(config.one_of("type", {"text", "image"}, "image"), "text");
  EXPECT_EQ(config.one_of("none", {"text", "image"}, "image"), "image");
  expect_error<CheckpointError>(
      [&] {
        config.one_of("act", {"silu", "gelu"}, "silu");
      },
      {"act is \"relu\"", "silu, gelu"});
  expect_error<CheckpointError>([&] { config.refuse("gamma", "it must fit act"); },
                                {"gamma is 1.0; it must fit act"});
}

TEST(ConfigReaderTest, FinishRefusesEveryKeyThatNobodyRead) {
  ConfigReader config =
      reader_of(R"({"_class_name": "X", "read": 1, "sample_size": 64, "new": "a", "other": null})");
  config.integer("read");
  config.ignore({"sample_size"});
  EXPECT_TRUE(config.value("none").is_null());
  expect_error<CheckpointError>([&] { config.finish(); },
                                {"unet/config.json", "new = \"a\"", "other = null"});
  EXPECT_FALSE(config.has("other"));
  config.ignore({"other"});
  expect_error<CheckpointError>([&] { config.finish(); }, {"new = \"a\""});
  config.text("new");
  config.finish();
}

TEST(ConfigReaderTest, FinishNamesFiveKeysAndCountsTheOthers) {
  json object = json::object();
  for (int i = 0; i < 5; ++i) object["key" + std::to_string(i)] = i;
  const auto finish = [&] { ConfigReader(object, "config.json").finish(); };
  expect_error<CheckpointError>(finish, {"key0 = 0, key1 = 1, key2 = 2, key3 = 3, key4 = 4"});
  for (int i = 5; i < 1000; ++i) object["key" + std::to_string(i)] = i;
  expect_error<CheckpointError>(finish, {"key0 = 0, key1 = 1,", " and 995 more"});
  testing::expect_short_error<CheckpointError>(finish);
  object = {{std::string(1'000'000, 'x') + "\n", "\n"}};
  testing::expect_short_error<CheckpointError>(finish);
}

TEST(ConfigReaderTest, RefusesFilesThatAreNotAnObject) {
  const TemporaryFolder folder;
  expect_error<CheckpointError>([&] { ConfigReader(folder.path() / "config.json"); },
                                {"config.json", "No such file"});
  const auto refuses = [&](std::string_view text, std::initializer_list<std::string_view> parts) {
    const auto path = folder.write("config.json", text);
    expect_error<CheckpointError>([&] { ConfigReader{path}; }, {path.string()});
    expect_error<CheckpointError>([&] { ConfigReader{path}; }, parts);
  };
  refuses("", {"is empty", "not valid JSON", "again"});
  refuses(" ", {"not valid JSON"});
  refuses("{\n \"a\": }", {"not valid JSON", "line 2, column 7"});
  refuses("[1]", {"[1] is not a JSON object"});
  refuses("{\"a\": 1e999}", {"not valid JSON"});
  refuses("{\"a\": {\"b\": 1, \"b\": 2}}", {"\"b\"", "twice"});
  refuses(std::string(100, '['), {"deeper than 64"});
  refuses("{\"a\": \"\xff\"}", {"not valid JSON"});
  const auto path = folder.write("config.json", "{}");
  std::filesystem::resize_file(path, (std::size_t{64} << 20) + 1);
  expect_error<CheckpointError>([&] { ConfigReader{path}; }, {"67108865", "67108864"});
}

TEST(ConfigReaderTest, PythonsWordsForWhatIsNotFiniteAreTexts) {
  const TemporaryFolder folder;
  ConfigReader config(folder.write(
      "config.json",
      R"({"low": -Infinity, "high": Infinity, "none": NaN, "said": "NaN \"Infinity\\", "x": 1})"));
  EXPECT_EQ(config.text("low"), "-Infinity");
  EXPECT_EQ(config.text("high"), "Infinity");
  EXPECT_EQ(config.text("none"), "NaN");
  EXPECT_EQ(config.text("said"), "NaN \"Infinity\\");
  EXPECT_EQ(config.integer("x"), 1);
  expect_error<CheckpointError>([&] { config.number("low"); },
                                {"low is \"-Infinity\"", "a number"});
  for (const std::string word : {"NaN", "Infinity", "-Infinity"}) {
    ConfigReader alone(folder.write("config.json", "{\"a\": " + word + "}"));
    EXPECT_EQ(alone.text("a"), word);
  }
  for (const char* text : {"{\"a\": Infinite}", "{NaN: 1}", "{Infinity : 1}"}) {
    const auto path = folder.write("config.json", text);
    expect_error<CheckpointError>([&] { ConfigReader{path}; }, {"not valid JSON"});
  }
}

TEST(ConfigReaderTest, ErrorsQuoteLongValuesInPart) {
  ConfigReader config(json{{"a", std::string(1000, 'x')}}, "config.json");
  expect_error<CheckpointError>([&] { config.integer("a"); }, {"xxx...; it must be an integer"});
}

}  // namespace
}  // namespace pcpp
