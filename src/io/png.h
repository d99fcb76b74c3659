// PNG files.
#ifndef PCPP_IO_PNG_H_
#define PCPP_IO_PNG_H_

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "pcpp/image.h"

namespace pcpp {

struct DecodedPng {
  Image image;                              // as it is stored
  std::map<std::string, std::string> text;  // where it is read
  std::vector<std::byte> exif;              // empty, or as exif_orientation() takes it
};

// Whether a file that holds `bytes` says that it is one.
bool is_png(std::span<const std::byte> bytes);

enum class PngTexts { read, skip };

// `source` names the picture in errors. Throws as read_png().
DecodedPng decode_png(std::span<const std::byte> bytes, const std::string& source, PngTexts texts);

}  // namespace pcpp

#endif  // PCPP_IO_PNG_H_
