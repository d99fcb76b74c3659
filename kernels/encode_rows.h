// Rows of activations in eight or four bits a value, and moments in sixteen, for the way between
// ranks.
#ifndef PCPP_KERNELS_ENCODE_ROWS_H_
#define PCPP_KERNELS_ENCODE_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"

struct CUstream_st;  // what a cudaStream_t points to

namespace pcpp {

// A row is encoded in blocks of up to so many values, so that a large value costs only its
// neighbours their precision. A block is a float32 scale, the largest magnitude / 127, and a signed
// byte for each value: round(value / scale). A decoded value is off by at most scale / 2, and by
// bfloat16's rounding where that is the type. A block with a value that is not finite decodes to
// values that are not.
inline constexpr std::int64_t kEncodedBlock = 128;

// Bytes of an encoded row of `values`.
std::int64_t encoded_bytes(std::int64_t values);

// `count` rows of `values` each, one after the other; encoded rows need no alignment. The two
// must not overlap.
void encode_rows(std::byte* encoded, const float* rows, std::int64_t count, std::int64_t values);
void encode_rows(std::byte* encoded, const Bfloat16* rows, std::int64_t count, std::int64_t values);
void decode_rows(float* rows, const std::byte* encoded, std::int64_t count, std::int64_t values);
void decode_rows(Bfloat16* rows, const std::byte* encoded, std::int64_t count, std::int64_t values);

// Four bits a value are enough for what has changed since the rows were sent last. Both ends keep
// `last`, the rows as the receiver has them, and what travels is the residual rows - last: the
// scale is its largest magnitude in the block / 7, and a byte holds value i in its low half and
// value i + ceil(size of the block / 2) in its high half. What is lost to rounding is part of the
// next residual, so errors do not add up.
std::int64_t residual_bytes(std::int64_t values);

// As above; adds to `last` on one end just what add_residual() adds to an equal one on the other.
void encode_residual(std::byte* encoded, float* last, const float* rows, std::int64_t count,
                     std::int64_t values);
void encode_residual(std::byte* encoded, Bfloat16* last, const Bfloat16* rows, std::int64_t count,
                     std::int64_t values);
void add_residual(float* last, const std::byte* encoded, std::int64_t count, std::int64_t values);
void add_residual(Bfloat16* last, const std::byte* encoded, std::int64_t count,
                  std::int64_t values);

// GroupNorm's moments (kernels/moments.h) travel as a float16 pair of mean and standard deviation,
// to 2^-11 of each: a mean of squares would lose the variance of a group with a large mean. One
// past float16's 65504 becomes infinite.
inline constexpr std::int64_t kEncodedMomentsBytes = 2 * sizeof(Float16);

// `count` pairs; encoded ones need no alignment. The two must not overlap.
void encode_moments(std::byte* encoded, const double* moments, std::int64_t count);
void decode_moments(double* moments, const std::byte* encoded, std::int64_t count);

// On a GPU, queued on `stream` (PCPP_CUDA builds it); T is float, Float16 or Bfloat16, pointers are
// to device memory. Rows are encoded to the twins' bytes and decoded to their bits, moments to
// rounding. Rows of a multiple of kEncodedBlock values are moved in vectors where they and their
// strides are at multiples of 16 bytes and the encoded ones at multiples of 4. Throws DeviceError
// where a kernel cannot be launched.

// The rows of a batch's items, which lie `stride` bytes apart.
struct EncodedRows {
  std::byte* data = nullptr;
  std::int64_t stride = 0;
};
template <typename T>
struct SourceRows {
  const T* data = nullptr;
  std::int64_t stride = 0;
};

// `count` rows of each of `batch` items.
template <typename T>
void encode_rows(const EncodedRows& target, const SourceRows<T>& source, std::int64_t batch,
                 std::int64_t count, std::int64_t values, CUstream_st* stream);
template <typename T>
void decode_rows(T* rows, const std::byte* encoded, std::int64_t count, std::int64_t values,
                 CUstream_st* stream);

// The residual of `count` rows of each of `batch` items to `last` [batch, count, values].
template <typename T>
void encode_residual(const EncodedRows& target, T* last, const SourceRows<T>& source,
                     std::int64_t batch, std::int64_t count, std::int64_t values,
                     CUstream_st* stream);
template <typename T>
void add_residual(T* last, const std::byte* encoded, std::int64_t count, std::int64_t values,
                  CUstream_st* stream);

// `count` pairs of each of `batch` items.
void encode_moments(const EncodedRows& target, const SourceRows<double>& source, std::int64_t batch,
                    std::int64_t count, CUstream_st* stream);
void decode_moments(double* moments, const std::byte* encoded, std::int64_t count,
                    CUstream_st* stream);

}  // namespace pcpp

#endif  // PCPP_KERNELS_ENCODE_ROWS_H_
