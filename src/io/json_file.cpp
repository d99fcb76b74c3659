#include "io/json_file.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/input_file.h"

namespace pcpp {
namespace {

using nlohmann::json;

constexpr std::size_t kMostDepth = 64;
constexpr std::size_t kMostBytes = std::size_t{64} << 20;
constexpr std::size_t kMostValues = 4'000'000;  // each takes many times its bytes in memory

// Makes the value that a text holds, and refuses what nlohmann's parser does not refuse by itself.
// Its callbacks would do, but search all siblings at the end of each object.
class Builder : public nlohmann::json_sax<json> {
 public:
  explicit Builder(const std::string& source) : source_(source) {}

  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(json::number_integer_t value) override { return add(value); }
  bool number_unsigned(json::number_unsigned_t value) override { return add(value); }
  bool number_float(json::number_float_t value, const std::string& /*text*/) override {
    return add(value);
  }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(json::binary_t& value) override { return add(std::move(value)); }
  bool start_object(std::size_t /*size*/) override { return open(json::object()); }
  bool start_array(std::size_t /*size*/) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& key) override {
    const auto [entry, is_new] = open_.back()->get_ref<json::object_t&>().emplace(key, nullptr);
    if (!is_new) {
      fail<CheckpointError>("{}: the key {} stands twice in one object", source_,
                            to_error_text(key));
    }
    place_ = &entry->second;
    return true;
  }

  // The error's text quotes the whole of `token`.
  bool parse_error(std::size_t /*position*/, const std::string& token,
                   const json::exception& error) override {
    std::string what = error.what();
    const std::size_t tag_end = what.find("] ");
    if (tag_end != what.npos) what.erase(0, tag_end + 2);
    const std::size_t quoted = what.rfind("'" + token + "'");
    if (quoted != what.npos) what.replace(quoted + 1, token.size(), excerpt(token));
    fail<CheckpointError>("{} is not valid JSON: {}", source_, what);
  }

 private:
  bool add(json value) {
    check<CheckpointError>(open_.size() <= kMostDepth, "{}: nested deeper than {} levels", source_,
                           kMostDepth);
    check<CheckpointError>(++values_ <= kMostValues, "{}: it holds more than {} values", source_,
                           kMostValues);
    if (!open_.empty() && open_.back()->is_array()) {
      place_ = &open_.back()->emplace_back();
    }
    *place_ = std::move(value);
    return true;
  }

  bool open(json container) {
    add(std::move(container));
    open_.push_back(place_);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& source_;
  std::size_t values_ = 0;
  json root_;
  std::vector<json*> open_;  // the objects and lists around what comes next
  json* place_ = &root_;     // of what comes next; in a list, of what came last
};

// Python's json writes what is not finite as bare words, which JSON does not have.
std::string with_quoted_words(std::string_view text) {
  constexpr std::array<std::string_view, 3> kWords = {"-Infinity", "Infinity", "NaN"};
  std::string quoted;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    const auto* const word = std::ranges::find_if(
        kWords, [&](std::string_view known) { return !in_string && rest.starts_with(known); });
    const std::size_t behind =
        word == kWords.end() ? text.npos : text.find_first_not_of(" \t\r\n", i + word->size());
    const bool is_key = behind != text.npos && text[behind] == ':';
    if (word != kWords.end() && !is_key) {
      quoted.append("\"").append(*word).append("\"");
      i += word->size();
      continue;
    }
    const std::size_t taken = in_string && rest.starts_with('\\') && rest.size() > 1 ? 2 : 1;
    if (rest.front() == '"') in_string = !in_string;
    quoted += rest.substr(0, taken);
    i += taken;
  }
  return quoted;
}

}  // namespace

json parse_json(std::string_view text, const std::string& source) {
  Builder builder(source);
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

json read_json_file(const std::filesystem::path& path) {
  const InputFile file(path);
  check<CheckpointError>(file.size() <= kMostBytes,
                         "{} holds {} bytes; a JSON file may hold {} at most", path.string(),
                         file.size(), kMostBytes);
  check<CheckpointError>(file.size() > 0,
                         "{} is empty and not valid JSON; write it, or fetch it, again",
                         path.string());
  const std::string text = file.read();
  const bool has_words = text.find("Infinity") != text.npos || text.find("NaN") != text.npos;
  return has_words ? parse_json(with_quoted_words(text), path.string())
                   : parse_json(text, path.string());
}

std::string to_error_text(const json& value) {
  return excerpt(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace pcpp
