#include "pipeline/beginning.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <vector>

#include "base/deadline.h"
#include "pipeline/pictures.h"
#include "pipeline/vae_bands.h"

namespace pcpp {

namespace {

// As diffusers: then nothing is left of the image where the mask is white.
bool begins_with_noise_alone(const GenerationRequest& request) {
  return !request.masks.empty() && strength_of(request) == 1;
}

bool encodes_init_images(const GenerationRequest& request, const ModelInfo& model) {
  return !request.init_images.empty() && !(model.inpainting && begins_with_noise_alone(request));
}

// Latents of init images and of what masks keep of them, as far as the run reads them.
struct Encoded {
  at::Tensor images;
  at::Tensor masked_images;
};

Encoded encode_images(const Networks& networks, const GenerationRequest& request,
                      const RequestSizes& sizes, const at::Tensor& masks,
                      const BeginningNoise& noise, Clock::time_point trace_zero,
                      GenerationResult& result) {
  const ModelInfo& model = networks.model();
  std::int64_t images_encoded = 0;
  const at::Tensor pixels = networks.ranks().outside([&] {
    std::vector<at::Tensor> parts;
    const at::Tensor images = all_of(request.init_images, to_pixels, sizes, request.stop);
    if (encodes_init_images(request, model)) {
      parts.push_back(images);
      images_encoded = images.size(0);
    }
    if (model.inpainting) parts.push_back(images * (1 - masks));
    return at::cat(parts);
  });
  const at::Tensor posterior = encode(networks, request, pixels, trace_zero, result);
  return networks.ranks().outside([&] {
    // Where pictures have noise of their own, of one image for each.
    const auto latents_of = [&](const at::Tensor& of_images, const at::Tensor& drawn) {
      if (of_images.size(0) == 0) return at::Tensor();
      const at::Tensor each = of_images.repeat_interleave(drawn.size(0) / of_images.size(0), 0);
      return networks.encoder().latents_of(each, drawn);
    };
    return Encoded{latents_of(posterior.slice(0, 0, images_encoded), noise.images),
                   latents_of(posterior.slice(0, images_encoded), noise.masked_images)};
  });
}

}  // namespace

BeginningNoise draw_noise(const GenerationRequest& request, const RequestSizes& sizes,
                          const ModelInfo& model) {
  const bool is_each_alone = !request.seeds.empty();
  BeginningNoise noise{
      StandardNormal(is_each_alone ? request.seeds : std::vector{request.seed}), {}, {}, {}};
  const auto draw = [&](std::int64_t images) {
    return noise.normal.draw({images, model.latent_channels, sizes.rows, sizes.columns});
  };
  const auto draw_for = [&](std::int64_t images) {
    return draw(is_each_alone ? sizes.images : images);
  };
  const std::int64_t images = std::ssize(request.init_images);
  const std::int64_t masks = std::ssize(request.masks);
  if (encodes_init_images(request, model)) noise.images = draw_for(images);
  noise.latents = request.latents ? to_tensor(*request.latents, "latents") : draw(sizes.images);
  // Where no U-Net reads it too: diffusers draws it, and the steps' noise comes after it.
  if (masks > 0) noise.masked_images = draw_for(std::max(images, masks));
  return noise;
}

Beginning begin_run(const Networks& networks, const GenerationRequest& request,
                    const RequestSizes& sizes, const Scheduler& scheduler,
                    const BeginningNoise& noise, Clock::time_point trace_zero,
                    GenerationResult& result) {
  const auto outside = [&](const auto& work) { return networks.ranks().outside(work); };
  Beginning beginning;
  if (request.init_images.empty()) {
    beginning.latents = outside([&] { return noise.latents * scheduler.init_noise_sigma(); });
    return beginning;
  }
  at::Tensor masks;
  if (!request.masks.empty()) {
    masks = outside([&] { return all_of(request.masks, to_mask, sizes, request.stop); });
  }
  const Encoded encoded = encode_images(networks, request, sizes, masks, noise, trace_zero, result);
  outside([&] {
    const at::Tensor images = encodes_init_images(request, networks.model())
                                  ? for_each_picture(encoded.images, sizes)
                                  : at::Tensor();
    beginning.latents = begins_with_noise_alone(request)
                            ? noise.latents * scheduler.init_noise_sigma()
                            : scheduler.noised(images, noise.latents, 0);
    if (!masks.defined()) return;
    const std::int64_t scale = networks.model().scale;
    const at::Tensor mask = for_each_picture(
        masks.slice(2, 0, std::nullopt, scale).slice(3, 0, std::nullopt, scale), sizes);
    if (networks.model().inpainting) {
      beginning.beside = at::cat({mask, for_each_picture(encoded.masked_images, sizes)}, 1);
    } else {
      beginning.kept = {images, noise.latents, mask};
    }
  });
  return beginning;
}

}  // namespace pcpp
