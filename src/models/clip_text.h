// transformers' CLIPTextModel and CLIPTextModelWithProjection.
#ifndef PCPP_MODELS_CLIP_TEXT_H_
#define PCPP_MODELS_CLIP_TEXT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "io/config_reader.h"
#include "ops/weight_scope.h"

namespace pcpp {

struct ClipShape {
  std::int64_t width;
  std::int64_t layers;
  std::int64_t max_tokens;
};

// What a component's config.json says of it, whether or not ClipText supports the rest.
ClipShape read_clip_shape(ConfigReader& config);

// Immutable; thread-safe.
class ClipText {
 public:
  // Reads the component's config.json whole (an option that is not supported is refused by name)
  // and takes all of its weights. `added` [n, width], where it is defined, are the embeddings of n
  // tokens more, whose ids are those after the vocabulary's.
  ClipText(ConfigReader config, const WeightScope& weights, const at::Tensor& added = {});
  ~ClipText();
  ClipText(ClipText&&) noexcept;
  ClipText& operator=(ClipText&&) noexcept;

  struct Output {
    // hidden_states[0] are the embeddings, [i] the i-th layer's output, as in transformers:
    // [batch, tokens, width].
    std::vector<at::Tensor> hidden_states;
    at::Tensor last_hidden_state;  // the last layer's output after the final LayerNorm
    at::Tensor pooled;             // [batch, width], at the end-of-text token; after the projection
                                   // where the model has one: [batch, projection_dim]
  };
  // ids: [batch, tokens] int64, each below vocabulary_size() and what is added; tokens <=
  // max_tokens(). Throws Cancelled between two layers once a stop is requested.
  Output operator()(const at::Tensor& ids, const std::stop_token& stop = {}) const;

  // Of one of hidden_states what last_hidden_state is of the last.
  at::Tensor normalised(const at::Tensor& hidden_state) const;

  std::int64_t width() const;
  std::int64_t max_tokens() const;
  std::int64_t vocabulary_size() const;
  std::int64_t pooled_width() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pcpp

#endif  // PCPP_MODELS_CLIP_TEXT_H_
