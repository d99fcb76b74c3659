#include "kernels/device.h"
#include "kernels/geglu.h"

namespace pcpp {

namespace {

// Rows that a thread computes, one after the other.
constexpr int kThreadRows = 4;

__device__ float gelu_of(float x) { return 0.5F * x * (1.0F + erff(x * 0.707106781F)); }

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    gate(const T* __restrict__ input, T* __restrict__ output, std::int64_t rows, int width,
         int tile_width) {
  const Place<kWidth> place(tile_width, width);
  if (place.is_idle()) return;
  const int column = place.tile_begin + place.channel;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * place.rows * kThreadRows;
  const std::int64_t end = min(begin + place.rows * kThreadRows, rows);
  input += column;
  output += column;
  for_each_row<kWidth>(input, 2 * width, begin + place.row, end, place.rows,
                       [&](std::int64_t row, const Vector<T, kWidth>& values) {
                         const auto gates = load<kWidth>(input + row * 2 * width + width);
                         Vector<T, kWidth> result;
                         for (int i = 0; i < kWidth; ++i) {
                           const float value = as_float(values.values[i]);
                           set_rounded(result.values[i],
                                       value * gelu_of(as_float(gates.values[i])));
                         }
                         store(result, output + row * width);
                       });
}

template <typename T, int kWidth>
void gate_by_width(const T* input, T* output, std::int64_t rows, std::int64_t width,
                   CUstream_st* stream) {
  const Tiling tiling(divide_up(width, kWidth));
  launch("geglu", gate<T, kWidth>,
         dim3(static_cast<unsigned>(divide_up(rows, kThreads / tiling.width * kThreadRows)),
              static_cast<unsigned>(tiling.tiles)),
         stream, input, output, rows, static_cast<int>(width), tiling.width);
}

}  // namespace

template <typename T>
void geglu(const T* input, T* output, std::int64_t rows, std::int64_t width, CUstream_st* stream) {
  const auto by_width = fills_vectors<T>(width, input, output) ? gate_by_width<T, kFullWidth<T>>
                                                               : gate_by_width<T, 1>;
  by_width(input, output, rows, width, stream);
}

#define PCPP_FOR_ELEMENT(T) \
  template void geglu(const T*, T*, std::int64_t, std::int64_t, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
