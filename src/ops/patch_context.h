// What an operator is given of the world: its band's place in the image and its neighbours' rows.
#ifndef PCPP_OPS_PATCH_CONTEXT_H_
#define PCPP_OPS_PATCH_CONTEXT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "cache/exchange_plan.h"
#include "cache/stale_cache.h"

namespace pcpp {

// Means of tokens: [batch, n, width], each in place of `tokens` tokens.
struct PooledTokens {
  at::Tensor rows;
  std::int64_t tokens = 1;
};

// Rows of other patches around a rank's own, as tensors over the cache's memory: to be read before
// the next exchange of the same context.
struct Neighbours {
  std::vector<at::Tensor> above;  // [batch, rows, ...] in the image's order
  std::vector<at::Tensor> below;
  std::vector<PooledTokens> pooled;  // for what is in neither
};

// How many rows of other patches a site reads.
struct RowsAround {
  std::int64_t above = 0;
  std::int64_t below = 0;
};

// A rank's view of one run of the ranks; used by that rank's thread alone. Operators are shared by
// all ranks and hold no state: what they need between steps lies here.
class PatchContext {
 public:
  // The whole image as one patch: exchanges nothing. For the planner, and for tests.
  explicit PatchContext(int condition_slots = 0);

  // `plan` and `cache` must outlive the context.
  PatchContext(const ExchangePlan& plan, StaleCache& cache, int rank, int condition_slots);

  bool is_first() const { return patch_ == 0; }
  bool is_last() const { return patch_ + 1 == patches_; }
  bool is_whole() const { return patches_ == 1; }

  // The rows of `level` that this rank computes; {0, 0} for a context of the whole image.
  RowRange band(int level) const;

  // What the site reads in the present step.
  RowsAround rows_around(SiteId site) const;

  // Gives `own` (channels-last [batch, channels, rows, columns]) to the site and returns the halo
  // rows as channels-last [batch, channels, 1, columns] tensors: at most one above and one below,
  // none at the image's edge or where nothing is read. Here and below an item of the batch is
  // contiguous, the items may lie apart.
  Neighbours exchange_halo(SiteId site, const at::Tensor& own);

  // `own` [batch, tokens, width]; returns the other bands' tokens that are read,
  // [batch, n, width] each, and pooled ones for those that are not, where the plan has them.
  // `pooled` is the site of those, registered just before `site`.
  Neighbours exchange_tokens(SiteId pooled, SiteId site, const at::Tensor& own);

  // GroupNorm's moments: `own` [batch, groups, 2] float64, mean and mean of squares, of the band's
  // rows at `level`. Returns the moments to normalise with, of the same shape:
  //  - own, where the site reads nobody's;
  //  - else own and the other bands' as they come, combined as in kernels/moments.h. Sites that
  //    keep their own rows of the step that the others' are from correct by them, which changes
  //    nothing in a synchronous step.
  at::Tensor exchange_moments(SiteId site, int level, const at::Tensor& own);

  // In place of the exchanges of the sites from the next one up to `end`, as
  // StaleCache::leave_out().
  void leave_out(SiteId end);

  // Of these sites nothing is sent in this step, as StaleCache::send_nothing().
  void send_nothing(SiteId end);

  // What follows from the request's conditions alone, kept from its first step on: the keys and
  // values of a cross-attention, the embedding of pooled text and time ids.
  at::Tensor& condition_slot(int slot) { return conditions_.at(static_cast<std::size_t>(slot)); }

 private:
  Reading swap(SiteId site, const at::Tensor& own);
  Neighbours around_band(SiteId site, const Reading& reading,
                         const std::function<at::Tensor(const Piece&)>& view) const;

  const ExchangePlan* plan_ = nullptr;
  StaleCache* cache_ = nullptr;
  int patch_ = 0;
  int patches_ = 1;
  std::vector<at::Tensor> conditions_;
};

}  // namespace pcpp

#endif  // PCPP_OPS_PATCH_CONTEXT_H_
