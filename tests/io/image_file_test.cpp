// read_image, against what Pillow reads: tests/reference/images_make.py.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <span>
#include <string>

#include "io/files.h"
#include "pcpp/error.h"
#include "pcpp/image.h"
#include "support/errors.h"

namespace pcpp {
namespace {

using testing::expect_error;
using testing::read_text;
using testing::TemporaryFolder;

const std::filesystem::path kImages = std::filesystem::path(PCPP_TEST_DATA) / "images";

class Jpegs : public ::testing::TestWithParam<std::string> {};

TEST_P(Jpegs, AreReadAsPillowReadsThem) {
  const Image expected = read_png(kImages / (GetParam() + ".png"));
  const Image actual = read_image(kImages / (GetParam() + ".jpg"));
  const std::string bytes = read_text(kImages / (GetParam() + ".jpg"));
  EXPECT_EQ(decode_image(std::as_bytes(std::span(bytes))).rgb, actual.rgb);
  EXPECT_EQ(actual.width, expected.width);
  EXPECT_EQ(actual.height, expected.height);
  EXPECT_EQ(actual.rgb, expected.rgb);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Jpegs,
                         ::testing::Values("colour", "progressive", "grey", "seen_1", "seen_2",
                                           "seen_3", "seen_4", "seen_5", "seen_6", "seen_7",
                                           "seen_8"),
                         [](const auto& suite) { return suite.param; });

TEST(ImageFiles, ArePngsWhateverTheyAreCalled) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(kImages / "colour.png", folder.path() / "colour.jpg");
  EXPECT_EQ(read_image(folder.path() / "colour.jpg").rgb, read_png(kImages / "colour.png").rgb);
}

TEST(ImageFiles, ThatArePngsAreUprightToo) {
  const Image seen = read_image(kImages / "turned.png");
  const Image expected = read_png(kImages / "turned_seen.png");
  EXPECT_EQ(seen.width, expected.width);
  EXPECT_EQ(seen.rgb, expected.rgb);
  EXPECT_EQ(read_png(kImages / "turned.png").width, expected.height);
}

TEST(ImageFiles, OfOtherKindsAreRefused) {
  const TemporaryFolder folder;
  expect_error<CheckpointError>([&] { read_image(folder.path() / "none.jpg"); },
                                {"none.jpg", "No such file"});
  for (const char* bytes : {"", "\xff", "\x89PN", "GIF89a", "RIFF1234WEBP"}) {
    const auto file = folder.write("other.jpg", bytes);
    expect_error<CheckpointError>([&] { read_image(file); },
                                  {"other.jpg", "neither a PNG nor a JPEG"});
  }
  expect_error<CheckpointError>([] { read_image(kImages / "cmyk.jpg"); },
                                {"cmyk.jpg", "4 channels", "save it as RGB"});
}

TEST(ImageFiles, ThatEndTooEarlyAreRefused) {
  const TemporaryFolder folder;
  const std::string whole = read_text(kImages / "progressive.jpg");
  // After the last two bytes, which mark the end, nothing is missing that a picture needs.
  for (std::size_t length = 3; length + 2 < whole.size(); length += 7) {
    const auto file = folder.write("cut.jpg", whole.substr(0, length));
    expect_error<CheckpointError>([&] { read_image(file); }, {"cut.jpg", "JPEG file"});
  }
}

TEST(ImageFiles, OfManyScansAreRefused) {
  const TemporaryFolder folder;
  std::string bytes = read_text(kImages / "progressive.jpg");
  const std::size_t last = bytes.rfind("\xff\xda");
  const std::string scan = bytes.substr(last, bytes.size() - 2 - last);
  for (int i = 0; i < 600; ++i) bytes.insert(last, scan);
  const auto file = folder.write("scans.jpg", bytes);
  expect_error<CheckpointError>([&] { read_image(file); }, {"scans.jpg", "more than 500 scans"});
}

// As cameras write them, and decoders mend.
TEST(ImageFiles, WithBytesTooManyAreRead) {
  const TemporaryFolder folder;
  std::string bytes = read_text(kImages / "colour.jpg");
  bytes.insert(bytes.size() - 2, "\1\2\3");
  const auto file = folder.write("more.jpg", bytes + "after the end");
  EXPECT_EQ(read_image(file).rgb, read_png(kImages / "colour.png").rgb);
}

TEST(ImageFiles, OfHugePicturesAreRefused) {
  const TemporaryFolder folder;
  std::string bytes = read_text(kImages / "colour.jpg");
  const std::size_t frame = bytes.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  bytes.replace(frame + 5, 4, "\xfd\xe8\xfd\xe8");
  const auto file = folder.write("huge.jpg", bytes);
  expect_error<CheckpointError>([&] { read_image(file); }, {"huge.jpg", "65000 x 65000"});
}

TEST(ImageFiles, LargerThanAnyPictureAreNotRead) {
  const TemporaryFolder folder;
  const auto file = folder.write("large.png", read_text(kImages / "colour.png"));
  std::filesystem::resize_file(file, std::uintmax_t{1} << 40);  // a hole
  expect_error<CheckpointError>([&] { read_image(file); }, {"large.png has 1099511627776 bytes"});
  expect_error<CheckpointError>([&] { read_png(file); }, {"large.png has 1099511627776 bytes"});
}

TEST(ImageFiles, MayBeDamagedAnywhere) {
  const TemporaryFolder folder;
  std::mt19937 engine(5);
  for (const char* name : {"colour.jpg", "progressive.jpg", "seen_6.jpg", "cmyk.jpg"}) {
    const std::string whole = read_text(kImages / name);
    for (int i = 0; i < 500; ++i) {
      std::string damaged = whole;
      for (int k = 0; k < 1 + i % 3; ++k) {
        // Not the size: pictures of many pixels take long.
        const std::size_t at = engine() % damaged.size();
        const std::size_t frame = damaged.find("\xff\xc0");
        if (frame != std::string::npos && at >= frame && at < frame + 9) continue;
        damaged[at] = static_cast<char>(engine());
      }
      const auto file = folder.write("damaged.jpg", damaged);
      try {
        const Image image = read_image(file);
        EXPECT_EQ(image.rgb.size(), static_cast<std::size_t>(image.width) *
                                        static_cast<std::size_t>(image.height) * 3);
      } catch (const CheckpointError&) {
      }
    }
  }
}

}  // namespace
}  // namespace pcpp
