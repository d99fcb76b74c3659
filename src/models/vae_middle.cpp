#include "models/vae_middle.h"

#include <optional>
#include <string>

#include "base/check.h"

namespace pcpp {
namespace {

// Folders of before 2023 have the older name.
WeightScope either(const WeightScope& weights, const std::string& name, const std::string& older) {
  return weights.scope(weights.has(older + ".weight") ? older : name);
}

}  // namespace

VaeMiddle::Attention::Attention(const WeightScope& weights, const VaeConfig& config,
                                SiteRegistry& sites)
    : norm_(weights.scope("group_norm"), config.channels.back(), config.norm.groups,
            config.norm.epsilon, GroupNorm::Activation::none, 0, sites),
      attention_(weights.path(),
                 {either(weights, "to_q", "query"), either(weights, "to_k", "key"),
                  either(weights, "to_v", "value"), either(weights, "to_out.0", "proj_attn")},
                 Linear::Bias::yes, config.channels.back(), 1, 0, sites) {}

at::Tensor VaeMiddle::Attention::operator()(const at::Tensor& image, PatchContext& context) const {
  const at::Tensor tokens = as_tokens(norm_(image, context));
  return as_image(attention_(tokens, context), image.size(2)).add_(image);
}

VaeMiddle::VaeMiddle(const WeightScope& weights, const VaeConfig& config, SiteRegistry& sites)
    : first_(weights.scope("resnets").scope(0), config.channels.back(), config.channels.back(),
             std::nullopt, config.norm, 0, sites),
      attention_(weights.scope("attentions").scope(0), config, sites),
      second_(weights.scope("resnets").scope(1), config.channels.back(), config.channels.back(),
              std::nullopt, config.norm, 0, sites) {}

at::Tensor VaeMiddle::operator()(const at::Tensor& image, PatchContext& context,
                                 const std::stop_token& stop) const {
  check_not_stopped(stop);
  at::Tensor result = first_(image, {}, context);
  check_not_stopped(stop);
  result = attention_(result, context);
  check_not_stopped(stop);
  return second_(result, {}, context);
}

}  // namespace pcpp
