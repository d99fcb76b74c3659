// A band's own rows with its neighbours' laid beside them, for what reads them in one piece.
#ifndef PCPP_OPS_PADDED_ROWS_H_
#define PCPP_OPS_PADDED_ROWS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace pcpp {

// A band's image, and around it room for the rows that a convolution reads besides. Whoever makes
// the band's rows writes them into the middle, so that they are not copied.
struct PaddedRows {
  at::Tensor image;          // [batch, channels, padding + rows + padding, columns] channels-last
  std::int64_t padding = 0;  // rows above and below: zeros, where no neighbour's are laid

  // For an image of `band`'s sizes and type; its memory is as it was found.
  static PaddedRows around(const at::Tensor& band, std::int64_t padding);

  at::Tensor own() const { return image.narrow(2, padding, image.size(2) - 2 * padding); }
  at::Tensor above() const { return image.narrow(2, 0, padding); }
  at::Tensor below() const { return image.narrow(2, image.size(2) - padding, padding); }
};

// A copy of `band`, but `band` itself where it is channels-last and `padding` is 0.
PaddedRows padded(const at::Tensor& band, std::int64_t padding);

// `source` [batch, ...] goes to `target` of the same sizes and type. In both an item of the batch
// is contiguous, as rows of a channels-last image or tokens.
struct RowPlacement {
  at::Tensor target;
  at::Tensor source;
};
// On a GPU all at once. No two may have memory in common.
void place_rows(const std::vector<RowPlacement>& placements);

}  // namespace pcpp

#endif  // PCPP_OPS_PADDED_ROWS_H_
