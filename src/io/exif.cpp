#include "io/exif.h"

#include <libexif/exif-data.h>

#include <cstdint>
#include <memory>
#include <utility>

namespace pcpp {

int exif_orientation(std::span<const std::byte> bytes) {
  const std::unique_ptr<ExifData, void (*)(ExifData*)> data(
      exif_data_new_from_data(reinterpret_cast<const unsigned char*>(bytes.data()),
                              static_cast<unsigned int>(bytes.size())),
      exif_data_unref);
  if (data == nullptr) return 1;
  const ExifEntry* entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (entry == nullptr || entry->format != EXIF_FORMAT_SHORT || entry->size < 2) return 1;
  const int orientation = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

Image upright(Image stored, int orientation) {
  if (orientation == 1) return stored;
  const bool is_transposed = orientation >= 5;
  const bool mirrors_columns = orientation == 2 || orientation == 3 || orientation >= 7;
  const bool mirrors_rows =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image seen{stored.width, stored.height, {}};
  if (is_transposed) std::swap(seen.width, seen.height);
  seen.rgb.reserve(stored.rgb.size());
  for (int y = 0; y < seen.height; ++y) {
    for (int x = 0; x < seen.width; ++x) {
      const int column = is_transposed ? y : x;
      const int row = is_transposed ? x : y;
      const auto from_row = static_cast<std::size_t>(mirrors_rows ? stored.height - 1 - row : row);
      const auto from_column =
          static_cast<std::size_t>(mirrors_columns ? stored.width - 1 - column : column);
      const std::uint8_t* pixel =
          &stored.rgb[3 * (static_cast<std::size_t>(stored.width) * from_row + from_column)];
      seen.rgb.insert(seen.rgb.end(), pixel, pixel + 3);
    }
  }
  return seen;
}

}  // namespace pcpp
