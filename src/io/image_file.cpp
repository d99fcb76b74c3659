#include <algorithm>
#include <array>
#include <cstdint>

#include "base/check.h"
#include "io/jpeg.h"
#include "io/mapped_file.h"
#include "pcpp/image.h"

namespace pcpp {

Image read_image(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (is_jpeg(file.bytes())) return decode_jpeg(file.bytes(), path.string());
  constexpr std::array<std::uint8_t, 4> kPng = {0x89, 'P', 'N', 'G'};
  const bool is_png =
      file.bytes().size() >= kPng.size() &&
      std::ranges::equal(file.bytes().first(kPng.size()), kPng, {},
                         [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
  check<CheckpointError>(is_png, "{} begins as neither a PNG nor a JPEG file: save it as one",
                         path.string());
  return read_png(path);
}

}  // namespace pcpp
