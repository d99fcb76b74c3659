#include <ATen/TensorOperators.h>
#include <ATen/ops/bitwise_left_shift.h>
#include <ATen/ops/bitwise_right_shift.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <utility>

#include "kernel_case.h"
#include "kernels/copy_rows.h"
#include "kernels/encode_rows.h"
#include "kernels/moments.h"
#include "ops/elements.h"

namespace pcpp::benchmarks {

namespace {

constexpr double kRowBound = 1e-2;
constexpr std::int64_t kScaleBytes = sizeof(float);

// The last `sent` of `rows` rows of each item, `values` each.
struct Rows {
  const char* where;
  std::int64_t batch;
  std::int64_t rows;
  std::int64_t sent;
  std::int64_t values;

  std::string text() const {
    return fmt::format("{}: {} x {} of {} rows of {}", where, batch, sent, rows, values);
  }
};

const std::vector<Rows> kRows = {{"SD1.5 512x512, keys", 2, 1024, 307, 640},
                                 {"SD1.5 512x512, keys", 2, 64, 19, 2560},
                                 {"SD1.5 512x512, halo", 2, 16, 1, 64 * 320},
                                 {"SDXL 1024x1024, keys", 2, 1024, 307, 1280},
                                 {"SDXL 1024x1024, all keys", 2, 1024, 1024, 1280},
                                 {"SDXL 1024x1024, keys", 2, 256, 76, 2560},
                                 {"SDXL 1024x1024, halo", 2, 32, 1, 128 * 320},
                                 {"SDXL 3840x3840, keys", 2, 14400, 4320, 1280}};

// Moments of this many bands, of the groups of two items.
constexpr std::int64_t kItems = 2;
constexpr std::int64_t kGroups = 32;
constexpr std::int64_t kOthers = 3;

std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr());
}

double size_of(const at::Tensor& tensor) { return static_cast<double>(tensor.nbytes()); }

// Rows as they lie and as they are sent, in eight or four bits: [batch, sent, blocks, scale and
// bytes].
struct Piece {
  Piece(const Rows& shape, const GpuStream& gpu, std::int64_t block_bytes)
      : batch(shape.batch),
        sent(shape.sent),
        values(shape.values),
        all(at::randn({batch, shape.rows, values}, gpu.options)),
        source(all.narrow(1, shape.rows - sent, sent)),
        blocks(source.unflatten(2, {-1, kEncodedBlock})),
        encoded(at::empty({batch, sent, blocks.size(2), kScaleBytes + block_bytes},
                          gpu.options.dtype(at::kByte))),
        levels(encoded.narrow(3, kScaleBytes, block_bytes).view(at::kChar)),
        stream(gpu.stream) {}

  std::int64_t item_bytes(const at::Tensor& items) const {
    return items.stride(0) * items.element_size();
  }
  EncodedRows target() const { return {bytes_of(encoded), item_bytes(encoded)}; }

  void encode() const {
    with_gpu_elements(source, [&]<typename T>(const T* elements) {
      encode_rows<T>(target(), {elements, item_bytes(source)}, batch, sent, values, stream);
    });
  }
  void decode_to(const at::Tensor& output) const {
    with_gpu_elements(output, [&]<typename T>(const T*) {
      decode_rows(static_cast<T*>(output.mutable_data_ptr()), bytes_of(encoded), batch * sent,
                  values, stream);
    });
  }
  void encode_residual_to(const at::Tensor& last, const at::Tensor& fresh) const {
    with_gpu_elements(fresh, [&]<typename T>(const T* elements) {
      encode_residual<T>(target(), static_cast<T*>(last.mutable_data_ptr()),
                         {elements, item_bytes(fresh)}, batch, sent, values, stream);
    });
  }
  void add_residual_to(const at::Tensor& last) const {
    with_gpu_elements(last, [&]<typename T>(const T*) {
      add_residual(static_cast<T*>(last.mutable_data_ptr()), bytes_of(encoded), batch * sent,
                   values, stream);
    });
  }

  std::int64_t batch;
  std::int64_t sent;
  std::int64_t values;
  at::Tensor all;
  at::Tensor source;  // what is sent of it
  at::Tensor blocks;  // the same, [batch, sent, blocks, values of a block]
  at::Tensor encoded;
  at::Tensor levels;  // the encoded bytes without scales
  CUstream_st* stream;
};

// libtorch's side is in float32: in sixteen bits the largest level would be one too many.
at::Tensor scales_of(const at::Tensor& blocks, double levels) {
  return blocks.abs().amax({-1}, true).div(levels).clamp_min(1e-6);
}

KernelRun prepare_copy(const Rows& shape, const GpuStream& gpu) {
  const Piece piece(shape, gpu, kEncodedBlock);
  const at::Tensor ours = at::empty({shape.batch, shape.sent, shape.values}, gpu.options);
  const at::Tensor libtorchs = at::empty_like(ours);
  KernelRun run;
  run.ours = [=] {
    const RowCopy copy{bytes_of(ours),
                       piece.item_bytes(ours),
                       bytes_of(piece.source),
                       piece.item_bytes(piece.source),
                       piece.batch,
                       piece.item_bytes(ours)};
    copy_rows(&copy, 1, gpu.stream);
    return ours;
  };
  run.libtorch = [=] { return libtorchs.copy_(piece.source); };
  run.bytes = 2 * size_of(ours);
  return run;
}

KernelRun prepare_encode(const Rows& shape, const GpuStream& gpu) {
  const Piece piece(shape, gpu, kEncodedBlock);
  KernelRun run;
  run.ours = [=] {
    piece.encode();
    return piece.levels;
  };
  run.libtorch = [=] {
    const at::Tensor values = piece.blocks.to(at::kFloat);
    return (values / scales_of(values, 127)).round().to(at::kChar);
  };
  run.bytes = size_of(piece.source) + size_of(piece.encoded);
  run.relative_bound = kRowBound;
  return run;
}

KernelRun prepare_decode(const Rows& shape, const GpuStream& gpu) {
  const Piece piece(shape, gpu, kEncodedBlock);
  piece.encode();
  const at::Tensor scales = scales_of(piece.blocks.to(at::kFloat), 127);
  const at::Tensor output = at::empty(piece.source.sizes(), gpu.options);
  KernelRun run;
  run.ours = [=] {
    piece.decode_to(output);
    return output;
  };
  run.libtorch = [=] { return (piece.levels * scales).flatten(2).to(output.scalar_type()); };
  run.bytes = size_of(piece.encoded) + size_of(output);
  run.relative_bound = kRowBound;
  return run;
}

// The results are the rows as the receiver has them. The rows and their negative take turns, or
// every residual but the first would be nothing.
KernelRun prepare_residual(const Rows& shape, const GpuStream& gpu) {
  const Piece piece(shape, gpu, kEncodedBlock / 2);
  const at::Tensor ours = at::randn(piece.source.sizes(), gpu.options);
  const at::Tensor libtorchs = ours.clone();
  KernelRun run;
  run.ours = [=, now = piece.source, next = piece.source.neg()]() mutable {
    piece.encode_residual_to(ours, now);
    std::swap(now, next);
    return ours;
  };
  run.libtorch = [=, packed = at::empty_like(piece.levels), now = piece.blocks,
                  next = piece.blocks.neg()]() mutable {
    const at::Tensor last = libtorchs.view(now.sizes());
    const at::Tensor residual = now.to(at::kFloat) - last;
    std::swap(now, next);
    const at::Tensor scales = scales_of(residual, 7);
    const at::Tensor levels = (residual / scales).round();
    const std::vector<at::Tensor> halves = levels.to(at::kChar).chunk(2, 3);
    packed.copy_(halves[0].bitwise_and(15).bitwise_or_(at::bitwise_left_shift(halves[1], 4)));
    last.addcmul_(levels, scales);
    return libtorchs;
  };
  run.bytes = size_of(piece.source) + 2 * size_of(ours) + size_of(piece.encoded);
  run.relative_bound = kRowBound;
  return run;
}

KernelRun prepare_add(const Rows& shape, const GpuStream& gpu) {
  const Piece piece(shape, gpu, kEncodedBlock / 2);
  const at::Tensor ours = at::randn(piece.source.sizes(), gpu.options);
  const at::Tensor libtorchs = ours.clone();
  const at::Tensor scales =
      scales_of(piece.blocks.to(at::kFloat) - ours.view(piece.blocks.sizes()), 7);
  piece.encode_residual_to(ours.clone(), piece.source);
  KernelRun run;
  run.ours = [=] {
    piece.add_residual_to(ours);
    return ours;
  };
  run.libtorch = [=] {
    const at::Tensor low = at::bitwise_right_shift(at::bitwise_left_shift(piece.levels, 4), 4);
    const at::Tensor high = at::bitwise_right_shift(piece.levels, 4);
    libtorchs.view(piece.blocks.sizes()).addcmul_(at::cat({low, high}, 3), scales);
    return libtorchs;
  };
  run.bytes = size_of(piece.encoded) + 2 * size_of(ours);
  run.relative_bound = kRowBound;
  return run;
}

// Pairs of mean and mean of squares, whose variances are above 0.1.
at::Tensor random_moments(at::IntArrayRef sizes, const at::TensorOptions& options) {
  const at::Tensor mean = at::randn(sizes, options);
  return at::stack({mean, mean * mean + at::rand(sizes, options) + 0.1}, -1);
}

KernelRun prepare_combine(const GpuStream& gpu) {
  constexpr double kBandRows = 16;
  const at::Tensor fresh = random_moments({kItems, kGroups}, gpu.options);
  const at::Tensor stale = fresh.clone();
  const at::Tensor others = random_moments({kOthers, kItems, kGroups}, gpu.options);
  const at::Tensor result = at::empty_like(fresh);
  KernelRun run;
  run.ours = [=] {
    std::array<BandMoments, kOthers> bands;
    for (std::int64_t i = 0; i < kOthers; ++i) {
      bands[static_cast<std::size_t>(i)] = {others[i].const_data_ptr<double>(), 2 * kGroups,
                                            kBandRows};
    }
    combine_moments({fresh.const_data_ptr<double>(), stale.const_data_ptr<double>(), kBandRows},
                    bands.data(), kOthers, (kOthers + 1) * kBandRows, kItems, kGroups,
                    result.mutable_data_ptr<double>(), gpu.stream);
    return result;
  };
  run.libtorch = [=] { return fresh + ((others.sum(0) + stale) / (kOthers + 1) - stale); };
  run.bytes = 2 * size_of(fresh) + size_of(others) + size_of(result);
  run.relative_bound = 1e-6;
  return run;
}

KernelRun prepare_moments_encoding(const GpuStream& gpu) {
  const at::Tensor moments = random_moments({kItems, kGroups}, gpu.options);
  const at::Tensor encoded = at::empty(moments.sizes(), gpu.options.dtype(at::kHalf));
  KernelRun run;
  run.ours = [=] {
    encode_moments({bytes_of(encoded), kGroups * kEncodedMomentsBytes},
                   {moments.const_data_ptr<double>(), moments.stride(0) * 8}, kItems, kGroups,
                   gpu.stream);
    return encoded;
  };
  run.libtorch = [=] {
    const at::Tensor mean = moments.select(2, 0);
    return at::stack({mean, (moments.select(2, 1) - mean * mean).sqrt()}, -1).to(at::kHalf);
  };
  run.bytes = size_of(moments) + size_of(encoded);
  run.relative_bound = 1e-3;
  return run;
}

KernelRun prepare_moments_decoding(const GpuStream& gpu) {
  const at::Tensor encoded = at::rand({kItems, kGroups, 2}, gpu.options.dtype(at::kHalf));
  const at::Tensor moments = at::empty(encoded.sizes(), gpu.options);
  KernelRun run;
  run.ours = [=] {
    decode_moments(moments.mutable_data_ptr<double>(), bytes_of(encoded), kItems * kGroups,
                   gpu.stream);
    return moments;
  };
  run.libtorch = [=] {
    const at::Tensor pairs = encoded.to(at::kDouble);
    return at::stack({pairs.select(2, 0), pairs.square().sum(2)}, -1);
  };
  run.bytes = size_of(encoded) + size_of(moments);
  run.relative_bound = 1e-6;
  return run;
}

}  // namespace

std::vector<KernelCase> gpu_row_cases(const GpuStream& gpu) {
  using Prepare = KernelRun (*)(const Rows&, const GpuStream&);
  static const std::vector<std::pair<const char*, Prepare>> kernels = {
      {"copy_rows", prepare_copy},
      {"encode_rows", prepare_encode},
      {"decode_rows", prepare_decode},
      {"encode_residual", prepare_residual},
      {"add_residual", prepare_add}};
  std::vector<KernelCase> cases;
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kFloat}) {
    const GpuStream typed = gpu.of(dtype);
    for (const auto& [kernel, prepare] : kernels) {
      for (const Rows& rows : kRows) {
        cases.push_back({kernel, rows.text(), name_of(dtype),
                         [&rows, gpu = typed, prepare = prepare] { return prepare(rows, gpu); }});
      }
    }
  }
  const GpuStream doubles = gpu.of(at::kDouble);
  const std::string shape = fmt::format("{} x {} groups", kItems, kGroups);
  const auto add = [&](const char* kernel, const std::string& text, auto prepare) {
    cases.push_back({kernel, text, name_of(at::kDouble), [=] { return prepare(doubles); }});
  };
  add("combine_moments", fmt::format("{} of {} bands", shape, kOthers + 1), prepare_combine);
  add("encode_moments", shape, prepare_moments_encoding);
  add("decode_moments", shape, prepare_moments_decoding);
  return cases;
}

}  // namespace pcpp::benchmarks
