#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <fmt/format.h>

#include <cstdint>

#include "kernel_case.h"
#include "ops/gpu_attention.h"
#include "pcpp/error.h"

namespace pcpp::benchmarks {

namespace {

struct Shape {
  const char* where;
  std::int64_t batch;
  std::int64_t queries;
  std::int64_t keys;
  std::int64_t heads;
  std::int64_t size;

  std::string text() const {
    return fmt::format("{}: {} x {} tokens on {}, {} x {}", where, batch, queries, keys, heads,
                       size);
  }
};

const std::vector<Shape> kShapes = {{"SD1.5 512x512", 2, 4096, 4096, 8, 40},
                                    {"SD1.5 512x512", 2, 1024, 1024, 8, 80},
                                    {"SD1.5 512x512", 2, 256, 256, 8, 160},
                                    {"SD1.5, inner band of 4", 2, 1024, 1639, 8, 40},
                                    {"SD1.5, inner band of 4", 2, 256, 409, 8, 80},
                                    {"SD1.5, inner band of 4", 2, 64, 103, 8, 160},
                                    {"SD1.5 text", 2, 4096, 77, 8, 40},
                                    {"SDXL 1024x1024", 2, 4096, 4096, 10, 64},
                                    {"SDXL 1024x1024", 2, 1024, 1024, 20, 64},
                                    {"SDXL, inner band of 4", 2, 1024, 1639, 10, 64},
                                    {"SDXL, inner band of 4", 2, 256, 409, 20, 64},
                                    {"SDXL text", 2, 4096, 77, 10, 64}};

constexpr GpuAttention kKernels[] = {GpuAttention::flash, GpuAttention::efficient,
                                     GpuAttention::cudnn, GpuAttention::math};

KernelRun prepare(const Shape& shape, GpuAttention kernel, const at::TensorOptions& options) {
  // Keys and values lie as attention gets them: side by side in a token's row.
  const std::int64_t width = shape.heads * shape.size;
  const at::Tensor query =
      by_head(at::randn({shape.batch, shape.queries, width}, options), shape.heads);
  const at::Tensor rows = at::randn({shape.batch, shape.keys, 2 * width}, options);
  const at::Tensor key = by_head(rows.narrow(2, 0, width), shape.heads);
  const at::Tensor value = by_head(rows.narrow(2, width, width), shape.heads);
  // Where cuDNN fails for a shape, the second time ends the process: libtorch shall not choose it.
  try_cudnn_attention(options, {shape.size});
  KernelRun run;
  run.libtorch = [=] { return at::scaled_dot_product_attention(query, key, value); };
  const auto ours = [=] {
    const GpuAttentionScope scope({kernel}, std::chrono::milliseconds(0));
    return gpu_attention(query, key, value, {});
  };
  try {
    ours();
    run.ours = ours;
  } catch (const ConfigError&) {  // it does not serve
  }
  run.flops = 4 * static_cast<double>(shape.batch * shape.queries * width * shape.keys);
  run.bytes = static_cast<double>(2 * query.nbytes() + rows.nbytes());
  run.relative_bound = options.dtype() == at::kFloat ? 1e-4 : 2e-2;
  return run;
}

}  // namespace

std::vector<KernelCase> gpu_attention_cases(const GpuStream& gpu) {
  std::vector<KernelCase> cases;
  for (const Shape& shape : kShapes) {
    for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kFloat}) {
      const at::TensorOptions options = gpu.of(dtype).options;
      for (const GpuAttention kernel : kKernels) {
        cases.push_back({fmt::format("libtorch's attention, {}", name_of(kernel)), shape.text(),
                         name_of(dtype),
                         [&shape, kernel, options] { return prepare(shape, kernel, options); }});
      }
    }
  }
  return cases;
}

}  // namespace pcpp::benchmarks
