// Attention over a patch's tokens.
#ifndef PCPP_OPS_ATTENTION_H_
#define PCPP_OPS_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ops/linear.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"

namespace pcpp {

// Keys and values of some tokens [batch, m, 2 * heads * size]: all keys of a token, then all
// values.
struct KeyValues {
  at::Tensor rows;
  // Added to the scores of all its keys: log m where every token stands for m.
  float log_weight = 0;
};

// The scopes of an attention's projections.
struct Projections {
  WeightScope query;
  WeightScope key;
  WeightScope value;
  WeightScope out;
};

// Queries of the own band; keys and values of the own band and of what the context returns of the
// others, each pooled token counted as often as it stands for one. Immutable.
class SelfAttention {
 public:
  // Takes to_q, to_k, to_v [width, width], to_out.0 with bias; registers its sites at `level`.
  SelfAttention(const WeightScope& weights, std::int64_t width, std::int64_t heads, int level,
                SiteRegistry& sites);
  // The same of projections by other names; `bias`: whether all but `out`, which has one, have one.
  SelfAttention(const std::string& name, const Projections& projections, Linear::Bias bias,
                std::int64_t width, std::int64_t heads, int level, SiteRegistry& sites);
  // [batch, tokens, width] to the same.
  at::Tensor operator()(const at::Tensor& tokens, PatchContext& context) const;

 private:
  std::vector<KeyValues> all_keys(const at::Tensor& tokens, PatchContext& context) const;
  at::Tensor room_for_keys(const at::Tensor& tokens, const PatchContext& context) const;

  std::string name_;
  Linear query_;
  Linear key_value_;
  Linear out_;
  std::int64_t heads_;
  SiteId pooled_site_;
  SiteId site_;
};

// What an IP-Adapter makes of pictures, and how much of what is read of it is added.
struct ImageTokens {
  at::Tensor tokens;  // [batch, m, text_width]
  double scale = 1;
};

// What cross-attention reads.
struct PromptTokens {
  PromptTokens(at::Tensor text_tokens,  // NOLINT(google-explicit-constructor): text alone
               std::vector<ImageTokens> image_tokens = {})
      : text(std::move(text_tokens)), images(std::move(image_tokens)) {}

  at::Tensor text;                  // [batch, m, text_width]
  std::vector<ImageTokens> images;  // one for each adapter of the network; none: they add nothing
};

// Attention over the text's keys and values, and, by the same queries, over those of each
// IP-Adapter's images, whose results are added: the decoupled one of arXiv 2308.06721. Keys and
// values are computed in the phase's first step and kept in the context.
class CrossAttention {
 public:
  // Takes to_q [width, width], to_k and to_v [width, text_width], to_out.0 with bias, and of each
  // of the scope's adapters to_k_ip and to_v_ip [width, text_width].
  CrossAttention(const WeightScope& weights, std::int64_t width, std::int64_t text_width,
                 std::int64_t heads, SiteRegistry& sites);
  // tokens [batch, n, width].
  at::Tensor operator()(const at::Tensor& tokens, const PromptTokens& prompt,
                        PatchContext& context) const;

 private:
  // The keys and values of some tokens, and where a context keeps them.
  struct Kept {
    Linear key_value;
    int condition_slot;
  };
  at::Tensor attend_to(const at::Tensor& query, const Kept& kept, const at::Tensor& tokens,
                       PatchContext& context) const;

  std::string name_;
  Linear query_;
  Kept text_;
  std::vector<Kept> images_;  // one for each adapter
  Linear out_;
  std::int64_t heads_;
};

// softmax(q k^T / sqrt(size) + log_weight) v for q [batch, n, heads * size] over the keys of all
// segments: on a CPU where they lie, on a GPU one after the other in the memory of each item, so
// that nothing is concatenated. Returns [batch, n, heads * size]. float32, bfloat16 or, on a GPU,
// float16, sums in float32; only the last dimensions must be contiguous. There must be at least one
// key. The result is the same for any number of threads, to the bit. `site` is a self-attention's.
at::Tensor attend(const at::Tensor& query, const std::vector<KeyValues>& segments,
                  std::int64_t heads, std::optional<SiteId> site = std::nullopt);

}  // namespace pcpp

#endif  // PCPP_OPS_ATTENTION_H_
