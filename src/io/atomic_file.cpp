#include "io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/input_file.h"
#include "pcpp/output_file.h"

namespace pcpp {
namespace {

[[noreturn]] void fail_to_write(const std::filesystem::path& path, int error) {
  fail<OutputError>("cannot write {}: {}; name a place that can be written", path.string(),
                    std::generic_category().message(error));
}

// Where a chain of links from `path` ends, whether or not there is a file.
std::filesystem::path end_of_links(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // as Linux follows
  std::error_code error;
  for (int link = 0; is_symlink(symlink_status(path, error)); ++link) {
    if (link == kMostLinks) fail_to_write(path, ELOOP);
    const std::filesystem::path next = read_symlink(path, error);
    if (error) fail_to_write(path, error.value());
    path = path.parent_path() / next;
  }
  return path;
}

// The file that `path` leads to: the link's target where it is a link.
std::filesystem::path target_of(const std::filesystem::path& path) {
  check<OutputError>(path.native().find('\0') == std::string::npos,
                     "cannot write '{}': it has a NUL: leave that out", excerpt(path.native()));
  check<OutputError>(path.has_filename(), "cannot write '{}': it names no file: add a file's name",
                     path.string());
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) return end_of_links(path);
  if (status.type() == std::filesystem::file_type::none) fail_to_write(path, error.value());
  check<OutputError>(std::filesystem::is_regular_file(status),
                     "cannot write {}: it exists and is not a regular file; name another place",
                     path.string());
  std::filesystem::path target = std::filesystem::canonical(path, error);
  if (error) fail_to_write(path, error.value());
  if (access(target.c_str(), W_OK) != 0) fail_to_write(path, errno);
  return target;
}

std::filesystem::path name_beside(const std::filesystem::path& target) {
  static std::atomic<unsigned> count = 0;
  return target.parent_path() /
         fmt::format(".{}.{}.{}.tmp", target.filename().string().substr(0, 64), getpid(), count++);
}

// By which an open file without a name can be given one.
std::string place_of(int descriptor) { return fmt::format("/proc/self/fd/{}", descriptor); }

void write_all(int descriptor, std::span<const std::byte> bytes,
               const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      fail_to_write(path, errno);
    }
  }
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path) : target_(target_of(path)) {
  open_temporary();
  if (descriptor_ < 0) fail_to_write(path, errno);
  struct stat replaced {};
  if (stat(target_.c_str(), &replaced) == 0)
    static_cast<void>(fchmod(descriptor_, replaced.st_mode & 0777));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

void AtomicFile::open_temporary() {
  const std::filesystem::path folder = target_.has_parent_path() ? target_.parent_path() : ".";
  descriptor_ = open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
  if (descriptor_ >= 0) {
    if (access(place_of(descriptor_).c_str(), F_OK) == 0) return;
    close(descriptor_);
  }
  do {
    temporary_ = name_beside(target_);
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
}

void AtomicFile::write(std::span<const std::byte> bytes) { write_all(descriptor_, bytes, target_); }

void AtomicFile::copy_in_place() {
  const std::string bytes = InputFile(place_of(descriptor_)).read();
  // Whoever owns it may have put a link or a pipe in its place.
  const int target = open(target_.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (target < 0) fail_to_write(target_, errno);
  const std::unique_ptr<const int, void (*)(const int*)> closed(
      &target, [](const int* descriptor) { close(*descriptor); });
  struct stat found {};
  if (fstat(target, &found) != 0) fail_to_write(target_, errno);
  if (!S_ISREG(found.st_mode)) fail_to_write(target_, EPERM);
  if (ftruncate(target, 0) != 0) fail_to_write(target_, errno);
  write_all(target, std::as_bytes(std::span(bytes)), target_);
  if (fsync(target) != 0) fail_to_write(target_, errno);
  unlink(temporary_.c_str());
}

void AtomicFile::commit() {
  // Without the flush, a crash of the machine could leave the name on an empty file.
  if (fsync(descriptor_) != 0) fail_to_write(target_, errno);
  while (temporary_.empty()) {
    const std::filesystem::path name = name_beside(target_);
    if (linkat(AT_FDCWD, place_of(descriptor_).c_str(), AT_FDCWD, name.c_str(),
               AT_SYMLINK_FOLLOW) == 0) {
      temporary_ = name;
    } else if (errno != EEXIST) {
      fail_to_write(target_, errno);
    }
  }
  if (rename(temporary_.c_str(), target_.c_str()) != 0) {
    if (errno != EBUSY && errno != EPERM) fail_to_write(target_, errno);
    copy_in_place();
  }
  close(descriptor_);
  descriptor_ = -1;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

std::filesystem::path check_writable(const std::filesystem::path& path) {
  const AtomicFile file(path);
  std::error_code error;
  std::filesystem::path whole = absolute(file.target(), error);
  if (!error) whole = weakly_canonical(whole, error);
  if (error) fail_to_write(path, error.value());
  return whole;
}

}  // namespace pcpp
