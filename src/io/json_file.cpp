#include "io/json_file.h"

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
  return parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
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
