// The body of the attention kernels, included by one source for each level and compiled for it.
// Everything is in an unnamed namespace and calls nothing that other sources may hold a copy of:
// the linker could keep this level's copy for all.
//
// A lane of a vector is a query, here and in all products, which are
// c [rows, kStrip] = a [rows, units] b [units, kStrip]: scores of keys and transposed queries,
// outputs of transposed values and probabilities. So the softmax needs nothing across lanes. A unit
// is 32 bits: a float, or a pair of bfloat16 that are neighbours in the sum.
#ifndef PCPP_KERNELS_ATTENTION_BODY_H_
#define PCPP_KERNELS_ATTENTION_BODY_H_

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <utility>

#include "kernels/attention_levels.h"
#include "kernels/bfloat16.h"

namespace pcpp {
namespace {

#if defined(__AVX512F__)
constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kTileRows = 8;
// GCC 12 warns of the variants without a mask that they read what is not initialised.
constexpr __mmask16 kAllLanes = 0xFFFF;
constexpr int kFloor = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
#elif defined(__AVX2__)
constexpr std::int64_t kLanes = 8;
constexpr std::int64_t kTileRows = 4;
#else
constexpr std::int64_t kLanes = 4;
constexpr std::int64_t kTileRows = 4;
#endif
constexpr std::int64_t kVectors = 2;
constexpr std::int64_t kStrip = kVectors * kLanes;  // queries of a product
constexpr std::int64_t kMaxStrips = kAttentionQueries / kStrip;
constexpr std::int64_t kKeyMultiple = 32;  // keys and values of a block are filled up with zeros

using Floats = float __attribute__((vector_size(4 * kLanes)));
using Bits = std::uint32_t __attribute__((vector_size(4 * kLanes)));
using Halves = std::uint16_t __attribute__((vector_size(2 * kLanes)));

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

inline Floats all(float value) { return Floats{} + value; }

inline Floats load(const float* source) {
  Floats result;
  __builtin_memcpy(&result, source, sizeof(result));
  return result;
}

inline void store(Floats value, float* target) { __builtin_memcpy(target, &value, sizeof(value)); }

inline void store(Floats value, Bfloat16* target) {
  const Bits bits = reinterpret_cast<Bits>(value);
  const Bits rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  const Bits number = value == value ? rounded : Bits{} + 0x7FC0U;
  const Halves halves = __builtin_convertvector(number, Halves);
  __builtin_memcpy(&target->bits, &halves, sizeof(halves));
}

// The first of `count` elements, zeros where there are fewer than lanes.
inline Floats load_elements(const float* source, std::int64_t count) {
  if (count >= kLanes) return load(source);
  Floats result{};
  __builtin_memcpy(&result, source, static_cast<std::size_t>(count) * sizeof(float));
  return result;
}

inline Floats load_elements(const Bfloat16* source, std::int64_t count) {
  Halves halves{};
  const auto bytes = static_cast<std::size_t>(count) * sizeof(Bfloat16);
  __builtin_memcpy(&halves, source, count >= kLanes ? sizeof(halves) : bytes);
  return reinterpret_cast<Floats>(__builtin_convertvector(halves, Bits) << 16);
}

template <typename T>
void store_elements(Floats value, T* target, std::int64_t count) {
  if (count >= kLanes) return store(value, target);
  T elements[kLanes];
  store(value, elements);
  __builtin_memcpy(target, elements, static_cast<std::size_t>(count) * sizeof(T));
}

// Units of a row of `count` elements as products read them.
inline Floats load_units(const float*, const float* source, std::int64_t count) {
  return load_elements(source, count);
}

inline Floats load_units(const float*, const Bfloat16* source, std::int64_t count) {
  return load_elements(source, count);
}

inline Floats load_units(const Bfloat16*, const Bfloat16* source, std::int64_t count) {
  Floats result{};
  const auto bytes = static_cast<std::size_t>(count) * sizeof(Bfloat16);
  __builtin_memcpy(&result, source, bytes < sizeof(result) ? bytes : sizeof(result));
  return result;
}

// One step of a transposition: exchanges the lanes with bit `kBit` of one half of the rows for the
// lanes without it of the other half.
template <std::size_t kBit, std::size_t... kLane>
void exchange_lanes(Floats* rows, std::index_sequence<kLane...>) {
  constexpr auto kCount = static_cast<std::size_t>(kLanes);
  for (std::size_t i = 0; i < kCount; ++i) {
    if ((i & kBit) != 0) continue;
    const Floats low = rows[i];
    const Floats high = rows[i + kBit];
    rows[i] = __builtin_shufflevector(low, high,
                                      ((kLane & kBit) == 0 ? kLane : kCount + kLane - kBit)...);
    rows[i + kBit] = __builtin_shufflevector(
        low, high, ((kLane & kBit) == 0 ? kLane + kBit : kCount + kLane)...);
  }
}

inline void transpose(Floats* rows) {
  constexpr auto kAll = std::make_index_sequence<static_cast<std::size_t>(kLanes)>();
  exchange_lanes<1>(rows, kAll);
  exchange_lanes<2>(rows, kAll);
  if constexpr (kLanes > 4) exchange_lanes<4>(rows, kAll);
  if constexpr (kLanes > 8) exchange_lanes<8>(rows, kAll);
}

inline Floats larger(Floats a, Floats b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(kAllLanes, a, b);
#else
  return a > b ? a : b;
#endif
}

// 2^x for x <= 0, to 2e-7 relative, or to 1e-4 where `kShort`; at most 2^-126 below -126. A NaN
// passes.
// 2^r for r in [0, 1] is the polynomial of least relative error.
template <bool kShort>
Floats exp2(Floats x) {
#if defined(__AVX512F__)
  const Floats r = _mm512_maskz_reduce_ps(kAllLanes, x, kFloor);
#else
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  x = x < -126.0F ? all(-126.0F) : x;
  const Floats shifted = (x - 0.5F) + kRound;
  const Floats r = x - (shifted - kRound);
#endif
  Floats p;
  if constexpr (kShort) {
    p = 7.802452269e-2F * r + 2.260671554e-1F;
    p = p * r + 6.958335405e-1F;
    p = p * r + 9.999252186e-1F;
  } else {
    p = 1.877576700e-3F * r + 8.989340024e-3F;
    p = p * r + 5.582631812e-2F;
    p = p * r + 2.401536170e-1F;
    p = p * r + 6.931530732e-1F;
    p = p * r + 9.999999251e-1F;
  }
#if defined(__AVX512F__)
  return _mm512_maskz_scalef_ps(kAllLanes, p, x);
#else
  const Bits exponent = (reinterpret_cast<Bits>(shifted) << 23) + (127U << 23);
  return p * reinterpret_cast<Floats>(exponent);
#endif
}

// Products whose sums are in registers, of float32.
struct VectorProduct {
  using Packed = float;
  static constexpr std::int64_t kRows = kTileRows;  // a product's rows are a multiple of it
  static constexpr std::int64_t kUnits = 1;         // and its units of this
  struct Session {};                                // what lives while products are computed

  static Floats multiply_add(const float* a, Floats b, Floats sum) { return *a * b + sum; }

  template <bool kAdd>
  static void multiply(const float* a, std::int64_t stride, const float* b, float* c,
                       std::int64_t rows, std::int64_t units);
};

// c (+)= a b; a's rows are `stride` units apart.
template <typename Product, bool kAdd, typename Unit>
void multiply_in_registers(const Unit* a, std::int64_t stride, const float* b, float* c,
                           std::int64_t rows, std::int64_t units) {
  for (std::int64_t row = 0; row < rows; row += kTileRows) {
    Floats sums[kTileRows][kVectors];
    float* target = c + row * kStrip;
    for (std::int64_t i = 0; i < kTileRows; ++i) {
      for (std::int64_t v = 0; v < kVectors; ++v) {
        sums[i][v] = kAdd ? load(target + i * kStrip + v * kLanes) : Floats{};
      }
    }
    const Unit* source = a + row * stride;
    for (std::int64_t unit = 0; unit < units; ++unit) {
      const Floats left = load(b + unit * kStrip);
      const Floats right = load(b + unit * kStrip + kLanes);
      for (std::int64_t i = 0; i < kTileRows; ++i) {
        const Unit* factor = source + i * stride + unit;
        sums[i][0] = Product::multiply_add(factor, left, sums[i][0]);
        sums[i][1] = Product::multiply_add(factor, right, sums[i][1]);
      }
    }
    for (std::int64_t i = 0; i < kTileRows; ++i) {
      for (std::int64_t v = 0; v < kVectors; ++v) {
        store(sums[i][v], target + i * kStrip + v * kLanes);
      }
    }
  }
}

template <bool kAdd>
void VectorProduct::multiply(const float* a, std::int64_t stride, const float* b, float* c,
                             std::int64_t rows, std::int64_t units) {
  multiply_in_registers<VectorProduct, kAdd>(a, stride, b, c, rows, units);
}

// How a head of `size` elements lies in memory for products of one kind.
template <typename Product>
struct Layout {
  using Packed = typename Product::Packed;
  static constexpr std::int64_t kPerUnit = sizeof(float) / sizeof(Packed);

  explicit Layout(std::int64_t elements)
      : size(elements),
        units(round_up(round_up(size, kPerUnit) / kPerUnit, Product::kUnits)),
        value_rows(round_up(size, Product::kRows)),
        key_stride(round_up(units, kLanes) * kPerUnit) {}

  std::int64_t key_elements() const { return kAttentionKeys * key_stride; }
  std::int64_t packed_elements() const { return key_elements() + value_rows * kAttentionKeys; }
  // Of a strip: transposed queries, outputs, maxima and sums.
  std::int64_t query_floats() const { return round_up(units, kLanes) * kStrip; }
  std::int64_t strip_floats() const { return query_floats() + (value_rows + 2) * kStrip; }

  std::int64_t size;
  std::int64_t units;
  std::int64_t value_rows;
  std::int64_t key_stride;  // elements
};

template <typename Product, typename Source>
void pack(const AttentionRows& keys, const AttentionRows& values, std::int64_t count,
          std::int64_t size, std::byte* packed) {
  const Layout<Product> layout(size);
  auto* target = reinterpret_cast<typename Product::Packed*>(packed);
  const std::int64_t filled = round_up(count, kKeyMultiple);
  const auto elements = [size, count](const AttentionRows& rows, std::int64_t row,
                                      std::int64_t first) {
    if (row >= count || first >= size) return Floats{};
    return load_elements(static_cast<const Source*>(rows.data) + row * rows.stride + first,
                         size - first);
  };
  for (std::int64_t row = 0; row < filled; ++row) {
    for (std::int64_t i = 0; i < layout.key_stride; i += kLanes) {
      store(elements(keys, row, i), target + row * layout.key_stride + i);
    }
  }
  target += layout.key_elements();
  for (std::int64_t key = 0; key < filled; key += kLanes) {
    for (std::int64_t first = 0; first < layout.value_rows; first += kLanes) {
      Floats rows[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) rows[i] = elements(values, key + i, first);
      transpose(rows);
      for (std::int64_t i = 0; i < kLanes && first + i < layout.value_rows; ++i) {
        store(rows[i], target + (first + i) * kAttentionKeys + key);
      }
    }
  }
}

// The state of kStrip queries between two blocks of keys, in scratch.
struct Strip {
  float* queries;  // [units, kStrip]
  float* outputs;  // [value_rows, kStrip], to be divided by the sums
  float* maxima;   // [kStrip], of log2 of what is summed
  float* sums;     // [kStrip]
};

template <typename Product>
Strip strip_of(const Layout<Product>& layout, float* scratch, std::int64_t index) {
  float* queries = scratch + index * layout.strip_floats();
  float* outputs = queries + layout.query_floats();
  float* maxima = outputs + layout.value_rows * kStrip;
  return {queries, outputs, maxima, maxima + kStrip};
}

template <typename Product, typename Source>
void begin(const Layout<Product>& layout, const Source* queries, std::int64_t stride,
           std::int64_t count, const Strip& strip) {
  constexpr std::int64_t kPerUnit = Layout<Product>::kPerUnit;
  for (std::int64_t v = 0; v < kStrip; v += kLanes) {
    for (std::int64_t unit = 0; unit < layout.units; unit += kLanes) {
      const std::int64_t first = unit * kPerUnit;
      Floats rows[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) {
        const bool exists = v + i < count && first < layout.size;
        rows[i] = exists ? load_units(static_cast<typename Product::Packed*>(nullptr),
                                      queries + (v + i) * stride + first, layout.size - first)
                         : Floats{};
      }
      transpose(rows);
      for (std::int64_t i = 0; i < kLanes; ++i) {
        store(rows[i], strip.queries + (unit + i) * kStrip + v);
      }
    }
    store(all(-__FLT_MAX__), strip.maxima + v);
    store(Floats{}, strip.sums + v);
  }
  for (std::int64_t i = 0; i < layout.value_rows * kStrip; i += kLanes) {
    store(Floats{}, strip.outputs + i);
  }
}

template <typename Source>
void finish(const Strip& strip, std::int64_t size, std::int64_t count, Source* output,
            std::int64_t stride) {
  for (std::int64_t v = 0; v < kStrip; v += kLanes) {
    const Floats share = 1.0F / load(strip.sums + v);
    for (std::int64_t first = 0; first < size; first += kLanes) {
      Floats rows[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) {
        rows[i] =
            first + i < size ? load(strip.outputs + (first + i) * kStrip + v) * share : Floats{};
      }
      transpose(rows);
      for (std::int64_t i = 0; i < kLanes && v + i < count; ++i) {
        store_elements(rows[i], output + (v + i) * stride + first, size - first);
      }
    }
  }
}

// The largest score of each lane of one vector of a strip.
inline Floats largest(const float* scores, std::int64_t keys) {
  constexpr std::int64_t kChains = 4;
  Floats tops[kChains];
  for (std::int64_t i = 0; i < kChains; ++i) tops[i] = load(scores);
  std::int64_t key = 0;
  for (; key + kChains <= keys; key += kChains) {
    for (std::int64_t i = 0; i < kChains; ++i) {
      tops[i] = larger(tops[i], load(scores + (key + i) * kStrip));
    }
  }
  for (; key < keys; ++key) tops[0] = larger(tops[0], load(scores + key * kStrip));
  return larger(larger(tops[0], tops[1]), larger(tops[2], tops[3]));
}

// Half of the units: of the even key below, of the odd key above, rounded to nearest.
inline Floats pair(Floats even, Floats odd) {
  const Bits low = reinterpret_cast<Bits>(even) + 0x8000U;
  const Bits high = reinterpret_cast<Bits>(odd) + 0x8000U;
  return reinterpret_cast<Floats>((low >> 16) | (high & 0xFFFF0000U));
}

// Turns the scores of one vector of lanes into probabilities 2^(score * scale + shift), as units of
// the next product, in place; returns their sum.
template <typename Product>
Floats exponentiate(float* scores, std::int64_t keys, float scale, Floats shift) {
  constexpr bool kPairs = Layout<Product>::kPerUnit == 2;
  const auto probability = [&](std::int64_t key) {
    if (key >= keys) return Floats{};
    return exp2<kPairs>(load(scores + key * kStrip) * scale + shift);
  };
  Floats even_sum{};
  Floats odd_sum{};
  const std::int64_t whole = keys / 2 * 2;
  std::int64_t key = 0;
  for (; key < whole; key += 2) {
    const Floats even = exp2<kPairs>(load(scores + key * kStrip) * scale + shift);
    const Floats odd = exp2<kPairs>(load(scores + (key + 1) * kStrip) * scale + shift);
    even_sum += even;
    odd_sum += odd;
    if constexpr (kPairs) {
      store(pair(even, odd), scores + key / 2 * kStrip);
    } else {
      store(even, scores + key * kStrip);
      store(odd, scores + (key + 1) * kStrip);
    }
  }
  const Floats last = probability(key);
  std::int64_t unit = kPairs ? key / 2 : key;
  if (key < keys) store(kPairs ? pair(last, Floats{}) : last, scores + unit++ * kStrip);
  for (; unit % Product::kUnits != 0; ++unit) store(Floats{}, scores + unit * kStrip);
  return even_sum + odd_sum + last;
}

template <typename Product>
void take_block(const Layout<Product>& layout, const PackedKeys& block, const Strip& strip,
                float* scores) {
  constexpr float kLog2E = 1.44269504F;
  constexpr std::int64_t kPerUnit = Layout<Product>::kPerUnit;
  const auto* keys = reinterpret_cast<const typename Product::Packed*>(block.data);
  Product::template multiply<false>(keys, layout.key_stride, strip.queries, scores,
                                    round_up(block.keys, Product::kRows), layout.units);
  const float scale = kLog2E / __builtin_sqrtf(static_cast<float>(layout.size));
  const float weight = kLog2E * block.log_weight;
  for (std::int64_t v = 0; v < kStrip; v += kLanes) {
    const Floats before = load(strip.maxima + v);
    const Floats now = larger(before, largest(scores + v, block.keys) * scale + weight);
    const Floats factor = exp2<false>(before - now);
    const Floats sum = exponentiate<Product>(scores + v, block.keys, scale, weight - now);
    store(now, strip.maxima + v);
    store(load(strip.sums + v) * factor + sum, strip.sums + v);
    for (std::int64_t row = 0; row < layout.value_rows; ++row) {
      float* output = strip.outputs + row * kStrip + v;
      store(load(output) * factor, output);
    }
  }
  Product::template multiply<true>(
      keys + layout.key_elements(), kAttentionKeys, scores, strip.outputs, layout.value_rows,
      round_up(round_up(block.keys, kPerUnit) / kPerUnit, Product::kUnits));
}

template <typename Product, typename Source>
void attend(const AttentionRows& queries, std::int64_t count, std::int64_t size,
            const PackedKeys* blocks, std::int64_t block_count, void* output,
            std::int64_t output_stride, std::byte* scratch) {
  const Layout<Product> layout(size);
  auto* scores = reinterpret_cast<float*>(scratch);
  float* strips = scores + kAttentionKeys * kStrip;
  const auto* source = static_cast<const Source*>(queries.data);
  for (std::int64_t first = 0; first < count; first += kStrip) {
    begin(layout, source + first * queries.stride, queries.stride, count - first,
          strip_of(layout, strips, first / kStrip));
  }
  {
    [[maybe_unused]] const typename Product::Session session;
    for (std::int64_t block = 0; block < block_count; ++block) {
      for (std::int64_t first = 0; first < count; first += kStrip) {
        take_block(layout, blocks[block], strip_of(layout, strips, first / kStrip), scores);
      }
    }
  }
  auto* target = static_cast<Source*>(output);
  for (std::int64_t first = 0; first < count; first += kStrip) {
    finish(strip_of(layout, strips, first / kStrip), size, count - first,
           target + first * output_stride, output_stride);
  }
}

template <typename Product, typename Source>
AttentionKernel kernel_of() {
  constexpr std::int64_t kLine = 64;
  AttentionKernel kernel;
  kernel.packed_bytes = [](std::int64_t size) {
    const auto element = static_cast<std::int64_t>(sizeof(typename Product::Packed));
    return round_up(Layout<Product>(size).packed_elements() * element, kLine);
  };
  kernel.scratch_bytes = [](std::int64_t size) {
    const std::int64_t strips = kMaxStrips * Layout<Product>(size).strip_floats();
    return round_up((kAttentionKeys * kStrip + strips) * 4, kLine);
  };
  kernel.pack = pack<Product, Source>;
  kernel.attend = attend<Product, Source>;
  return kernel;
}

}  // namespace
}  // namespace pcpp

#endif  // PCPP_KERNELS_ATTENTION_BODY_H_
