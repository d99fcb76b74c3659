// The body of the attention kernels, included by one source for each level (see vectors.h).
//
// A lane of a vector is a query, here and in all products, which are
// c [rows, kStrip] = a [rows, units] b [units, kStrip]: scores of keys and transposed queries,
// outputs of transposed values and probabilities. So the softmax needs nothing across lanes. A unit
// is 32 bits: a float, or a pair of bfloat16 that are neighbours in the sum.
#ifndef PCPP_KERNELS_ATTENTION_BODY_H_
#define PCPP_KERNELS_ATTENTION_BODY_H_

#include <type_traits>

#include "kernels/attention_levels.h"
#include "kernels/vectors.h"

namespace pcpp {
namespace {

inline constexpr std::int64_t kStrip = 2 * kLanes;  // queries of a product
inline constexpr std::int64_t kMaxStrips = kAttentionQueries / kStrip;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Products of float32 whose sums are in registers. Rows of `a` are `stride` units apart.
struct VectorProduct {
  using Packed = float;
  // A product's rows are a multiple of kRows: as many as there are registers for. So its units.
  static constexpr std::int64_t kRows = kLanes == 16 ? 8 : 4;
  static constexpr std::int64_t kUnits = 1;
  static constexpr std::int64_t kLineUnits = 16;  // of a line of the caches
  struct Session {};                              // lives while products are computed

  template <bool kAdd>
  static void multiply(const float* a, std::int64_t stride, const float* b, float* c,
                       std::int64_t rows, std::int64_t units) {
    for (std::int64_t row = 0; row < rows; row += kRows) {
      multiply_rows<kAdd>(a + row * stride, stride, b, c + row * kStrip, units);
    }
  }

 private:
  template <bool kAdd>
  static void multiply_rows(const float* a, std::int64_t stride, const float* b, float* c,
                            std::int64_t units) {
    Floats sums[kRows][2];
    for (std::int64_t i = 0; i < kRows; ++i) {
      sums[i][0] = kAdd ? load(c + i * kStrip) : Floats{};
      sums[i][1] = kAdd ? load(c + i * kStrip + kLanes) : Floats{};
    }
    for (std::int64_t chunk = 0; chunk < units; chunk += kLineUnits) {
      // The next rows, which the caches do not expect: rows lie `stride` apart.
      for (std::int64_t i = 0; i < kRows; ++i) {
        __builtin_prefetch(a + (kRows + i) * stride + chunk, 0, 3);
      }
      const std::int64_t end = chunk + kLineUnits < units ? chunk + kLineUnits : units;
      for (std::int64_t unit = chunk; unit < end; ++unit) {
        const Floats left = load(b + unit * kStrip);
        const Floats right = load(b + unit * kStrip + kLanes);
        for (std::int64_t i = 0; i < kRows; ++i) {
          sums[i][0] += a[i * stride + unit] * left;
          sums[i][1] += a[i * stride + unit] * right;
        }
      }
    }
    for (std::int64_t i = 0; i < kRows; ++i) {
      store(sums[i][0], c + i * kStrip);
      store(sums[i][1], c + i * kStrip + kLanes);
    }
  }
};

// How a head of `size` elements lies in memory for products of one kind.
template <typename Product>
struct Layout {
  using Packed = typename Product::Packed;
  static constexpr std::int64_t kPerUnit = std::is_same_v<Packed, float> ? 1 : 2;
  static constexpr std::int64_t kValueUnits = kAttentionKeys / kPerUnit;  // of a row of values

  explicit Layout(std::int64_t elements)
      : size(elements),
        units(round_up(round_up(size, kPerUnit) / kPerUnit, Product::kUnits)),
        stored_units(round_up(units, kLanes)),
        value_rows(round_up(size, Product::kRows)) {}

  std::int64_t all_key_units() const { return kAttentionKeys * stored_units; }
  std::int64_t packed_units() const { return all_key_units() + value_rows * kValueUnits; }
  // Of a strip: transposed queries, outputs, maxima and sums.
  std::int64_t strip_floats() const { return (stored_units + value_rows + 2) * kStrip; }

  std::int64_t size;
  std::int64_t units;         // of a key or query that products read
  std::int64_t stored_units;  // and that there is room for
  std::int64_t value_rows;
};

// Units of a row from its element `first` on, with zeros outside of `count` rows of `size`.
template <typename Packed, typename Source>
Floats units_of(const AttentionRows& rows, std::int64_t row, std::int64_t first, std::int64_t count,
                std::int64_t size) {
  if (row >= count || first >= size) return Floats{};
  const auto* source = static_cast<const Source*>(rows.data) + row * rows.stride + first;
  if constexpr (std::is_same_v<Packed, float>) {
    return load_elements(source, size - first);
  } else {
    return load_first<Floats>(source, size - first);
  }
}

template <typename Product, typename Source>
void pack(const AttentionRows& keys, const AttentionRows& values, std::int64_t count,
          std::int64_t size, std::byte* packed) {
  using Packed = typename Product::Packed;
  constexpr std::int64_t kPerUnit = Layout<Product>::kPerUnit;
  const Layout<Product> layout(size);
  // As many as products read, the rest zeros.
  const std::int64_t filled = round_up(round_up(count, Product::kRows), kLanes * kPerUnit);
  auto* target = reinterpret_cast<float*>(packed);
  for (std::int64_t row = 0; row < filled; ++row) {
    for (std::int64_t unit = 0; unit < layout.stored_units; unit += kLanes) {
      store(units_of<Packed, Source>(keys, row, unit * kPerUnit, count, size), target + unit);
    }
    target += layout.stored_units;
  }
  target = reinterpret_cast<float*>(packed) + layout.all_key_units();
  for (std::int64_t key = 0; key < filled; key += kLanes * kPerUnit) {
    for (std::int64_t first = 0; first < layout.value_rows; first += kLanes) {
      Floats rows[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) {
        const std::int64_t row = key + i * kPerUnit;
        rows[i] = units_of<float, Source>(values, row, first, count, size);
        if constexpr (kPerUnit == 2) {
          rows[i] = pair(rows[i], units_of<float, Source>(values, row + 1, first, count, size));
        }
      }
      transpose(rows);
      for (std::int64_t i = 0; i < kLanes && first + i < layout.value_rows; ++i) {
        store(rows[i], target + (first + i) * Layout<Product>::kValueUnits + key / kPerUnit);
      }
    }
  }
}

// The state of kStrip queries between two blocks of keys, in scratch.
struct Strip {
  template <typename Product>
  Strip(const Layout<Product>& layout, float* scratch)
      : queries(scratch),
        outputs(queries + layout.stored_units * kStrip),
        maxima(outputs + layout.value_rows * kStrip),
        sums(maxima + kStrip) {}

  float* queries;  // [units, kStrip]
  float* outputs;  // [value_rows, kStrip], to be divided by the sums
  float* maxima;   // [kStrip], of the scores before they are scaled, or up to 8 in log2 below
  float* sums;     // [kStrip]
};

template <typename Product, typename Source>
void begin(const Layout<Product>& layout, const AttentionRows& queries, std::int64_t skipped,
           std::int64_t count, const Strip& strip) {
  using Packed = typename Product::Packed;
  for (std::int64_t v = 0; v < kStrip; v += kLanes) {
    for (std::int64_t unit = 0; unit < layout.units; unit += kLanes) {
      const std::int64_t first = unit * Layout<Product>::kPerUnit;
      Floats rows[kLanes];
      for (std::int64_t i = 0; i < kLanes; ++i) {
        rows[i] = units_of<Packed, Source>(queries, skipped + v + i, first, count, layout.size);
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
  for (Floats& top : tops) top = load(scores);
  std::int64_t key = 0;
  for (; key + kChains <= keys; key += kChains) {
    for (std::int64_t i = 0; i < kChains; ++i) {
      tops[i] = larger(tops[i], load(scores + (key + i) * kStrip));
    }
  }
  for (; key < keys; ++key) tops[0] = larger(tops[0], load(scores + key * kStrip));
  return larger(larger(tops[0], tops[1]), larger(tops[2], tops[3]));
}

// Turns the scores of one vector of lanes into probabilities 2^((score + shift) * scale), as units
// of the next product, in place; returns their sum.
template <typename Product>
Floats exponentiate(float* scores, std::int64_t keys, float scale, Floats shift) {
  constexpr bool kPairs = Layout<Product>::kPerUnit == 2;
  Floats even_sum{};
  Floats odd_sum{};
  std::int64_t key = 0;
  for (; key < keys; key += 2) {
    const float* source = scores + key * kStrip;
    const Floats even = exp2<kPairs>((load(source) + shift) * scale);
    const Floats odd =
        key + 1 < keys ? exp2<kPairs>((load(source + kStrip) + shift) * scale) : Floats{};
    even_sum += even;
    odd_sum += odd;
    if constexpr (kPairs) {
      store(pair(even, odd), scores + key / 2 * kStrip);
    } else {
      store(even, scores + key * kStrip);
      store(odd, scores + (key + 1) * kStrip);
    }
  }
  for (std::int64_t unit = key / 2; kPairs && unit % Product::kUnits != 0; ++unit) {
    store(Floats{}, scores + unit * kStrip);
  }
  return even_sum + odd_sum;
}

template <typename Product>
void take_block(const Layout<Product>& layout, const PackedKeys& block, const Strip& strip,
                float* scores) {
  constexpr float kLog2E = 1.44269504F;
  // Probabilities are relative to a maximum that is raised only where they would pass 2^8: so
  // outputs are seldom rescaled, and floats lose no digits.
  constexpr float kSlack = 8;
  constexpr std::int64_t kPerUnit = Layout<Product>::kPerUnit;
  const auto* keys = reinterpret_cast<const float*>(block.data);
  Product::template multiply<false>(keys, layout.stored_units, strip.queries, scores,
                                    round_up(block.keys, Product::kRows), layout.units);
  const float root = __builtin_sqrtf(static_cast<float>(layout.size));
  const float scale = kLog2E / root;
  const float weight = root * block.log_weight;
  for (std::int64_t v = 0; v < kStrip; v += kLanes) {
    const Floats before = load(strip.maxima + v);
    const Floats top = largest(scores + v, block.keys) + weight;
    const Bits raised = reinterpret_cast<Bits>((top - before) * scale > kSlack);
    const Floats now = raised ? top : before;
    if (any(raised)) {
      const Floats factor = raised ? exp2<false>((before - now) * scale) : all(1);
      store(now, strip.maxima + v);
      store(load(strip.sums + v) * factor, strip.sums + v);
      for (std::int64_t row = 0; row < layout.value_rows; ++row) {
        float* output = strip.outputs + row * kStrip + v;
        store(load(output) * factor, output);
      }
    }
    const Floats sum = exponentiate<Product>(scores + v, block.keys, scale, weight - now);
    store(load(strip.sums + v) + sum, strip.sums + v);
  }
  Product::template multiply<true>(
      keys + layout.all_key_units(), Layout<Product>::kValueUnits, scores, strip.outputs,
      layout.value_rows, round_up(round_up(block.keys, kPerUnit) / kPerUnit, Product::kUnits));
}

template <typename Product, typename Source>
void attend(const AttentionRows& queries, std::int64_t count, std::int64_t size,
            const PackedKeys* blocks, std::int64_t block_count, void* output,
            std::int64_t output_stride, std::byte* scratch) {
  const Layout<Product> layout(size);
  auto* scores = reinterpret_cast<float*>(scratch);
  const auto strip_at = [&](std::int64_t first) {
    return Strip(layout, scores + kAttentionKeys * kStrip + first / kStrip * layout.strip_floats());
  };
  for (std::int64_t first = 0; first < count; first += kStrip) {
    begin<Product, Source>(layout, queries, first, count, strip_at(first));
  }
  {
    [[maybe_unused]] const typename Product::Session session;
    for (std::int64_t block = 0; block < block_count; ++block) {
      for (std::int64_t first = 0; first < count; first += kStrip) {
        take_block(layout, blocks[block], strip_at(first), scores);
      }
    }
  }
  for (std::int64_t first = 0; first < count; first += kStrip) {
    finish(strip_at(first), size, count - first,
           static_cast<Source*>(output) + first * output_stride, output_stride);
  }
}

template <typename Product, typename Source>
AttentionKernel kernel_of() {
  constexpr std::int64_t kLine = 64;
  AttentionKernel kernel;
  kernel.packed_bytes = [](std::int64_t size) {
    return round_up(Layout<Product>(size).packed_units() * 4, kLine);
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
