// Reading a file that others may change meanwhile.
#ifndef PCPP_IO_INPUT_FILE_H_
#define PCPP_IO_INPUT_FILE_H_

#include <cstddef>
#include <filesystem>
#include <string>

namespace pcpp {

// A regular file that is open for reading. All functions throw CheckpointError with the path and
// the system's reason. Not copyable; reading is thread-safe.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path);

  // Bytes, when it was opened.
  std::size_t size() const { return size_; }
  int descriptor() const { return descriptor_.value(); }

  // A copy of its first size() bytes. A file that has become shorter is an error too.
  std::string read() const;

 private:
  class Descriptor {
   public:
    explicit Descriptor(const std::filesystem::path& path);
    ~Descriptor();
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int value() const { return value_; }

   private:
    int value_;
  };

  std::filesystem::path path_;
  Descriptor descriptor_;
  std::size_t size_ = 0;
};

// What lies at `path`, links followed; not_found where nothing does. Throws CheckpointError where
// that cannot be told: a folder that may not be searched, links in a circle.
std::filesystem::file_type type_of(const std::filesystem::path& path);

// The same place from the root, which stays what it is when the process goes to another folder; the
// path itself where it is empty or the present folder is gone.
std::filesystem::path from_root(const std::filesystem::path& path);

// Throws "cannot read PATH: REASON", the reason by errno.
[[noreturn]] void fail_to_read(const std::filesystem::path& path);

}  // namespace pcpp

#endif  // PCPP_IO_INPUT_FILE_H_
