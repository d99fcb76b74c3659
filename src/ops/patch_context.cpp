#include "ops/patch_context.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mean.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "base/check.h"
#include "gpu/gpu.h"
#include "kernels/moments.h"
#include "ops/work.h"

namespace pcpp {

namespace {

at::Tensor tensor_over(const Piece& piece, at::IntArrayRef sizes, at::IntArrayRef strides,
                       const at::TensorOptions& options) {
  // The device is named, lest libtorch ask the driver where the memory lies.
  return at::for_blob(piece.data, sizes)
      .strides(strides)
      .options(options)
      .target_device(options.device())
      .make_tensor();
}

// Whether an item of the batch lies in one piece.
bool has_dense_items(const at::Tensor& rows, at::MemoryFormat format) {
  return rows.narrow(0, 0, 1).is_contiguous(format);
}

// [batch, tokens, width] to the means of every `pool` tokens, the last one perhaps of fewer.
at::Tensor pooled_rows(const at::Tensor& tokens, std::int64_t pool) {
  const std::int64_t whole = tokens.size(1) / pool;
  const std::int64_t rest = tokens.size(1) - whole * pool;
  std::vector<at::Tensor> means;
  if (whole > 0) {
    means.push_back(tokens.narrow(1, 0, whole * pool).unflatten(1, {whole, pool}).mean(2));
  }
  if (rest > 0) means.push_back(tokens.narrow(1, whole * pool, rest).mean(1, true));
  return at::cat(means, 1);
}

// `rows` are the pooled ones of `band`; those that stand for unread tokens are added to `far`,
// which has a part for each number of tokens that they stand for: only at the end of what is unread
// are these fewer than `pool`.
void add_unread(std::vector<PooledTokens>& far, const at::Tensor& rows, RowRange band,
                RowRange read, std::int64_t pool) {
  RowRange unread = band;
  if (const RowRange near = intersect(band, read); !near.empty()) {
    unread =
        near.begin > band.begin ? RowRange{band.begin, near.begin} : RowRange{near.end, band.end};
  }
  const auto tokens = [&](std::int64_t row) {
    const std::int64_t begin = band.begin + row * pool;
    return intersect({begin, begin + pool}, unread).size();
  };
  for (std::int64_t row = 0, next = 0; row < rows.size(1); row = next) {
    while (next < rows.size(1) && tokens(next) == tokens(row)) ++next;
    if (tokens(row) > 0) far.push_back({rows.narrow(1, row, next - row), tokens(row)});
  }
}

// The moments of each band in the pieces, which hold those of `item_values` values an item.
std::vector<BandMoments> band_moments(const Reading& reading, const std::vector<double>& rows,
                                      std::int64_t item_values) {
  std::vector<BandMoments> bands;
  for (const Piece& piece : reading.pieces) {
    const auto* data = reinterpret_cast<const double*>(piece.data);
    for (std::int64_t patch = piece.rows.begin; patch < piece.rows.end; ++patch) {
      bands.push_back({data + (patch - piece.rows.begin) * item_values,
                       piece.rows.size() * item_values, rows[static_cast<std::size_t>(patch)]});
    }
  }
  return bands;
}

}  // namespace

PatchContext::PatchContext(int condition_slots)
    : conditions_(static_cast<std::size_t>(condition_slots)) {}

PatchContext::PatchContext(const ExchangePlan& plan, StaleCache& cache, int rank,
                           int condition_slots)
    : plan_(&plan),
      cache_(&cache),
      patch_(plan.topology().patch_of(rank)),
      patches_(plan.topology().patches()),
      conditions_(static_cast<std::size_t>(condition_slots)) {}

RowRange PatchContext::band(int level) const {
  if (plan_ == nullptr) return {};
  return band_at_level(plan_->topology().bands()[static_cast<std::size_t>(patch_)], level);
}

void PatchContext::leave_out(SiteId end) {
  if (cache_ != nullptr) cache_->leave_out(end);
}

void PatchContext::send_nothing(SiteId end) {
  if (cache_ != nullptr) cache_->send_nothing(end);
}

Reading PatchContext::swap(SiteId site, const at::Tensor& own) {
  if (cache_ == nullptr) return {};
  const WorkScope scope("exchange", [] { return Work{.kind = WorkKind::exchange, .shape = ""}; });
  const SitePlan& plan = plan_->site(site);
  const RowRange rows = plan.owned[static_cast<std::size_t>(patch_)];
  const std::int64_t item_bytes = rows.size() * plan.row_bytes;
  check<std::logic_error>(
      own.size(0) == plan_->batch() &&
          static_cast<std::int64_t>(own.nbytes()) == plan_->batch() * item_bytes,
      "site {} was planned for {} items of {} bytes and given {} bytes in {} items", site,
      plan_->batch(), item_bytes, own.nbytes(), own.size(0));
  return cache_->swap(site, static_cast<const std::byte*>(own.const_data_ptr()),
                      own.stride(0) * static_cast<std::int64_t>(own.element_size()));
}

RowsAround PatchContext::rows_around(SiteId site) const {
  if (cache_ == nullptr) return {};
  const RowRange own = plan_->site(site).owned[static_cast<std::size_t>(patch_)];
  const RowRange read = cache_->reads(site);
  return {own.begin - read.begin, read.end - own.end};
}

Neighbours PatchContext::around_band(SiteId site, const Reading& reading,
                                     const std::function<at::Tensor(const Piece&)>& view) const {
  Neighbours neighbours;
  if (reading.pieces.empty()) return neighbours;
  const RowRange own = plan_->site(site).owned[static_cast<std::size_t>(patch_)];
  for (const Piece& piece : reading.pieces) {
    (piece.rows.begin < own.begin ? neighbours.above : neighbours.below).push_back(view(piece));
  }
  return neighbours;
}

Neighbours PatchContext::exchange_halo(SiteId site, const at::Tensor& own) {
  check<std::logic_error>(has_dense_items(own, at::MemoryFormat::ChannelsLast),
                          "site {} was given rows that are not channels-last", site);
  const std::int64_t channels = own.size(1);
  const std::int64_t row = own.size(3) * channels;
  return around_band(site, swap(site, own), [&](const Piece& piece) {
    return tensor_over(piece, {own.size(0), channels, piece.rows.size(), own.size(3)},
                       {piece.rows.size() * row, 1, row, channels}, own.options());
  });
}

Neighbours PatchContext::exchange_tokens(SiteId pooled, SiteId site, const at::Tensor& own) {
  check<std::logic_error>(has_dense_items(own, at::MemoryFormat::Contiguous),
                          "site {} was given tokens that are not contiguous", site);
  if (cache_ == nullptr) return {};
  const std::int64_t width = own.size(2);
  const auto view = [&](const Piece& piece) {
    return tensor_over(piece, {own.size(0), piece.rows.size(), width},
                       {piece.rows.size() * width, width, 1}, own.options());
  };
  const std::int64_t pool = plan_->pool();
  // Copies, since the next exchange may take their memory.
  const Reading far = swap(pooled, pool > 0 ? pooled_rows(own, pool) : own.narrow(1, 0, 0));
  std::vector<at::Tensor> means;
  for (const Piece& piece : far.pieces) means.push_back(view(piece).clone());
  const Reading reading = swap(site, own);
  Neighbours neighbours = around_band(site, reading, view);
  RowRange read = plan_->site(site).owned[static_cast<std::size_t>(patch_)];
  for (const Piece& piece : reading.pieces) {
    read = {std::min(read.begin, piece.rows.begin), std::max(read.end, piece.rows.end)};
  }
  for (std::size_t i = 0; i < means.size(); ++i) {
    const std::vector<RowRange>& bands = plan_->site(pooled).owned;
    const auto patch = std::find_if(bands.begin(), bands.end(), [&](const RowRange& rows) {
      return rows.begin == far.pieces[i].rows.begin && !rows.empty();
    });
    add_unread(neighbours.pooled, means[i],
               plan_->site(site).owned[static_cast<std::size_t>(patch - bands.begin())], read,
               pool);
  }
  return neighbours;
}

at::Tensor PatchContext::exchange_moments(SiteId site, int level, const at::Tensor& own) {
  check<std::logic_error>(own.is_contiguous() && own.scalar_type() == at::kDouble,
                          "site {} was given moments that are not contiguous float64", site);
  const Reading reading = swap(site, own);
  if (reading.pieces.empty()) return own;
  std::vector<double> rows;  // by patch
  for (const RowRange& band : plan_->topology().bands()) {
    rows.push_back(static_cast<double>(band_at_level(band, level).size()));
  }
  const std::vector<BandMoments> others = band_moments(reading, rows, own.size(1) * own.size(2));
  at::Tensor result = at::empty_like(own);
  const OwnMoments mine{own.const_data_ptr<double>(),
                        reinterpret_cast<const double*>(reading.own_previous),
                        rows[static_cast<std::size_t>(patch_)]};
  const auto count = static_cast<int>(others.size());
  const double all_rows = std::accumulate(rows.begin(), rows.end(), 0.0);
  auto* combined = result.mutable_data_ptr<double>();
  if (on_gpu(own)) {
    combine_moments(mine, others.data(), count, all_rows, own.size(0), own.size(1), combined,
                    gpus().stream());
  } else {
    combine_moments(mine, others.data(), count, all_rows, own.size(0), own.size(1), combined);
  }
  return result;
}

}  // namespace pcpp
