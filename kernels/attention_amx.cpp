#include "kernels/attention_body.h"

namespace pcpp {

namespace {

constexpr std::int64_t kTile = 16;        // rows and units of a tile
constexpr std::uint16_t kTileBytes = 64;  // of its rows

struct alignas(64) TileConfig {
  std::uint8_t palette = 0;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

// Products of pairs of bfloat16 in AMX tiles: 0 to 3 are c, 4 and 5 a, 6 and 7 b.
struct TileProduct {
  using Packed = Bfloat16;
  static constexpr std::int64_t kRows = kTile;
  static constexpr std::int64_t kUnits = kTile;

  // Tiles of full size while it lives, and then as they were: libtorch uses them, too.
  class Session {
   public:
    Session() {
      _tile_storeconfig(&before_);
      TileConfig config;
      config.palette = 1;
      for (int tile = 0; tile < 8; ++tile) {
        config.row_bytes[tile] = kTileBytes;
        config.rows[tile] = static_cast<std::uint8_t>(kTile);
      }
      _tile_loadconfig(&config);
    }
    ~Session() { _tile_loadconfig(&before_); }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

   private:
    TileConfig before_;
  };

  template <bool kAdd>
  static void multiply(const float* a, std::int64_t stride, const float* b, float* c,
                       std::int64_t rows, std::int64_t units) {
    std::int64_t row = 0;
    for (; row + 2 * kTile <= rows; row += 2 * kTile) {
      multiply_tiles<kAdd, true>(a + row * stride, stride, b, c + row * kStrip, units);
    }
    if (row < rows) {
      multiply_tiles<kAdd, false>(a + row * stride, stride, b, c + row * kStrip, units);
    }
  }

 private:
  template <bool kAdd, bool kTwo>
  static void multiply_tiles(const float* a, std::int64_t stride, const float* b, float* c,
                             std::int64_t units) {
    constexpr std::int64_t kStripBytes = kStrip * 4;
    const std::int64_t row_bytes = stride * 4;
    float* below = c + kTile * kStrip;
    if constexpr (kAdd) {
      _tile_loadd(0, c, kStripBytes);
      _tile_loadd(1, c + kTile, kStripBytes);
      if constexpr (kTwo) _tile_loadd(2, below, kStripBytes);
      if constexpr (kTwo) _tile_loadd(3, below + kTile, kStripBytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      if constexpr (kTwo) _tile_zero(2);
      if constexpr (kTwo) _tile_zero(3);
    }
    for (std::int64_t unit = 0; unit < units; unit += kTile) {
      _tile_loadd(6, b + unit * kStrip, kStripBytes);
      _tile_loadd(7, b + unit * kStrip + kTile, kStripBytes);
      _tile_loadd(4, a + unit, row_bytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (kTwo) {
        _tile_loadd(5, a + kTile * stride + unit, row_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, c, kStripBytes);
    _tile_stored(1, c + kTile, kStripBytes);
    if constexpr (kTwo) _tile_stored(2, below, kStripBytes);
    if constexpr (kTwo) _tile_stored(3, below + kTile, kStripBytes);
  }
};

}  // namespace

AttentionKernel attention_amx() { return kernel_of<TileProduct, Bfloat16>(); }

}  // namespace pcpp
