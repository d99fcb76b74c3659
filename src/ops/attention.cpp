#include "ops/attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

namespace pcpp {

namespace {

// libtorch fills its list of attention implementations at the first call, without a lock. This
// makes that call once, however many ranks come at the same time.
void prepare_attention() {
  static const at::Tensor result = [] {
    const at::Tensor zero = at::zeros({1, 1, 1, 1});
    return at::scaled_dot_product_attention(zero, zero, zero);
  }();
}

// Tokens in the image's order: [batch, above + own + below, width].
at::Tensor joined(const at::Tensor& own, const Neighbours& neighbours) {
  if (neighbours.above.empty() && neighbours.below.empty()) return own;
  std::vector<at::Tensor> parts = neighbours.above;
  parts.push_back(own);
  parts.insert(parts.end(), neighbours.below.begin(), neighbours.below.end());
  return at::cat(parts, 1);
}

}  // namespace

SelfAttention::SelfAttention(const WeightScope& weights, std::int64_t width, std::int64_t heads,
                             int level, SiteRegistry& sites)
    : query_(weights.scope("to_q"), width, width, Linear::Bias::no),
      key_value_(weights.scope("to_k"), weights.scope("to_v"), width, width),
      out_(weights.scope("to_out").scope(0), width, width),
      heads_(heads),
      site_(sites.add({weights.path(), SiteKind::attention, level, 2 * width})) {}

at::Tensor SelfAttention::operator()(const at::Tensor& tokens, PatchContext& context) const {
  const at::Tensor key_value = key_value_(tokens).contiguous();  // [batch, tokens, 2 width]
  const Neighbours neighbours = context.exchange_tokens(site_, key_value);
  const at::Tensor all = joined(key_value, neighbours);
  return out_(attend(query_(tokens), all, heads_));
}

CrossAttention::CrossAttention(const WeightScope& weights, std::int64_t width,
                               std::int64_t text_width, std::int64_t heads, SiteRegistry& sites)
    : query_(weights.scope("to_q"), width, width, Linear::Bias::no),
      key_value_(weights.scope("to_k"), weights.scope("to_v"), text_width, width),
      out_(weights.scope("to_out").scope(0), width, width),
      heads_(heads),
      text_slot_(sites.add_text_slot()) {}

at::Tensor CrossAttention::operator()(const at::Tensor& tokens, const at::Tensor& text,
                                      PatchContext& context) const {
  at::Tensor& key_value = context.text_slot(text_slot_);
  if (!key_value.defined()) key_value = key_value_(text);  // [batch, text tokens, 2 width]
  return out_(attend(query_(tokens), key_value, heads_));
}

at::Tensor attend(const at::Tensor& query, const at::Tensor& key_value, std::int64_t heads) {
  prepare_attention();
  const std::int64_t batch = query.size(0);
  const std::int64_t size = query.size(2) / heads;
  const at::Tensor split = key_value.view({batch, key_value.size(1), 2, heads, size});
  const at::Tensor output = at::scaled_dot_product_attention(
      query.view({batch, query.size(1), heads, size}).transpose(1, 2),  // [batch, heads, n, size]
      split.select(2, 0).transpose(1, 2), split.select(2, 1).transpose(1, 2));
  return output.transpose(1, 2).reshape(query.sizes());
}

}  // namespace pcpp
