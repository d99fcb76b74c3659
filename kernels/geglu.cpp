#include "kernels/geglu.h"

#include "kernels/vector_loop.h"

namespace pcpp {

namespace {

// The complementary error function by the Chebyshev fit of Numerical Recipes (W. H. Press et al.,
// section 6.2): 1.2e-7 relative everywhere, before rounding. For z in [0, 9].
PCPP_INLINE float complementary_error(float z) {
  const float t = 1.0F / (1.0F + 0.5F * z);
  float p = 0.17087277F;
  p = p * t - 0.82215223F;
  p = p * t + 1.48851587F;
  p = p * t - 1.13520398F;
  p = p * t + 0.27886807F;
  p = p * t - 0.18628806F;
  p = p * t + 0.09678418F;
  p = p * t + 0.37409196F;
  p = p * t + 1.00002368F;
  p = p * t - 1.26551223F;
  return t * exponential(p - z * z);
}

PCPP_INLINE float gelu_of(float x) {
  const float magnitude = x < 0.0F ? -x : x;
  const float z = magnitude * 0.70710678F;
  const float tail = 0.5F * complementary_error(z > 9.0F ? 9.0F : z);
  return x * (x < 0.0F ? tail : 1.0F - tail);
}

template <typename T>
PCPP_INLINE void gate(const T* input, T* output, std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* value = input + 2 * row * width;
    T* target = output + row * width;
    for (std::int64_t c = 0; c < width; ++c) {
      store(to_float(value[c]) * gelu_of(to_float(value[c + width])), target + c);
    }
  }
}

}  // namespace

PCPP_VECTOR_CLONES void geglu(const float* input, float* output, std::int64_t rows,
                              std::int64_t width) {
  gate(input, output, rows, width);
}

PCPP_VECTOR_CLONES void geglu(const Bfloat16* input, Bfloat16* output, std::int64_t rows,
                              std::int64_t width) {
  gate(input, output, rows, width);
}

}  // namespace pcpp
