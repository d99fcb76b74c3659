#include "io/png.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "io/image_file.h"
#include "io/unicode.h"
#include "pcpp/image.h"
#include "pcpp/output_file.h"

namespace pcpp {
namespace {

constexpr png_uint_32 kMostPixels = png_uint_32{1} << 28;
constexpr int kMostSide = 1'000'000;  // libpng's, by default
constexpr std::size_t kMostTexts = 500;
constexpr std::size_t kMostTextBytes = std::size_t{4} << 20;

// What libpng's callbacks see. libpng reports errors by longjmp, which must not skip a destructor:
// every function below that calls setjmp, and every callback at the moment when it calls png_error,
// holds trivially destructible objects only; the owner frees the rest.
struct Session {
  png_structp png = nullptr;
  png_infop info = nullptr;
  char message[128] = "unknown error";
  std::string written;
  bool is_out_of_memory = false;  // as many bytes were not to be had for `written`
  std::span<const std::byte> unread;
  std::jmp_buf failed;
};

void on_error(png_structp png, png_const_charp message) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  std::strncpy(session->message, message, sizeof(session->message) - 1);
  std::longjmp(session->failed, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_write(png_structp png, png_bytep data, std::size_t size) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  try {
    session->written.append(reinterpret_cast<const char*>(data), size);
  } catch (const std::bad_alloc&) {
    session->is_out_of_memory = true;
  }
  if (session->is_out_of_memory) png_error(png, "out of memory");
}

void on_flush(png_structp) {}

void on_read(png_structp png, png_bytep data, std::size_t size) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (size > session->unread.size()) png_error(png, "the file ends too early");
  std::memcpy(data, session->unread.data(), size);
  session->unread = session->unread.subspan(size);
}

// A text chunk's value: tEXt and zTXt are Latin-1, in which other programs write UTF-8 all the
// same.
std::string utf8_of(const png_text& chunk) {
  std::string text(chunk.text);
  const bool is_utf8 = chunk.compression >= PNG_ITXT_COMPRESSION_NONE;
  if (is_utf8 || decode_utf8(text)) return text;
  std::u32string characters;
  for (const char c : text) characters.push_back(static_cast<unsigned char>(c));
  return encode_utf8(characters);
}

struct Writer : Session {
  Writer() {
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, static_cast<Session*>(this), on_error,
                                  on_warning);
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) {
      png_destroy_write_struct(&png, nullptr);
      throw std::bad_alloc();
    }
    png_set_write_fn(png, static_cast<Session*>(this), on_write, on_flush);
  }
  ~Writer() { png_destroy_write_struct(&png, &info); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
};

struct Reader : Session {
  explicit Reader(std::span<const std::byte> bytes) {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, static_cast<Session*>(this), on_error,
                                 on_warning);
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      throw std::bad_alloc();
    }
    unread = bytes;
    png_set_read_fn(png, static_cast<Session*>(this), on_read);
  }
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

bool encode(Session& session, const Image& image, std::span<png_text> text) {
  if (setjmp(session.failed) != 0) return false;
  png_set_IHDR(session.png, session.info, static_cast<png_uint_32>(image.width),
               static_cast<png_uint_32>(image.height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!text.empty()) {
    png_set_text(session.png, session.info, text.data(), static_cast<int>(text.size()));
  }
  png_write_info(session.png, session.info);
  for (int y = 0; y < image.height; ++y) {
    png_write_row(session.png, image.rgb.data() + static_cast<std::size_t>(y) * 3U *
                                                      static_cast<std::size_t>(image.width));
  }
  png_write_end(session.png, session.info);
  return true;
}

// Reads the header and asks for eight-bit RGB. A few bytes may stand for megabytes of text.
bool decode_header(Session& session, PngTexts texts, png_uint_32& width, png_uint_32& height) {
  static constexpr png_byte kTextChunks[] = "tEXt\0zTXt\0iTXt";
  constexpr int kKinds = 3;
  if (setjmp(session.failed) != 0) return false;
  png_set_chunk_cache_max(session.png, kMostTexts);
  png_set_chunk_malloc_max(session.png, kMostTextBytes + 1024);
  if (texts == PngTexts::skip) {
    png_set_keep_unknown_chunks(session.png, PNG_HANDLE_CHUNK_NEVER, kTextChunks, kKinds);
  }
  png_read_info(session.png, session.info);
  width = png_get_image_width(session.png, session.info);
  height = png_get_image_height(session.png, session.info);
  png_set_expand(session.png);
  png_set_scale_16(session.png);
  png_set_gray_to_rgb(session.png);
  png_set_strip_alpha(session.png);
  png_set_interlace_handling(session.png);
  png_read_update_info(session.png, session.info);
  return true;
}

bool decode_rows(Session& session, std::span<png_bytep> rows) {
  if (setjmp(session.failed) != 0) return false;
  png_read_image(session.png, rows.data());
  png_read_end(session.png, session.info);
  return true;
}

void check_text(std::string_view keyword, std::string_view value) {
  const bool is_printable = std::ranges::all_of(keyword, [](char c) { return c >= 32 && c < 127; });
  check<ConfigError>(is_printable && !keyword.empty() && keyword.size() <= 79 &&
                         !keyword.starts_with(' ') && !keyword.ends_with(' ') &&
                         keyword.find("  ") == keyword.npos,
                     "'{}' cannot be a PNG keyword: 1 to 79 printable ASCII characters, without a "
                     "space at an end or two in a row",
                     keyword);
  check<ConfigError>(value.find('\0') == value.npos && decode_utf8(value).has_value(),
                     "the PNG text '{}' must be UTF-8 without NUL", keyword);
  check<ConfigError>(value.size() <= kMostTextBytes,
                     "the PNG text '{}' has {} bytes: at most {} are written", keyword,
                     value.size(), kMostTextBytes);
}

}  // namespace

std::string encode_png(const Image& image, const std::map<std::string, std::string>& text) {
  check<ConfigError>(image.width > 0 && image.height > 0 &&
                         image.rgb.size() / 3 / static_cast<std::size_t>(image.width) ==
                             static_cast<std::size_t>(image.height) &&
                         image.rgb.size() % (3 * static_cast<std::size_t>(image.width)) == 0,
                     "an image of {} x {} pixels cannot hold {} bytes; 3 a pixel are wanted",
                     image.width, image.height, image.rgb.size());
  check<ConfigError>(std::max(image.width, image.height) <= kMostSide,
                     "an image of {} x {} pixels: sides of {} at most are written", image.width,
                     image.height, kMostSide);
  check<ConfigError>(text.size() <= kMostTexts, "a PNG of {} texts: at most {} are written",
                     text.size(), kMostTexts);
  std::vector<png_text> chunks;
  for (const auto& [keyword, value] : text) {
    check_text(keyword, value);
    png_text chunk = {};
    chunk.compression = PNG_ITXT_COMPRESSION_NONE;
    chunk.key = const_cast<char*>(keyword.c_str());  // NOLINT: libpng copies it
    chunk.text = const_cast<char*>(value.c_str());   // NOLINT: and this
    chunks.push_back(chunk);
  }
  Writer writer;
  const bool is_encoded = encode(writer, image, chunks);
  if (writer.is_out_of_memory) throw std::bad_alloc();
  check<ConfigError>(is_encoded, "no PNG can be made of the image: {}",
                     static_cast<const char*>(writer.message));
  return std::move(writer.written);
}

void write_png(const std::filesystem::path& path, const Image& image,
               const std::map<std::string, std::string>& text) {
  write_file(path, encode_png(image, text));
}

bool is_png(std::span<const std::byte> bytes) {
  // The first bytes of its signature: libpng says what is wrong with the rest.
  constexpr std::size_t kSignature = 4;
  return bytes.size() >= kSignature &&
         png_sig_cmp(reinterpret_cast<png_const_bytep>(bytes.data()), 0, kSignature) == 0;
}

DecodedPng decode_png(std::span<const std::byte> bytes, const std::string& source, PngTexts texts) {
  Reader reader(bytes);
  const auto check_read = [&](bool is_read) {
    check<CheckpointError>(is_read,
                           "{} is not a PNG file that can be read: {}; save or fetch it again",
                           source, static_cast<const char*>(reader.message));
  };
  png_uint_32 width = 0;
  png_uint_32 height = 0;
  check_read(decode_header(reader, texts, width, height));
  check<CheckpointError>(width <= kMostPixels / height, "{} has {} x {} pixels; {} is the most",
                         source, width, height, kMostPixels);
  DecodedPng decoded{{static_cast<int>(width), static_cast<int>(height), {}}, {}, {}};
  std::vector<std::uint8_t>& rgb = decoded.image.rgb;
  rgb.resize(std::size_t{3} * width * height);
  std::vector<png_bytep> rows;
  for (png_uint_32 y = 0; y < height; ++y) rows.push_back(rgb.data() + std::size_t{3} * width * y);
  check_read(decode_rows(reader, rows));
  png_textp chunks = nullptr;
  const int count = png_get_text(reader.png, reader.info, &chunks, nullptr);
  for (int i = 0; i < count; ++i) decoded.text[chunks[i].key] = utf8_of(chunks[i]);
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(reader.png, reader.info, &size, &exif) != 0) {
    constexpr char kExif[] = "Exif\0";  // a second zero ends it
    const auto beginning = std::as_bytes(std::span(kExif));
    decoded.exif.assign(beginning.begin(), beginning.end());
    const auto data = std::as_bytes(std::span(exif, size));
    decoded.exif.insert(decoded.exif.end(), data.begin(), data.end());
  }
  return decoded;
}

Image read_png(const std::filesystem::path& path, std::map<std::string, std::string>* text) {
  const std::string file = read_image_file(path);
  DecodedPng decoded = decode_png(std::as_bytes(std::span(file)), path.string(),
                                  text == nullptr ? PngTexts::skip : PngTexts::read);
  if (text != nullptr) {
    for (auto& [key, value] : decoded.text) (*text)[key] = std::move(value);
  }
  return std::move(decoded.image);
}

}  // namespace pcpp
