#include <ATen/TensorOperators.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/var_mean.h>
#include <fmt/format.h>

#include <cstdint>

#include "kernel_case.h"
#include "kernels/add_image.h"
#include "kernels/geglu.h"
#include "kernels/group_norm.h"
#include "kernels/guided_step.h"
#include "kernels/layer_norm.h"
#include "ops/elements.h"

namespace pcpp::benchmarks {

namespace {

constexpr std::int64_t kGroups = 32;
constexpr double kEpsilon = 1e-5;

// Activations, channels last: [batch, rows * columns, channels].
struct Image {
  const char* where;
  std::int64_t batch;
  std::int64_t channels;
  std::int64_t rows;
  std::int64_t columns;

  std::int64_t pixels() const { return rows * columns; }
  std::string text() const {
    return fmt::format("{}: {} x {} at {}x{}", where, batch, channels, rows, columns);
  }
};

const std::vector<Image> kImages = {
    {"SD1.5 512x512", 2, 320, 64, 64},    {"SD1.5 512x512", 2, 960, 64, 64},
    {"SD1.5 512x512", 2, 640, 32, 32},    {"SD1.5 512x512", 2, 1280, 16, 16},
    {"SD1.5 512x512", 2, 2560, 16, 16},   {"SD1.5 512x512", 2, 1280, 8, 8},
    {"SDXL 1024x1024", 2, 320, 128, 128}, {"SDXL 1024x1024", 2, 960, 128, 128},
    {"SDXL 1024x1024", 2, 640, 64, 64},   {"SDXL 1024x1024", 2, 1280, 32, 32},
    {"SDXL 1024x1024", 2, 2560, 32, 32},  {"SDXL, band of 4", 2, 320, 32, 128},
    {"SDXL 3840x3840", 2, 320, 480, 480}};

// [rows, width]: tokens of both branches.
struct Rows {
  const char* where;
  std::int64_t rows;
  std::int64_t width;

  std::string text() const { return fmt::format("{}: {} x {}", where, rows, width); }
};

const std::vector<Rows> kTokens = {{"SD1.5 512x512", 8192, 320},   {"SD1.5 512x512", 2048, 640},
                                   {"SD1.5 512x512", 512, 1280},   {"SDXL 1024x1024", 8192, 640},
                                   {"SDXL 1024x1024", 2048, 1280}, {"SDXL, band of 4", 512, 1280}};

// Results of a feed-forward's gate, of products twice as wide.
const std::vector<Rows> kGates = {{"SD1.5 512x512", 8192, 1280},  {"SD1.5 512x512", 2048, 2560},
                                  {"SD1.5 512x512", 512, 5120},   {"SDXL 1024x1024", 8192, 2560},
                                  {"SDXL 1024x1024", 2048, 5120}, {"SDXL, band of 4", 512, 5120}};

struct Latents {
  const char* where;
  std::int64_t count;
};

const std::vector<Latents> kLatents = {{"SD1.5 512x512", 4 * 64 * 64},
                                       {"SDXL 1024x1024", 4 * 128 * 128},
                                       {"SDXL 3840x3840", 4 * 480 * 480}};

double bound_of(const at::TensorOptions& options) {
  return options.dtype() == at::kFloat ? 1e-5 : 1e-2;
}

template <typename T>
T* data_of(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// What GroupNorm's two kernels read and write.
struct Norm {
  Norm(const Image& image, const GpuStream& gpu)
      : batch(image.batch),
        pixels(image.pixels()),
        channels(image.channels),
        input(at::randn({batch, pixels, channels}, gpu.options) + 1),
        output(at::empty_like(input)),
        moments(at::empty({batch, kGroups, 2}, gpu.options.dtype(at::kDouble))),
        workspace(at::empty({static_cast<std::int64_t>(
                                group_moments_workspace_bytes(batch, pixels, channels, kGroups))},
                            gpu.options.dtype(at::kByte))),
        weight(at::randn({channels}, gpu.options.dtype(at::kFloat))),
        bias(at::randn({channels}, gpu.options.dtype(at::kFloat))),
        stream(gpu.stream) {}

  at::Tensor sum() const {
    with_gpu_elements(input, [&]<typename T>(const T* elements) {
      group_moments(elements, Offset<T>{}, batch, pixels, channels, kGroups,
                    data_of<std::byte>(workspace), data_of<double>(moments), stream);
    });
    return moments;
  }

  at::Tensor apply() const {
    with_gpu_elements(input, [&]<typename T>(const T* elements) {
      group_norm_apply(elements, Offset<T>{}, data_of<T>(output), batch, pixels, channels,
                       {data_of<double>(moments), data_of<float>(weight), data_of<float>(bias),
                        kGroups, kEpsilon, true},
                       0, stream);
    });
    return output;
  }

  std::int64_t batch;
  std::int64_t pixels;
  std::int64_t channels;
  at::Tensor input;
  at::Tensor output;
  at::Tensor moments;
  at::Tensor workspace;
  at::Tensor weight;
  at::Tensor bias;
  CUstream_st* stream;
};

// The results are the means.
KernelRun prepare_moments(const Image& image, const GpuStream& gpu) {
  const Norm norm(image, gpu);
  const at::Tensor grouped = norm.input.unflatten(2, {kGroups, -1});
  KernelRun run;
  run.ours = [=] { return norm.sum().select(2, 0); };
  run.libtorch = [=] { return std::get<1>(at::var_mean(grouped, {1, 3}, false)); };
  run.bytes = static_cast<double>(norm.input.nbytes());
  run.relative_bound = bound_of(gpu.options);
  return run;
}

// With the moments of others: to libtorch a product, a sum and SiLU.
KernelRun prepare_apply(const Image& image, const GpuStream& gpu) {
  const Norm norm(image, gpu);
  const at::Tensor by_group = norm.sum().to(at::kFloat);
  const at::Tensor mean = by_group.select(2, 0).repeat_interleave(image.channels / kGroups, 1);
  const at::Tensor squares = by_group.select(2, 1).repeat_interleave(image.channels / kGroups, 1);
  const at::Tensor scale = norm.weight / (squares - mean * mean + kEpsilon).sqrt();
  const at::Tensor shift = (norm.bias - mean * scale).to(norm.input.scalar_type()).unsqueeze(1);
  const at::Tensor factor = scale.to(norm.input.scalar_type()).unsqueeze(1);
  KernelRun run;
  run.ours = [=] { return norm.apply(); };
  run.libtorch = [=] { return at::silu(at::addcmul(shift, norm.input, factor)); };
  run.bytes = 2 * static_cast<double>(norm.input.nbytes());
  run.relative_bound = bound_of(gpu.options);
  return run;
}

KernelRun prepare_norm(const Image& image, const GpuStream& gpu) {
  const Norm norm(image, gpu);
  const at::Tensor weight = norm.weight.to(gpu.options);
  const at::Tensor bias = norm.bias.to(gpu.options);
  const at::Tensor nchw = norm.input.unflatten(1, {image.rows, -1}).permute({0, 3, 1, 2});
  KernelRun run;
  run.ours = [=] {
    norm.sum();
    return norm.apply();
  };
  run.libtorch = [=, rows = image.rows] {
    return at::silu(at::group_norm(nchw, kGroups, weight, bias, kEpsilon))
        .permute({0, 2, 3, 1})
        .flatten(1, 2);
  };
  run.reread_bytes = static_cast<double>(norm.input.nbytes());
  run.bytes = 3 * run.reread_bytes;
  run.relative_bound = bound_of(gpu.options);
  return run;
}

KernelRun prepare_geglu(const Rows& gate, const GpuStream& gpu) {
  const at::Tensor input = at::randn({gate.rows, 2 * gate.width}, gpu.options);
  const at::Tensor output = at::empty({gate.rows, gate.width}, gpu.options);
  const std::vector<at::Tensor> halves = input.chunk(2, 1);
  KernelRun run;
  run.ours = [=, rows = gate.rows, width = gate.width] {
    with_gpu_elements(input, [&]<typename T>(const T* elements) {
      geglu(elements, data_of<T>(output), rows, width, gpu.stream);
    });
    return output;
  };
  run.libtorch = [=] { return halves[0] * at::gelu(halves[1]); };
  run.bytes = static_cast<double>(input.nbytes() + output.nbytes());
  run.relative_bound = bound_of(gpu.options);
  return run;
}

KernelRun prepare_add(const Image& image, const GpuStream& gpu) {
  const at::Tensor added = at::randn({image.batch * image.pixels(), image.channels}, gpu.options);
  const at::Tensor bias = at::randn({image.channels}, gpu.options);
  const at::Tensor sum = at::randn_like(added);
  const at::Tensor libtorchs = sum.clone();
  KernelRun run;
  run.ours = [=] {
    with_gpu_elements(added, [&]<typename T>(const T* elements) {
      add_image(data_of<T>(sum), elements, data_of<T>(bias), sum.size(0), sum.size(1), gpu.stream);
    });
    return sum;
  };
  run.libtorch = [=] { return at::Tensor(libtorchs).add_(bias).add_(added); };
  run.bytes = static_cast<double>(3 * sum.nbytes());
  run.relative_bound = bound_of(gpu.options);
  return run;
}

KernelRun prepare_layer_norm(const Rows& shape, const GpuStream& gpu) {
  const at::Tensor tokens = at::randn({shape.rows, shape.width}, gpu.options);
  const at::Tensor addend = at::randn_like(tokens);
  const at::Tensor output = at::empty_like(tokens);
  const at::Tensor libtorchs = tokens.clone();
  const auto float32 = gpu.options.dtype(at::kFloat);
  const at::Tensor weight = at::randn({shape.width}, float32);
  const at::Tensor bias = at::randn({shape.width}, float32);
  const at::Tensor own_weight = weight.to(gpu.options);
  const at::Tensor own_bias = bias.to(gpu.options);
  KernelRun run;
  run.ours = [=] {
    with_gpu_elements(addend, [&]<typename T>(const T* elements) {
      layer_norm<T>(
          {data_of<T>(tokens), elements, data_of<T>(tokens), data_of<T>(output), tokens.size(1)},
          tokens.size(0),
          {data_of<float>(weight), data_of<float>(bias), static_cast<float>(kEpsilon)}, gpu.stream);
    });
    return output;
  };
  run.libtorch = [=] {
    return at::layer_norm(at::Tensor(libtorchs).add_(addend), own_weight.sizes(), own_weight,
                          own_bias, kEpsilon);
  };
  run.bytes = static_cast<double>(4 * tokens.nbytes());
  run.relative_bound = bound_of(gpu.options);
  return run;
}

KernelRun prepare_step(const Latents& shape, const GpuStream& gpu) {
  constexpr float kScale = 5;
  constexpr LinearUpdate kUpdate{0.9F, -0.3F};
  const at::Tensor latents = at::randn({shape.count}, gpu.options.dtype(at::kFloat));
  const at::Tensor conditional = at::randn({shape.count}, gpu.options);
  const at::Tensor unconditional = at::randn({shape.count}, gpu.options);
  const at::Tensor next = at::empty_like(latents);
  KernelRun run;
  run.ours = [=] {
    with_gpu_elements(conditional, [&]<typename T>(const T* elements) {
      guided_step<T>(data_of<float>(latents), {elements, data_of<T>(unconditional), kScale},
                     kUpdate, latents.numel(), data_of<float>(next), gpu.stream);
    });
    return next;
  };
  run.libtorch = [=] {
    return latents * kUpdate.sample + at::lerp(unconditional, conditional, kScale) * kUpdate.noise;
  };
  run.bytes = static_cast<double>(2 * latents.nbytes() + 2 * conditional.nbytes());
  run.relative_bound = bound_of(gpu.options);
  return run;
}

}  // namespace

std::vector<KernelCase> gpu_cases(const GpuStream& gpu) {
  std::vector<KernelCase> cases;
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kFloat}) {
    const GpuStream typed = gpu.of(dtype);
    const std::string type = name_of(dtype);
    for (const Image& image : kImages) {
      cases.push_back({"group_norm's moments", image.text(), type,
                       [&image, gpu = typed] { return prepare_moments(image, gpu); }});
      cases.push_back({"group_norm's apply, SiLU", image.text(), type,
                       [&image, gpu = typed] { return prepare_apply(image, gpu); }});
      cases.push_back({"group_norm, SiLU", image.text(), type,
                       [&image, gpu = typed] { return prepare_norm(image, gpu); }});
      cases.push_back({"add_image", image.text(), type,
                       [&image, gpu = typed] { return prepare_add(image, gpu); }});
    }
    for (const Rows& tokens : kTokens) {
      cases.push_back({"layer_norm of a sum", tokens.text(), type,
                       [&tokens, gpu = typed] { return prepare_layer_norm(tokens, gpu); }});
    }
    for (const Rows& gate : kGates) {
      cases.push_back(
          {"geglu", gate.text(), type, [&gate, gpu = typed] { return prepare_geglu(gate, gpu); }});
    }
    for (const Latents& latents : kLatents) {
      cases.push_back({"guided_step", fmt::format("{}: {}", latents.where, latents.count), type,
                       [&latents, gpu = typed] { return prepare_step(latents, gpu); }});
    }
  }
  return cases;
}

}  // namespace pcpp::benchmarks
