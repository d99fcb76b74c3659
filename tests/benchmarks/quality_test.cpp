#include "benchmarks/quality.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "benchmarks/flip.h"
#include "pcpp/error.h"

namespace pcpp::benchmarks {
namespace {

// A grey picture whose pixels are value(x, y).
Image grey(int width, int height, const std::function<int(int, int)>& value) {
  Image image{width, height, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      image.rgb.insert(image.rgb.end(), 3, static_cast<std::uint8_t>(value(x, y)));
    }
  }
  return image;
}

Image constant(int width, int height, int value) {
  return grey(width, height, [value](int, int) { return value; });
}

Image random_picture(std::uint32_t seed) {
  std::mt19937 engine(seed);
  return grey(16, 12, [&](int, int) { return static_cast<int>(engine() % 256); });
}

// The pictures of tests/reference/quality_make.py: a slope with a disc; the same, moved; with a
// seam; with noise.
Image reference_picture(int kind) {
  Image image{48, 40, {}};
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const int u = kind == 1 ? x + 2 : x;
      const int v = kind == 1 ? y + 1 : y;
      const bool inside = (u - 20) * (u - 20) + (v - 18) * (v - 18) < 120;
      int more = kind == 2 && y >= image.height / 2 ? 12 : 0;
      if (kind == 3) more = (x * 31 + y * 17 + 7 * x * y) % 41 - 20;
      for (const int value : {40 + 4 * u, 200 - 3 * v, inside ? 230 : 30 + u + v}) {
        image.rgb.push_back(static_cast<std::uint8_t>(std::clamp(value + more, 0, 255)));
      }
    }
  }
  return image;
}

TEST(Quality, AgreesWithOtherPrograms) {
  std::ifstream file(PCPP_TEST_DATA "/benchmarks/quality.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 4U);
  for (const nlohmann::json& one : cases) {
    SCOPED_TRACE(one.dump());
    const Image picture = reference_picture(one.at("picture"));
    const Image reference = reference_picture(one.at("reference"));
    EXPECT_NEAR(flip(picture, reference), one.at("flip").get<double>(), 1e-5);
    EXPECT_NEAR(ssim(picture, reference), one.at("ssim").get<double>(), 1e-9);
  }
}

TEST(Flip, IsNoughtForEqualPictures) {
  EXPECT_EQ(flip(reference_picture(3), reference_picture(3)), 0);
}

TEST(Psnr, IsInfiniteForEqualPictures) {
  EXPECT_EQ(psnr_db(random_picture(1), random_picture(1)), INFINITY);
}

TEST(Psnr, IsTenTimesTheLogarithmOfTheMeanSquare) {
  // All differ by 255: 0 dB. All by 1: 20 log10(255) = 48.1308 dB.
  EXPECT_NEAR(psnr_db(constant(4, 4, 0), constant(4, 4, 255)), 0, 1e-12);
  EXPECT_NEAR(psnr_db(constant(4, 4, 8), constant(4, 4, 7)), 48.1308036, 1e-6);
  // One channel of one of four pixels by 60: MSE 3600 / 12 = 300, 10 log10(216.75) = 23.3596 dB.
  Image one = constant(2, 2, 100);
  one.rgb[4] = 160;
  EXPECT_NEAR(psnr_db(one, constant(2, 2, 100)), 23.3595910, 1e-6);
}

TEST(Ssim, IsOneForEqualPictures) {
  EXPECT_NEAR(ssim(random_picture(1), random_picture(1)), 1, 1e-12);
}

TEST(Ssim, ComparesTheMeansOfFlatPictures) {
  // No variance: (2 a b + c1) / (a^2 + b^2 + c1) with c1 = 2.55^2 = 6.5025.
  const double expected = (2 * 100 * 150 + 6.5025) / (100 * 100 + 150 * 150 + 6.5025);
  EXPECT_NEAR(ssim(constant(11, 11, 100), constant(11, 11, 150)), expected, 1e-9);
}

TEST(Ssim, ComparesTheStructureOfOneWindow) {
  // Vertical stripes a and their negative 255 - a: equal variances v, covariance -v. The columns'
  // weights w make the mean m = 255 sum of w over odd columns, v = m (255 - m).
  const Image stripes = grey(11, 11, [](int x, int) { return x % 2 * 255; });
  const Image negative = grey(11, 11, [](int x, int) { return 255 - x % 2 * 255; });
  double odd = 0;
  double all = 0;
  for (int x = 0; x < 11; ++x) {
    const double weight = std::exp(-(x - 5) * (x - 5) / 4.5);
    all += weight;
    if (x % 2 == 1) odd += weight;
  }
  const double m = 255 * odd / all;
  const double n = 255 - m;
  const double v = m * n;
  const double c1 = 6.5025;
  const double c2 = 58.5225;
  const double expected = (2 * m * n + c1) * (-2 * v + c2) / ((m * m + n * n + c1) * (2 * v + c2));
  EXPECT_NEAR(ssim(stripes, negative), expected, 1e-9);
  EXPECT_LT(expected, -0.9);
}

TEST(Ssim, WeighsTheColoursOfTheLuminance) {
  Image green = constant(11, 11, 0);
  for (std::size_t i = 1; i < green.rgb.size(); i += 3) green.rgb[i] = 200;
  const double expected = 6.5025 / (117.4 * 117.4 + 6.5025);
  EXPECT_NEAR(ssim(green, constant(11, 11, 0)), expected, 1e-9);
}

TEST(Quality, RefusesPicturesThatCannotBeCompared) {
  EXPECT_THROW(psnr_db(constant(4, 4, 0), constant(4, 5, 0)), ConfigError);
  EXPECT_THROW(flip(constant(4, 4, 0), constant(5, 4, 0)), ConfigError);
  EXPECT_THROW(ssim(constant(11, 12, 0), constant(12, 11, 0)), ConfigError);
  EXPECT_THROW(ssim(constant(10, 20, 0), constant(10, 20, 0)), ConfigError);
}

TEST(Seam, ComparesTheJumpAtBordersWithTheRest) {
  // Rows 0 10 20 80 90 100: 60 at the border before row 3, 10 elsewhere.
  const std::vector<int> rows = {0, 10, 20, 80, 90, 100};
  const Image image = grey(3, 6, [&](int, int y) { return rows[static_cast<std::size_t>(y)]; });
  EXPECT_DOUBLE_EQ(seam(image, {3}), 6);
  // At 2 and 3: (10 + 60) / 2 over 10.
  EXPECT_DOUBLE_EQ(seam(image, {2, 3}), 3.5);
  EXPECT_DOUBLE_EQ(seam(image, {1}), 10.0 / 22.5);
}

TEST(Seam, IsNoNumberWithoutBorders) { EXPECT_TRUE(std::isnan(seam(random_picture(1), {}))); }

}  // namespace
}  // namespace pcpp::benchmarks
