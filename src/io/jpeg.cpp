#include "io/jpeg.h"

#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstdio>

#include "base/check.h"
#include "base/log.h"
#include "io/exif.h"

namespace pcpp {
namespace {

constexpr JDIMENSION kMostPixels = JDIMENSION{1} << 28;
constexpr std::size_t kMostBytes = std::size_t{1} << 30;

// What libjpeg's callbacks see. It reports errors by longjmp, which must not skip a destructor:
// every function below that calls setjmp holds trivially destructible objects only.
struct Session {
  jpeg_decompress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  std::jmp_buf failed = {};
  char message[JMSG_LENGTH_MAX] = "";
};

void on_error(j_common_ptr jpeg) {
  auto* session = static_cast<Session*>(jpeg->client_data);
  jpeg->err->format_message(jpeg, session->message);
  std::longjmp(session->failed, 1);
}

// Of what libjpeg mends, rows that are not there would be grey.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  if (jpeg->err->msg_code == JWRN_JPEG_EOF) on_error(jpeg);
  jpeg->err->format_message(jpeg, static_cast<Session*>(jpeg->client_data)->message);
}

// A small file may send a picture again and again: a large one less often.
void on_progress(j_common_ptr jpeg) {
  constexpr double kMostScans = 500;
  constexpr double kMostInScans = 0x1p33;  // pixels, of all scans
  const auto* picture = reinterpret_cast<j_decompress_ptr>(jpeg);
  const double pixels = static_cast<double>(picture->image_width) * picture->image_height;
  const double most = std::min(kMostScans, kMostInScans / pixels);
  if (picture->input_scan_number <= most) return;
  auto* session = static_cast<Session*>(jpeg->client_data);
  std::snprintf(session->message, sizeof(session->message), "more than %.0f scans", most);
  std::longjmp(session->failed, 1);
}

class Decoder : Session {
 public:
  Decoder(std::span<const std::byte> bytes, const std::string& source)
      : bytes_(bytes), source_(source) {
    jpeg.err = jpeg_std_error(&errors);
    jpeg.client_data = static_cast<Session*>(this);
    errors.error_exit = on_error;
    errors.emit_message = on_message;
    progress.progress_monitor = on_progress;
  }
  ~Decoder() { jpeg_destroy_decompress(&jpeg); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  Image decode() {
    check_decoded(read_header());
    check<CheckpointError>(jpeg.num_components == 1 || jpeg.num_components == 3,
                           "{} has {} channels; one (grey) or three are wanted: save it as RGB",
                           source_, jpeg.num_components);
    check<CheckpointError>(jpeg.image_width <= kMostPixels / jpeg.image_height,
                           "{} has {} x {} pixels; {} is the most", source_, jpeg.image_width,
                           jpeg.image_height, kMostPixels);
    Image image{static_cast<int>(jpeg.image_width), static_cast<int>(jpeg.image_height), {}};
    image.rgb.resize(std::size_t{3} * jpeg.image_width * jpeg.image_height);
    check_decoded(read_rows(image.rgb.data()));
    if (*message != 0) log().warn("{}: {}", source_, static_cast<const char*>(message));
    return image;
  }

 private:
  bool read_header() {
    if (setjmp(failed) != 0) return false;
    jpeg_create_decompress(&jpeg);
    jpeg.progress = &progress;
    jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    jpeg_read_header(&jpeg, TRUE);
    return true;
  }

  bool read_rows(std::uint8_t* rgb) {
    if (setjmp(failed) != 0) return false;
    jpeg.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg);
    while (jpeg.output_scanline < jpeg.output_height) {
      JSAMPROW row = rgb + std::size_t{3} * jpeg.output_width * jpeg.output_scanline;
      jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
    return true;
  }

  void check_decoded(bool is_decoded) const {
    check<CheckpointError>(is_decoded,
                           "{} is not a JPEG file that can be read: {}; save or fetch it again",
                           source_, static_cast<const char*>(message));
  }

  std::span<const std::byte> bytes_;
  const std::string& source_;
};

}  // namespace

bool is_jpeg(std::span<const std::byte> bytes) {
  return bytes.size() >= 3 && bytes[0] == std::byte{0xFF} && bytes[1] == std::byte{0xD8} &&
         bytes[2] == std::byte{0xFF};
}

Image decode_jpeg(std::span<const std::byte> bytes, const std::string& source) {
  check<CheckpointError>(bytes.size() <= kMostBytes, "{} has {} bytes; {} is the most", source,
                         bytes.size(), kMostBytes);
  return upright(Decoder(bytes, source).decode(), exif_orientation(bytes));
}

}  // namespace pcpp
