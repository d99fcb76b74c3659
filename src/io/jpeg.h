// JPEG files.
#ifndef PCPP_IO_JPEG_H_
#define PCPP_IO_JPEG_H_

#include <cstddef>
#include <span>
#include <string>

#include "pcpp/image.h"

namespace pcpp {

// Whether a file that holds `bytes` says that it is one.
bool is_jpeg(std::span<const std::byte> bytes);

// The picture, grey ones as RGB, the way up that its Exif data says. `source` names it in errors.
// Throws CheckpointError for one that is damaged, ends too early, has more than 2^28 pixels or
// has other channels than grey or three (CMYK); what a decoder can mend is mended and warned of.
Image decode_jpeg(std::span<const std::byte> bytes, const std::string& source);

}  // namespace pcpp

#endif  // PCPP_IO_JPEG_H_
