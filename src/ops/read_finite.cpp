#include "ops/read_finite.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/check.h"

namespace pcpp {
namespace {

// Whether none of the numbers is infinite or not a number: has all bits of its exponent.
template <typename Bits>
bool all_finite(std::span<const Bits> numbers, Bits exponent) {
  Bits found = 0;
  for (const Bits number : numbers) found |= (number & exponent) == exponent ? 1U : 0U;
  return found == 0;
}

template <typename Bits>
bool all_finite(const at::Tensor& values, Bits exponent) {
  const std::span<const Bits> numbers(static_cast<const Bits*>(values.const_data_ptr()),
                                      static_cast<std::size_t>(values.numel()));
  return all_finite(numbers, exponent);
}

// Copies numbers from any address and says whether all of them are finite.
template <typename Bits>
bool copy_finite(std::span<const std::byte> source, Bits exponent, void* target) {
  constexpr std::int64_t kGrain = std::int64_t{1} << 18;
  auto* numbers = static_cast<Bits*>(target);
  std::atomic<bool> finite = true;
  at::parallel_for(0, static_cast<std::int64_t>(source.size() / sizeof(Bits)), kGrain,
                   [&](std::int64_t begin, std::int64_t end) {
                     const auto first = static_cast<std::size_t>(begin);
                     const auto count = static_cast<std::size_t>(end - begin);
                     std::memcpy(numbers + first, source.data() + first * sizeof(Bits),
                                 count * sizeof(Bits));
                     const std::span<const Bits> copied(numbers + first, count);
                     if (!all_finite(copied, exponent)) finite = false;
                   });
  return finite;
}

}  // namespace

at::Tensor read_finite(const TensorView& view, const std::string& name) {
  const auto check_finite = [&name](bool finite) {
    check<CheckpointError>(finite,
                           "{} holds a value that is not a finite float32 number: the file is "
                           "damaged, or its training went astray; get it again",
                           name);
  };
  const auto read = [&](at::ScalarType dtype, auto exponent) {
    at::Tensor values = at::empty(view.shape, dtype);
    check_finite(copy_finite(view.bytes, exponent, values.mutable_data_ptr()));
    return values;
  };
  if (view.dtype == DType::f32) return read(at::kFloat, std::uint32_t{0x7F800000U});
  if (view.dtype == DType::f16) return read(at::kHalf, std::uint16_t{0x7C00U});
  if (view.dtype == DType::bf16) return read(at::kBFloat16, std::uint16_t{0x7F80U});
  at::Tensor values = at::empty(view.shape, at::kFloat);
  const std::span<float> floats(values.mutable_data_ptr<float>(),
                                static_cast<std::size_t>(values.numel()));
  to_float(view, name, floats);
  check_finite(std::ranges::all_of(floats, [](float value) { return std::isfinite(value); }));
  return values;
}

bool all_finite(const at::Tensor& values) {
  if (values.scalar_type() == at::kHalf) return all_finite(values, std::uint16_t{0x7C00U});
  if (values.scalar_type() == at::kBFloat16) return all_finite(values, std::uint16_t{0x7F80U});
  return all_finite(values, std::uint32_t{0x7F800000U});
}

}  // namespace pcpp
