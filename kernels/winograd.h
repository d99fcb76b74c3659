// 3x3 convolutions of stride 1 by Winograd's algorithm: F(2x2, 3x3) and F(4x4, 3x3) of Lavin and
// Gray (arXiv 1509.09308), channels last. Pixels are float32 or bfloat16, all else float32. A tile
// of `size` by `size` pixels of the output is computed in (size + 2)^2 positions, in each of which
// the channels of all tiles make one matrix product: 2.25 and 4 times fewer multiplications than by
// definition.
//
//   pack              weights [out, in, 3, 3] -> as `multiply` reads them, once
//   transform_input   pixels -> [positions, tiles, in]
//   multiply          -> [positions, tiles, out]
//   transform_output  -> pixels
//
// Each may be called for a part of its work, by several threads for different parts. What a pixel
// gets does not depend, to the bit, on how the work is parted.
#ifndef PCPP_KERNELS_WINOGRAD_H_
#define PCPP_KERNELS_WINOGRAD_H_

#include <cstdint>

#include "kernels/vector_level.h"

namespace pcpp {

// Output channels that `multiply` computes at once: what packed weights are padded to.
inline constexpr std::int64_t kWinogradPanel = 32;

// A batch of images without their padding: the convolution has zeros left and right of them, and
// above and below where no row is given. Image i of a pointer begins at i times its stride, in
// elements.
struct WinogradImages {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t in = 0;
  const void* own = nullptr;  // [rows, columns, in]
  std::int64_t own_stride = 0;
  const void* above = nullptr;  // [columns, in], or null
  std::int64_t above_stride = 0;
  const void* below = nullptr;  // [columns, in], or null
  std::int64_t below_stride = 0;
};

// Where results go: [rows, columns, out] of each image, one after the other.
struct WinogradResult {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t out = 0;
  void* data = nullptr;
  const float* bias = nullptr;   // [out]
  const void* addend = nullptr;  // as `data`, which it may be; or null
};

// Rows of channels of some tiles, in every position. Strides are in floats.
struct WinogradRows {
  float* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t position_stride = 0;

  // Their memory for `tiles` tiles, with gaps that keep strides off the caches' powers of two.
  static std::int64_t row_floats(std::int64_t channels) { return (channels + 31) / 32 * 32 + 16; }
  static std::int64_t position_floats(std::int64_t tiles, std::int64_t channels) {
    return tiles * row_floats(channels) + 16;
  }
  WinogradRows(float* memory, std::int64_t tiles, std::int64_t channels)
      : data(memory),
        row_stride(row_floats(channels)),
        position_stride(position_floats(tiles, channels)) {}
};

// Tiles are counted image by image, row by row, from 0 on. All functions are thread-safe.
struct WinogradKernel {
  std::int64_t size = 0;       // of a tile
  std::int64_t positions = 0;  // (size + 2)^2

  std::int64_t tiles(std::int64_t rows, std::int64_t columns) const {
    return ((rows + size - 1) / size) * ((columns + size - 1) / size);
  }
  static std::int64_t panels(std::int64_t out) {
    return (out + kWinogradPanel - 1) / kWinogradPanel;
  }
  std::int64_t packed_floats(std::int64_t in, std::int64_t out) const {
    return positions * panels(out) * in * kWinogradPanel;
  }

  // Panels [first, last) of `packed`, in all positions.
  void (*pack)(const float* weight, std::int64_t in, std::int64_t out, std::int64_t first,
               std::int64_t last, float* packed) = nullptr;

  // Tiles [first, last) of the batch, to the rows of `target` from row `row` on.
  void (*transform_input)(const WinogradImages& images, std::int64_t first, std::int64_t last,
                          const WinogradRows& target, std::int64_t row) = nullptr;

  // Of `tiles` rows: panels [first, last), counted through all positions.
  void (*multiply)(const WinogradRows& inputs, std::int64_t tiles, std::int64_t in,
                   const float* packed, std::int64_t out, std::int64_t first, std::int64_t last,
                   const WinogradRows& products) = nullptr;

  // The way back: rows from `row` on to tiles [first, last).
  void (*transform_output)(const WinogradRows& products, std::int64_t row,
                           const WinogradResult& result, std::int64_t first,
                           std::int64_t last) = nullptr;
};

enum class WinogradTile { two, four };

// The kernel for a level that is at most vector_level().
WinogradKernel winograd_kernel(WinogradTile tile, VectorElement element, VectorLevel level);

}  // namespace pcpp

#endif  // PCPP_KERNELS_WINOGRAD_H_
