#include "io/control_net_file.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/single_file_names.h"

namespace pcpp {
namespace {

using single_file::has_name_of;

constexpr std::string_view kPrefix = "control_model.";

// By names that only they have.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kOtherKinds = {
    {{"lora_controlnet", "a Control-LoRA"},
     {"difference", "a ControlNet as its difference to a model"},
     {"task_embedding", "a union of several ControlNets"}}};

using Tensors = std::map<std::string, TensorView>;

Tensors renamed(const Tensors& tensors, std::string_view prefix, const std::string& source) {
  Tensors result;
  const single_file::Layout layout = single_file::layout_of(tensors, prefix);
  for (const auto& [name, tensor] : tensors) {
    if (!name.starts_with(prefix)) continue;
    const std::optional<single_file::Place> place =
        single_file::control_net_place(std::string_view(name).substr(prefix.size()), layout);
    check<CheckpointError>(
        place.has_value(),
        "{}: the tensor {} is none of a ControlNet for Stable Diffusion 1.x, 2.x "
        "or SDXL; take one, or save this one as a folder with diffusers",
        source, excerpt(name));
    result.emplace(fmt::format("{}.{}", place->module, place->parameter), tensor);
  }
  return result;
}

}  // namespace

Tensors read_control_net_file(const Tensors& tensors, const std::string& source) {
  for (const auto& [name, kind] : kOtherKinds) {
    check<CheckpointError>(!has_name_of(tensors, name),
                           "{}: by its tensor {} it is {}, which is not supported: take a "
                           "ControlNet that is none",
                           source, name, kind);
  }
  if (has_name_of(tensors, "controlnet_cond_embedding.")) return tensors;
  const bool has_prefix = has_name_of(tensors, kPrefix);
  check<CheckpointError>(
      has_name_of(tensors, has_prefix ? "control_model.zero_convs." : "zero_convs."),
      "{}: it holds no ControlNet: no tensor's name begins with zero_convs. or "
      "controlnet_cond_embedding.; take one (T2I-Adapters and Control-LoRAs are none)",
      source);
  return renamed(tensors, has_prefix ? kPrefix : "", source);
}

}  // namespace pcpp
