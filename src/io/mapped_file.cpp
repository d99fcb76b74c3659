#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace pcpp {
namespace {

class Descriptor {
 public:
  // Not blocking: a named pipe in the place of a file must not hang the caller.
  explicit Descriptor(const std::filesystem::path& path)
      : value_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }

 private:
  int value_;
};

[[noreturn]] void fail_to_read(const std::filesystem::path& path) {
  fail<CheckpointError>("cannot read {}: {}", path.string(),
                        std::generic_category().message(errno));
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const Descriptor file(path);
  if (file.value() < 0) fail_to_read(path);
  struct stat status = {};
  if (fstat(file.value(), &status) != 0) fail_to_read(path);
  check<CheckpointError>(S_ISREG(status.st_mode), "cannot read {}: it is not a regular file",
                         path.string());
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;
  void* start = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value(), 0);
  if (start == MAP_FAILED) fail_to_read(path);
  bytes_ = {static_cast<const std::byte*>(start), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::release(std::span<const std::byte> part) const {
  const std::byte* const begin = bytes_.data();
  const std::byte* const end = begin + bytes_.size();
  if (part.empty() || part.data() < begin || part.data() + part.size() > end) return;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t first = static_cast<std::size_t>(part.data() - begin) / page * page;
  const auto stop = static_cast<std::size_t>(part.data() + part.size() - begin);
  madvise(const_cast<std::byte*>(begin) + first, stop - first, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace pcpp
