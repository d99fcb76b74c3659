#include "pcpp/image.h"

#include <gtest/gtest.h>
#include <png.h>
#include <zlib.h>

#include <random>

#include "io/files.h"
#include "pcpp/error.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using testing::read_text;
using testing::TemporaryFolder;
using Text = std::map<std::string, std::string>;

Image noise(int width, int height) {
  std::mt19937 engine(3);
  Image image{width, height, {}};
  image.rgb.resize(3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  for (std::uint8_t& value : image.rgb) value = static_cast<std::uint8_t>(engine());
  return image;
}

TEST(ImageTest, ReadsWhatItWrites) {
  const TemporaryFolder folder;
  for (const auto& [width, height] : {std::pair(1, 1), std::pair(17, 5), std::pair(64, 48)}) {
    const Image image = noise(width, height);
    const auto path = folder.path() / "out.png";
    const Text text = {{"prompt", "une \u00e9toile \U0001f31f"},
                       {"seed", "7"},
                       {"empty", ""},
                       {"long", std::string(100'000, 'x')}};
    write_png(path, image, text);
    EXPECT_EQ(encode_png(image, text), read_text(path));
    Text read_back;
    const Image read = read_png(path, &read_back);
    EXPECT_EQ(read.width, width);
    EXPECT_EQ(read.height, height);
    EXPECT_EQ(read.rgb, image.rgb);
    EXPECT_EQ(read_back, text);
    EXPECT_EQ(folder.entry_count(), 1U);
  }
}

TEST(ImageTest, RefusesImagesAndTextsThatPngDoesNotAllow) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "out.png";
  const auto refuses = [&](const Image& image, const Text& text, std::string_view part) {
    expect_error<ConfigError>([&] { write_png(path, image, text); }, {part});
  };
  refuses({0, 0, {}}, {}, "0 x 0");
  refuses({2, 2, std::vector<std::uint8_t>(11)}, {}, "11 bytes");
  refuses({2, -2, std::vector<std::uint8_t>(12)}, {}, "2 x -2");
  refuses({2'000'000'000, 2'000'000'000, std::vector<std::uint8_t>(12)}, {}, "12 bytes");
  const Image image = noise(2, 2);
  for (const std::string key : {"", " a", "a ", "a  b", "a\n", "\u00e9",
                                "123456789 123456789 12345"
                                "6789 123456789 123456789 123456789 123456789 123456789 "}) {
    refuses(image, {{key, "x"}}, "PNG keyword");
  }
  refuses(image, {{"prompt", "a\xff"}}, "prompt");
  refuses(image, {{"prompt", std::string((4 << 20) + 1, 'x')}}, "4194305 bytes");
  Text many;
  for (int i = 0; i < 501; ++i) many[std::to_string(i)] = "x";
  refuses(image, many, "501 texts");
  refuses(noise(1'000'001, 1), {}, "1000001 x 1 pixels");
  refuses(image, {{"prompt", std::string("a\0b", 3)}}, "NUL");
  EXPECT_EQ(folder.entry_count(), 0U);
}

TEST(ImageTest, RefusesAPlaceThatCannotBeWritten) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "none" / "out.png";
  expect_error<OutputError>([&] { write_png(path, noise(2, 2)); }, {path.string(), "No such file"});
}

TEST(ImageTest, RefusesDamagedFiles) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "out.png";
  expect_error<CheckpointError>([&] { read_png(path); }, {path.string(), "No such file"});
  write_png(path, noise(40, 30), {{"prompt", "a fox"}});
  const std::string whole = read_text(path);
  for (std::size_t length = 0; length < whole.size(); length += 37) {
    folder.write("out.png", whole.substr(0, length));
    expect_error<CheckpointError>([&] { read_png(path); }, {path.string(), "PNG"});
  }
  folder.write("out.png", "GIF89a" + whole);
  expect_error<CheckpointError>([&] { read_png(path); }, {"not a PNG"});
}

TEST(ImageTest, SurvivesRandomDamage) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "out.png";
  write_png(path, noise(8, 8), {{"prompt", "a fox"}});
  const std::string whole = read_text(path);
  std::mt19937 engine(11);
  for (int i = 0; i < 1000; ++i) {
    std::string damaged = whole;
    damaged[engine() % damaged.size()] = static_cast<char>(engine());
    folder.write("out.png", damaged);
    try {
      Text text;
      const Image image = read_png(path, &text);
      EXPECT_EQ(image.rgb.size(), 3U * 64U);
    } catch (const CheckpointError&) {
    }
  }
}

TEST(ImageTest, RefusesAHeaderOfAHugePicture) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "out.png";
  write_png(path, noise(2, 2));
  std::string bytes = read_text(path);
  // IHDR's width and height and the checksum of 40000 x 40000 pixels of eight-bit RGB.
  bytes.replace(16, 8, std::string("\x00\x00\x9c\x40\x00\x00\x9c\x40", 8));
  const png_uint_32 checksum = static_cast<png_uint_32>(
      crc32(0, reinterpret_cast<const unsigned char*>(bytes.data()) + 12, 17));
  for (int i = 0; i < 4; ++i) {
    bytes[29 + static_cast<std::size_t>(i)] = static_cast<char>(checksum >> (24 - 8 * i));
  }
  folder.write("out.png", bytes);
  expect_error<CheckpointError>([&] { read_png(path); }, {"40000 x 40000"});
}

// Text that is neither ASCII nor UTF-8, as PNG has it in tEXt chunks, and UTF-8 that should not be.
TEST(ImageTest, ReadsTextOfLatin1) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "out.png";
  write_png(path, noise(2, 2));
  for (const auto& [stored, read] :
       {std::pair("Jos\xe9", "Jos\xc3\xa9"), {"Jos\xc3\xa9", "Jos\xc3\xa9"}}) {
    const std::string chunk = "tEXtAuthor" + std::string(1, '\0') + stored;
    const auto checksum =
        static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const unsigned char*>(chunk.data()),
                                         static_cast<unsigned>(chunk.size())));
    const auto big_endian = [](std::size_t number) {
      std::string bytes;
      for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> shift);
      return bytes;
    };
    std::string bytes = read_text(path);
    bytes.insert(33, big_endian(chunk.size() - 4) + chunk + big_endian(checksum));  // after IHDR
    Text text;
    read_png(folder.write("text.png", bytes), &text);
    EXPECT_EQ(text.at("Author"), read);
  }
}

// Encodes with libpng's simplified interface, which knows other formats than ours.
std::filesystem::path write_format(const TemporaryFolder& folder, png_uint_32 format,
                                   const void* pixels) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = 2;
  image.height = 1;
  image.format = format;
  const auto path = folder.path() / "other.png";
  png_image_write_to_file(&image, path.c_str(), 0, pixels, 0, nullptr);
  return path;
}

TEST(ImageTest, ReadsOtherKindsOfPngAsEightBitRgb) {
  const TemporaryFolder folder;
  const std::uint8_t gray[] = {10, 200};
  EXPECT_EQ(read_png(write_format(folder, PNG_FORMAT_GRAY, gray)).rgb,
            (std::vector<std::uint8_t>{10, 10, 10, 200, 200, 200}));
  const std::uint8_t rgba[] = {1, 2, 3, 4, 5, 6, 7, 255};
  EXPECT_EQ(read_png(write_format(folder, PNG_FORMAT_RGBA, rgba)).rgb,
            (std::vector<std::uint8_t>{1, 2, 3, 5, 6, 7}));
}

}  // namespace
}  // namespace pcpp
