// The kernels with a stream that layers call, for the fake CUDA runtime: their twins in float32.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/add_image.h"
#include "kernels/geglu.h"
#include "kernels/group_norm.h"
#include "kernels/guided_step.h"
#include "kernels/layer_norm.h"
#include "kernels/moments.h"
#include "support/fake_launch.h"

namespace pcpp {

namespace {

std::vector<float> zeros(std::int64_t count) {
  return std::vector<float>(static_cast<std::size_t>(count));
}

template <typename T>
std::vector<float> offset_of(const Offset<T>& offset, std::int64_t item, std::int64_t channels) {
  if (offset.values == nullptr) return zeros(channels);
  return floats_at(offset.values + item * offset.stride, channels);
}

}  // namespace

std::size_t group_moments_workspace_bytes(std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  return 16;
}

template <typename T>
void group_moments(const T* input, const Offset<T>& offset, std::int64_t batch, std::int64_t pixels,
                   std::int64_t channels, std::int64_t groups, std::byte* /*workspace*/,
                   double* moments, CUstream_st* stream) {
  launch_fake("group_moments", stream, [=] {
    for (std::int64_t item = 0; item < batch; ++item) {
      double* sums = moments + item * groups * 2;
      group_sums(floats_at(input + item * pixels * channels, pixels * channels).data(),
                 offset_of(offset, item, channels).data(), pixels, channels, groups, sums);
      const std::int64_t elements = pixels * channels / groups;
      for (std::int64_t i = 0; i < groups * 2; ++i) sums[i] /= static_cast<double>(elements);
    }
  });
}

template <typename T>
void group_norm_apply(const T* input, const Offset<T>& offset, T* output, std::int64_t batch,
                      std::int64_t pixels, std::int64_t channels,
                      const Normalisation& normalisation, std::int64_t padding_pixels,
                      CUstream_st* stream) {
  launch_fake("group_norm_apply", stream, [=] {
    T* target = output;
    for (std::int64_t item = 0; item < batch; ++item) {
      std::vector<float> centre = zeros(channels);
      std::vector<float> scale = zeros(channels);
      std::vector<float> shift = zeros(channels);
      group_norm_coefficients(normalisation.moments + item * normalisation.groups * 2,
                              offset_of(offset, item, channels).data(), normalisation.weight,
                              normalisation.bias, channels, normalisation.groups,
                              normalisation.epsilon, centre.data(), scale.data(), shift.data());
      std::vector<float> rows = floats_at(input + item * pixels * channels, pixels * channels);
      group_norm_apply(rows.data(), rows.data(), pixels, channels,
                       {centre.data(), scale.data(), shift.data()}, normalisation.silu);
      target = std::fill_n(target, padding_pixels * channels, T{});
      set_all(target, rows);
      target = std::fill_n(target + pixels * channels, padding_pixels * channels, T{});
    }
  });
}

void combine_moments(const OwnMoments& own, const BandMoments* others, int count, double all_rows,
                     std::int64_t batch, std::int64_t groups, double* result, CUstream_st* stream) {
  const std::vector<BandMoments> kept(others, others + count);
  launch_fake("combine_moments", stream,
              [=] { combine_moments(own, kept.data(), count, all_rows, batch, groups, result); });
}

template <typename T>
void geglu(const T* input, T* output, std::int64_t rows, std::int64_t width, CUstream_st* stream) {
  launch_fake("geglu", stream, [=] {
    std::vector<float> values = zeros(rows * width);
    geglu(floats_at(input, rows * width * 2).data(), values.data(), rows, width);
    set_all(output, values);
  });
}

template <typename T>
void guided_step(const float* latents, const Predictions<T>& predictions,
                 const LinearUpdate& update, std::int64_t count, float* next, CUstream_st* stream) {
  launch_fake("guided_step", stream, [=] {
    const bool guided = predictions.unconditional != nullptr;
    const std::vector<float> conditional = floats_at(predictions.conditional, count);
    const std::vector<float> unconditional =
        guided ? floats_at(predictions.unconditional, count) : std::vector<float>();
    guided_step(latents,
                {conditional.data(), guided ? unconditional.data() : nullptr, predictions.scale},
                update, count, next);
  });
}

template <typename T>
void layer_norm(const NormRows<T>& rows, std::int64_t count,
                const LayerNormalisation& normalisation, CUstream_st* stream) {
  launch_fake("layer_norm", stream, [=] {
    const std::int64_t values = count * rows.width;
    std::vector<float> input = floats_at(rows.input, values);
    if (rows.addend != nullptr) {
      const std::vector<float> addend = floats_at(rows.addend, values);
      for (std::size_t i = 0; i < input.size(); ++i) input[i] += addend[i];
      set_all(rows.sum, input);
      input = floats_at(rows.sum, values);
    }
    std::vector<float> output = zeros(values);
    layer_norm({input.data(), nullptr, nullptr, output.data(), rows.width}, count, normalisation);
    set_all(rows.output, output);
  });
}

template <typename T>
void add_image(T* sum, const T* image, const T* bias, std::int64_t pixels, std::int64_t channels,
               CUstream_st* stream) {
  launch_fake("add_image", stream, [=] {
    std::vector<float> values = floats_at(sum, pixels * channels);
    add_image(values.data(), floats_at(image, pixels * channels).data(),
              floats_at(bias, channels).data(), pixels, channels);
    set_all(sum, values);
  });
}

#define PCPP_FOR_ELEMENT(T)                                                                       \
  template void group_moments(const T*, const Offset<T>&, std::int64_t, std::int64_t,             \
                              std::int64_t, std::int64_t, std::byte*, double*, CUstream_st*);     \
  template void group_norm_apply(const T*, const Offset<T>&, T*, std::int64_t, std::int64_t,      \
                                 std::int64_t, const Normalisation&, std::int64_t, CUstream_st*); \
  template void geglu(const T*, T*, std::int64_t, std::int64_t, CUstream_st*);                    \
  template void guided_step(const float*, const Predictions<T>&, const LinearUpdate&,             \
                            std::int64_t, float*, CUstream_st*);                                  \
  template void layer_norm(const NormRows<T>&, std::int64_t, const LayerNormalisation&,           \
                           CUstream_st*);                                                         \
  template void add_image(T*, const T*, const T*, std::int64_t, std::int64_t, CUstream_st*);
PCPP_FOR_ELEMENT(float)
PCPP_FOR_ELEMENT(Float16)
PCPP_FOR_ELEMENT(Bfloat16)
#undef PCPP_FOR_ELEMENT

}  // namespace pcpp
