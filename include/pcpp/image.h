// Pictures, and files of them.
#ifndef PCPP_IMAGE_H_
#define PCPP_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "pcpp/export.h"

namespace pcpp {

// Eight bits a channel, rows from the top: rgb[3 * (width * y + x) + channel].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb = {};
};

// The bytes of a PNG whose text chunks carry `text`: keywords of 1 to 79 printable ASCII
// characters, values of UTF-8 without NUL, at most 500 of up to 4 MiB. Throws ConfigError for an
// image whose size and data disagree, a side of more than a million pixels or a text that is not as
// said.
PCPP_EXPORT std::string encode_png(const Image& image,
                                   const std::map<std::string, std::string>& text = {});

// Writes encode_png()'s bytes. The file appears whole under `path` or not at all. Throws as
// encode_png(), and OutputError for a place that cannot be written.
PCPP_EXPORT void write_png(const std::filesystem::path& path, const Image& image,
                           const std::map<std::string, std::string>& text = {});

// Reads any PNG of up to 2^28 pixels, a side of a million at most, as eight-bit RGB; transparency
// is dropped. `text`, if given, receives the text chunks, those of Latin-1 as UTF-8; of more than
// 900, or of packed ones beyond 8 MB, the rest is left out. Throws CheckpointError for a file that
// is missing, damaged or larger.
PCPP_EXPORT Image read_png(const std::filesystem::path& path,
                           std::map<std::string, std::string>* text = nullptr);

// Reads a PNG, transparency dropped, or a JPEG, by what the file begins with, the way up that its
// Exif data says (read_png() reads it as it is stored). Throws CheckpointError for a file that is
// missing, damaged, neither of the two, larger than 2^28 pixels, or a JPEG of other channels than
// grey or three (CMYK).
PCPP_EXPORT Image read_image(const std::filesystem::path& path);

// As read_image(), of a file's bytes in memory.
PCPP_EXPORT Image decode_image(std::span<const std::byte> bytes);

}  // namespace pcpp

#endif  // PCPP_IMAGE_H_
