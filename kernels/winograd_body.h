// The body of the Winograd kernels, included by one source for each level (see vectors.h).
#ifndef PCPP_KERNELS_WINOGRAD_BODY_H_
#define PCPP_KERNELS_WINOGRAD_BODY_H_

#include "kernels/vectors.h"
#include "kernels/winograd_levels.h"

namespace pcpp {
namespace {

// The transforms of one dimension (arXiv 1509.09308, sections 4.1 and 4.3): filter g, data d and
// the way back of m. A pixel of two dimensions is transformed along one, then along the other.
struct TransformsOfTwo {
  static constexpr std::int64_t kSize = 2;
  static constexpr std::int64_t kPositions = 4;

  template <typename Vector>
  static void filter(const Vector (&g)[3], Vector (&u)[kPositions]) {
    u[0] = g[0];
    u[1] = (g[0] + g[1] + g[2]) * 0.5;
    u[2] = (g[0] - g[1] + g[2]) * 0.5;
    u[3] = g[2];
  }
  static void input(const Floats (&d)[kPositions], Floats (&v)[kPositions]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
  }
  static void output(const Floats (&m)[kPositions], Floats (&y)[kSize]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
  }
};

struct TransformsOfFour {
  static constexpr std::int64_t kSize = 4;
  static constexpr std::int64_t kPositions = 6;

  template <typename Vector>
  static void filter(const Vector (&g)[3], Vector (&u)[kPositions]) {
    const Vector even = (g[0] + g[2]) / 6;
    const Vector far = g[0] / 24 + g[2] / 6;
    u[0] = g[0] / 4;
    u[1] = -even - g[1] / 6;
    u[2] = -even + g[1] / 6;
    u[3] = far + g[1] / 12;
    u[4] = far - g[1] / 12;
    u[5] = g[2];
  }
  static void input(const Floats (&d)[kPositions], Floats (&v)[kPositions]) {
    const Floats even = d[4] - 4.0F * d[2];
    const Floats odd = d[3] - 4.0F * d[1];
    const Floats far_even = d[4] - d[2];
    const Floats far_odd = 2.0F * (d[3] - d[1]);
    v[0] = 4.0F * d[0] - 5.0F * d[2] + d[4];
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = far_even + far_odd;
    v[4] = far_even - far_odd;
    v[5] = 4.0F * d[1] - 5.0F * d[3] + d[5];
  }
  static void output(const Floats (&m)[kPositions], Floats (&y)[kSize]) {
    const Floats even = m[1] + m[2];
    const Floats odd = m[1] - m[2];
    const Floats far_even = m[3] + m[4];
    const Floats far_odd = m[3] - m[4];
    y[0] = m[0] + even + far_even;
    y[1] = odd + 2.0F * far_odd;
    y[2] = even + 4.0F * far_even;
    y[3] = odd + 8.0F * far_odd + m[5];
  }
};

// Where a tile lies in a batch of images of `rows` and `columns`.
template <typename Transforms>
struct TilePlace {
  TilePlace(std::int64_t tile, std::int64_t rows, std::int64_t columns) {
    constexpr std::int64_t kSize = Transforms::kSize;
    const std::int64_t across = (columns + kSize - 1) / kSize;
    const std::int64_t down = (rows + kSize - 1) / kSize;
    image = tile / (across * down);
    row = tile / across % down * kSize;
    column = tile % across * kSize;
  }
  std::int64_t image;
  std::int64_t row;  // of its first pixel of output
  std::int64_t column;
};

// [positions, panels, in, kWinogradPanel], with zeros after the last output channel. In float64:
// the transformed weights are then the nearest float32.
template <typename Transforms>
void pack(const float* weight, std::int64_t in, std::int64_t out, std::int64_t first,
          std::int64_t last, float* packed) {
  using Doubles = double __attribute__((vector_size(8 * kLanes)));
  constexpr std::int64_t kPositions = Transforms::kPositions;
  const std::int64_t position_stride = WinogradKernel::panels(out) * in * kWinogradPanel;
  for (std::int64_t channel = first * kWinogradPanel; channel < last * kWinogradPanel;
       channel += kLanes) {
    float* panel =
        packed + channel / kWinogradPanel * in * kWinogradPanel + channel % kWinogradPanel;
    for (std::int64_t i = 0; i < in; ++i) {
      Doubles g[3][3] = {};
      for (std::int64_t lane = 0; lane < kLanes && channel + lane < out; ++lane) {
        const float* source = weight + ((channel + lane) * in + i) * 9;
        for (std::int64_t tap = 0; tap < 9; ++tap) {
          g[tap / 3][tap % 3][lane] = static_cast<double>(source[tap]);
        }
      }
      Doubles rows[3][kPositions];
      for (std::int64_t tap = 0; tap < 3; ++tap) Transforms::filter(g[tap], rows[tap]);
      for (std::int64_t column = 0; column < kPositions; ++column) {
        const Doubles taps[3] = {rows[0][column], rows[1][column], rows[2][column]};
        Doubles u[kPositions];
        Transforms::filter(taps, u);
        for (std::int64_t row = 0; row < kPositions; ++row) {
          store(__builtin_convertvector(u[row], Floats),
                panel + (row * kPositions + column) * position_stride + i * kWinogradPanel);
        }
      }
    }
  }
}

// The first channel of each pixel that a tile reads, null outside of the image.
template <typename Transforms, typename Element>
struct TilePixels {
  static constexpr std::int64_t kPositions = Transforms::kPositions;

  TilePixels(const WinogradImages& images, std::int64_t tile) {
    const TilePlace<Transforms> place(tile, images.rows, images.columns);
    for (std::int64_t i = 0; i < kPositions; ++i) {
      const Element* row = row_of(images, place.image, place.row + i - 1);
      for (std::int64_t j = 0; j < kPositions; ++j) {
        const std::int64_t column = place.column + j - 1;
        const bool inside = row != nullptr && column >= 0 && column < images.columns;
        pixels[i][j] = inside ? row + column * images.in : nullptr;
      }
    }
  }

  static const Element* row_of(const WinogradImages& images, std::int64_t image, std::int64_t row) {
    const auto at = [image](const void* data, std::int64_t stride) {
      return data == nullptr ? nullptr : static_cast<const Element*>(data) + image * stride;
    };
    if (row == -1) return at(images.above, images.above_stride);
    if (row == images.rows) return at(images.below, images.below_stride);
    if (row > images.rows) return nullptr;
    return at(images.own, images.own_stride) + row * images.columns * images.in;
  }

  Floats load(std::int64_t i, std::int64_t j, std::int64_t channel, std::int64_t channels) const {
    const Element* pixel = pixels[i][j];
    return pixel == nullptr ? Floats{} : load_elements(pixel + channel, channels - channel);
  }

  const Element* pixels[kPositions][kPositions];
};

template <typename Transforms, typename Element>
void transform_input(const WinogradImages& images, std::int64_t first, std::int64_t last,
                     const WinogradRows& target, std::int64_t row) {
  constexpr std::int64_t kPositions = Transforms::kPositions;
  for (std::int64_t tile = first; tile < last; ++tile) {
    const TilePixels<Transforms, Element> pixels(images, tile);
    float* position = target.data + (row + tile - first) * target.row_stride;
    for (std::int64_t channel = 0; channel < images.in; channel += kLanes) {
      Floats columns[kPositions][kPositions];  // transformed along the columns, by column
      for (std::int64_t j = 0; j < kPositions; ++j) {
        Floats d[kPositions];
        for (std::int64_t i = 0; i < kPositions; ++i) d[i] = pixels.load(i, j, channel, images.in);
        Transforms::input(d, columns[j]);
      }
      for (std::int64_t i = 0; i < kPositions; ++i) {
        Floats d[kPositions];
        for (std::int64_t j = 0; j < kPositions; ++j) d[j] = columns[j][i];
        Floats v[kPositions];
        Transforms::input(d, v);
        for (std::int64_t j = 0; j < kPositions; ++j) {
          store(v[j], position + (i * kPositions + j) * target.position_stride + channel);
        }
      }
    }
  }
}

// Memory that is wanted soon, `lines` cache lines of it.
struct Ahead {
  const float* data = nullptr;
  std::int64_t lines = 0;

  // Part `index` of `count`.
  Ahead part(std::int64_t index, std::int64_t count) const {
    const std::int64_t first = index * lines / count;
    return {data + first * kLineFloats, (index + 1) * lines / count - first};
  }
  // Asks for the next `count` lines, perhaps beyond the last.
  void fetch(std::int64_t count) {
    for (; count > 0; --count, data += kLineFloats) __builtin_prefetch(data, 0, 2);
  }
  static constexpr std::int64_t kLineFloats = 16;
};

// One product of kRows rows, or its sums so far: c = (kAdd ? c : 0) + a b, by one panel.
struct Product {
  const float* a = nullptr;
  std::int64_t a_stride = 0;
  const float* b = nullptr;
  float* c = nullptr;
  std::int64_t c_stride = 0;
  std::int64_t in = 0;
  Ahead weights;
  Ahead inputs;
};

template <std::int64_t kRows, bool kAdd>
void multiply_rows(const Product& product) {
  constexpr std::int64_t kVectors = 2;
  constexpr std::int64_t kChunk = 16;
  const float* a = product.a;
  const std::int64_t chunks = (product.in + kChunk - 1) / kChunk;
  Ahead weights = product.weights;
  Ahead inputs = product.inputs;
  const std::int64_t weight_lines = (weights.lines + chunks - 1) / chunks;
  const std::int64_t input_lines = (inputs.lines + chunks - 1) / chunks;
  for (std::int64_t column = 0; column < kWinogradPanel; column += kVectors * kLanes) {
    float* c = product.c + column;
    Floats sums[kRows][kVectors] = {};
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      if (column == 0) {
        weights.fetch(weight_lines);
        inputs.fetch(input_lines);
      }
      const std::int64_t first = chunk * kChunk;
      const std::int64_t last = chunk + 1 < chunks ? first + kChunk : product.in;
      for (std::int64_t i = first; i < last; ++i) {
        const float* source = product.b + i * kWinogradPanel + column;
        const Floats left = load(source);
        const Floats right = load(source + kLanes);
        for (std::int64_t row = 0; row < kRows; ++row) {
          sums[row][0] += a[row * product.a_stride + i] * left;
          sums[row][1] += a[row * product.a_stride + i] * right;
        }
      }
    }
    for (std::int64_t row = 0; row < kRows; ++row) {
      for (std::int64_t vector = 0; vector < kVectors; ++vector) {
        float* target = c + row * product.c_stride + vector * kLanes;
        store(kAdd ? load(target) + sums[row][vector] : sums[row][vector], target);
      }
    }
  }
}

// As many rows at once as there are registers for their sums.
inline constexpr std::int64_t kMostRows = kLanes == 16 ? 12 : kLanes == 8 ? 6 : 5;

template <bool kAdd, std::int64_t... kLess>
void multiply_any(std::int64_t rows, const Product& product,
                  std::integer_sequence<std::int64_t, kLess...>) {
  (void)((rows == kLess + 1 && (multiply_rows<kLess + 1, kAdd>(product), true)) || ...);
}

template <typename Transforms>
void multiply(const WinogradRows& inputs, std::int64_t tiles, std::int64_t in, const float* packed,
              std::int64_t out, std::int64_t first, std::int64_t last,
              const WinogradRows& products) {
  constexpr auto kCounts = std::make_integer_sequence<std::int64_t, kMostRows>();
  // Channels that are summed before they are added to the rest: rounding grows with their number,
  // and so many rows of a panel stay in the first cache.
  constexpr std::int64_t kBlock = 256;
  const std::int64_t panels = WinogradKernel::panels(out);
  // Groups of nearly equal size: a last one of a row or two would wait for its sums.
  const std::int64_t groups = (tiles + kMostRows - 1) / kMostRows;
  const std::int64_t blocks = (in + kBlock - 1) / kBlock;
  const std::int64_t calls = groups * blocks;
  const std::int64_t panel_floats = in * kWinogradPanel;
  const std::int64_t input_lines = tiles * inputs.row_stride / Ahead::kLineFloats;
  for (std::int64_t i = first; i < last; ++i) {
    const float* a = inputs.data + i / panels * inputs.position_stride;
    const float* b = packed + i * panel_floats;
    float* c = products.data + i / panels * products.position_stride + i % panels * kWinogradPanel;
    const Ahead next_weights{b + panel_floats,
                             i + 1 < last ? panel_floats / Ahead::kLineFloats : 0};
    const Ahead next_inputs =
        Ahead{a + inputs.position_stride, i / panels < (last - 1) / panels ? input_lines : 0}.part(
            i % panels, panels);
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t channel = block * kBlock;
      for (std::int64_t group = 0; group < groups; ++group) {
        const std::int64_t row = group * tiles / groups;
        const std::int64_t rows = (group + 1) * tiles / groups - row;
        const std::int64_t call = block * groups + group;
        const Product product{a + row * inputs.row_stride + channel,
                              inputs.row_stride,
                              b + channel * kWinogradPanel,
                              c + row * products.row_stride,
                              products.row_stride,
                              block + 1 < blocks ? kBlock : in - channel,
                              next_weights.part(call, calls),
                              next_inputs.part(call, calls)};
        if (block == 0) {
          multiply_any<false>(rows, product, kCounts);
        } else {
          multiply_any<true>(rows, product, kCounts);
        }
      }
    }
  }
}

template <typename Transforms, typename Element>
void transform_output(const WinogradRows& products, std::int64_t row, const WinogradResult& result,
                      std::int64_t first, std::int64_t last) {
  constexpr std::int64_t kPositions = Transforms::kPositions;
  constexpr std::int64_t kSize = Transforms::kSize;
  const std::int64_t out = result.out;
  const auto* addend = static_cast<const Element*>(result.addend);
  auto* output = static_cast<Element*>(result.data);
  for (std::int64_t tile = first; tile < last; ++tile) {
    const TilePlace<Transforms> place(tile, result.rows, result.columns);
    const float* position = products.data + (row + tile - first) * products.row_stride;
    for (std::int64_t channel = 0; channel < out; channel += kLanes) {
      const Floats bias = load_elements(result.bias + channel, out - channel);
      Floats rows[kSize][kPositions];
      for (std::int64_t j = 0; j < kPositions; ++j) {
        Floats m[kPositions];
        for (std::int64_t i = 0; i < kPositions; ++i) {
          m[i] = load(position + (i * kPositions + j) * products.position_stride + channel);
        }
        Floats y[kSize];
        Transforms::output(m, y);
        for (std::int64_t i = 0; i < kSize; ++i) rows[i][j] = y[i];
      }
      for (std::int64_t i = 0; i < kSize && place.row + i < result.rows; ++i) {
        Floats y[kSize];
        Transforms::output(rows[i], y);
        const std::int64_t pixel =
            (place.image * result.rows + place.row + i) * result.columns + place.column;
        for (std::int64_t j = 0; j < kSize && place.column + j < result.columns; ++j) {
          const std::int64_t offset = (pixel + j) * out + channel;
          Floats sum = y[j] + bias;
          if (addend != nullptr) sum += load_elements(addend + offset, out - channel);
          store_elements(sum, output + offset, out - channel);
        }
      }
    }
  }
}

template <typename Transforms, typename Element>
WinogradKernel kernel_with() {
  WinogradKernel kernel;
  kernel.size = Transforms::kSize;
  kernel.positions = Transforms::kPositions * Transforms::kPositions;
  kernel.pack = pack<Transforms>;
  kernel.transform_input = transform_input<Transforms, Element>;
  kernel.multiply = multiply<Transforms>;
  kernel.transform_output = transform_output<Transforms, Element>;
  return kernel;
}

template <typename Transforms>
WinogradKernel kernel_for(VectorElement element) {
  return element == VectorElement::float32 ? kernel_with<Transforms, float>()
                                           : kernel_with<Transforms, Bfloat16>();
}

WinogradKernel kernel_of(WinogradTile tile, VectorElement element) {
  return tile == WinogradTile::two ? kernel_for<TransformsOfTwo>(element)
                                   : kernel_for<TransformsOfFour>(element);
}

}  // namespace
}  // namespace pcpp

#endif  // PCPP_KERNELS_WINOGRAD_BODY_H_
