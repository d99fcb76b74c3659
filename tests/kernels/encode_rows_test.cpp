#include "kernels/encode_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "support/elements.h"

namespace pcpp {
namespace {

template <typename Element>
class EncodeRowsTest : public ::testing::Test {
 protected:
  static std::vector<Element> coded(const std::vector<Element>& rows, std::int64_t count) {
    const auto values = static_cast<std::int64_t>(rows.size()) / count;
    // One byte more in front: encoded rows need no alignment.
    std::vector<std::byte> bytes(static_cast<std::size_t>(1 + count * encoded_bytes(values)));
    encode_rows(bytes.data() + 1, rows.data(), count, values);
    std::vector<Element> result(rows.size());
    decode_rows(result.data(), bytes.data() + 1, count, values);
    return result;
  }
};

using Elements = ::testing::Types<float, Bfloat16>;
TYPED_TEST_SUITE(EncodeRowsTest, Elements);

TYPED_TEST(EncodeRowsTest, IsWithinHalfAStepOfItsBlock) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.5F, 2);
  for (const std::int64_t values : {1, 7, 128, 129, 300}) {
    std::vector<TypeParam> rows;
    for (std::int64_t i = 0; i < 3 * values; ++i)
      rows.push_back(element_of<TypeParam>(normal(random)));
    rows[0] = element_of<TypeParam>(100);  // spoils its own block and no other
    const std::vector<TypeParam> result = this->coded(rows, 3);
    for (std::int64_t row = 0; row < 3; ++row) {
      for (std::int64_t first = 0; first < values; first += kEncodedBlock) {
        const auto begin = static_cast<std::size_t>(row * values + first);
        const auto size = static_cast<std::size_t>(std::min(kEncodedBlock, values - first));
        float largest = 0;
        for (std::size_t i = begin; i < begin + size; ++i) {
          largest = std::max(largest, std::abs(float_of(rows[i])));
        }
        const float rounding = std::is_same_v<TypeParam, float> ? 1e-6F : 1.0F / 256;
        for (std::size_t i = begin; i < begin + size; ++i) {
          EXPECT_NEAR(float_of(result[i]), float_of(rows[i]), largest * (0.5F / 127 + rounding))
              << values << ", " << i;
        }
      }
    }
  }
}

TYPED_TEST(EncodeRowsTest, KeepsZerosAndWhatIsNotFinite) {
  std::vector<TypeParam> rows(256, element_of<TypeParam>(0));
  for (const TypeParam value : this->coded(rows, 1)) EXPECT_EQ(float_of(value), 0);
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    rows[130] = element_of<TypeParam>(bad);
    const std::vector<TypeParam> result = this->coded(rows, 1);
    EXPECT_EQ(float_of(result[127]), 0);
    for (std::size_t i = 128; i < 256; ++i) EXPECT_FALSE(std::isfinite(float_of(result[i]))) << i;
  }
}

TEST(EncodeRows, TakesAByteAValueAndAScaleABlock) {
  EXPECT_EQ(encoded_bytes(0), 0);
  EXPECT_EQ(encoded_bytes(1), 5);
  EXPECT_EQ(encoded_bytes(128), 132);
  EXPECT_EQ(encoded_bytes(129), 137);
}

// Rows that are sent again and again, as both ends then have them.
template <typename Element>
struct Ends {
  std::vector<Element> sender;
  std::vector<Element> receiver;

  explicit Ends(std::size_t size) : sender(size), receiver(size) {}

  void send(const std::vector<Element>& rows, std::int64_t count) {
    const auto values = static_cast<std::int64_t>(rows.size()) / count;
    std::vector<std::byte> bytes(static_cast<std::size_t>(1 + count * residual_bytes(values)));
    encode_residual(bytes.data() + 1, sender.data(), rows.data(), count, values);
    add_residual(receiver.data(), bytes.data() + 1, count, values);
  }
};

TYPED_TEST(EncodeRowsTest, AResidualIsWithinHalfAStepOfItsBlockAndOnBothEndsTheSame) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0.5F, 2);
  for (const std::int64_t values : {1, 7, 128, 129, 301}) {
    Ends<TypeParam> ends(static_cast<std::size_t>(3 * values));
    std::vector<TypeParam> rows(ends.sender.size());
    for (int sending = 0; sending < 4; ++sending) {
      for (TypeParam& value : rows) value = element_of<TypeParam>(normal(random));
      rows[0] = element_of<TypeParam>(100);
      const std::vector<TypeParam> before = ends.receiver;
      ends.send(rows, 3);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        ASSERT_EQ(float_of(ends.sender[i]), float_of(ends.receiver[i])) << values << ", " << i;
      }
      for (std::int64_t row = 0; row < 3; ++row) {
        for (std::int64_t first = 0; first < values; first += kEncodedBlock) {
          const auto begin = static_cast<std::size_t>(row * values + first);
          const auto size = static_cast<std::size_t>(std::min(kEncodedBlock, values - first));
          float largest = 0;
          for (std::size_t i = begin; i < begin + size; ++i) {
            largest = std::max(largest, std::abs(float_of(rows[i]) - float_of(before[i])));
          }
          for (std::size_t i = begin; i < begin + size; ++i) {
            const float rounding =
                (std::is_same_v<TypeParam, float> ? 1e-6F : 1.0F / 256) * (8 + float_of(rows[0]));
            EXPECT_NEAR(float_of(ends.receiver[i]), float_of(rows[i]),
                        largest * 0.5F / 7 + rounding)
                << values << ", " << i;
          }
        }
      }
    }
  }
}

TYPED_TEST(EncodeRowsTest, WhatAResidualRoundsOffTheNextOneSends) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<TypeParam> rows(300);
  for (TypeParam& value : rows) value = element_of<TypeParam>(normal(random));
  Ends<TypeParam> ends(rows.size());
  for (int sending = 0; sending < 8; ++sending) ends.send(rows, 2);
  const float rounding = std::is_same_v<TypeParam, float> ? 1e-6F : 1.0F / 128;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(float_of(ends.receiver[i]), float_of(rows[i]), 4 * rounding);
  }
}

TYPED_TEST(EncodeRowsTest, AResidualShowsWhatIsNotFinite) {
  std::vector<TypeParam> rows(256, element_of<TypeParam>(0));
  Ends<TypeParam> ends(rows.size());
  rows[130] = element_of<TypeParam>(std::numeric_limits<float>::infinity());
  ends.send(rows, 1);
  EXPECT_EQ(float_of(ends.receiver[127]), 0);
  for (std::size_t i = 128; i < 256; ++i) {
    EXPECT_FALSE(std::isfinite(float_of(ends.receiver[i]))) << i;
  }
}

TEST(EncodeRows, AResidualTakesHalfAByteAValueAndAScaleABlock) {
  EXPECT_EQ(residual_bytes(0), 0);
  EXPECT_EQ(residual_bytes(1), 5);
  EXPECT_EQ(residual_bytes(127), 68);
  EXPECT_EQ(residual_bytes(128), 68);
  EXPECT_EQ(residual_bytes(129), 73);
}

TEST(EncodeMoments, KeepsASmallVarianceBesideALargeMean) {
  std::vector<double> moments;
  for (const double mean : {0.0, -0.7, 3e4}) {
    for (const double variance : {1e-3, 1.0, 12.3}) {
      moments.insert(moments.end(), {mean, mean * mean + variance});
    }
  }
  const auto count = static_cast<std::int64_t>(moments.size() / 2);
  std::vector<std::byte> bytes(static_cast<std::size_t>(1 + count * kEncodedMomentsBytes));
  encode_moments(bytes.data() + 1, moments.data(), count);
  std::vector<double> result(moments.size());
  decode_moments(result.data(), bytes.data() + 1, count);
  for (std::size_t i = 0; i < moments.size(); i += 2) {
    EXPECT_NEAR(result[i], moments[i], 0x1p-11 * std::abs(moments[i]));
    const double variance = moments[i + 1] - moments[i] * moments[i];
    EXPECT_NEAR(result[i + 1] - result[i] * result[i], variance, 1e-6 + 0x1p-10 * variance);
  }
}

// Means that float16 holds, and what it makes of others: rounded to even, small, too large.
TEST(EncodeMoments, TravelAsFloat16) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto& [mean, expected] :
       std::vector<std::pair<double, double>>{{0, 0},
                                              {1, 1},
                                              {-1.5, -1.5},
                                              {1 + 0x1p-10, 1 + 0x1p-10},
                                              {1 + 0x1p-11, 1},
                                              {1 + 3 * 0x1p-11, 1 + 2 * 0x1p-10},
                                              {2 - 0x1p-12, 2},
                                              {0x1p-14, 0x1p-14},
                                              {0x1p-14 - 0x1p-26, 0x1p-14},
                                              {3 * 0x1p-24, 3 * 0x1p-24},
                                              {0x1p-26, 0},
                                              {65504, 65504},
                                              {65519, 65504},
                                              {-65520, -infinity}}) {
    const double moments[2] = {mean, mean * mean};
    std::byte bytes[kEncodedMomentsBytes];
    encode_moments(bytes, moments, 1);
    double result[2] = {};
    decode_moments(result, bytes, 1);
    EXPECT_EQ(result[0], expected) << mean;
  }
  const double not_finite[2] = {std::nan(""), 1};
  std::byte bytes[kEncodedMomentsBytes];
  encode_moments(bytes, not_finite, 1);
  double result[2] = {};
  decode_moments(result, bytes, 1);
  EXPECT_TRUE(std::isnan(result[0]));
}

}  // namespace
}  // namespace pcpp
