#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/encode_rows.h"
#include "support/device.h"
#include "support/elements.h"

namespace pcpp {
namespace {

template <typename T>
class EncodeRowsOnDevice : public DeviceTest {};
using Elements = testing::Types<float, Float16, Bfloat16>;
TYPED_TEST_SUITE(EncodeRowsOnDevice, Elements);

struct Case {
  std::int64_t batch;
  std::int64_t rows;
  std::int64_t values;
  std::int64_t unread_rows = 0;    // behind each item's
  std::size_t encoded_offset = 0;  // from a multiple of 16 bytes
};

constexpr std::byte kUntouched{0xFF};  // what DeviceArray holds

// The twin's bytes; it encodes what the elements are as float32.
template <typename T>
std::vector<std::byte> encoded_by_twin(const std::vector<T>& values, const Case& c) {
  const std::vector<float> floats = floats_of(values);
  const std::int64_t item_bytes = c.rows * encoded_bytes(c.values);
  std::vector<std::byte> bytes(static_cast<std::size_t>(c.batch * item_bytes));
  for (std::int64_t item = 0; item < c.batch; ++item) {
    encode_rows(bytes.data() + item * item_bytes,
                floats.data() + item * (c.rows + c.unread_rows) * c.values, c.rows, c.values);
  }
  return bytes;
}

template <typename T>
std::vector<std::byte> encoded_on_device(const std::vector<T>& values, const Case& c) {
  const std::int64_t item_bytes = c.rows * encoded_bytes(c.values);
  DeviceArray<T> rows(values);
  DeviceArray<std::byte> encoded(static_cast<std::size_t>(c.batch * item_bytes + 1),
                                 c.encoded_offset);
  const auto stride = (c.rows + c.unread_rows) * c.values * static_cast<std::int64_t>(sizeof(T));
  encode_rows<T>({encoded.data(), item_bytes}, {rows.data(), stride}, c.batch, c.rows, c.values,
                 nullptr);
  std::vector<std::byte> bytes = encoded.values();
  EXPECT_EQ(bytes.back(), kUntouched);
  bytes.pop_back();
  return bytes;
}

const std::vector<Case> kCases = {{2, 3, 300, 2}, {1, 1, 1},       {3, 1, 128},
                                  {1, 20, 129},   {2, 5, 7, 1, 3}, {1, 2, 640, 0, 1}};

TYPED_TEST(EncodeRowsOnDevice, EncodesToTheTwinsBytes) {
  for (const Case& c : kCases) {
    auto values = random_values<TypeParam>(c.batch * (c.rows + c.unread_rows) * c.values, 0.5, 2.0);
    set(values[0], 100.0F);
    if (c.rows > 2) {  // a row of zeros
      for (std::int64_t i = 0; i < c.values; ++i) {
        set(values[static_cast<std::size_t>(2 * c.values + i)], 0.0F);
      }
    }
    EXPECT_EQ(encoded_on_device(values, c), encoded_by_twin(values, c))
        << c.batch << " x " << c.rows << " x " << c.values;
  }
}

TYPED_TEST(EncodeRowsOnDevice, DecodesAsTheTwin) {
  for (const Case& c : kCases) {
    const auto values =
        random_values<TypeParam>(c.batch * (c.rows + c.unread_rows) * c.values, 0.5, 2.0);
    const std::vector<std::byte> bytes = encoded_by_twin(values, c);
    std::vector<float> expected(static_cast<std::size_t>(c.batch * c.rows * c.values));
    decode_rows(expected.data(), bytes.data(), c.batch * c.rows, c.values);
    DeviceArray<std::byte> encoded(bytes, c.encoded_offset);
    DeviceArray<TypeParam> decoded(expected.size());
    decode_rows(decoded.data(), encoded.data(), c.batch * c.rows, c.values, nullptr);
    const std::vector<float> actual = floats_of(decoded.values());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], kRounding<TypeParam> * std::abs(expected[i]) + 1e-12)
          << c.batch << " x " << c.rows << " x " << c.values << ", value " << i;
    }
  }
}

TYPED_TEST(EncodeRowsOnDevice, WhatIsNotFiniteSpoilsItsBlockAlone) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    auto values = random_values<TypeParam>(256, 0.5, 2.0);
    set(values[130], bad);
    DeviceArray<std::byte> encoded(encoded_on_device(values, {1, 1, 256}));
    DeviceArray<TypeParam> decoded(256);
    decode_rows(decoded.data(), encoded.data(), 1, 256, nullptr);
    const std::vector<float> actual = floats_of(decoded.values());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      EXPECT_EQ(std::isfinite(actual[i]), i < 128) << i;
    }
  }
}

using EncodeMomentsOnDevice = DeviceTest;

TEST_F(EncodeMomentsOnDevice, EqualTheTwins) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> mean(1.0, 30.0);
  for (const std::int64_t count : {1, 32, 300}) {
    constexpr std::int64_t kBatch = 3;
    std::vector<double> moments;
    for (std::int64_t i = 0; i < kBatch * count; ++i) {
      moments.push_back(mean(random));
      moments.push_back(moments.back() * moments.back() + 0.25 * static_cast<double>(1 + i % 7));
    }
    std::vector<double> expected(moments.size());
    std::vector<std::byte> bytes(static_cast<std::size_t>(kBatch * count * kEncodedMomentsBytes));
    encode_moments(bytes.data(), moments.data(), kBatch * count);
    decode_moments(expected.data(), bytes.data(), kBatch * count);

    DeviceArray<double> source(moments);
    DeviceArray<std::byte> encoded(bytes.size(), 1);
    DeviceArray<double> decoded(moments.size());
    const std::int64_t stride = count * 2 * static_cast<std::int64_t>(sizeof(double));
    encode_moments({encoded.data(), count * kEncodedMomentsBytes}, {source.data(), stride}, kBatch,
                   count, nullptr);
    decode_moments(decoded.data(), encoded.data(), kBatch * count, nullptr);
    const std::vector<double> actual = decoded.values();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(actual[i], expected[i], 1e-12 * std::abs(expected[i]) + 1e-9)
          << count << ", " << i;
    }
  }
}

}  // namespace
}  // namespace pcpp
