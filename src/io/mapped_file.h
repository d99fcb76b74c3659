// A file's bytes in memory without a copy.
#ifndef PCPP_IO_MAPPED_FILE_H_
#define PCPP_IO_MAPPED_FILE_H_

#include <cstddef>
#include <filesystem>
#include <span>

namespace pcpp {

// A read-only mapping of a whole regular file; unmapped at the end. Throws CheckpointError with the
// path and the system's reason, std::bad_alloc where memory has no room for it. Movable, not
// copyable; reading is thread-safe. A file that others cut short while it is mapped ends the
// process with SIGBUS where its lost bytes are read: replace a file that may be in use by renaming
// another over it, and read small ones by InputFile. Weights are mapped all the same: copies would
// hold them in memory twice while a network is made.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

  // Gives back the memory of the pages that hold `part`, which keeps its values: who reads it again
  // reads the file again. Does nothing for what is not a part of the file.
  void release(std::span<const std::byte> part) const;

 private:
  std::span<std::byte> bytes_;
};

}  // namespace pcpp

#endif  // PCPP_IO_MAPPED_FILE_H_
