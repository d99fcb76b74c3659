// Output files that appear whole or not at all.
#ifndef PCPP_OUTPUT_FILE_H_
#define PCPP_OUTPUT_FILE_H_

#include <filesystem>
#include <string_view>

#include "pcpp/export.h"

namespace pcpp {

// Writes `bytes` to a temporary file beside `path`, then renames it to `path`; an older file there
// is replaced. Where that may be written and not replaced, as another user's in a sticky folder or
// one that is mounted by itself, the bytes are copied into it. Throws OutputError with the path
// and the system's reason, and leaves no temporary file; only a copy that fails leaves the older
// file cut short.
PCPP_EXPORT void write_file(const std::filesystem::path& path, std::string_view bytes);

// The file that write_file would write, behind all links and as an absolute path. Throws
// OutputError unless it would find a place for it. Changes nothing: for a refusal before long
// work starts.
PCPP_EXPORT std::filesystem::path check_writable(const std::filesystem::path& path);

}  // namespace pcpp

#endif  // PCPP_OUTPUT_FILE_H_
