#include "ops/padded_rows.h"

#include <ATen/ops/empty.h>

#include <stdexcept>

#include "base/check.h"
#include "gpu/gpu.h"
#include "kernels/copy_rows.h"
#include "ops/work.h"

namespace pcpp {

namespace {

RowCopy copy_of(const RowPlacement& placement) {
  const auto& [target, source] = placement;
  check<std::logic_error>(target.sizes() == source.sizes() && target.dtype() == source.dtype() &&
                              target.strides().slice(1) == source.strides().slice(1),
                          "rows were to be laid in a place of another shape, type or layout");
  const auto bytes = static_cast<std::int64_t>(source.element_size());
  return {static_cast<std::byte*>(target.mutable_data_ptr()),
          target.stride(0) * bytes,
          static_cast<const std::byte*>(source.const_data_ptr()),
          source.stride(0) * bytes,
          source.size(0),
          source.numel() / source.size(0) * bytes};
}

}  // namespace

PaddedRows PaddedRows::around(const at::Tensor& band, std::int64_t padding) {
  return {at::empty({band.size(0), band.size(1), padding + band.size(2) + padding, band.size(3)},
                    band.options(), at::MemoryFormat::ChannelsLast),
          padding};
}

PaddedRows padded(const at::Tensor& band, std::int64_t padding) {
  if (padding == 0) return {band.contiguous(at::MemoryFormat::ChannelsLast)};
  const WorkScope scope("pad rows", [] { return Work{.kind = WorkKind::exchange}; });
  const PaddedRows rows = PaddedRows::around(band, padding);
  rows.above().zero_();
  rows.own().copy_(band);
  rows.below().zero_();
  return rows;
}

void place_rows(const std::vector<RowPlacement>& placements) {
  std::vector<RowCopy> copies;
  for (const RowPlacement& placement : placements) {
    if (placement.source.numel() > 0) copies.push_back(copy_of(placement));
  }
  if (copies.empty()) return;
  if (on_gpu(placements.front().target)) {
    copy_rows(copies.data(), copies.size(), gpus().stream());
  } else {
    copy_rows(copies.data(), copies.size());
  }
}

}  // namespace pcpp
