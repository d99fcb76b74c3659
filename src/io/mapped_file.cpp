#include "io/mapped_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <utility>

#include "io/input_file.h"

namespace pcpp {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const InputFile file(path);
  if (file.size() == 0) return;
  void* start = mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (start == MAP_FAILED && errno == ENOMEM) throw std::bad_alloc();
  if (start == MAP_FAILED) fail_to_read(path);
  bytes_ = {static_cast<std::byte*>(start), file.size()};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

void MappedFile::release(std::span<const std::byte> part) const {
  std::byte* const begin = bytes_.data();
  const std::byte* const end = begin + bytes_.size();
  if (part.empty() || part.data() < begin || part.data() + part.size() > end) return;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t first = static_cast<std::size_t>(part.data() - begin) / page * page;
  const auto stop = static_cast<std::size_t>(part.data() + part.size() - begin);
  madvise(begin + first, stop - first, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace pcpp
