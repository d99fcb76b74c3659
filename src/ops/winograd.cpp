#include "ops/winograd.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <stdexcept>

#include "base/check.h"
#include "ops/elements.h"

namespace pcpp {

namespace {

// Tiles of a block: few enough to stay near the core, and enough that reading the weights once for
// each block is little beside the products.
constexpr std::int64_t kBlockTiles = 128;
// Of a block's transformed rows: below the size from which malloc takes fresh pages every time.
constexpr std::int64_t kBlockBytes = std::int64_t{1} << 24;

at::Tensor floats(std::int64_t count) { return at::empty({count}, at::kFloat); }

WinogradImages images_of(const at::Tensor& input, const Neighbours& halo) {
  WinogradImages images;
  images.rows = input.size(2);
  images.columns = input.size(3);
  images.in = input.size(1);
  images.own = input.const_data_ptr();
  images.own_stride = input.stride(0);
  const auto take = [](const std::vector<at::Tensor>& rows, const void*& data,
                       std::int64_t& stride) {
    if (rows.empty()) return;
    data = rows.front().const_data_ptr();
    stride = rows.front().stride(0);
  };
  take(halo.above, images.above, images.above_stride);
  take(halo.below, images.below, images.below_stride);
  return images;
}

WinogradResult result_in(const at::Tensor& output, const at::Tensor& bias,
                         const at::Tensor& addend) {
  WinogradResult result;
  result.rows = output.size(2);
  result.columns = output.size(3);
  result.out = output.size(1);
  result.data = output.mutable_data_ptr();
  result.bias = bias.const_data_ptr<float>();
  result.addend = addend.defined() ? addend.const_data_ptr() : nullptr;
  return result;
}

// Calls `work(begin, end)` for all of `count`, by all threads.
template <typename WorkPart>
void in_parallel(std::int64_t count, const WorkPart& work) {
  at::parallel_for(0, count, 1, work);
}

}  // namespace

WinogradConvolution::WinogradConvolution(const at::Tensor& weight, WinogradTile tile)
    : tile_(tile),
      dtype_(weight.scalar_type()),
      kernel_(winograd_kernel(tile, vector_element_of(weight), vector_level())),
      in_(weight.size(1)),
      out_(weight.size(0)) {
  const c10::InferenceMode ordinary_tensors(false);
  const at::Tensor plain = weight.to(at::kFloat).contiguous();
  packed_ = floats(kernel_.packed_floats(in_, out_));
  in_parallel(WinogradKernel::panels(out_), [&](std::int64_t begin, std::int64_t end) {
    kernel_.pack(plain.const_data_ptr<float>(), in_, out_, begin, end,
                 packed_.mutable_data_ptr<float>());
  });
}

void WinogradConvolution::operator()(const at::Tensor& input, const Neighbours& halo,
                                     const at::Tensor& bias, const at::Tensor& addend,
                                     const at::Tensor& output) const {
  const auto fits = [&](const at::Tensor& images) {
    return images.scalar_type() == dtype_ && images.is_contiguous(at::MemoryFormat::ChannelsLast);
  };
  check<std::logic_error>(fits(input) && fits(output) && (!addend.defined() || fits(addend)),
                          "Winograd's algorithm was given images that are not channels-last and of "
                          "its weights' type");
  const at::Tensor exact_bias = bias.to(at::kFloat);
  const WinogradImages images = images_of(input, halo);
  const WinogradResult result = result_in(output, exact_bias, addend);
  const auto* weights = packed_.const_data_ptr<float>();
  const std::int64_t tiles = input.size(0) * kernel_.tiles(images.rows, images.columns);
  const std::int64_t tile_bytes =
      4 * kernel_.positions * WinogradRows::row_floats(std::max(in_, out_));
  const std::int64_t most = std::clamp<std::int64_t>(kBlockBytes / tile_bytes, 1, kBlockTiles);
  const std::int64_t blocks = (tiles + most - 1) / most;
  const std::int64_t block = (tiles + blocks - 1) / blocks;
  const at::Tensor input_memory =
      floats(kernel_.positions * WinogradRows::position_floats(block, in_));
  const at::Tensor product_memory =
      floats(kernel_.positions * WinogradRows::position_floats(block, out_));
  const WinogradRows inputs(input_memory.mutable_data_ptr<float>(), block, in_);
  const WinogradRows products(product_memory.mutable_data_ptr<float>(), block, out_);
  for (std::int64_t first = 0; first < tiles; first += block) {
    const std::int64_t count = std::min(block, tiles - first);
    in_parallel(count, [&](std::int64_t begin, std::int64_t end) {
      kernel_.transform_input(images, first + begin, first + end, inputs, begin);
    });
    in_parallel(kernel_.positions * WinogradKernel::panels(out_),
                [&](std::int64_t begin, std::int64_t end) {
                  kernel_.multiply(inputs, count, in_, weights, out_, begin, end, products);
                });
    in_parallel(count, [&](std::int64_t begin, std::int64_t end) {
      kernel_.transform_output(products, begin, result, first + begin, first + end);
    });
  }
}

std::int64_t WinogradConvolution::weight_bytes(std::int64_t in, std::int64_t out,
                                               WinogradTile tile) {
  return 4 * winograd_kernel(tile, VectorElement::float32, VectorLevel::baseline)
                 .packed_floats(in, out);
}

}  // namespace pcpp
