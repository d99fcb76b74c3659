#include "ops/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "base/check.h"
#include "gpu/gpu.h"
#include "kernels/attention.h"
#include "ops/elements.h"
#include "ops/gpu_attention.h"
#include "ops/padded_rows.h"
#include "ops/work.h"

namespace pcpp {

namespace {

// A block of a segment's keys.
struct Block {
  const KeyValues* segment;
  std::int64_t first;
  std::int64_t keys;
};

std::vector<Block> blocks_of(const std::vector<KeyValues>& segments) {
  std::vector<Block> blocks;
  for (const KeyValues& segment : segments) {
    const std::int64_t rows = segment.rows.size(1);
    for (std::int64_t first = 0; first < rows; first += kAttentionKeys) {
      blocks.push_back({&segment, first, std::min(kAttentionKeys, rows - first)});
    }
  }
  return blocks;
}

at::Tensor bytes(std::int64_t count) { return at::empty({count}, at::kByte); }

std::byte* data_of(const at::Tensor& buffer) {
  return static_cast<std::byte*>(buffer.mutable_data_ptr());
}

// Of the keys that a thread packs before it attends: what stays in its core's cache.
constexpr std::int64_t kPackedBytes = std::int64_t{1} << 19;

// Attention of one call, for some heads at a time.
class HeadGroups {
 public:
  HeadGroups(const at::Tensor& query, const std::vector<KeyValues>& segments, std::int64_t heads)
      : kernel_(attention_kernel(vector_element_of(query), vector_level())),
        query_(query),
        output_(at::empty(query.sizes(), query.options())),
        blocks_(blocks_of(segments)),
        heads_(heads),
        size_(query.size(2) / heads),
        packed_bytes_(kernel_.packed_bytes(size_)) {
    check<std::logic_error>(!blocks_.empty(), "attention was given no keys");
  }

  at::Tensor run() const {
    const std::int64_t all = query_.size(0) * heads_;
    const std::int64_t group = std::min(all, at::get_num_threads() * heads_of_a_thread());
    const at::Tensor packed = bytes(group * block_count() * packed_bytes_);
    const std::int64_t scratch_bytes = kernel_.scratch_bytes(size_);
    const at::Tensor scratch = bytes(at::get_num_threads() * scratch_bytes);
    for (std::int64_t first = 0; first < all; first += group) {
      const std::int64_t count = std::min(group, all - first);
      at::parallel_for(0, count * block_count(), 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) pack(first, i, data_of(packed));
      });
      at::parallel_for(0, count * query_blocks(), 1, [&](std::int64_t begin, std::int64_t end) {
        std::byte* own_scratch = data_of(scratch) + at::get_thread_num() * scratch_bytes;
        for (std::int64_t i = begin; i < end; ++i) {
          attend(first + i / query_blocks(), i % query_blocks() * kAttentionQueries,
                 packed_keys(data_of(packed), i / query_blocks()), own_scratch);
        }
      });
    }
    return output_;
  }

 private:
  std::int64_t block_count() const { return static_cast<std::int64_t>(blocks_.size()); }
  std::int64_t query_blocks() const {
    return (query_.size(1) + kAttentionQueries - 1) / kAttentionQueries;
  }

  // Few make threads meet often.
  std::int64_t heads_of_a_thread() const {
    return std::max<std::int64_t>(1, kPackedBytes / (block_count() * packed_bytes_));
  }

  // Bytes before row `row` of head `head` of all heads of the batch; `skipped` heads lie before
  // those in each row.
  std::int64_t offset(const at::Tensor& tensor, std::int64_t head, std::int64_t row,
                      std::int64_t skipped) const {
    const std::int64_t elements = head / heads_ * tensor.stride(0) + row * tensor.stride(1) +
                                  (skipped + head % heads_) * size_;
    return elements * static_cast<std::int64_t>(tensor.element_size());
  }
  AttentionRows rows(const at::Tensor& tensor, std::int64_t head, std::int64_t row,
                     std::int64_t skipped) const {
    const auto* data = static_cast<const std::byte*>(tensor.const_data_ptr());
    return {data + offset(tensor, head, row, skipped), tensor.stride(1)};
  }

  void pack(std::int64_t first_head, std::int64_t index, std::byte* packed) const {
    const Block& block = blocks_[static_cast<std::size_t>(index % block_count())];
    const std::int64_t head = first_head + index / block_count();
    kernel_.pack(rows(block.segment->rows, head, block.first, 0),
                 rows(block.segment->rows, head, block.first, heads_), block.keys, size_,
                 packed + index * packed_bytes_);
  }

  std::vector<PackedKeys> packed_keys(const std::byte* packed, std::int64_t index) const {
    std::vector<PackedKeys> result;
    const std::byte* data = packed + index * block_count() * packed_bytes_;
    for (const Block& block : blocks_) {
      result.push_back({data, block.keys, block.segment->log_weight});
      data += packed_bytes_;
    }
    return result;
  }

  void attend(std::int64_t head, std::int64_t row, const std::vector<PackedKeys>& keys,
              std::byte* scratch) const {
    kernel_.attend(rows(query_, head, row, 0), std::min(kAttentionQueries, query_.size(1) - row),
                   size_, keys.data(), block_count(),
                   data_of(output_) + offset(output_, head, row, 0), output_.stride(1), scratch);
  }

  AttentionKernel kernel_;
  const at::Tensor& query_;
  at::Tensor output_;
  std::vector<Block> blocks_;
  std::int64_t heads_;
  std::int64_t size_;
  std::int64_t packed_bytes_;
};

// [batch, n, heads * size] as [batch, heads, n, size].
at::Tensor by_head(const at::Tensor& rows, std::int64_t heads) {
  return rows.unflatten(2, {heads, -1}).transpose(1, 2);
}

// To the type that scores are computed in, without asking a device.
double rounded_to(at::ScalarType type, float value) {
  if (type == at::kHalf) return static_cast<float>(c10::Half(value));
  if (type == at::kBFloat16) return static_cast<float>(c10::BFloat16(value));
  return value;
}

// What is added to the scores of each key, [1, 1, 1, keys]; undefined where that is nothing.
// Softmax knows differences alone, so all are shifted to where the largest is exact in the scores'
// type.
at::Tensor log_weights(const std::vector<KeyValues>& segments) {
  if (std::ranges::all_of(segments, [](const auto& segment) { return segment.log_weight == 0; })) {
    return {};
  }
  const at::TensorOptions options = segments.front().rows.options();
  const float largest = std::ranges::max(segments, {}, &KeyValues::log_weight).log_weight;
  const double shift = rounded_to(segments.front().rows.scalar_type(), largest) - largest;
  std::vector<at::Tensor> weights;
  weights.reserve(segments.size());
  for (const KeyValues& segment : segments) {
    weights.push_back(
        at::full({1, 1, 1, segment.rows.size(1)}, segment.log_weight + shift, options));
  }
  return at::cat(weights, 3);
}

// The keys of all segments, in which each begins where the one before ends.
at::Tensor joined(const std::vector<KeyValues>& segments) {
  const at::Tensor& first = segments.front().rows;
  std::int64_t keys = 0;
  for (const KeyValues& segment : segments) {
    check<std::logic_error>(
        segment.rows.strides() == first.strides() &&
            segment.rows.storage_offset() == first.storage_offset() + keys * first.stride(1) &&
            segment.rows.is_alias_of(first),
        "attention on a GPU was given keys that do not lie one after the other");
    keys += segment.rows.size(1);
  }
  return first.as_strided({first.size(0), keys, first.size(2)}, first.strides());
}

// libtorch's.
at::Tensor gpu_attend(const at::Tensor& query, const std::vector<KeyValues>& segments,
                      std::int64_t heads) {
  const at::Tensor all = joined(segments);
  const std::int64_t width = query.size(2);
  const at::Tensor weights = log_weights(segments);
  const at::Tensor attended =
      gpu_attention(by_head(query, heads), by_head(all.narrow(2, 0, width), heads),
                    by_head(all.narrow(2, width, width), heads), weights);
  return attended.transpose(1, 2).flatten(2).contiguous();
}

// Lays the segments one after the other from the begin of `room`, around `own`, which lies there.
void lay_behind_each_other(std::vector<KeyValues>& segments, const at::Tensor& own,
                           const at::Tensor& room) {
  std::vector<RowPlacement> placements;
  std::int64_t first = 0;
  for (KeyValues& segment : segments) {
    const std::int64_t keys = segment.rows.size(1);
    if (!segment.rows.is_same(own)) {
      const at::Tensor place = room.narrow(1, first, keys);
      placements.push_back({place, std::exchange(segment.rows, place)});
    }
    first += keys;
  }
  place_rows(placements);
}

Work work_of(const at::Tensor& query, const std::vector<KeyValues>& segments, std::int64_t heads,
             std::optional<SiteId> site) {
  std::int64_t keys = 0;
  for (const KeyValues& segment : segments) keys += segment.rows.size(1);
  return {.kind = WorkKind::attention,
          .shape = fmt::format("{}/{}", query.size(2), heads),
          .amount = 2 * static_cast<double>(query.numel()) * static_cast<double>(keys),
          .site = site,
          .keys = keys};
}

void check_rows(const at::Tensor& rows, const at::Tensor& query, std::int64_t width) {
  check<std::logic_error>(
      rows.dim() == 3 && rows.size(0) == query.size(0) && rows.size(2) == width &&
          rows.stride(2) == 1 && rows.scalar_type() == query.scalar_type(),
      "attention was given tokens that are not [{}, n, {}] of the queries' type with contiguous "
      "rows",
      query.size(0), width);
}

}  // namespace

SelfAttention::SelfAttention(const WeightScope& weights, std::int64_t width, std::int64_t heads,
                             int level, SiteRegistry& sites)
    : SelfAttention(weights.path(),
                    {weights.scope("to_q"), weights.scope("to_k"), weights.scope("to_v"),
                     weights.scope("to_out").scope(0)},
                    Linear::Bias::no, width, heads, level, sites) {}

SelfAttention::SelfAttention(const std::string& name, const Projections& projections,
                             Linear::Bias bias, std::int64_t width, std::int64_t heads, int level,
                             SiteRegistry& sites)
    : name_(name),
      query_(projections.query, width, width, bias),
      key_value_(projections.key, projections.value, width, width, bias),
      out_(projections.out, width, width),
      heads_(heads),
      pooled_site_(sites.add({name, SiteKind::pooled, level, 2 * width})),
      site_(sites.add({name, SiteKind::attention, level, 2 * width})) {}

// For all keys that can be read, so that a GPU writes the own ones and lays the others where it
// reads them.
at::Tensor SelfAttention::room_for_keys(const at::Tensor& tokens,
                                        const PatchContext& context) const {
  const RowsAround near = context.rows_around(site_);
  const RowsAround far = context.rows_around(pooled_site_);
  const std::int64_t keys = near.above + tokens.size(1) + near.below + far.above + far.below;
  return at::empty({tokens.size(0), keys, 2 * tokens.size(2)}, tokens.options());
}

std::vector<KeyValues> SelfAttention::all_keys(const at::Tensor& tokens,
                                               PatchContext& context) const {
  at::Tensor room;
  at::Tensor own;  // [batch, tokens, 2 width]
  if (on_gpu(tokens)) {
    room = room_for_keys(tokens, context);
    own = room.narrow(1, context.rows_around(site_).above, tokens.size(1));
    key_value_.write(tokens, own);
  } else {
    own = key_value_(tokens).contiguous();
  }
  const Neighbours neighbours = context.exchange_tokens(pooled_site_, site_, own);
  std::vector<KeyValues> segments;
  for (const at::Tensor& above : neighbours.above) segments.push_back({above});
  segments.push_back({own});
  for (const at::Tensor& below : neighbours.below) segments.push_back({below});
  for (const PooledTokens& far : neighbours.pooled) {
    segments.push_back({far.rows, std::log(static_cast<float>(far.tokens))});
  }
  if (room.defined()) lay_behind_each_other(segments, own, room);
  return segments;
}

at::Tensor SelfAttention::operator()(const at::Tensor& tokens, PatchContext& context) const {
  const SpanScope scope(name_);
  const std::vector<KeyValues> keys = all_keys(tokens, context);
  return out_(attend(query_(tokens), keys, heads_, site_));
}

CrossAttention::CrossAttention(const WeightScope& weights, std::int64_t width,
                               std::int64_t text_width, std::int64_t heads, SiteRegistry& sites)
    : name_(weights.path()),
      query_(weights.scope("to_q"), width, width, Linear::Bias::no),
      text_{
          Linear(weights.scope("to_k"), weights.scope("to_v"), text_width, width, Linear::Bias::no),
          sites.add_condition_slot()},
      out_(weights.scope("to_out").scope(0), width, width),
      heads_(heads) {
  for (const WeightScope& adapter : weights.adapters()) {
    images_.push_back({Linear(adapter.scope("to_k_ip"), adapter.scope("to_v_ip"), text_width, width,
                              Linear::Bias::no),
                       sites.add_condition_slot()});
  }
}

at::Tensor CrossAttention::attend_to(const at::Tensor& query, const Kept& kept,
                                     const at::Tensor& tokens, PatchContext& context) const {
  at::Tensor& key_value = context.condition_slot(kept.condition_slot);
  if (!key_value.defined()) key_value = kept.key_value(tokens);  // [batch, m, 2 width]
  return attend(query, {{key_value}}, heads_);
}

at::Tensor CrossAttention::operator()(const at::Tensor& tokens, const PromptTokens& prompt,
                                      PatchContext& context) const {
  const SpanScope scope(name_);
  check<std::logic_error>(prompt.images.empty() || prompt.images.size() == images_.size(),
                          "tokens of {} image prompts for {} adapters", prompt.images.size(),
                          images_.size());
  const at::Tensor query = query_(tokens);
  at::Tensor attended = attend_to(query, text_, prompt.text, context);
  for (std::size_t i = 0; i < prompt.images.size(); ++i) {
    const auto& [images, scale] = prompt.images[i];
    if (scale != 0) attended.add_(attend_to(query, images_[i], images, context), scale);
  }
  return out_(attended);
}

at::Tensor attend(const at::Tensor& query, const std::vector<KeyValues>& segments,
                  std::int64_t heads, std::optional<SiteId> site) {
  check<std::logic_error>(heads > 0 && query.size(-1) % heads == 0,
                          "attention was given queries of {} elements, which are not {} heads",
                          query.size(-1), heads);
  check_rows(query, query, query.size(-1));
  for (const KeyValues& segment : segments) check_rows(segment.rows, query, 2 * query.size(2));
  const WorkScope scope("attention", [&] { return work_of(query, segments, heads, site); });
  if (query.is_meta()) return at::empty(query.sizes(), query.options());
  if (on_gpu(query)) return gpu_attend(query, segments, heads);
  const HeadGroups groups(query, segments, heads);
  return groups.run();
}

}  // namespace pcpp
