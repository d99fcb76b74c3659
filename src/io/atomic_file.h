// A file that is written beside its place and takes it when it is whole.
#ifndef PCPP_IO_ATOMIC_FILE_H_
#define PCPP_IO_ATOMIC_FILE_H_

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace pcpp {

// Writes to a temporary file in the folder of `path`. commit() gives it its name; without it the
// destructor removes it, and what was at `path` before is untouched. Until commit() it has no name
// where the file system can do without (O_TMPFILE), so that nothing is left of it when the process
// is killed. A link at `path` is followed, and a file that is replaced hands on its permissions.
// One that may be written and not replaced, as another user's in a sticky folder or one that is
// mounted by itself, is written in place. All functions throw OutputError with the path and the
// system's reason. Not thread-safe.
class AtomicFile {
 public:
  // Refuses a path that exists and is not a regular file.
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view bytes) { write(std::as_bytes(std::span(bytes))); }
  void commit();

  const std::filesystem::path& target() const { return target_; }

 private:
  void open_temporary();
  void copy_in_place();

  std::filesystem::path target_;
  std::filesystem::path temporary_;  // empty: it has no name
  int descriptor_ = -1;
};

}  // namespace pcpp

#endif  // PCPP_IO_ATOMIC_FILE_H_
