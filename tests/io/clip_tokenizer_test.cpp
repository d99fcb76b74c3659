#include "io/clip_tokenizer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "io/files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::read_text;
using testing::TemporaryFolder;

const std::filesystem::path kData = std::filesystem::path(PCPP_TEST_DATA) / "tokenizer";

json read_data(const std::string& name) { return json::parse(read_text(kData / name)); }

std::string text_of(const json& value) { return value.dump(); }

class ClipTokenizerTest : public ::testing::Test {
 protected:
  // A folder as the named kind of model has it.
  void make_folder(const std::string& kind) {
    const json configs = read_data("configs.json")[kind];
    folder_.write("vocab.json", read_text(kData / "vocab.json"));
    folder_.write("merges.txt", read_text(kData / "merges.txt"));
    folder_.write("tokenizer_config.json", text_of(configs[0]));
    if (!configs[1].is_null()) folder_.write("special_tokens_map.json", text_of(configs[1]));
  }

  // What transformers 5 saves: tokenizer.json in the place of vocab.json and merges.txt.
  void make_single_file() {
    const json vocabulary = read_data("vocab.json");
    json merges = json::array();
    std::istringstream lines(read_text(folder_.path() / "merges.txt"));
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
      const std::size_t space = line.find(' ');
      merges.push_back({line.substr(0, space), line.substr(space + 1)});
    }
    json added = json::array();
    for (const char* content : {"<|startoftext|>", "<|endoftext|>"}) {
      added.push_back({{"id", vocabulary[content]},
                       {"content", content},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", true},
                       {"special", true}});
    }
    const json file = {{"version", "1.0"},
                       {"added_tokens", added},
                       {"model",
                        {{"type", "BPE"},
                         {"dropout", nullptr},
                         {"end_of_word_suffix", "</w>"},
                         {"vocab", vocabulary},
                         {"merges", merges}}}};
    folder_.write("tokenizer.json", text_of(file));
    for (const char* name : {"vocab.json", "merges.txt", "special_tokens_map.json"}) {
      std::filesystem::remove(folder_.path() / name);
    }
    change("tokenizer_config.json", [](json& config) {
      for (const char* key : {"bos_token", "eos_token", "unk_token"}) {
        config[key] = config[key]["content"];
      }
    });
  }

  template <typename Change>
  void change(const std::string& name, Change apply) {
    json value = json::parse(read_text(folder_.path() / name));
    apply(value);
    folder_.write(name, text_of(value));
  }

  ClipTokenizer load() { return ClipTokenizer::load(folder_.path()); }

  void expect_refused(std::initializer_list<std::string_view> parts) {
    expect_error<CheckpointError>([&] { load(); }, parts);
  }

  void expect_reference_ids(const std::string& kind) {
    expect_reference_ids(load(), kind, "expected.json");
  }

  static void expect_reference_ids(const ClipTokenizer& tokenizer, const std::string& kind,
                                   const std::string& file) {
    const json reference = read_data(file);
    const auto prompts = reference["prompts"].get<std::vector<std::string>>();
    EXPECT_EQ(tokenizer.pad_id(), reference[kind]["pad"]);
    ASSERT_GE(prompts.size(), 60U);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      auto expected = reference[kind]["ids"][i].get<std::vector<std::int64_t>>();
      expected.resize(77, tokenizer.pad_id());
      EXPECT_EQ(tokenizer.encode(prompts[i]).ids, expected) << kind << ": " << prompts[i];
    }
  }

  TemporaryFolder folder_;
};

TEST_F(ClipTokenizerTest, GivesTheReferenceIdsOfStableDiffusion1) {
  make_folder("sd1");
  expect_reference_ids("sd1");
}

// tests/reference/tokenizer_make.py
TEST_F(ClipTokenizerTest, HasClipsOwnVocabulary) {
  expect_reference_ids(ClipTokenizer::clip("<|endoftext|>"), "sd1", "clip.json");
  for (const char* kind : {"sd2", "sdxl_2"}) {
    expect_reference_ids(ClipTokenizer::clip("!"), kind, "clip.json");
  }
  EXPECT_EQ(ClipTokenizer::clip("!").vocabulary_size(), 49408);
  EXPECT_EQ(ClipTokenizer::clip("!").end_id(), 49407);
}

TEST_F(ClipTokenizerTest, GivesTheReferenceIdsOfStableDiffusion2) {
  make_folder("sd2");
  expect_reference_ids("sd2");
}

TEST_F(ClipTokenizerTest, GivesTheReferenceIdsOfBothTokenizersOfStableDiffusionXl) {
  make_folder("sdxl");
  expect_reference_ids("sdxl");
  make_folder("sdxl_2");
  expect_reference_ids("sdxl_2");
}

TEST_F(ClipTokenizerTest, ReadsASingleTokenizerFile) {
  make_folder("sd1");
  make_single_file();
  expect_reference_ids("sdxl");  // the same tokens, both special ones sought in the cleaned text
  change("tokenizer.json", [](json& file) {
    for (json& merge : file["model"]["merges"]) {
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
  });
  expect_reference_ids("sdxl");
}

TEST_F(ClipTokenizerTest, KnowsItsSizes) {
  make_folder("sd2");
  const ClipTokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.max_length(), 77);
  EXPECT_EQ(tokenizer.vocabulary_size(), 4514);
  EXPECT_EQ(tokenizer.start_id(), 4512);
  EXPECT_EQ(tokenizer.end_id(), 4513);
  EXPECT_EQ(tokenizer.pad_id(), 0);
}

TEST_F(ClipTokenizerTest, CountsWhatDoesNotFit) {
  make_folder("sd1");
  const ClipTokenizer tokenizer = load();
  std::string prompt;
  for (int i = 0; i < 75; ++i) prompt += "the ";
  EXPECT_EQ(tokenizer.encode(prompt).dropped, 0);
  prompt += "the ";
  EXPECT_EQ(tokenizer.encode(prompt).dropped, 1);
  EXPECT_EQ(tokenizer.encode(prompt).ids.back(), tokenizer.end_id());
}

TEST_F(ClipTokenizerTest, TakesTheLengthFromItsConfig) {
  make_folder("sd1");
  change("tokenizer_config.json", [](json& config) { config["model_max_length"] = 20; });
  const TokenIds tokens = load().encode("the the the");
  EXPECT_EQ(tokens.ids.size(), 20U);
}

TEST_F(ClipTokenizerTest, RefusesTextThatIsNotUtf8) {
  make_folder("sd1");
  const ClipTokenizer tokenizer = load();
  expect_error<ConfigError>([&] { tokenizer.encode("a \xC3("); }, {"UTF-8"});
}

TEST_F(ClipTokenizerTest, EncodesLongWordsInReasonableTime) {
  make_folder("sd1");
  const ClipTokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.encode(std::string(1'000'000, 'a')).ids.size(), 77U);
}

TEST_F(ClipTokenizerTest, AnyBytesAreEncodedOrRefused) {
  make_folder("sdxl_2");
  const ClipTokenizer tokenizer = load();
  std::mt19937 engine(5);
  for (int i = 0; i < 2000; ++i) {
    std::string text(engine() % 40, ' ');
    for (char& c : text) c = static_cast<char>(engine());
    try {
      for (const std::int64_t id : tokenizer.encode(text).ids) {
        ASSERT_GE(id, 0);
        ASSERT_LT(id, tokenizer.vocabulary_size());
      }
    } catch (const ConfigError&) {
    }
  }
}

TEST_F(ClipTokenizerTest, ThreadsShareOneTokenizer) {
  make_folder("sd1");
  const ClipTokenizer tokenizer = load();
  const std::vector<std::int64_t> expected = tokenizer.encode("a cat's \u00e9t\u00e9").ids;
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 100; ++j) {
        if (tokenizer.encode("a cat's \u00e9t\u00e9").ids != expected) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(ClipTokenizerTest, RefusesMissingFiles) {
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"}) {
    make_folder("sd1");
    std::filesystem::remove(folder_.path() / name);
    expect_refused({name, "No such file"});
  }
}

TEST_F(ClipTokenizerTest, AFileThatCannotBeReadIsNotPassedOver) {
  make_folder("sd1");
  const auto file = folder_.path() / "tokenizer.json";
  std::filesystem::create_symlink(file, file);
  expect_refused({"cannot read " + file.string(), "Too many levels"});
}

TEST_F(ClipTokenizerTest, RefusesAWrongVocabulary) {
  const auto refuses = [&](auto apply, std::initializer_list<std::string_view> parts) {
    make_folder("sd1");
    change("vocab.json", apply);
    expect_refused(parts);
  };
  refuses([](json& v) { v.erase("A"); }, {"lacks 'A'", "byte 65"});
  refuses([](json& v) { v.erase("\u0120</w>"); }, {"\u0120</w>", "byte 32"});
  refuses([](json& v) { v.erase("<|startoftext|>"); }, {"bos_token", "<|startoftext|>"});
  refuses([](json& v) { v.erase("<|endoftext|>"); }, {"eos_token", "<|endoftext|>"});
  refuses([](json& v) { v.erase("the</w>"); }, {"'the</w>'", "merge"});
  refuses([](json& v) { v["a"] = 0; }, {"'!' and 'a'", "same id 0"});
  refuses([](json& v) { v["a"] = -1; }, {"'a' is -1"});
  refuses([](json& v) { v["a"] = 1.5; }, {"'a' is 1.5"});
  refuses([](json& v) { v["a"] = 4294967296; }, {"'a' is 4294967296"});
  refuses([](json& v) { v = json::array(); }, {"vocab.json", "object"});
}

TEST_F(ClipTokenizerTest, RefusesWrongMerges) {
  const auto refuses = [&](const std::string& line, std::initializer_list<std::string_view> parts) {
    make_folder("sd1");
    folder_.write("merges.txt", "#version: 0.2\ni n\n" + line + "\nt h\n");
    expect_refused(parts);
  };
  refuses("i n", {"'i n'", "twice"});
  refuses("in", {"merges.txt", "merge 2 is 'in'"});
  refuses("a b c", {"merge 2 is 'a b c'"});
  refuses("", {"merge 2 is ''"});
  refuses("zq zq", {"'zq'", "merge 2"});
  refuses("z q", {"'zq'", "merge 2"});
}

TEST_F(ClipTokenizerTest, ErrorsQuoteTheFilesInPart) {
  const std::string token = std::string(100'000, 'x') + "\n\x1b";
  const auto refuses = [&](const char* name, auto apply) {
    make_folder("sdxl");
    change(name, apply);
    testing::expect_short_error<CheckpointError>([&] { load(); });
  };
  refuses("vocab.json", [&](json& v) { v[token] = 5000; });
  refuses("vocab.json", [&](json& v) { v[token] = 0; });
  refuses("vocab.json", [&](json& v) { v[token] = token; });
  refuses("tokenizer_config.json", [&](json& config) { config["pad_token"] = token; });
  const json added = {{"content", token}, {"normalized", false}};
  for (const char* id : {"7", "x"}) {
    refuses("tokenizer_config.json", [&](json& config) {
      config["added_tokens_decoder"] = {{id, added}};
    });
  }
  for (const char* space : {"", " ", "  "}) {
    make_folder("sd1");
    folder_.write("merges.txt", std::string(100'000, 'x') + "\x1b" + space + "y\n");
    testing::expect_short_error<CheckpointError>([&] { load(); });
  }
}

TEST_F(ClipTokenizerTest, RefusesAHugeFileOfMerges) {
  make_folder("sd1");
  std::filesystem::resize_file(folder_.path() / "merges.txt", (std::size_t{64} << 20) + 1);
  expect_refused({"merges.txt holds 67108865 bytes", "67108864 at most"});
}

TEST_F(ClipTokenizerTest, RefusesAVocabularyThatLostItsMerges) {
  const std::string file = (folder_.path() / "merges.txt").string();
  make_folder("sd1");
  const std::string whole = read_text(kData / "merges.txt");
  folder_.write("merges.txt", "#version: 0.2\n");
  expect_refused({file, "none of its 0 merges makes", "and 3999 more", "fetch the file again"});
  folder_.write("merges.txt", "");
  expect_refused({file, "and 3999 more"});
  folder_.write("merges.txt", whole.substr(0, whole.rfind('\n', whole.size() - 2) + 1));
  expect_refused({file, "none of its 3999 merges makes", "and 0 more"});
  make_folder("sd1");
  make_single_file();
  change("tokenizer.json", [](json& value) { value["model"]["merges"].erase(0); });
  expect_refused({"tokenizer.json", "none of its 3999 merges"});
}

TEST_F(ClipTokenizerTest, AcceptsMergesWithWindowsLineEnds) {
  make_folder("sd1");
  const std::vector<std::int64_t> expected = load().encode("the king").ids;
  std::string text;
  for (const char c : read_text(folder_.path() / "merges.txt")) {
    if (c == '\n') text.push_back('\r');
    text.push_back(c);
  }
  folder_.write("merges.txt", text);
  EXPECT_EQ(load().encode("the king").ids, expected);
}

TEST_F(ClipTokenizerTest, RefusesConfigsThatItDoesNotFollow) {
  const auto refuses = [&](const char* key, const json& value,
                           std::initializer_list<std::string_view> parts) {
    make_folder("sdxl");
    change("tokenizer_config.json", [&](json& config) { config[key] = value; });
    expect_refused(parts);
  };
  refuses("tokenizer_class", "T5Tokenizer",
          {"tokenizer_class is \"T5Tokenizer\"", "CLIPTokenizer"});
  refuses("do_lower_case", false, {"do_lower_case is false", "only true"});
  refuses("padding_side", "left", {"padding_side is \"left\"", "only \"right\""});
  refuses("model_max_length", 2, {"model_max_length is 2", "between 3"});
  refuses("model_max_length", 1e30, {"model_max_length", "an integer"});
  refuses("additional_special_tokens", {"<x>"}, {"additional_special_tokens", "<x>"});
  refuses("unheard_of", 1, {"not supported", "unheard_of = 1"});
  refuses("pad_token", "<pad>", {"lacks the pad_token '<pad>'"});
  const auto refuses_added = [&](const std::string& decoder,
                                 std::initializer_list<std::string_view> parts) {
    refuses("added_tokens_decoder", json::parse(decoder), parts);
  };
  refuses_added(R"({"0": {"content": "!", "normalized": false, "lstrip": true}})",
                {"added token", "lstrip is true", "only false"});
  refuses_added(R"({"0": {"content": "!"}})", {"added token", "normalized is missing"});
  for (const std::string& id :
       std::vector<std::string>{"one", "1.0", "-1", " 1", std::string(1000000, '[')}) {
    refuses("added_tokens_decoder", {{id, {{"content", "!"}, {"normalized", false}}}},
            {"an integer is wanted"});
  }
  refuses_added(R"({"7": {"content": "!", "normalized": false}})", {"'!'", "id 7", "it is 0"});
  refuses_added(R"({"x": {"content": "!", "normalized": false}})", {"'!'", "\"x\"", "an integer"});
  refuses_added(R"({"0": 3})", {"added token", "3 is not a JSON object"});
  refuses_added(R"({"4514": {"content": "", "normalized": false}})", {"an added token is empty"});
  refuses_added(R"({"4514": {"normalized": false, "content": ")" + std::string(257, 'a') + "\"}}",
                {"has 257 bytes", "at most 256"});
  make_folder("sd1");
  folder_.write("added_tokens.json", "{}");
  expect_refused({"added_tokens.json"});
}

TEST_F(ClipTokenizerTest, FindsTokensThatWereAddedLater) {
  make_folder("sdxl");
  change("tokenizer_config.json", [](json& config) {
    config["added_tokens_decoder"]["4514"] = {{"content", "<cat-toy>"}, {"normalized", false}};
  });
  const ClipTokenizer tokenizer = load();
  EXPECT_EQ(tokenizer.vocabulary_size(), 4515);
  const TokenIds tokens = tokenizer.encode("a<cat-toy>");
  EXPECT_EQ(tokens.ids[2], 4514);
}

TEST_F(ClipTokenizerTest, FindsTheLongestOfTokensThatBeginAlike) {
  make_folder("sdxl");
  change("tokenizer_config.json", [](json& config) {
    config["added_tokens_decoder"]["4514"] = {{"content", "<cat"}, {"normalized", true}};
    config["added_tokens_decoder"]["4515"] = {{"content", "<CAT-toy"}, {"normalized", true}};
    config["added_tokens_decoder"]["4516"] = {{"content", "<cat-"}, {"normalized", true}};
  });
  const TokenIds tokens = load().encode("<cat-toy<cat");
  EXPECT_EQ(tokens.ids[1], 4515);
  EXPECT_EQ(tokens.ids[2], 4514);
}

TEST_F(ClipTokenizerTest, BoundsTheTokensThatWereAddedLater) {
  const auto add = [&](int count) {
    make_folder("sdxl");
    change("tokenizer_config.json", [&](json& config) {
      json& decoder = config["added_tokens_decoder"];
      for (int i = 0; static_cast<int>(decoder.size()) < count; ++i) {
        decoder[std::to_string(4514 + i)] = {{"content", "<toy-" + std::to_string(i) + ">"},
                                             {"normalized", false}};
      }
    });
  };
  add(1024);
  EXPECT_EQ(load().encode("<toy-1000>").ids[1], 5514);
  add(1025);
  expect_refused({"tokenizer_config.json", "more than 1024 tokens", "remove those"});
}

TEST_F(ClipTokenizerTest, RefusesAnotherModelThanBytePairs) {
  make_folder("sd1");
  make_single_file();
  change("tokenizer.json", [](json& file) { file["model"]["type"] = "Unigram"; });
  expect_refused({"tokenizer.json", "type is \"Unigram\""});
}

}  // namespace
}  // namespace pcpp
