#include <ATen/ops/conv2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "kernel_case.h"
#include "ops/conv2d.h"

namespace pcpp::benchmarks {

namespace {

struct Shape {
  const char* where;
  std::int64_t batch;
  std::int64_t in;
  std::int64_t out;
  std::int64_t rows;
  std::int64_t columns;
};

const std::vector<Shape> kShapes = {
    {"SD1.5 512x512", 2, 320, 320, 64, 64},
    {"SD1.5 512x512", 2, 960, 320, 64, 64},
    {"SD1.5 512x512", 2, 640, 640, 32, 32},
    {"SD1.5 512x512", 2, 1920, 640, 32, 32},
    {"SD1.5 512x512", 2, 1280, 1280, 16, 16},
    {"SD1.5 512x512", 2, 2560, 1280, 16, 16},
    {"SD1.5 512x512", 2, 1280, 1280, 8, 8},
    {"SD1.5 512x512", 2, 2560, 1280, 8, 8},
    {"SD1.5 512x512, band of 8", 2, 320, 320, 8, 64},
    {"SD1.5 512x512, band of 8", 2, 1280, 1280, 2, 16},
    {"SD2.1 768x768", 2, 320, 320, 96, 96},
    {"SDXL 1024x1024", 2, 320, 320, 128, 128},
    {"SDXL 1024x1024", 2, 1280, 1280, 32, 32},
    {"VAE 512x512", 1, 512, 512, 128, 128},
    {"VAE 512x512", 1, 128, 128, 512, 512},
    {"bundled model", 2, 64, 64, 32, 32},
};

using Way = std::optional<WinogradTile>;

std::string text_of(const Shape& shape, Way way) {
  const char* by = "";
  if (way) by = *way == WinogradTile::two ? ", tiles of 2x2" : ", tiles of 4x4";
  return fmt::format("{}: {} x {} > {} at {}x{}{}", shape.where, shape.batch, shape.in, shape.out,
                     shape.rows, shape.columns, by);
}

std::shared_ptr<const Kernel3x3> kernel_of(const at::Tensor& weight, const at::Tensor& bias,
                                           Way way) {
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : {std::pair("weight", weight), {"bias", bias}}) {
    const auto* data = static_cast<const std::byte*>(tensor.const_data_ptr());
    views[name] = {tensor.scalar_type() == at::kFloat ? DType::f32 : DType::bf16,
                   tensor.sizes().vec(), std::span(data, tensor.nbytes())};
  }
  const auto kernel =
      std::make_shared<Kernel3x3>(WeightScope(std::move(views), "benchmark", weight.scalar_type()),
                                  weight.size(1), weight.size(0), 1);
  if (way) kernel->use_winograd(*way);
  return kernel;
}

// Those of the convolution by definition, for blocks of pixels that stay in the cache.
std::function<void()> products_of(const Shape& shape, const at::TensorOptions& options) {
  constexpr std::int64_t kBlock = 256;
  const std::int64_t pixels = shape.batch * shape.rows * shape.columns;
  const std::int64_t block = std::min(kBlock, pixels);
  const at::Tensor patches = at::randn({block, 9 * shape.in}, options);
  const at::Tensor weight = at::randn({9 * shape.in, shape.out}, options);
  const at::Tensor output = at::empty({block, shape.out}, options);
  return [=] {
    at::Tensor result = output;
    for (std::int64_t i = 0; i < pixels / block; ++i) at::mm_out(result, patches, weight);
  };
}

KernelRun prepare(const Shape& shape, at::ScalarType dtype, Way way) {
  const at::TensorOptions options(dtype);
  const at::Tensor weight = at::randn({shape.out, shape.in, 3, 3}, options)
                                .div_(std::sqrt(9 * static_cast<double>(shape.in)));
  const at::Tensor bias = at::randn({shape.out}, options);
  const at::Tensor input = at::randn({shape.batch, shape.in, shape.rows, shape.columns}, options)
                               .contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor libtorchs = weight.contiguous(at::MemoryFormat::ChannelsLast);
  const auto kernel = kernel_of(weight, bias, way);
  KernelRun run;
  run.ours = [=] { return (*kernel)(input, Neighbours()); };
  run.libtorch = [=] { return at::conv2d(input, libtorchs, bias, {1, 1}, {1, 1}); };
  run.products = products_of(shape, options);
  run.flops = 2 * 9 * static_cast<double>(shape.batch * shape.rows * shape.columns) *
              static_cast<double>(shape.in * shape.out);
  run.relative_bound = dtype == at::kFloat ? 1e-5 : 1e-2;
  return run;
}

}  // namespace

std::vector<KernelCase> convolution_cases() {
  std::vector<KernelCase> cases;
  for (const Shape& shape : kShapes) {
    for (const Way way : {Way(), Way(WinogradTile::two), Way(WinogradTile::four)}) {
      cases.push_back({"convolution", text_of(shape, way), "float32",
                       [&shape, way] { return prepare(shape, at::kFloat, way); }});
    }
    cases.push_back({"convolution", text_of(shape, std::nullopt), "bfloat16",
                     [&shape] { return prepare(shape, at::kBFloat16, std::nullopt); }});
  }
  return cases;
}

}  // namespace pcpp::benchmarks
