#include "io/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/check.h"

namespace pcpp {

std::filesystem::path from_root(const std::filesystem::path& path) {
  std::error_code gone;
  const std::filesystem::path absolute = std::filesystem::absolute(path, gone);
  if (gone) return path;
  // Not "..", which after a link is the folder above its target.
  std::filesystem::path shorter;
  for (const std::filesystem::path& part : absolute) {
    if (part != ".") shorter /= part;
  }
  return shorter;
}

void fail_to_read(const std::filesystem::path& path) {
  fail<CheckpointError>("cannot read {}: {}; name a file that can be read, or fetch it again",
                        path.string(), std::generic_category().message(errno));
}

std::filesystem::file_type type_of(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::file_type type = std::filesystem::status(path, error).type();
  check<CheckpointError>(type != std::filesystem::file_type::none,
                         "cannot read {}: {}; mend it, or fetch it again", path.string(),
                         error.message());
  return type;
}

// Not blocking: a named pipe in the place of a file must not hang the caller.
InputFile::Descriptor::Descriptor(const std::filesystem::path& path)
    : value_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (value_ < 0) fail_to_read(path);
}

InputFile::Descriptor::~Descriptor() { close(value_); }

InputFile::InputFile(const std::filesystem::path& path) : path_(path), descriptor_(path) {
  struct stat status = {};
  if (fstat(descriptor(), &status) != 0) fail_to_read(path);
  check<CheckpointError>(S_ISREG(status.st_mode),
                         "cannot read {}: it is not a regular file; name one", path.string());
  size_ = static_cast<std::size_t>(status.st_size);
}

std::string InputFile::read() const {
  std::string bytes(size_, '\0');
  for (std::size_t done = 0; done < size_;) {
    const ssize_t count =
        pread(descriptor(), bytes.data() + done, size_ - done, static_cast<off_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_to_read(path_);
    check<CheckpointError>(count > 0, "cannot read {}: it became shorter meanwhile; fetch it again",
                           path_.string());
    done += static_cast<std::size_t>(count);
  }
  return bytes;
}

}  // namespace pcpp
