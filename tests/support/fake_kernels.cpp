// The kernels with a stream that the layers below libtorch call, for the fake CUDA runtime: their
// twins, run when the stream comes to them.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/copy_rows.h"
#include "kernels/encode_rows.h"
#include "support/fake_launch.h"

namespace pcpp {

namespace {

template <typename T>
const T* item_of(const SourceRows<T>& source, std::int64_t item) {
  return reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(source.data) +
                                    item * source.stride);
}

}  // namespace

void copy_rows(const RowCopy* first, std::size_t count, CUstream_st* stream) {
  const std::vector<RowCopy> copies(first, first + count);
  std::vector<testing::fake_cuda::Range> ranges;
  for (const RowCopy& copy : copies) {
    if (copy.batch == 0 || copy.bytes == 0) continue;
    const auto reach = [&](std::int64_t stride) {
      return static_cast<std::size_t>((copy.batch - 1) * stride + copy.bytes);
    };
    ranges.push_back({copy.target, reach(copy.target_stride)});
    ranges.push_back({copy.source, reach(copy.source_stride)});
  }
  if (ranges.empty()) return;
  launch_fake(
      "copy_rows", stream, [copies] { copy_rows(copies.data(), copies.size()); }, ranges);
}

template <typename T>
void encode_rows(const EncodedRows& target, const SourceRows<T>& source, std::int64_t batch,
                 std::int64_t count, std::int64_t values, CUstream_st* stream) {
  launch_fake("encode_rows", stream, [=] {
    for (std::int64_t item = 0; item < batch; ++item) {
      encode_rows(target.data + item * target.stride,
                  floats_at(item_of(source, item), count * values).data(), count, values);
    }
  });
}

template <typename T>
void decode_rows(T* rows, const std::byte* encoded, std::int64_t count, std::int64_t values,
                 CUstream_st* stream) {
  launch_fake("decode_rows", stream, [=] {
    std::vector<float> floats(static_cast<std::size_t>(count * values));
    decode_rows(floats.data(), encoded, count, values);
    set_all(rows, floats);
  });
}

template <typename T>
void encode_residual(const EncodedRows& target, T* last, const SourceRows<T>& source,
                     std::int64_t batch, std::int64_t count, std::int64_t values,
                     CUstream_st* stream) {
  launch_fake("encode_residual", stream, [=] {
    for (std::int64_t item = 0; item < batch; ++item) {
      T* last_rows = last + item * count * values;
      std::vector<float> sums = floats_at(last_rows, count * values);
      encode_residual(target.data + item * target.stride, sums.data(),
                      floats_at(item_of(source, item), count * values).data(), count, values);
      set_all(last_rows, sums);
    }
  });
}

template <typename T>
void add_residual(T* last, const std::byte* encoded, std::int64_t count, std::int64_t values,
                  CUstream_st* stream) {
  launch_fake("add_residual", stream, [=] {
    std::vector<float> sums = floats_at(last, count * values);
    add_residual(sums.data(), encoded, count, values);
    set_all(last, sums);
  });
}

void encode_moments(const EncodedRows& target, const SourceRows<double>& source, std::int64_t batch,
                    std::int64_t count, CUstream_st* stream) {
  launch_fake("encode_moments", stream, [=] {
    for (std::int64_t item = 0; item < batch; ++item) {
      encode_moments(target.data + item * target.stride, item_of(source, item), count);
    }
  });
}

void decode_moments(double* moments, const std::byte* encoded, std::int64_t count,
                    CUstream_st* stream) {
  launch_fake("decode_moments", stream, [=] { decode_moments(moments, encoded, count); });
}

#define PCPP_FOR_ELEMENT(T)                                                                       \
  template void encode_rows(const EncodedRows&, const SourceRows<T>&, std::int64_t, std::int64_t, \
                            std::int64_t, CUstream_st*);                                          \
  template void decode_rows(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*);      \
  template void encode_residual(const EncodedRows&, T*, const SourceRows<T>&, std::int64_t,       \
                                std::int64_t, std::int64_t, CUstream_st*);                        \
  template void add_residual(T*, const std::byte*, std::int64_t, std::int64_t, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
