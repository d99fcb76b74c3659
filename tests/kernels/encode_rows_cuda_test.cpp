#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <ostream>
#include <random>
#include <type_traits>
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
  std::int64_t unread_rows = 0;    // after each item's
  std::size_t encoded_offset = 0;  // from a multiple of 16 bytes
  std::size_t value_offset = 0;    // likewise, of rows, in elements
  std::size_t last_offset = 0;     // likewise, of the last rows

  std::int64_t rows_in_memory() const { return batch * (rows + unread_rows); }
  template <typename T>
  std::int64_t stride_bytes() const {
    return (rows + unread_rows) * values * static_cast<std::int64_t>(sizeof(T));
  }
  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.batch << " x " << c.rows << " x " << c.values << " at " << c.encoded_offset
               << ", " << c.value_offset << " and " << c.last_offset;
  }
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
  DeviceArray<T> rows(values, c.value_offset);
  DeviceArray<std::byte> encoded(static_cast<std::size_t>(c.batch * item_bytes + 1),
                                 c.encoded_offset);
  encode_rows<T>({encoded.data(), item_bytes}, {rows.data(), c.stride_bytes<T>()}, c.batch, c.rows,
                 c.values, nullptr);
  std::vector<std::byte> bytes = encoded.values();
  EXPECT_EQ(bytes.back(), kUntouched);
  bytes.pop_back();
  return bytes;
}

// Whole blocks, more than the warps of a thread block; ragged ones; any one address misaligned.
const std::vector<Case> kCases = {{3, 1, 128},       {2, 9, 256, 1},       {2, 3, 300, 2},
                                  {1, 1, 1},         {1, 20, 129},         {2, 5, 7, 1, 3},
                                  {1, 2, 640, 0, 1}, {2, 3, 384, 0, 0, 1}, {2, 3, 384, 0, 0, 0, 1}};

TYPED_TEST(EncodeRowsOnDevice, EncodesToTheTwinsBytes) {
  for (const Case& c : kCases) {
    auto values = random_values<TypeParam>(c.rows_in_memory() * c.values, 0.5, 2.0);
    set(values[0], 100.0F);
    if (c.rows > 2) {  // a row of zeros, but for what is too small to be scaled
      for (std::int64_t i = 0; i < c.values; ++i) {
        set(values[static_cast<std::size_t>(2 * c.values + i)], i == 0 ? 1e-40F : 0.0F);
      }
    }
    EXPECT_EQ(encoded_on_device(values, c), encoded_by_twin(values, c)) << c;
  }
}

// For float16 by way of float32, which rounds as the kernel.
template <typename T>
std::vector<T> decoded_by_twin(const std::vector<std::byte>& encoded, const Case& c) {
  std::vector<T> values(static_cast<std::size_t>(c.batch * c.rows * c.values));
  if constexpr (std::is_same_v<T, Float16>) {
    const std::vector<float> floats = decoded_by_twin<float>(encoded, c);
    for (std::size_t i = 0; i < values.size(); ++i) set(values[i], floats[i]);
  } else {
    decode_rows(values.data(), encoded.data(), c.batch * c.rows, c.values);
  }
  return values;
}

TYPED_TEST(EncodeRowsOnDevice, DecodesToTheTwinsBits) {
  for (const Case& c : kCases) {
    const auto values = random_values<TypeParam>(c.rows_in_memory() * c.values, 0.5, 2.0);
    const std::vector<std::byte> bytes = encoded_by_twin(values, c);
    const std::vector<TypeParam> expected = decoded_by_twin<TypeParam>(bytes, c);
    DeviceArray<std::byte> encoded(bytes, c.encoded_offset);
    DeviceArray<TypeParam> decoded(expected.size(), c.value_offset);
    decode_rows(decoded.data(), encoded.data(), c.batch * c.rows, c.values, nullptr);
    EXPECT_EQ(floats_of(decoded.values()), floats_of(expected)) << c;
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

template <typename T>
void add_by_twin(std::vector<T>& last, const std::byte* encoded, const Case& c) {
  if constexpr (std::is_same_v<T, Float16>) {
    std::vector<float> floats = floats_of(last);
    add_by_twin(floats, encoded, c);
    for (std::size_t i = 0; i < last.size(); ++i) set(last[i], floats[i]);
  } else {
    add_residual(last.data(), encoded, c.batch * c.rows, c.values);
  }
}

// Of `values` [batch, rows + unread_rows, values] to `last` [batch, rows, values].
template <typename T>
std::vector<std::byte> residual_by_twin(std::vector<T>& last, const std::vector<T>& values,
                                        const Case& c) {
  const std::int64_t item_bytes = c.rows * residual_bytes(c.values);
  std::vector<std::byte> bytes(static_cast<std::size_t>(c.batch * item_bytes));
  std::vector<float> sums = floats_of(last);
  const std::vector<float> floats = floats_of(values);
  for (std::int64_t item = 0; item < c.batch; ++item) {
    encode_residual(bytes.data() + item * item_bytes, sums.data() + item * c.rows * c.values,
                    floats.data() + item * (c.rows + c.unread_rows) * c.values, c.rows, c.values);
  }
  add_by_twin(last, bytes.data(), c);
  return bytes;
}

// Both ends of rows that are sent again and again.
template <typename T>
struct Ends {
  explicit Ends(const Case& c)
      : start(random_values<T>(c.batch * c.rows * c.values, 0.0, 2.0)),
        sender(start, c.last_offset),
        receiver(start, c.last_offset),
        encoded(static_cast<std::size_t>(c.batch * c.rows * residual_bytes(c.values) + 1),
                c.encoded_offset) {}

  std::vector<std::byte> send(const std::vector<T>& values, const Case& c) {
    DeviceArray<T> rows(values, c.value_offset);
    encode_residual<T>({encoded.data(), c.rows * residual_bytes(c.values)}, sender.data(),
                       {rows.data(), c.stride_bytes<T>()}, c.batch, c.rows, c.values, nullptr);
    add_residual(receiver.data(), encoded.data(), c.batch * c.rows, c.values, nullptr);
    std::vector<std::byte> bytes = encoded.values();
    EXPECT_EQ(bytes.back(), kUntouched);
    bytes.pop_back();
    return bytes;
  }

  std::vector<T> start;
  DeviceArray<T> sender;
  DeviceArray<T> receiver;
  DeviceArray<std::byte> encoded;
};

TYPED_TEST(EncodeRowsOnDevice, ResidualsAreTheTwinsToTheBitOnBothEnds) {
  for (const Case& c : kCases) {
    Ends<TypeParam> ends(c);
    std::vector<TypeParam> expected = ends.start;
    auto values = random_values<TypeParam>(c.rows_in_memory() * c.values, 0.5, 2.0);
    set(values[0], 100.0F);
    for (int sending = 0; sending < 3; ++sending) {
      EXPECT_EQ(ends.send(values, c), residual_by_twin(expected, values, c)) << c;
      EXPECT_EQ(floats_of(ends.sender.values()), floats_of(expected)) << c;
      EXPECT_EQ(floats_of(ends.receiver.values()), floats_of(expected)) << c;
    }
  }
}

TYPED_TEST(EncodeRowsOnDevice, AResidualThatIsNotFiniteSpoilsItsBlockAlone) {
  for (const std::int64_t size : {256, 255}) {
    const Case c{1, 1, size};
    Ends<TypeParam> ends(c);
    std::vector<TypeParam> values = ends.start;
    set(values[130], std::numeric_limits<float>::infinity());
    ends.send(values, c);
    const std::vector<float> actual = floats_of(ends.receiver.values());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      if (i < 128) {
        EXPECT_EQ(actual[i], float_of(ends.start[i])) << i;
      } else {
        EXPECT_FALSE(std::isfinite(actual[i])) << i;
      }
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
