#include "kernels/winograd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

namespace pcpp {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kImages = 2;
constexpr std::int64_t kGap = 5;  // NaNs between the images, which nothing may read

using Values = std::vector<float>;

std::size_t index(std::int64_t value) { return static_cast<std::size_t>(value); }

struct Extents {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
  bool above = true;
  bool below = true;
  bool addend = false;
  std::int64_t block = 1000;  // tiles at a time
  std::int64_t part = 1000;   // tiles or panels of a call
};

// Numbers that bfloat16 holds exactly, so that both types compute from the same.
Values random_values(std::uint64_t seed, std::int64_t count) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  Values values(index(count));
  for (float& value : values) {
    value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(normal(generator)) & 0xFFFF0000U);
  }
  return values;
}

// In the element's type; bfloat16 is the upper half, the second on machines that this runs on.
std::vector<std::byte> encode(const Values& values, std::size_t bytes) {
  std::vector<std::byte> result(values.size() * bytes);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto* upper = reinterpret_cast<const std::byte*>(values.data() + i) + 4 - bytes;
    std::memcpy(result.data() + i * bytes, upper, bytes);
  }
  return result;
}

Values decode(const std::vector<std::byte>& data, std::size_t bytes) {
  Values values(data.size() / bytes);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::memcpy(reinterpret_cast<std::byte*>(values.data() + i) + 4 - bytes,
                data.data() + i * bytes, bytes);
  }
  return values;
}

// Images of `size` numbers with a gap after each.
Values random_images(std::uint64_t seed, std::int64_t size) {
  Values values = random_values(seed, kImages * (size + kGap));
  for (std::int64_t image = 1; image <= kImages; ++image) {
    std::fill_n(values.begin() + image * (size + kGap) - kGap, kGap, kNan);
  }
  return values;
}

// A convolution and what is needed to compute it.
struct Case {
  explicit Case(const Extents& given)
      : extents(given),
        weight(random_values(1, extents.out * extents.in * 9)),
        bias(random_values(2, extents.out)),
        own(random_images(3, extents.rows * extents.columns * extents.in)),
        above(random_images(4, extents.columns * extents.in)),
        below(random_images(5, extents.columns * extents.in)),
        addend(random_values(6, kImages * extents.rows * extents.columns * extents.out)) {
    const float scale = 1 / std::sqrt(9 * static_cast<float>(extents.in));
    for (float& value : weight) value *= scale;
  }

  double input(std::int64_t image, std::int64_t row, std::int64_t column, std::int64_t i) const {
    const Values* values = &own;
    std::int64_t rows = extents.rows;
    if (row < 0 || row >= extents.rows) {
      if (!(row < 0 ? extents.above : extents.below)) return 0;
      values = row < 0 ? &above : &below;
      row = 0;
      rows = 1;
    }
    if (column < 0 || column >= extents.columns) return 0;
    const std::int64_t item = image * (rows * extents.columns * extents.in + kGap);
    return double{(*values)[index(item + (row * extents.columns + column) * extents.in + i)]};
  }

  // The definition, in float64.
  double expected(std::int64_t image, std::int64_t row, std::int64_t column, std::int64_t o) const {
    double sum = double{bias[index(o)]};
    for (std::int64_t i = 0; i < extents.in; ++i) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        sum += input(image, row + tap / 3 - 1, column + tap % 3 - 1, i) *
               double{weight[index((o * extents.in + i) * 9 + tap)]};
      }
    }
    const std::int64_t pixel = (image * extents.rows + row) * extents.columns + column;
    return extents.addend ? sum + double{addend[index(pixel * extents.out + o)]} : sum;
  }

  Extents extents;
  Values weight;
  Values bias;
  Values own;
  Values above;
  Values below;
  Values addend;
};

// The images of a case as a kernel reads them.
struct Pixels {
  Pixels(const Case& which, std::size_t bytes)
      : own(encode(which.own, bytes)),
        above(encode(which.above, bytes)),
        below(encode(which.below, bytes)) {
    const Extents& extents = which.extents;
    images.rows = extents.rows;
    images.columns = extents.columns;
    images.in = extents.in;
    images.own = own.data();
    images.own_stride = extents.rows * extents.columns * extents.in + kGap;
    images.above = extents.above ? above.data() : nullptr;
    images.below = extents.below ? below.data() : nullptr;
    images.above_stride = images.below_stride = extents.columns * extents.in + kGap;
  }

  std::vector<std::byte> own;
  std::vector<std::byte> above;
  std::vector<std::byte> below;
  WinogradImages images;
};

template <typename Call>
void in_parts(std::int64_t count, std::int64_t part, const Call& call) {
  for (std::int64_t first = 0; first < count; first += part) {
    call(first, std::min(first + part, count));
  }
}

class Winograd
    : public testing::TestWithParam<std::tuple<VectorLevel, WinogradTile, VectorElement>> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) > vector_level()) GTEST_SKIP() << "this machine has no such level";
  }

  static WinogradKernel kernel() {
    const auto& [level, tile, element] = GetParam();
    return winograd_kernel(tile, element, level);
  }
  // Of the 2-norm: three times what was seen.
  static double bound() {
    const auto& [level, tile, element] = GetParam();
    if (element == VectorElement::bfloat16) return 5e-3;
    return tile == WinogradTile::two ? 1.5e-6 : 8e-6;
  }
  static std::size_t element_bytes() {
    return std::get<2>(GetParam()) == VectorElement::float32 ? 4 : 2;
  }

  static Values convolve(const Case& which) {
    const WinogradKernel winograd = kernel();
    const Extents& extents = which.extents;
    const Pixels pixels(which, element_bytes());
    const std::int64_t panels = WinogradKernel::panels(extents.out);
    Values packed(index(winograd.packed_floats(extents.in, extents.out)), kNan);
    in_parts(panels, extents.part, [&](std::int64_t first, std::int64_t last) {
      winograd.pack(which.weight.data(), extents.in, extents.out, first, last, packed.data());
    });
    const std::int64_t tiles = kImages * winograd.tiles(extents.rows, extents.columns);
    const std::int64_t block = std::min(extents.block, tiles);
    Values input_memory(
        index(winograd.positions * WinogradRows::position_floats(block, extents.in)), kNan);
    Values product_memory(
        index(winograd.positions * WinogradRows::position_floats(block, extents.out)), kNan);
    const WinogradRows inputs(input_memory.data(), block, extents.in);
    const WinogradRows products(product_memory.data(), block, extents.out);
    Values output = which.addend;
    output.resize(index(kImages * extents.rows * extents.columns * extents.out + kGap), kNan);
    if (!extents.addend) std::fill(output.begin(), output.end(), kNan);
    std::vector<std::byte> encoded = encode(output, element_bytes());
    WinogradResult result;
    result.rows = extents.rows;
    result.columns = extents.columns;
    result.out = extents.out;
    result.data = encoded.data();
    result.bias = which.bias.data();
    result.addend = extents.addend ? encoded.data() : nullptr;
    in_parts(tiles, block, [&](std::int64_t begin, std::int64_t end) {
      in_parts(end - begin, extents.part, [&](std::int64_t first, std::int64_t last) {
        winograd.transform_input(pixels.images, begin + first, begin + last, inputs, first);
      });
      in_parts(winograd.positions * panels, extents.part,
               [&](std::int64_t first, std::int64_t last) {
                 winograd.multiply(inputs, end - begin, extents.in, packed.data(), extents.out,
                                   first, last, products);
               });
      in_parts(end - begin, extents.part, [&](std::int64_t first, std::int64_t last) {
        winograd.transform_output(products, first, result, begin + first, begin + last);
      });
    });
    output = decode(encoded, element_bytes());
    EXPECT_TRUE(std::all_of(output.end() - kGap, output.end(),
                            [](float value) { return std::isnan(value); }));
    output.resize(output.size() - index(kGap));
    return output;
  }

  // 2-norm of the error over that of the expected output.
  static double error(const Case& which) {
    const Values actual = convolve(which);
    const Extents& extents = which.extents;
    double error = 0;
    double size = 0;
    std::size_t next = 0;
    for (std::int64_t row = 0; row < kImages * extents.rows; ++row) {
      for (std::int64_t column = 0; column < extents.columns; ++column) {
        for (std::int64_t o = 0; o < extents.out; ++o) {
          const double expected = which.expected(row / extents.rows, row % extents.rows, column, o);
          const double difference = double{actual[next++]} - expected;
          error += difference * difference;
          size += expected * expected;
        }
      }
    }
    return std::sqrt(error / size);
  }
};

TEST_P(Winograd, EqualsTheDefinitionForEveryHeightAndWidth) {
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 8, 11}) {
    for (const std::int64_t columns : {1, 2, 3, 4, 7, 8, 9}) {
      EXPECT_LT(error(Case({.rows = rows, .columns = columns, .in = 5, .out = 7})), bound())
          << rows << " x " << columns;
    }
  }
}

TEST_P(Winograd, EqualsTheDefinitionForEveryNumberOfChannels) {
  for (const std::int64_t in : {1, 3, 16, 17, 40, 300, 513}) {
    for (const std::int64_t out : {1, 15, 16, 32, 33, 70}) {
      EXPECT_LT(error(Case({.rows = 5, .columns = 6, .in = in, .out = out})), bound())
          << in << " to " << out;
    }
  }
}

TEST_P(Winograd, EqualsTheDefinitionForEveryNumberOfTiles) {
  for (std::int64_t tiles = 1; tiles <= 30; ++tiles) {
    EXPECT_LT(error(Case({.rows = 1, .columns = tiles * kernel().size, .in = 20, .out = 33})),
              bound())
        << tiles;
  }
}

TEST_P(Winograd, HasZerosWhereNoRowIsGiven) {
  for (const bool above : {false, true}) {
    for (const bool below : {false, true}) {
      EXPECT_LT(
          error(
              Case({.rows = 6, .columns = 5, .in = 20, .out = 20, .above = above, .below = below})),
          bound())
          << above << below;
    }
  }
}

TEST_P(Winograd, AddsToWhatIsThere) {
  EXPECT_LT(error(Case({.rows = 7, .columns = 9, .in = 12, .out = 37, .addend = true})), bound());
}

TEST_P(Winograd, PartsOfTheWorkGiveTheSameBits) {
  Extents extents{.rows = 21, .columns = 18, .in = 300, .out = 70};
  const Values whole = convolve(Case(extents));
  for (const auto& [block, part] : {std::pair{1000, 1}, {1000, 5}, {13, 1000}, {7, 3}, {1, 1}}) {
    extents.block = block;
    extents.part = part;
    EXPECT_EQ(convolve(Case(extents)), whole) << block << ", " << part;
  }
}

std::string name_of(const testing::TestParamInfo<Winograd::ParamType>& info) {
  static const std::vector<std::string> levels = {"baseline", "avx2", "avx512"};
  return levels.at(static_cast<std::size_t>(std::get<0>(info.param))) +
         (std::get<1>(info.param) == WinogradTile::two ? "_two" : "_four") +
         (std::get<2>(info.param) == VectorElement::float32 ? "_float32" : "_bfloat16");
}

INSTANTIATE_TEST_SUITE_P(
    Levels, Winograd,
    testing::Combine(testing::Values(VectorLevel::baseline, VectorLevel::avx2, VectorLevel::avx512),
                     testing::Values(WinogradTile::two, WinogradTile::four),
                     testing::Values(VectorElement::float32, VectorElement::bfloat16)),
    name_of);

}  // namespace
}  // namespace pcpp
