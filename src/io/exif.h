// Which way up a picture is, by its Exif data.
#ifndef PCPP_IO_EXIF_H_
#define PCPP_IO_EXIF_H_

#include <cstddef>
#include <span>

#include "pcpp/image.h"

namespace pcpp {

// Exif's Orientation, from 1 to 8, in a JPEG file or in data that begins with "Exif" and two zeros;
// 1, upright, where it does not say.
int exif_orientation(std::span<const std::byte> bytes);

// The picture that is meant by one which is stored so (Exif 2.32, section 4.6.4: which sides of
// what is seen the stored first row and column are).
Image upright(Image stored, int orientation);

}  // namespace pcpp

#endif  // PCPP_IO_EXIF_H_
