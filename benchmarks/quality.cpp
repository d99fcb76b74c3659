#include "quality.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>

#include "pcpp/error.h"

namespace pcpp::benchmarks {

namespace {

constexpr int kWindow = 11;

void check_sizes(const Image& picture, const Image& reference) {
  if (picture.width == reference.width && picture.height == reference.height) return;
  throw ConfigError(fmt::format("a picture of {}x{} cannot be compared with one of {}x{}",
                                picture.width, picture.height, reference.width, reference.height));
}

// Real numbers by row and column.
struct Plane {
  int width = 0;
  int height = 0;
  std::vector<double> values;

  double at(int x, int y) const {
    return values[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                  static_cast<std::size_t>(x)];
  }
};

Plane luminance(const Image& image) {
  Plane plane{image.width, image.height, {}};
  for (std::size_t i = 0; i + 2 < image.rgb.size(); i += 3) {
    plane.values.push_back(0.299 * image.rgb[i] + 0.587 * image.rgb[i + 1] +
                           0.114 * image.rgb[i + 2]);
  }
  return plane;
}

Plane product(const Plane& a, const Plane& b) {
  Plane result = a;
  for (std::size_t i = 0; i < result.values.size(); ++i) result.values[i] *= b.values[i];
  return result;
}

std::array<double, kWindow> gaussian() {
  std::array<double, kWindow> weights{};
  double sum = 0;
  for (int i = 0; i < kWindow; ++i) {
    const int distance = i - kWindow / 2;
    weights[static_cast<std::size_t>(i)] = std::exp(-distance * distance / (2 * 1.5 * 1.5));
    sum += weights[static_cast<std::size_t>(i)];
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

// The weighted mean of every window: along the rows, then along the columns.
Plane window_means(const Plane& plane) {
  static const std::array<double, kWindow> weights = gaussian();
  Plane rows{plane.width - kWindow + 1, plane.height, {}};
  for (int y = 0; y < rows.height; ++y) {
    for (int x = 0; x < rows.width; ++x) {
      double sum = 0;
      for (int i = 0; i < kWindow; ++i)
        sum += weights[static_cast<std::size_t>(i)] * plane.at(x + i, y);
      rows.values.push_back(sum);
    }
  }
  Plane means{rows.width, rows.height - kWindow + 1, {}};
  for (int y = 0; y < means.height; ++y) {
    for (int x = 0; x < means.width; ++x) {
      double sum = 0;
      for (int i = 0; i < kWindow; ++i)
        sum += weights[static_cast<std::size_t>(i)] * rows.at(x, y + i);
      means.values.push_back(sum);
    }
  }
  return means;
}

// The mean absolute difference of rows y - 1 and y.
double row_jump(const Image& image, int y) {
  const std::size_t row = 3 * static_cast<std::size_t>(image.width);
  const std::uint8_t* below = image.rgb.data() + row * static_cast<std::size_t>(y);
  const std::uint8_t* above = below - row;
  double sum = 0;
  for (std::size_t i = 0; i < row; ++i) sum += std::abs(below[i] - above[i]);
  return sum / static_cast<double>(row);
}

}  // namespace

double psnr_db(const Image& picture, const Image& reference) {
  check_sizes(picture, reference);
  double sum = 0;
  for (std::size_t i = 0; i < picture.rgb.size(); ++i) {
    const auto difference = static_cast<double>(picture.rgb[i] - reference.rgb[i]);
    sum += difference * difference;
  }
  if (sum == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(picture.rgb.size()) / sum);
}

double ssim(const Image& picture, const Image& reference) {
  check_sizes(picture, reference);
  if (std::min(picture.width, picture.height) < kWindow) {
    throw ConfigError(fmt::format("SSIM needs pictures of at least {0}x{0} pixels, not {1}x{2}",
                                  kWindow, picture.width, picture.height));
  }
  const double c1 = (0.01 * 255) * (0.01 * 255);
  const double c2 = (0.03 * 255) * (0.03 * 255);
  const Plane x = luminance(picture);
  const Plane y = luminance(reference);
  const Plane mean_x = window_means(x);
  const Plane mean_y = window_means(y);
  const Plane mean_xx = window_means(product(x, x));
  const Plane mean_yy = window_means(product(y, y));
  const Plane mean_xy = window_means(product(x, y));
  double sum = 0;
  for (std::size_t i = 0; i < mean_x.values.size(); ++i) {
    const double a = mean_x.values[i];
    const double b = mean_y.values[i];
    const double variances = mean_xx.values[i] - a * a + mean_yy.values[i] - b * b;
    const double covariance = mean_xy.values[i] - a * b;
    sum += (2 * a * b + c1) * (2 * covariance + c2) / ((a * a + b * b + c1) * (variances + c2));
  }
  return sum / static_cast<double>(mean_x.values.size());
}

double seam(const Image& picture, const std::vector<int>& borders) {
  double at_borders = 0;
  double elsewhere = 0;
  for (int y = 1; y < picture.height; ++y) {
    const bool is_border = std::find(borders.begin(), borders.end(), y) != borders.end();
    (is_border ? at_borders : elsewhere) += row_jump(picture, y);
  }
  const auto count = static_cast<double>(borders.size());
  const double others = picture.height - 1 - count;
  if (borders.empty() || others <= 0) return std::numeric_limits<double>::quiet_NaN();
  return (at_borders / count) / (elsewhere / others);
}

}  // namespace pcpp::benchmarks
