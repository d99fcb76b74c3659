// Picture files of any kind.
#ifndef PCPP_IO_IMAGE_FILE_H_
#define PCPP_IO_IMAGE_FILE_H_

#include <filesystem>
#include <string>

namespace pcpp {

// The file's bytes. Throws CheckpointError as InputFile does, and for a file larger than the
// largest picture takes.
std::string read_image_file(const std::filesystem::path& path);

}  // namespace pcpp

#endif  // PCPP_IO_IMAGE_FILE_H_
