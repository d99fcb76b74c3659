#include "kernels/device.h"
#include "kernels/layer_norm.h"

namespace pcpp {

namespace {

// Vectors that a thread keeps of a row: of 16 bytes they hold the widest rows of U-Nets, 1280
// elements. Further ones are read again.
template <typename T>
constexpr int kKept = 5 * static_cast<int>(sizeof(T)) / 2;

// One row, as the threads of a warp have it: a vector of every kWarp each.
template <typename T, int kWidth>
class Row {
 public:
  __device__ Row(const NormRows<T>& rows, std::int64_t number)
      : begin_(number * rows.width),
        lane_(static_cast<int>(threadIdx.x) % kWarp),
        vectors_(static_cast<int>(rows.width) / kWidth),
        x_((rows.addend == nullptr ? rows.input : rows.sum) + begin_) {
    for (int i = 0; i < kKept<T>; ++i) {
      if (is_inside(i)) kept_[i] = summed(rows, i);
    }
    for (int i = kKept<T>; is_inside(i); ++i) summed(rows, i);
  }

  // Calls use(number of the vector's first element, vector) for each of the thread's.
  template <typename Use>
  __device__ void for_each(Use use) const {
    for (int i = 0; i < kKept<T>; ++i) {
      if (is_inside(i)) use(first_of(i), kept_[i]);
    }
    for (int i = kKept<T>; is_inside(i); ++i) use(first_of(i), load<kWidth>(x_ + first_of(i)));
  }

 private:
  __device__ bool is_inside(int i) const { return lane_ + i * kWarp < vectors_; }
  __device__ int first_of(int i) const { return (lane_ + i * kWarp) * kWidth; }

  // Input plus addend, stored where there is one.
  __device__ Vector<T, kWidth> summed(const NormRows<T>& rows, int i) const {
    const std::int64_t place = begin_ + first_of(i);
    Vector<T, kWidth> x = load<kWidth>(rows.input + place);
    if (rows.addend == nullptr) return x;
    const auto addend = load<kWidth>(rows.addend + place);
    for (int j = 0; j < kWidth; ++j) {
      set_rounded(x.values[j], as_float(x.values[j]) + as_float(addend.values[j]));
    }
    store(x, rows.sum + place);
    return x;
  }

  const std::int64_t begin_;
  const int lane_;
  const int vectors_;
  const T* const x_;
  Vector<T, kWidth> kept_[kKept<T>];
};

// At most 16 bytes at a time.
template <int kWidth>
__device__ Vector<float, kWidth> load_floats(const float* source) {
  constexpr int kPart = kWidth < 4 ? kWidth : 4;
  Vector<float, kWidth> result;
  for (int first = 0; first < kWidth; first += kPart) {
    const auto part = load<kPart>(source + first);
    for (int i = 0; i < kPart; ++i) result.values[first + i] = part.values[i];
  }
  return result;
}

// A warp for each row.
template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    normalise_rows(NormRows<T> rows, std::int64_t count, LayerNormalisation norm) {
  const std::int64_t number =
      static_cast<std::int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (number >= count) return;
  const Row<T, kWidth> row(rows, number);
  const auto elements = static_cast<float>(rows.width);
  float sum = 0;
  row.for_each([&](int, const Vector<T, kWidth>& vector) {
    for (int i = 0; i < kWidth; ++i) sum += as_float(vector.values[i]);
  });
  const float mean = sum_over_warp(sum) / elements;
  float square = 0;
  row.for_each([&](int, const Vector<T, kWidth>& vector) {
    for (int i = 0; i < kWidth; ++i) {
      const float difference = as_float(vector.values[i]) - mean;
      square = fmaf(difference, difference, square);
    }
  });
  const float scale = 1.0F / sqrtf(sum_over_warp(square) / elements + norm.epsilon);
  T* output = rows.output + number * rows.width;
  row.for_each([&](int first, const Vector<T, kWidth>& vector) {
    const auto weights = load_floats<kWidth>(norm.weight + first);
    const auto biases = load_floats<kWidth>(norm.bias + first);
    Vector<T, kWidth> result;
    for (int i = 0; i < kWidth; ++i) {
      const float unit = (as_float(vector.values[i]) - mean) * scale;
      set_rounded(result.values[i], fmaf(unit, weights.values[i], biases.values[i]));
    }
    store(result, output + first);
  });
}

template <typename T, int kWidth>
void norm_by_width(const NormRows<T>& rows, std::int64_t count,
                   const LayerNormalisation& normalisation, CUstream_st* stream) {
  launch("layer_norm", normalise_rows<T, kWidth>,
         dim3(static_cast<unsigned>(divide_up(count, kThreads / kWarp))), stream, rows, count,
         normalisation);
}

}  // namespace

template <typename T>
void layer_norm(const NormRows<T>& rows, std::int64_t count,
                const LayerNormalisation& normalisation, CUstream_st* stream) {
  const bool fills = fills_vectors<T>(rows.width, rows.input, rows.addend, rows.sum, rows.output,
                                      normalisation.weight, normalisation.bias);
  const auto by_width = fills ? norm_by_width<T, kFullWidth<T>> : norm_by_width<T, 1>;
  by_width(rows, count, normalisation, stream);
}

#define PCPP_FOR_ELEMENT(T)                                                             \
  template void layer_norm(const NormRows<T>&, std::int64_t, const LayerNormalisation&, \
                           CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
