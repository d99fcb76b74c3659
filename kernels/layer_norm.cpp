#include "kernels/layer_norm.h"

#include <cmath>

#include "kernels/vector_loop.h"

namespace pcpp {

namespace {

// Sums that grow side by side, so that the compiler may make vectors of them.
constexpr std::int64_t kLanes = 32;

// Of term(i) for i in [0, count).
template <typename Term>
PCPP_INLINE float sum_of(std::int64_t count, const Term& term) {
  float lanes[kLanes] = {};
  std::int64_t begin = 0;
  for (; begin + kLanes <= count; begin += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(begin + lane);
  }
  for (std::int64_t i = begin; i < count; ++i) lanes[i - begin] += term(i);
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (std::int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

template <typename T>
PCPP_INLINE void normalise_row(const T* x, T* output, std::int64_t width,
                               const LayerNormalisation& norm) {
  const auto elements = static_cast<float>(width);
  const float mean = sum_of(width, [&](std::int64_t i) { return to_float(x[i]); }) / elements;
  const float square = sum_of(width, [&](std::int64_t i) {
    const float difference = to_float(x[i]) - mean;
    return difference * difference;
  });
  const float scale = 1 / std::sqrt(square / elements + norm.epsilon);
  const float* weight = norm.weight;
  const float* bias = norm.bias;
  for (std::int64_t i = 0; i < width; ++i) {
    store((to_float(x[i]) - mean) * scale * weight[i] + bias[i], output + i);
  }
}

template <typename T>
PCPP_INLINE void normalise_rows(const NormRows<T>& rows, std::int64_t count,
                                const LayerNormalisation& norm) {
  const std::int64_t width = rows.width;
  for (std::int64_t row = 0; row < count; ++row) {
    const T* x = rows.input + row * width;
    if (rows.addend != nullptr) {
      const T* addend = rows.addend + row * width;
      T* sum = rows.sum + row * width;
      for (std::int64_t i = 0; i < width; ++i) store(to_float(x[i]) + to_float(addend[i]), sum + i);
      x = sum;
    }
    normalise_row(x, rows.output + row * width, width, norm);
  }
}

}  // namespace

PCPP_VECTOR_CLONES void layer_norm(const NormRows<float>& rows, std::int64_t count,
                                   const LayerNormalisation& normalisation) {
  normalise_rows(rows, count, normalisation);
}

PCPP_VECTOR_CLONES void layer_norm(const NormRows<Bfloat16>& rows, std::int64_t count,
                                   const LayerNormalisation& normalisation) {
  normalise_rows(rows, count, normalisation);
}

}  // namespace pcpp
