#include "kernels/attention.h"

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
constexpr std::int64_t kGap = 3;  // NaNs between the rows, which nothing may read

struct Matrix {
  Matrix(std::int64_t row_count, std::int64_t row_size)
      : rows(row_count), size(row_size), values(static_cast<std::size_t>(rows * stride()), kNan) {}

  std::int64_t stride() const { return size + kGap; }
  float& at(std::int64_t row, std::int64_t i) {
    return values[static_cast<std::size_t>(row * stride() + i)];
  }
  const float& at(std::int64_t row, std::int64_t i) const {
    return values[static_cast<std::size_t>(row * stride() + i)];
  }

  std::int64_t rows;
  std::int64_t size;
  std::vector<float> values;
};

// Normal numbers that bfloat16 holds exactly, so that both types compute from the same.
Matrix random_matrix(std::uint64_t seed, std::int64_t rows, std::int64_t size, double deviation) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal(0, deviation);
  Matrix matrix(rows, size);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < size; ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(normal(generator)));
      matrix.at(row, i) = std::bit_cast<float>(bits & 0xFFFF0000U);
    }
  }
  return matrix;
}

std::size_t bytes_of(VectorElement element) { return element == VectorElement::float32 ? 4 : 2; }

// In the element's type; bfloat16 is the upper half, the second on machines that this runs on.
std::vector<std::byte> encode(const std::vector<float>& values, VectorElement element) {
  const std::size_t bytes = bytes_of(element);
  std::vector<std::byte> result(values.size() * bytes);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto* upper = reinterpret_cast<const std::byte*>(values.data() + i) + 4 - bytes;
    std::copy_n(upper, bytes, result.data() + i * bytes);
  }
  return result;
}

void decode(const std::vector<std::byte>& data, VectorElement element, std::vector<float>& values) {
  const std::size_t bytes = bytes_of(element);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = 0;
    auto* upper = reinterpret_cast<std::byte*>(values.data() + i) + 4 - bytes;
    std::copy_n(data.data() + i * bytes, bytes, upper);
  }
}

struct alignas(64) Line {
  std::byte bytes[64];
};

struct Segment {
  Matrix keys;
  Matrix values;
  float log_weight = 0;
};

Segment random_segment(std::uint64_t seed, std::int64_t keys, std::int64_t size,
                       float log_weight = 0) {
  return {random_matrix(seed, keys, size, 1), random_matrix(seed + 1, keys, size, 1), log_weight};
}

// The definition, in float64.
std::vector<double> expected_row(const Matrix& queries, std::int64_t row,
                                 const std::vector<Segment>& segments) {
  std::vector<double> scores;
  for (const Segment& segment : segments) {
    for (std::int64_t key = 0; key < segment.keys.rows; ++key) {
      double product = 0;
      for (std::int64_t i = 0; i < queries.size; ++i) {
        product += double{queries.at(row, i)} * double{segment.keys.at(key, i)};
      }
      scores.push_back(product / std::sqrt(static_cast<double>(queries.size)) +
                       double{segment.log_weight});
    }
  }
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - top);
  std::vector<double> output(static_cast<std::size_t>(queries.size));
  auto score = scores.begin();
  for (const Segment& segment : segments) {
    for (std::int64_t key = 0; key < segment.keys.rows; ++key, ++score) {
      for (std::size_t i = 0; i < output.size(); ++i) {
        output[i] += *score / sum * double{segment.values.at(key, static_cast<std::int64_t>(i))};
      }
    }
  }
  return output;
}

// 2-norm of the error over that of the expected output.
double relative_error(const Matrix& actual, const Matrix& queries,
                      const std::vector<Segment>& segments) {
  double error = 0;
  double size = 0;
  for (std::int64_t row = 0; row < queries.rows; ++row) {
    const std::vector<double> expected = expected_row(queries, row, segments);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double difference = double{actual.at(row, static_cast<std::int64_t>(i))} - expected[i];
      error += difference * difference;
      size += expected[i] * expected[i];
    }
  }
  return std::sqrt(error / size);
}

class Attention : public testing::TestWithParam<std::tuple<VectorLevel, VectorElement>> {
 protected:
  void SetUp() override {
    if (std::get<0>(GetParam()) > vector_level()) GTEST_SKIP() << "this machine has no such level";
  }

  static VectorElement element() { return std::get<1>(GetParam()); }
  static double bound() { return element() == VectorElement::float32 ? 1e-6 : 3e-3; }

  static Matrix attend(const Matrix& queries, const std::vector<Segment>& segments) {
    const AttentionKernel kernel = attention_kernel(element(), std::get<0>(GetParam()));
    const std::int64_t size = queries.size;
    std::vector<std::vector<Line>> packed;
    std::vector<PackedKeys> blocks;
    for (const Segment& segment : segments) {
      const std::vector<std::byte> keys = encode(segment.keys.values, element());
      const std::vector<std::byte> values = encode(segment.values.values, element());
      for (std::int64_t first = 0; first < segment.keys.rows; first += kAttentionKeys) {
        const std::int64_t count = std::min(kAttentionKeys, segment.keys.rows - first);
        const auto skipped =
            static_cast<std::size_t>(first * segment.keys.stride()) * bytes_of(element());
        packed.push_back(lines(kernel.packed_bytes(size)));
        kernel.pack({keys.data() + skipped, segment.keys.stride()},
                    {values.data() + skipped, segment.values.stride()}, count, size,
                    packed.back().front().bytes);
        blocks.push_back({packed.back().front().bytes, count, segment.log_weight});
      }
    }
    const std::vector<std::byte> source = encode(queries.values, element());
    Matrix output(queries.rows, size);
    std::vector<std::byte> target = encode(output.values, element());
    std::vector<Line> scratch = lines(kernel.scratch_bytes(size));
    for (std::int64_t first = 0; first < queries.rows; first += kAttentionQueries) {
      const auto skipped = static_cast<std::size_t>(first * queries.stride()) * bytes_of(element());
      kernel.attend({source.data() + skipped, queries.stride()},
                    std::min(kAttentionQueries, queries.rows - first), size, blocks.data(),
                    static_cast<std::int64_t>(blocks.size()), target.data() + skipped,
                    output.stride(), scratch.front().bytes);
    }
    decode(target, element(), output.values);
    return output;
  }

 private:
  // Memory that is full of NaNs, whichever type reads it.
  static std::vector<Line> lines(std::int64_t bytes) {
    EXPECT_EQ(bytes % 64, 0);
    std::vector<Line> result(static_cast<std::size_t>(bytes / 64));
    std::memset(result.data(), 0xFF, result.size() * sizeof(Line));
    return result;
  }
};

TEST_P(Attention, EqualsTheDefinitionForEverySize) {
  for (const std::int64_t size : {1, 2, 8, 13, 24, 31, 32, 33, 40, 64, 80, 160, 512}) {
    const Matrix queries = random_matrix(1, 35, size, 1.5);
    const std::vector<Segment> segments = {random_segment(2, 77, size)};
    EXPECT_LT(relative_error(attend(queries, segments), queries, segments), bound()) << size;
  }
}

TEST_P(Attention, EqualsTheDefinitionForEveryLength) {
  for (const std::int64_t queries : {1, 15, 31, 32, 33, 127, 128, 129}) {
    for (const std::int64_t keys : {1, 2, 7, 16, 31, 33, 127, 128, 129, 300}) {
      const Matrix query_rows = random_matrix(3, queries, 40, 1.5);
      const std::vector<Segment> segments = {random_segment(4, keys, 40)};
      EXPECT_LT(relative_error(attend(query_rows, segments), query_rows, segments), bound())
          << queries << " queries, " << keys << " keys";
    }
  }
}

TEST_P(Attention, TakesSegmentsWithWeights) {
  const Matrix queries = random_matrix(5, 33, 64, 1);
  const std::vector<Segment> segments = {random_segment(6, 130, 64, 0.7F),
                                         random_segment(8, 1, 64, 5), random_segment(10, 33, 64),
                                         random_segment(12, 64, 64, -2)};
  EXPECT_LT(relative_error(attend(queries, segments), queries, segments), bound());
}

TEST_P(Attention, LaterKeysMayHaveLargerScores) {
  const Matrix queries = random_matrix(20, 33, 40, 1);
  for (const float step : {1.0F, 4.0F, 9.0F, 60.0F}) {
    const std::vector<Segment> segments = {
        random_segment(21, 40, 40, -step), random_segment(23, 40, 40), random_segment(25, 2, 40),
        random_segment(27, 40, 40, step), random_segment(29, 40, 40, 2 * step)};
    EXPECT_LT(relative_error(attend(queries, segments), queries, segments), bound()) << step;
  }
}

TEST_P(Attention, SurvivesLargeScores) {
  for (const double deviation : {1e2, 1e10, 1e18}) {
    const Matrix queries = random_matrix(14, 20, 40, deviation);
    const std::vector<Segment> segments = {random_segment(15, 200, 40)};
    const Matrix output = attend(queries, segments);
    for (std::int64_t row = 0; row < output.rows; ++row) {
      for (std::int64_t i = 0; i < output.size; ++i) {
        ASSERT_LT(std::abs(output.at(row, i)), 10) << deviation;
      }
    }
    // Hardly any score is close to the largest one: rounding changes few of the rows.
    EXPECT_LT(relative_error(output, queries, segments), 1e-2) << deviation;
  }
}

TEST_P(Attention, QueriesDoNotAffectEachOther) {
  Matrix queries = random_matrix(16, 70, 40, 1);
  for (std::int64_t i = 0; i < queries.size; ++i) queries.at(11, i) = kNan;
  const std::vector<Segment> segments = {random_segment(17, 150, 40)};
  const Matrix together = attend(queries, segments);
  for (const std::int64_t row : {0L, 10L, 12L, 40L, 69L}) {
    Matrix alone(1, queries.size);
    std::copy_n(&queries.at(row, 0), queries.size, &alone.at(0, 0));
    const Matrix output = attend(alone, segments);
    EXPECT_TRUE(std::equal(&output.at(0, 0), &output.at(0, 0) + queries.size, &together.at(row, 0)))
        << row;
  }
  EXPECT_TRUE(std::isnan(together.at(11, 0)));
}

TEST_P(Attention, WritesNothingBetweenRows) {
  const Matrix queries = random_matrix(18, 33, 13, 1);
  const Matrix output = attend(queries, {random_segment(19, 5, 13)});
  for (std::int64_t row = 0; row < output.rows; ++row) {
    for (std::int64_t i = output.size; i < output.stride(); ++i) {
      EXPECT_TRUE(std::isnan(output.at(row, i))) << row;
    }
  }
}

std::string name_of(const testing::TestParamInfo<Attention::ParamType>& info) {
  static const std::vector<std::string> levels = {"baseline", "avx2", "avx512", "amx"};
  return levels.at(static_cast<std::size_t>(std::get<0>(info.param))) +
         (std::get<1>(info.param) == VectorElement::float32 ? "_float32" : "_bfloat16");
}

INSTANTIATE_TEST_SUITE_P(Levels, Attention,
                         testing::Combine(testing::Values(VectorLevel::baseline, VectorLevel::avx2,
                                                          VectorLevel::avx512, VectorLevel::amx),
                                          testing::Values(VectorElement::float32,
                                                          VectorElement::bfloat16)),
                         name_of);

#if defined(__x86_64__)
TEST(AttentionTiles, AreLeftAsTheyWere) {
  if (vector_level() < VectorLevel::amx) GTEST_SKIP() << "this machine has no tiles";
  struct alignas(64) Config {
    std::uint8_t bytes[64] = {};
    bool operator==(const Config&) const = default;
  };
  Config before;
  before.bytes[0] = 1;   // palette
  before.bytes[16] = 8;  // bytes of tile 0's rows
  before.bytes[48] = 5;  // its rows
  asm volatile("ldtilecfg %0" : : "m"(before));
  const AttentionKernel kernel = attention_kernel(VectorElement::bfloat16, VectorLevel::amx);
  std::vector<Line> packed(static_cast<std::size_t>(kernel.packed_bytes(8) / 64));
  std::vector<Line> scratch(static_cast<std::size_t>(kernel.scratch_bytes(8) / 64));
  const std::vector<std::uint16_t> row(8);
  std::vector<std::uint16_t> output(8);
  kernel.pack({row.data(), 8}, {row.data(), 8}, 1, 8, packed.front().bytes);
  const PackedKeys block{packed.front().bytes, 1, 0};
  kernel.attend({row.data(), 8}, 1, 8, &block, 1, output.data(), 8, scratch.front().bytes);
  Config after;
  asm volatile("sttilecfg %0" : "=m"(after));
  asm volatile("tilerelease");
  EXPECT_EQ(before, after);
}
#endif

}  // namespace
}  // namespace pcpp
