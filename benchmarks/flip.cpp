#include "flip.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include "pcpp/error.h"

namespace pcpp::benchmarks {

namespace {

constexpr double kPi = std::numbers::pi;
constexpr double kPixelsPerDegree = 3840 * kPi / 180;
constexpr double kColourExponent = 0.7;   // q_c of the paper
constexpr double kFeatureExponent = 0.5;  // q_f
constexpr double kFeatureWidth = 0.082;   // w, degrees

using Colour = std::array<double, 3>;
using Matrix = std::array<Colour, 3>;

constexpr Matrix kXyzFromRgb = {
    {{10135552.0 / 24577794, 8788810.0 / 24577794, 4435075.0 / 24577794},
     {2613072.0 / 12288897, 8788810.0 / 12288897, 887015.0 / 12288897},
     {1425312.0 / 73733382, 8788810.0 / 73733382, 70074185.0 / 73733382}}};

Colour apply(const Matrix& matrix, const Colour& colour) {
  Colour result{};
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) result[i] += matrix[i][j] * colour[j];
  }
  return result;
}

Matrix inverse(const Matrix& m) {
  const auto minor = [&](std::size_t i, std::size_t j) {
    const std::size_t a = (i + 1) % 3, b = (i + 2) % 3, c = (j + 1) % 3, d = (j + 2) % 3;
    return m[a][c] * m[b][d] - m[a][d] * m[b][c];
  };
  const double determinant = m[0][0] * minor(0, 0) + m[0][1] * minor(0, 1) + m[0][2] * minor(0, 2);
  Matrix result{};
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) result[j][i] = minor(i, j) / determinant;
  }
  return result;
}

// Relative to the illuminant: 1 each for white.
Colour relative_xyz(const Colour& rgb) {
  static const Colour white = apply(kXyzFromRgb, {1, 1, 1});
  Colour xyz = apply(kXyzFromRgb, rgb);
  for (std::size_t i = 0; i < 3; ++i) xyz[i] /= white[i];
  return xyz;
}

double linear_from_srgb(double value) {
  return value > 0.04045 ? std::pow((value + 0.055) / 1.055, 2.4) : value / 12.92;
}

// The linear opponent space: luminance, red to green, blue to yellow.
Colour ycxcz(const Colour& rgb) {
  const auto [x, y, z] = relative_xyz(rgb);
  return {116 * y - 16, 500 * (x - y), 200 * (y - z)};
}

Colour rgb_from_ycxcz(const Colour& colour) {
  static const Colour white = apply(kXyzFromRgb, {1, 1, 1});
  static const Matrix rgb_from_xyz = inverse(kXyzFromRgb);
  const double y = (colour[0] + 16) / 116;
  const Colour xyz = {white[0] * (y + colour[1] / 500), white[1] * y,
                      white[2] * (y - colour[2] / 200)};
  return apply(rgb_from_xyz, xyz);
}

// CIELAB with the Hunt effect: chroma counts less where it is dark.
Colour hunt_lab(const Colour& rgb) {
  constexpr double delta = 6.0 / 29;
  Colour f = relative_xyz(rgb);
  for (double& value : f) {
    value =
        value > delta * delta * delta ? std::cbrt(value) : value / (3 * delta * delta) + 4.0 / 29;
  }
  const double lightness = 116 * f[1] - 16;
  return {lightness, 0.01 * lightness * 500 * (f[0] - f[1]),
          0.01 * lightness * 200 * (f[1] - f[2])};
}

double hyab(const Colour& a, const Colour& b) {
  return std::abs(a[0] - b[0]) + std::hypot(a[1] - b[1], a[2] - b[2]);
}

struct Plane {
  int width = 0;
  int height = 0;
  std::vector<double> values;

  // The nearest pixel of the plane.
  double at(int x, int y) const {
    const auto row = static_cast<std::size_t>(std::clamp(y, 0, height - 1));
    const auto column = static_cast<std::size_t>(std::clamp(x, 0, width - 1));
    return values[row * static_cast<std::size_t>(width) + column];
  }
};

// Weights at -r ... r.
using Weights = std::vector<double>;

template <typename Function>
Weights sample(int radius, const Function& value) {
  Weights weights;
  for (int i = -radius; i <= radius; ++i) weights.push_back(value(i));
  return weights;
}

// Along rows where `step_x` is 1 and `step_y` 0, along columns the other way; the border repeats.
Plane convolve(const Plane& plane, const Weights& weights, int step_x, int step_y) {
  Plane result{plane.width, plane.height, {}};
  const int radius = static_cast<int>(weights.size()) / 2;
  for (int y = 0; y < plane.height; ++y) {
    for (int x = 0; x < plane.width; ++x) {
      double sum = 0;
      int i = -radius;
      for (const double weight : weights) {
        sum += weight * plane.at(x + i * step_x, y + i * step_y);
        ++i;
      }
      result.values.push_back(sum);
    }
  }
  return result;
}

Plane convolve_both(const Plane& plane, const Weights& along_x, const Weights& along_y) {
  return convolve(convolve(plane, along_x, 1, 0), along_y, 0, 1);
}

// One term of a channel's contrast sensitivity: amplitude a, squared width b in degrees.
struct Sensitivity {
  double a;
  double b;
};

// Section 4.1.1: the sum of one or two Gaussians, of volume 1.
Plane contrast_filter(const Plane& plane, const std::vector<Sensitivity>& terms) {
  const int radius =
      static_cast<int>(std::ceil(3 * std::sqrt(0.04 / (2 * kPi * kPi)) * kPixelsPerDegree));
  Plane result{plane.width, plane.height, std::vector<double>(plane.values.size())};
  double volume = 0;
  for (const Sensitivity& term : terms) {
    const Weights weights = sample(radius, [&](int i) {
      const double degrees = i / kPixelsPerDegree;
      return std::exp(-kPi * kPi * degrees * degrees / term.b);
    });
    double sum = 0;
    for (const double weight : weights) sum += weight;
    const double scale = term.a * std::sqrt(kPi / term.b);
    volume += scale * sum * sum;
    const Plane filtered = convolve_both(plane, weights, weights);
    for (std::size_t i = 0; i < result.values.size(); ++i) {
      result.values[i] += scale * filtered.values[i];
    }
  }
  for (double& value : result.values) value /= volume;
  return result;
}

// Positive weights come to 1, negative ones to -1.
void balance(Weights& weights) {
  double positive = 0;
  double negative = 0;
  for (const double weight : weights) (weight > 0 ? positive : negative) += std::abs(weight);
  for (double& weight : weights) weight /= weight > 0 ? positive : negative;
}

// Section 4.2: how strong an edge (first derivative) or a point (second) is at each pixel.
std::vector<double> feature(const Plane& luminance, bool points) {
  const double sigma = 0.5 * kFeatureWidth * kPixelsPerDegree;
  const int radius = static_cast<int>(std::ceil(3 * sigma));
  const auto gauss = [&](int i) { return std::exp(-i * i / (2 * sigma * sigma)); };
  Weights across = sample(radius, gauss);
  double sum = 0;
  for (const double weight : across) sum += weight;
  for (double& weight : across) weight /= sum;
  Weights along =
      sample(radius, [&](int i) { return gauss(i) * (points ? i * i / (sigma * sigma) - 1 : -i); });
  balance(along);
  const Plane x = convolve_both(luminance, along, across);
  const Plane y = convolve_both(luminance, across, along);
  std::vector<double> strength;
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    strength.push_back(std::hypot(x.values[i], y.values[i]));
  }
  return strength;
}

// What the two halves of the measure look at.
struct Appearance {
  std::vector<Colour> colours;  // hunt_lab after the contrast filter
  std::vector<double> edges;
  std::vector<double> points;
};

Appearance appearance(const Image& image) {
  std::array<Plane, 3> planes;
  planes.fill({image.width, image.height, {}});
  for (std::size_t i = 0; i + 2 < image.rgb.size(); i += 3) {
    Colour rgb{};
    for (std::size_t c = 0; c < 3; ++c) rgb[c] = linear_from_srgb(image.rgb[i + c] / 255.0);
    const Colour opponent = ycxcz(rgb);
    for (std::size_t c = 0; c < 3; ++c) planes[c].values.push_back(opponent[c]);
  }
  Plane luminance = planes[0];
  for (double& value : luminance.values) value = (value + 16) / 116;
  Appearance result{{}, feature(luminance, false), feature(luminance, true)};
  // Table 1 of the paper.
  planes[0] = contrast_filter(planes[0], {{1, 0.0047}});
  planes[1] = contrast_filter(planes[1], {{1, 0.0053}});
  planes[2] = contrast_filter(planes[2], {{34.1, 0.04}, {13.5, 0.025}});
  for (std::size_t i = 0; i < luminance.values.size(); ++i) {
    Colour rgb = rgb_from_ycxcz({planes[0].values[i], planes[1].values[i], planes[2].values[i]});
    for (double& value : rgb) value = std::clamp(value, 0.0, 1.0);
    result.colours.push_back(hunt_lab(rgb));
  }
  return result;
}

// Section 4.1.3: large differences are compressed, all come to [0, 1].
double colour_difference(const Colour& a, const Colour& b) {
  static const double largest =
      std::pow(hyab(hunt_lab({0, 1, 0}), hunt_lab({0, 0, 1})), kColourExponent);
  constexpr double below = 0.95;  // p_t
  const double difference = std::pow(hyab(a, b), kColourExponent);
  const double knee = 0.4 * largest;  // p_c
  return difference < knee ? below / knee * difference
                           : below + (difference - knee) / (largest - knee) * (1 - below);
}

}  // namespace

double flip(const Image& picture, const Image& reference) {
  if (picture.width != reference.width || picture.height != reference.height) {
    throw ConfigError(fmt::format("a picture of {}x{} cannot be compared with one of {}x{}",
                                  picture.width, picture.height, reference.width,
                                  reference.height));
  }
  const Appearance a = appearance(picture);
  const Appearance b = appearance(reference);
  double sum = 0;
  for (std::size_t i = 0; i < a.colours.size(); ++i) {
    const double features =
        std::max(std::abs(a.edges[i] - b.edges[i]), std::abs(a.points[i] - b.points[i])) /
        std::numbers::sqrt2;
    sum += std::pow(colour_difference(a.colours[i], b.colours[i]),
                    1 - std::pow(features, kFeatureExponent));
  }
  return sum / static_cast<double>(a.colours.size());
}

}  // namespace pcpp::benchmarks
