#include "kernels/add_image.h"
#include "kernels/device.h"

namespace pcpp {

namespace {

// Pixels that a thread computes, one after the other.
constexpr int kThreadPixels = 4;

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    add_pixels(T* __restrict__ sum, const T* __restrict__ image, const T* __restrict__ bias,
               std::int64_t pixels, int channels, int tile_width) {
  const Place<kWidth> place(tile_width, channels);
  if (place.is_idle()) return;
  const int channel = place.tile_begin + place.channel;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * place.rows * kThreadPixels;
  const std::int64_t end = min(begin + place.rows * kThreadPixels, pixels);
  const auto biases = load<kWidth>(bias + channel);
  sum += channel;
  image += channel;
  for_each_row<kWidth>(image, channels, begin + place.row, end, place.rows,
                       [&](std::int64_t pixel, const Vector<T, kWidth>& added) {
                         T* target = sum + pixel * channels;
                         Vector<T, kWidth> result = load<kWidth>(target);
                         for (int i = 0; i < kWidth; ++i) {
                           set_rounded(result.values[i], as_float(result.values[i]) +
                                                             as_float(added.values[i]) +
                                                             as_float(biases.values[i]));
                         }
                         store(result, target);
                       });
}

template <typename T, int kWidth>
void add_by_width(T* sum, const T* image, const T* bias, std::int64_t pixels, std::int64_t channels,
                  CUstream_st* stream) {
  const Tiling tiling(divide_up(channels, kWidth));
  launch("add_image", add_pixels<T, kWidth>,
         dim3(static_cast<unsigned>(divide_up(pixels, kThreads / tiling.width * kThreadPixels)),
              static_cast<unsigned>(tiling.tiles)),
         stream, sum, image, bias, pixels, static_cast<int>(channels), tiling.width);
}

}  // namespace

template <typename T>
void add_image(T* sum, const T* image, const T* bias, std::int64_t pixels, std::int64_t channels,
               CUstream_st* stream) {
  const auto by_width = fills_vectors<T>(channels, sum, image, bias)
                            ? add_by_width<T, kFullWidth<T>>
                            : add_by_width<T, 1>;
  by_width(sum, image, bias, pixels, channels, stream);
}

#define PCPP_FOR_ELEMENT(T) \
  template void add_image(T*, const T*, const T*, std::int64_t, std::int64_t, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
