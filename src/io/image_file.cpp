#include "io/image_file.h"

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "io/exif.h"
#include "io/input_file.h"
#include "io/jpeg.h"
#include "io/png.h"
#include "pcpp/config.h"
#include "pcpp/image.h"

namespace pcpp {

std::string read_image_file(const std::filesystem::path& path) {
  constexpr std::size_t kMostBytes = std::size_t{9} * kMostPixels * kMostPixels;
  const InputFile file(path);
  check<CheckpointError>(file.size() <= kMostBytes,
                         "{} has {} bytes, more than a picture of the largest size: it is none",
                         path.string(), file.size());
  return file.read();
}

namespace {

Image decode(std::span<const std::byte> bytes, const std::string& source) {
  if (is_jpeg(bytes)) return decode_jpeg(bytes, source);
  check<CheckpointError>(is_png(bytes),
                         "{} begins as neither a PNG nor a JPEG file: save it as one", source);
  DecodedPng png = decode_png(bytes, source, PngTexts::skip);
  const int orientation = exif_orientation(png.exif);
  return upright(std::move(png.image), orientation);
}

}  // namespace

Image read_image(const std::filesystem::path& path) {
  const std::string file = read_image_file(path);
  return decode(std::as_bytes(std::span(file)), path.string());
}

Image decode_image(std::span<const std::byte> bytes) { return decode(bytes, "the picture"); }

}  // namespace pcpp
