#include "kernels/device.h"
#include "kernels/group_norm.h"

namespace pcpp {

namespace {

// Of all items together, where there are pixels enough: several for each multiprocessor of a card.
constexpr std::int64_t kBlocks = 512;
// Of a slice, about, however many pixels there are: sums in float32 stay short.
constexpr std::int64_t kMostElements = 32768;

// The slices of pixels that an item is cut into, each for one block or a few beside each other. By
// the shape alone, whatever the type and the device: a slice is what the threads of a block have
// under way at once of 16-bit elements, or several times that.
struct Slices {
  Slices(std::int64_t batch, std::int64_t all_pixels, std::int64_t channels) {
    const Tiling tiling(divide_up(channels, kFullWidth<Float16>));
    const std::int64_t at_once = kThreads / tiling.width * kAtOnce;
    const std::int64_t wanted = divide_up(batch * tiling.tiles * all_pixels, kBlocks);
    const std::int64_t most = divide_up(kMostElements, channels);
    pixels = divide_up(std::min(wanted, most), at_once) * at_once;
    count = divide_up(all_pixels, pixels);
  }
  std::int64_t pixels;
  std::int64_t count;
};

// Where in a row of sums those of a channel lie: the threads of a warp write to different banks.
template <int kWidth>
__device__ int position_of(int channel, int tile_channels) {
  return channel % kWidth * (tile_channels / kWidth) + channel / kWidth;
}

// One thread's sums over its pixels of x - pivot and of its square.
template <typename T, int kWidth>
__device__ void sum_pixels(const T* slice, int pixels, int channels, const Place<kWidth>& place,
                           float* sums, float* squares) {
  const Vector<T, kWidth> pivots = load<kWidth>(slice + place.channel);
  float sum[kWidth] = {};
  float square[kWidth] = {};
  for_each_row<kWidth>(slice + place.channel, channels, place.row, pixels, place.rows,
                       [&](std::int64_t, const Vector<T, kWidth>& vector) {
                         for (int i = 0; i < kWidth; ++i) {
                           const float difference =
                               as_float(vector.values[i]) - as_float(pivots.values[i]);
                           sum[i] += difference;
                           square[i] = fmaf(difference, difference, square[i]);
                         }
                       });
  for (int i = 0; i < kWidth; ++i) {
    const int position = place.row * place.tile_channels +
                         position_of<kWidth>(place.channel + i, place.tile_channels);
    sums[position] = sum[i];
    squares[position] = square[i];
  }
}

template <typename T>
__device__ double added_to(const Offset<T>& offset, std::int64_t item, int channel) {
  return offset.values == nullptr ? 0.0 : as_float(offset.values[item * offset.stride + channel]);
}

// Sums and sums of squares by group of one slice of pixels, into partial
// [batch, groups, tiles, slices, 2].
template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    sum_slices(const T* input, Offset<T> offset, std::int64_t pixels, int channels, int groups,
               int slice_pixels, int tile_width, double* partial) {
  __shared__ float sums[kThreads * kWidth];
  __shared__ float squares[kThreads * kWidth];
  const Place<kWidth> place(tile_width, channels);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * slice_pixels;
  const int count = static_cast<int>(min(static_cast<std::int64_t>(slice_pixels), pixels - first));
  const T* slice = input + (blockIdx.z * pixels + first) * channels + place.tile_begin;
  if (!place.is_idle()) sum_pixels<T, kWidth>(slice, count, channels, place, sums, squares);
  __syncthreads();

  for (int position = static_cast<int>(threadIdx.x); position < place.tile_channels;
       position += kThreads) {
    float sum = sums[position];
    float square = squares[position];
    for (int row = 1; row < place.rows; ++row) {
      sum += sums[row * place.tile_channels + position];
      square += squares[row * place.tile_channels + position];
    }
    sums[position] = sum;
    squares[position] = square;
  }
  __syncthreads();

  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int group_channels = channels / groups;
  const int last_group = (place.tile_begin + place.tile_channels - 1) / group_channels;
  for (int group = place.tile_begin / group_channels + static_cast<int>(threadIdx.x) / kWarp;
       group <= last_group; group += kThreads / kWarp) {
    const int begin = max(group * group_channels - place.tile_begin, 0);
    const int end = min((group + 1) * group_channels - place.tile_begin, place.tile_channels);
    double sum = 0;
    double square = 0;
    for (int channel = begin + lane; channel < end; channel += kWarp) {
      const double pivot =
          as_float(slice[channel]) + added_to(offset, blockIdx.z, place.tile_begin + channel);
      const int position = position_of<kWidth>(channel, place.tile_channels);
      const double difference = sums[position];
      sum += difference + count * pivot;
      square += squares[position] + pivot * (2 * difference + count * pivot);
    }
    sum = sum_over_warp(sum);
    square = sum_over_warp(square);
    if (lane == 0) {
      double* target =
          partial +
          (((static_cast<std::int64_t>(blockIdx.z) * groups + group) * gridDim.y + blockIdx.y) *
               gridDim.x +
           blockIdx.x) *
              2;
      target[0] = sum;
      target[1] = square;
    }
  }
}

// The moments of one group of one item from its part of `partial`.
__global__ void __launch_bounds__(kThreads)
    reduce_slices(const double* partial, int tiles, std::int64_t slices, int tile_channels,
                  int group_channels, double elements, double* moments) {
  __shared__ double sums[kThreads / kWarp];
  __shared__ double squares[kThreads / kWarp];
  const int group = static_cast<int>(blockIdx.x);
  const int first_tile = group * group_channels / tile_channels;
  const int last_tile = ((group + 1) * group_channels - 1) / tile_channels;
  const std::int64_t moment = static_cast<std::int64_t>(blockIdx.y) * gridDim.x + group;
  const double* begin = partial + (moment * tiles + first_tile) * slices * 2;
  const std::int64_t count = (last_tile - first_tile + 1) * slices;
  double sum = 0;
  double square = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += kThreads) {
    sum += begin[2 * i];
    square += begin[2 * i + 1];
  }
  sum = sum_over_warp(sum);
  square = sum_over_warp(square);
  if (threadIdx.x % kWarp == 0) {
    sums[threadIdx.x / kWarp] = sum;
    squares[threadIdx.x / kWarp] = square;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kThreads / kWarp; ++warp) {
    sum += sums[warp];
    square += squares[warp];
  }
  moments[2 * moment] = sum / elements;
  moments[2 * moment + 1] = square / elements;
}

template <typename T, int kWidth>
void moments_by_width(const T* input, const Offset<T>& offset, std::int64_t batch,
                      std::int64_t pixels, std::int64_t channels, std::int64_t groups,
                      std::byte* workspace, double* moments, CUstream_st* stream) {
  const Slices slices(batch, pixels, channels);
  const Tiling tiling(divide_up(channels, kWidth));
  const std::int64_t group_channels = channels / groups;
  auto* partial = reinterpret_cast<double*>(workspace);
  launch("group_moments", sum_slices<T, kWidth>,
         dim3(static_cast<unsigned>(slices.count), static_cast<unsigned>(tiling.tiles),
              static_cast<unsigned>(batch)),
         stream, input, offset, pixels, static_cast<int>(channels), static_cast<int>(groups),
         static_cast<int>(slices.pixels), tiling.width, partial);
  launch("group_moments", reduce_slices,
         dim3(static_cast<unsigned>(groups), static_cast<unsigned>(batch)), stream, partial,
         tiling.tiles, slices.count, tiling.width * kWidth, static_cast<int>(group_channels),
         static_cast<double>(pixels * group_channels), moments);
}

// y = (input - centre) * scale + shift, as ChannelCoefficients.
template <int kWidth>
struct Coefficients {
  Vector<float, kWidth> centre;
  Vector<float, kWidth> scale;
  Vector<float, kWidth> shift;
};

// Computes the coefficients of a block's tile, each once, into the block's shared `vectors`. Every
// thread of the block calls.
template <typename T, int kWidth>
__device__ void share_coefficients(const Normalisation& norm, const Offset<T>& offset,
                                   std::int64_t item, int channels, const Place<kWidth>& place,
                                   Coefficients<kWidth>* vectors) {
  const int groups = static_cast<int>(norm.groups);
  const double* moments = norm.moments + item * groups * 2;
  for (int i = static_cast<int>(threadIdx.x); i < place.tile_channels; i += kThreads) {
    const int channel = place.tile_begin + i;
    const int group = channel / (channels / groups);
    const double mean = moments[2 * group];
    const double variance = moments[2 * group + 1] - mean * mean;
    const float deviation = sqrtf(static_cast<float>(max(variance, 0.0) + norm.epsilon));
    const double middle = mean - added_to(offset, item, channel);
    const float centre = static_cast<float>(middle);
    const float scale = norm.weight[channel] / deviation;
    Coefficients<kWidth>& vector = vectors[i / kWidth];
    vector.centre.values[i % kWidth] = centre;
    vector.scale.values[i % kWidth] = scale;
    vector.shift.values[i % kWidth] =
        norm.bias[channel] - static_cast<float>(middle - centre) * scale;
  }
  __syncthreads();
}

__device__ float silu_of(float y) { return __fdividef(y, 1.0F + expf(-y)); }

template <typename T, int kWidth>
__device__ Vector<T, kWidth> normalised(const Vector<T, kWidth>& input,
                                        const Coefficients<kWidth>& coefficients, bool silu) {
  Vector<T, kWidth> output;
  for (int i = 0; i < kWidth; ++i) {
    const float y = fmaf(as_float(input.values[i]) - coefficients.centre.values[i],
                         coefficients.scale.values[i], coefficients.shift.values[i]);
    set_rounded(output.values[i], silu ? silu_of(y) : y);
  }
  return output;
}

template <int kWidth, typename T>
__device__ void clear_pixels(T* target, std::int64_t begin, std::int64_t end, int channels,
                             const Place<kWidth>& place) {
  for (std::int64_t pixel = begin + place.row; pixel < end; pixel += place.rows) {
    store(Vector<T, kWidth>{}, target + pixel * channels);
  }
}

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    normalise(const T* __restrict__ input, Offset<T> offset, T* __restrict__ output,
              std::int64_t pixels, int channels, Normalisation norm, std::int64_t padding_pixels,
              int slice_pixels, int tile_width) {
  __shared__ Coefficients<kWidth> shared[Tiling::kLargestWidth];
  const Place<kWidth> place(tile_width, channels);
  const std::int64_t item = blockIdx.z;
  share_coefficients(norm, offset, item, channels, place, shared);
  if (place.is_idle()) return;
  const Coefficients<kWidth>& coefficients = shared[place.channel / kWidth];
  const int channel = place.tile_begin + place.channel;
  // The slice of the output, counted from the first of the item's own pixels.
  const std::int64_t begin = blockIdx.x * static_cast<std::int64_t>(slice_pixels) - padding_pixels;
  const std::int64_t end = min(begin + slice_pixels, pixels + padding_pixels);
  input += item * pixels * channels + channel;
  output += (item * (pixels + 2 * padding_pixels) + padding_pixels) * channels + channel;
  for_each_row<kWidth>(input, channels, max(begin, std::int64_t{0}) + place.row, min(end, pixels),
                       place.rows, [&](std::int64_t pixel, const Vector<T, kWidth>& vector) {
                         store(normalised(vector, coefficients, norm.silu),
                               output + pixel * channels);
                       });
  clear_pixels(output, begin, min(end, std::int64_t{0}), channels, place);
  clear_pixels(output, max(begin, pixels), end, channels, place);
}

template <typename T, int kWidth>
void apply_by_width(const T* input, const Offset<T>& offset, T* output, std::int64_t batch,
                    std::int64_t pixels, std::int64_t channels, const Normalisation& normalisation,
                    std::int64_t padding_pixels, CUstream_st* stream) {
  const Slices slices(batch, pixels + 2 * padding_pixels, channels);
  const Tiling tiling(divide_up(channels, kWidth));
  launch("group_norm_apply", normalise<T, kWidth>,
         dim3(static_cast<unsigned>(slices.count), static_cast<unsigned>(tiling.tiles),
              static_cast<unsigned>(batch)),
         stream, input, offset, output, pixels, static_cast<int>(channels), normalisation,
         padding_pixels, static_cast<int>(slices.pixels), tiling.width);
}

}  // namespace

std::size_t group_moments_workspace_bytes(std::int64_t batch, std::int64_t pixels,
                                          std::int64_t channels, std::int64_t groups) {
  const Tiling most(channels);  // by the element
  const Slices slices(batch, pixels, channels);
  return static_cast<std::size_t>(batch * groups * most.tiles * slices.count) * 2 * sizeof(double);
}

template <typename T>
void group_moments(const T* input, const Offset<T>& offset, std::int64_t batch, std::int64_t pixels,
                   std::int64_t channels, std::int64_t groups, std::byte* workspace,
                   double* moments, CUstream_st* stream) {
  const auto by_width = fills_vectors<T>(channels, input) ? moments_by_width<T, kFullWidth<T>>
                                                          : moments_by_width<T, 1>;
  by_width(input, offset, batch, pixels, channels, groups, workspace, moments, stream);
}

template <typename T>
void group_norm_apply(const T* input, const Offset<T>& offset, T* output, std::int64_t batch,
                      std::int64_t pixels, std::int64_t channels,
                      const Normalisation& normalisation, std::int64_t padding_pixels,
                      CUstream_st* stream) {
  const auto by_width = fills_vectors<T>(channels, input, output) ? apply_by_width<T, kFullWidth<T>>
                                                                  : apply_by_width<T, 1>;
  by_width(input, offset, output, batch, pixels, channels, normalisation, padding_pixels, stream);
}

#define PCPP_FOR_ELEMENT(T)                                                                   \
  template void group_moments(const T*, const Offset<T>&, std::int64_t, std::int64_t,         \
                              std::int64_t, std::int64_t, std::byte*, double*, CUstream_st*); \
  template void group_norm_apply(const T*, const Offset<T>&, T*, std::int64_t, std::int64_t,  \
                                 std::int64_t, const Normalisation&, std::int64_t, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
