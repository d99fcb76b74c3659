// JSON from files that are not trusted.
#ifndef PCPP_IO_JSON_FILE_H_
#define PCPP_IO_JSON_FILE_H_

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace pcpp {

// The value that `text` holds. Throws CheckpointError with `source` and the position of the first
// mistake; a key that stands twice in an object and nesting deeper than 64 are mistakes.
nlohmann::json parse_json(std::string_view text, const std::string& source);

// The value in a file of at most 64 MiB, by the same rules; but for the words NaN, Infinity and
// -Infinity, which Python writes, the texts "NaN", "Infinity" and "-Infinity" are read.
nlohmann::json read_json_file(const std::filesystem::path& path);

// A value as a part of one line, for an error: as excerpt() cuts it, bytes that are not UTF-8
// replaced.
std::string to_error_text(const nlohmann::json& value);

}  // namespace pcpp

#endif  // PCPP_IO_JSON_FILE_H_
