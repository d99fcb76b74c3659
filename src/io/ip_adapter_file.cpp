#include "io/ip_adapter_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"

namespace pcpp {
namespace {

using Tensors = std::map<std::string, TensorView>;

// By parts of names that only they have.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kOtherKinds = {
    {{"image_proj.perceiver_resampler.", "FaceID Plus, which reads what a face recogniser makes"},
     {"image_proj.proj.3.", "for whole faces (\"full face\")"},
     {"image_proj.proj.0.", "FaceID, which reads what a face recogniser makes"},
     {"_lora.", "FaceID, with LoRAs of its own"}}};

bool is_in(const std::string& name, std::string_view scope) {
  return name.starts_with(scope) && name.substr(scope.size()).starts_with('.');
}

}  // namespace

IpAdapterTensors read_ip_adapter_file(const Tensors& tensors, const std::string& source) {
  for (const auto& [part, kind] : kOtherKinds) {
    const auto found = std::ranges::find_if(tensors, [part = part](const auto& tensor) {
      return tensor.first.find(part) != std::string::npos;
    });
    check<CheckpointError>(
        found == tensors.end(),
        "{}: by its tensor {} it is an IP-Adapter of the kind {}, which is not supported: take a "
        "plain one, or one called plus",
        source, found == tensors.end() ? "" : excerpt(found->first), kind);
  }
  check<CheckpointError>(
      tensors.contains("image_proj.proj.weight") || tensors.contains("image_proj.latents"),
      "{}: it holds no IP-Adapter: neither image_proj.proj.weight nor image_proj.latents is there; "
      "take one with the names that they were published with",
      source);
  IpAdapterTensors parts;
  for (const auto& [name, tensor] : tensors) {
    check<CheckpointError>(
        is_in(name, kImageProjection) || is_in(name, kAdaptedAttention),
        "{}: the tensor {} is none of an IP-Adapter: take one that is alone in its file", source,
        excerpt(name));
    (is_in(name, kImageProjection) ? parts.projection : parts.attention).emplace(name, tensor);
  }
  return parts;
}

}  // namespace pcpp
