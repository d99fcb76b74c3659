#include "io/json_file.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <set>
#include <span>
#include <vector>

#include "base/check.h"
#include "io/mapped_file.h"

namespace pcpp {
namespace {

using nlohmann::json;

constexpr int kMaximumDepth = 64;
constexpr std::size_t kMaximumBytes = std::size_t{64} << 20;

// What nlohmann's parser does not refuse by itself.
class StructureCheck {
 public:
  explicit StructureCheck(const std::string& source) : source_(source) {}

  void operator()(int depth, json::parse_event_t event, const json& parsed) {
    check<CheckpointError>(depth <= kMaximumDepth, "{}: nested deeper than {} levels", source_,
                           kMaximumDepth);
    if (event == json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == json::parse_event_t::key) {
      check<CheckpointError>(keys_.back().insert(parsed.get<std::string>()).second,
                             "{}: the key {} stands twice in one object", source_,
                             to_error_text(parsed));
    }
  }

 private:
  const std::string& source_;
  std::vector<std::set<std::string>> keys_;
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
  StructureCheck structure(source);
  try {
    return json::parse(text.begin(), text.end(),
                       [&](int depth, json::parse_event_t event, const json& parsed) {
                         structure(depth, event, parsed);
                         return true;
                       });
  } catch (const json::exception& error) {
    const std::string_view what = error.what();
    const std::size_t tag_end = what.find("] ");
    fail<CheckpointError>("{} is not valid JSON: {}", source,
                          tag_end == what.npos ? what : what.substr(tag_end + 2));
  }
}

json read_json_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  check<CheckpointError>(bytes.size() <= kMaximumBytes,
                         "{} holds {} bytes; a JSON file may hold {} at most", path.string(),
                         bytes.size(), kMaximumBytes);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const bool has_words = text.find("Infinity") != text.npos || text.find("NaN") != text.npos;
  return has_words ? parse_json(with_quoted_words(text), path.string())
                   : parse_json(text, path.string());
}

std::string to_error_text(const json& value) {
  constexpr std::size_t kMaximumLength = 80;
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= kMaximumLength) return text;
  std::size_t end = kMaximumLength;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

}  // namespace pcpp
