#include "io/clip_vocabulary.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/config_reader.h"
#include "io/embedded_files.h"
#include "io/input_file.h"
#include "io/json_file.h"

namespace pcpp {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int64_t kMostLength = 1024;  // of texts in tokens; CLIP's own is 77
constexpr int kClipTokens = 77;
constexpr std::size_t kMostMergesBytes = std::size_t{64} << 20;
constexpr std::size_t kMostAddedTokens = 1024;  // each is sought at each character of a text
constexpr std::size_t kMostAddedBytes = 256;
constexpr std::string_view kStart = "<|startoftext|>";
constexpr std::string_view kEnd = "<|endoftext|>";

bool is_file(const fs::path& path) { return type_of(path) == fs::file_type::regular; }

Vocabulary read_tokens(const json& object, const std::string& source) {
  check<CheckpointError>(object.is_object() && !object.empty(),
                         "{}: the vocabulary must be an object of tokens and their ids", source);
  Vocabulary tokens;
  std::map<std::int64_t, std::string_view> owners;
  for (const auto& [token, value] : object.items()) {
    check<CheckpointError>(
        value.is_number_unsigned() &&
            value.get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max(),
        "{}: the id of '{}' is {}; it must be an integer from 0 to 2147483647", source,
        excerpt(token), to_error_text(value));
    const auto id = value.get<std::int64_t>();
    const auto [owner, is_new] = owners.emplace(id, token);
    check<CheckpointError>(is_new, "{}: '{}' and '{}' have the same id {}", source,
                           excerpt(owner->second), excerpt(token), id);
    tokens.emplace(token, id);
  }
  return tokens;
}

std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& source,
                                                std::size_t number) {
  const std::size_t space = line.find(' ');
  check<CheckpointError>(space != line.npos && space > 0 && space + 1 < line.size() &&
                             line.find(' ', space + 1) == line.npos,
                         "{}: merge {} is '{}'; it must be two symbols and a space between them",
                         source, number, excerpt(line));
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

Merges read_merges(std::string_view text, const std::string& source) {
  std::string_view rest = text;
  Merges merges;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("#version") || (line.empty() && rest.empty())) continue;
    merges.push_back(split_merge(line, source, merges.size() + 1));
  }
  return merges;
}

Merges read_merges_file(const fs::path& path) {
  const InputFile file(path);
  check<CheckpointError>(file.size() <= kMostMergesBytes,
                         "{} holds {} bytes; a list of merges may hold {} at most", path.string(),
                         file.size(), kMostMergesBytes);
  return read_merges(file.read(), path.string());
}

Merges read_merges_list(const json& list, const std::string& source) {
  check<CheckpointError>(list.is_array(), "{}: merges must be a list", source);
  Merges merges;
  for (const json& entry : list) {
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      merges.emplace_back(entry[0].get<std::string>(), entry[1].get<std::string>());
    } else {
      check<CheckpointError>(entry.is_string(), "{}: merge {} is {}; two symbols are wanted",
                             source, merges.size() + 1, to_error_text(entry));
      merges.push_back(split_merge(entry.get_ref<const std::string&>(), source, merges.size() + 1));
    }
  }
  return merges;
}

// An added token as the JSON files write it; `id` is not part of it in all of them.
AddedToken read_added_token(const json& object, const std::string& source) {
  ConfigReader reader(object, source);
  AddedToken token;
  token.content = reader.text("content");
  token.normalized = reader.boolean("normalized");
  for (const std::string_view key : {"single_word", "lstrip", "rstrip"}) {
    reader.require_equal(key, false);
  }
  reader.ignore({"id", "special"});
  reader.finish();
  return token;
}

// Reads one tokenizer folder. Which file has the last word follows transformers 5:
// tokenization_utils_base.py (_from_pretrained) and tokenization_utils_tokenizers.py.
class FolderReader {
 public:
  explicit FolderReader(const fs::path& folder)
      : folder_(folder), config_(folder / "tokenizer_config.json") {}

  ClipVocabulary read() {
    check<CheckpointError>(
        !is_file(folder_ / "added_tokens.json"),
        "{}: added_tokens.json is not supported; tokens beyond CLIP's own belong "
        "in added_tokens_decoder of tokenizer_config.json",
        folder_.string());
    read_model();
    read_settings();
    read_declared_tokens();
    read_special_tokens();
    config_.finish();
    return std::move(result_);
  }

 private:
  // The vocabulary and its merges: tokenizer.json where it exists, else vocab.json and merges.txt.
  void read_model() {
    const fs::path path = folder_ / "tokenizer.json";
    if (!is_file(path)) {
      source_ = (folder_ / "vocab.json").string();
      result_.tokens = read_tokens(read_json_file(source_), source_);
      result_.merges_file = (folder_ / "merges.txt").string();
      result_.merges = read_merges_file(result_.merges_file);
      return;
    }
    source_ = path.string();
    ConfigReader file(path);
    ConfigReader model(file.value("model"), source_ + " (model)");
    model.require_equal("type", "BPE");
    model.require_equal("dropout", nullptr);
    model.require_equal("end_of_word_suffix", "</w>", nullptr);
    result_.tokens = read_tokens(model.value("vocab"), source_);
    result_.merges_file = source_;
    result_.merges = read_merges_list(model.value("merges"), source_);
    const json added = file.value("added_tokens");
    for (const json& entry : added.is_array() ? added : json::array()) {
      declare(entry.is_object() ? entry.value("id", json()) : json(), entry, source_);
    }
  }

  void read_settings() {
    config_.one_of("tokenizer_class", {"CLIPTokenizer", "CLIPTokenizerFast"}, "CLIPTokenizer");
    config_.require_equal("do_lower_case", true);
    config_.require_equal("add_prefix_space", false);
    config_.require_equal("split_special_tokens", false);
    config_.require_equal("padding_side", "right");
    config_.require_equal("truncation_side", "right");
    config_.require_equal("add_bos_token", true);
    config_.require_equal("add_eos_token", true);
    for (const std::string_view key : {"additional_special_tokens", "extra_special_tokens"}) {
      const json value = config_.value(key);
      if (!value.empty()) config_.refuse(key, "further special tokens are not supported");
    }
    // Notes of the tools that wrote the file, and settings of decoding or of other calls.
    config_.ignore({"name_or_path", "special_tokens_map_file", "tokenizer_file", "backend",
                    "is_local", "local_files_only", "errors", "clean_up_tokenization_spaces",
                    "processor_class", "max_length", "stride", "truncation_strategy",
                    "pad_token_type_id", "pad_to_multiple_of", "trim_offsets", "use_fast",
                    "model_input_names", "auto_map", "chat_template"});
    const std::int64_t length = config_.integer("model_max_length");
    if (length < 3 || length > kMostLength) {
      config_.refuse("model_max_length", fmt::format("it must lie between 3 and {}", kMostLength));
    }
    result_.max_length = static_cast<int>(length);
  }

  // The tokens that a file declares with their ids. added_tokens_decoder replaces those of the
  // other files.
  void read_declared_tokens() {
    const json decoder = config_.value("added_tokens_decoder");
    has_decoder_ = decoder.is_object();
    if (has_decoder_) {
      declared_.clear();
      for (const auto& [key, entry] : decoder.items()) {
        std::uint64_t id = 0;
        const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
        const bool is_number = error == std::errc() && end == key.data() + key.size();
        declare(is_number ? json(id) : json(key), entry, config_.source());
      }
    }
    for (const auto& [id, token] : declared_) add(token);
  }

  // Ids must be those that transformers gives: the vocabulary's, or the next free one.
  void declare(const json& id, const json& entry, const std::string& source) {
    check<CheckpointError>(declared_.size() < kMostAddedTokens,
                           "{}: it adds more than {} tokens to the vocabulary; remove those that "
                           "are not needed",
                           source, kMostAddedTokens);
    AddedToken token = read_added_token(entry, source + " (added token)");
    check<CheckpointError>(id.is_number_unsigned() &&
                               id.get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max(),
                           "{}: the added token '{}' has the id {}; an integer is wanted", source,
                           excerpt(token.content), to_error_text(id));
    token.id = id.get<std::int64_t>();
    check<CheckpointError>(declared_.emplace(token.id, token).second,
                           "{}: two added tokens have the id {}", source, token.id);
  }

  void read_special_tokens() {
    std::optional<ConfigReader> map;
    // Where added_tokens_decoder is present, transformers does not read the map.
    if (const fs::path path = folder_ / "special_tokens_map.json"; !has_decoder_ && is_file(path)) {
      map.emplace(path);
      map->ignore({"additional_special_tokens", "extra_special_tokens"});
    }
    const std::map<std::string, AddedToken> known = added_;
    for (const std::string_view key : {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"}) {
      json value = config_.value(key);
      if (const json of_map = map ? map->value(key) : json(); !of_map.is_null()) value = of_map;
      if (value.is_null()) value = default_of(key);
      if (value.is_null()) continue;
      const AddedToken token = as_special_token(value, key);
      if (!known.contains(token.content)) add(token);
      if (key == "bos_token") result_.start = token.content;
      if (key == "eos_token") result_.end = token.content;
      if (key == "pad_token") result_.pad = token.content;
    }
    if (map) map->finish();
    for (const auto& [content, token] : added_) result_.added.push_back(token);
  }

  static json default_of(std::string_view key) {
    if (key == "bos_token") return kStart;
    if (key == "eos_token" || key == "unk_token" || key == "pad_token") return kEnd;
    return nullptr;
  }

  AddedToken as_special_token(const json& value, std::string_view key) const {
    AddedToken token;
    if (value.is_string()) {
      token.content = value.get<std::string>();
    } else {
      json object = value;
      if (object.is_object()) object.erase("__type");
      token = read_added_token(object, fmt::format("{} ({})", config_.source(), key));
    }
    if (const auto found = added_.find(token.content); found != added_.end()) {
      token.id = found->second.id;
      return token;
    }
    const auto found = result_.tokens.find(token.content);
    check<CheckpointError>(found != result_.tokens.end(),
                           "{}: the vocabulary lacks the {} '{}'; it is not the model's own",
                           source_, key, excerpt(token.content));
    token.id = found->second;
    return token;
  }

  // The last one of a content counts.
  void add(const AddedToken& token) {
    check<CheckpointError>(!token.content.empty(), "{}: an added token is empty", source_);
    check<CheckpointError>(token.content.size() <= kMostAddedBytes,
                           "{}: the added token '{}' has {} bytes; at most {} are supported",
                           source_, excerpt(token.content), token.content.size(), kMostAddedBytes);
    const auto found = result_.tokens.find(token.content);
    const auto size = static_cast<std::int64_t>(result_.tokens.size());
    const std::int64_t expected =
        found != result_.tokens.end() ? found->second : std::max(size, behind_added_);
    check<CheckpointError>(token.id == expected || added_.contains(token.content),
                           "{}: the added token '{}' has the id {}; with this vocabulary it is {}",
                           source_, excerpt(token.content), token.id, expected);
    added_[token.content] = token;
    behind_added_ = std::max(behind_added_, token.id + 1);
  }

  fs::path folder_;
  ConfigReader config_;
  std::string source_;  // the file of the vocabulary
  ClipVocabulary result_;
  bool has_decoder_ = false;
  std::map<std::int64_t, AddedToken> declared_;
  std::map<std::string, AddedToken> added_;
  std::int64_t behind_added_ = 0;  // one more than the largest id of an added token
};

}  // namespace

std::int64_t ClipVocabulary::find(const std::string& token) const {
  for (const AddedToken& candidate : added) {
    if (candidate.content == token) return candidate.id;
  }
  const auto found = tokens.find(token);
  return found == tokens.end() ? -1 : found->second;
}

ClipVocabulary read_clip_vocabulary(const fs::path& folder) { return FolderReader(folder).read(); }

ClipVocabulary own_clip_vocabulary(const std::string& pad_token) {
  ClipVocabulary result;
  result.merges_file = "CLIP's merges";
  result.merges = read_merges(clip_merges_text(), result.merges_file);
  result.tokens = vocabulary_of(result.merges);
  result.start = kStart;
  result.end = kEnd;
  result.pad = pad_token;
  result.max_length = kClipTokens;
  for (const std::string_view content : {kStart, kEnd}) {
    const auto id = static_cast<std::int64_t>(result.tokens.size());
    result.tokens.emplace(content, id);
    result.added.push_back({std::string(content), id, /*normalized=*/content != pad_token});
  }
  if (pad_token != kStart && pad_token != kEnd) {
    result.added.push_back({pad_token, result.tokens.at(pad_token), /*normalized=*/false});
  }
  return result;
}

}  // namespace pcpp
