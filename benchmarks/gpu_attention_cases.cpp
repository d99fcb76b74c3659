#include <ATen/Context.h>
#include <ATen/SDPBackend.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cstdint>

#include "kernel_case.h"

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

struct Backend {
  const char* name;
  at::SDPBackend value;
};

constexpr Backend kBackends[] = {{"flash", at::SDPBackend::flash_attention},
                                 {"efficient", at::SDPBackend::efficient_attention},
                                 {"cudnn", at::SDPBackend::cudnn_attention},
                                 {"math", at::SDPBackend::math}};

// libtorch may use no other backend until the object goes; then all.
class OnlyBackend {
 public:
  explicit OnlyBackend(at::SDPBackend backend) {
    set([=](at::SDPBackend other) { return other == backend; });
  }
  ~OnlyBackend() {
    set([](at::SDPBackend) { return true; });
  }
  OnlyBackend(const OnlyBackend&) = delete;
  OnlyBackend& operator=(const OnlyBackend&) = delete;

 private:
  template <typename IsAllowed>
  static void set(const IsAllowed& is_allowed) {
    at::Context& context = at::globalContext();
    context.setSDPUseFlash(is_allowed(at::SDPBackend::flash_attention));
    context.setSDPUseMemEfficient(is_allowed(at::SDPBackend::efficient_attention));
    context.setSDPUseCuDNN(is_allowed(at::SDPBackend::cudnn_attention));
    context.setSDPUseMath(is_allowed(at::SDPBackend::math));
  }
};

bool computes(at::SDPBackend backend, const at::Tensor& query, const at::Tensor& key,
              const at::Tensor& value) {
  const OnlyBackend only(backend);
  try {
    return at::_fused_sdp_choice(query, key, value) == static_cast<std::int64_t>(backend);
  } catch (const c10::Error&) {  // no backend is left
    return false;
  }
}

KernelRun prepare(const Shape& shape, at::SDPBackend backend, const at::TensorOptions& options) {
  // Keys and values lie as attention gets them: side by side in a token's row.
  const std::int64_t width = shape.heads * shape.size;
  const auto by_head = [&](const at::Tensor& rows) {
    return rows.unflatten(2, {shape.heads, -1}).transpose(1, 2);
  };
  const at::Tensor query = by_head(at::randn({shape.batch, shape.queries, width}, options));
  const at::Tensor rows = at::randn({shape.batch, shape.keys, 2 * width}, options);
  const at::Tensor key = by_head(rows.narrow(2, 0, width));
  const at::Tensor value = by_head(rows.narrow(2, width, width));
  KernelRun run;
  run.libtorch = [=] { return at::scaled_dot_product_attention(query, key, value); };
  if (computes(backend, query, key, value)) {
    run.ours = [=, attend = run.libtorch] {
      const OnlyBackend only(backend);
      return attend();
    };
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
      for (const Backend& backend : kBackends) {
        cases.push_back(
            {fmt::format("libtorch's attention, {}", backend.name), shape.text(), name_of(dtype),
             [&shape, &backend, options] { return prepare(shape, backend.value, options); }});
      }
    }
  }
  return cases;
}

}  // namespace pcpp::benchmarks
