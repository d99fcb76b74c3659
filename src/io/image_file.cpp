#include <utility>

#include "base/check.h"
#include "io/exif.h"
#include "io/jpeg.h"
#include "io/mapped_file.h"
#include "io/png.h"
#include "pcpp/image.h"

namespace pcpp {

Image read_image(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (is_jpeg(file.bytes())) return decode_jpeg(file.bytes(), path.string());
  check<CheckpointError>(is_png(file.bytes()),
                         "{} begins as neither a PNG nor a JPEG file: save it as one",
                         path.string());
  DecodedPng png = decode_png(file.bytes(), path.string());
  const int orientation = exif_orientation(png.exif);
  return upright(std::move(png.image), orientation);
}

}  // namespace pcpp
