// GroupNorm over a patch, with SiLU after it where asked.
#ifndef PCPP_OPS_GROUP_NORM_H_
#define PCPP_OPS_GROUP_NORM_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "ops/padded_rows.h"
#include "ops/patch_context.h"
#include "ops/site_registry.h"
#include "ops/weight_scope.h"
#include "ops/work.h"

namespace pcpp {

// Its moments come from the context (GroupNormMode; DistriFusion, section 4): the operator
// makes its own band's, and normalises with what it gets back. Immutable.
class GroupNorm {
 public:
  enum class Activation { none, silu };

  // Takes `weight` and `bias` [channels]; registers its site at `level`.
  GroupNorm(const WeightScope& weights, std::int64_t channels, std::int64_t groups, double epsilon,
            Activation activation, int level, SiteRegistry& sites);

  // [batch, channels, rows, columns] channels-last, float32, bfloat16 or, on a GPU, float16, to the
  // same.
  at::Tensor operator()(const at::Tensor& input, PatchContext& context) const {
    return (*this)(input, context, 0).image;
  }
  // The same with `padding` rows of zeros above and below, of the input plus `offset` [1 or batch,
  // channels] of its type, where it is defined: one for all pixels of an image.
  PaddedRows operator()(const at::Tensor& input, PatchContext& context, std::int64_t padding,
                        const at::Tensor& offset = {}) const;

 private:
  // What is normalised.
  struct Input {
    at::Tensor image;   // channels-last
    at::Tensor offset;  // undefined: none; on a CPU float32
  };
  at::Tensor moments(const Input& input) const;
  void normalise(const Input& input, const at::Tensor& moments, const PaddedRows& output) const;
  at::Tensor gpu_moments(const Input& input) const;
  void gpu_normalise(const Input& input, const at::Tensor& moments, const PaddedRows& output) const;
  Work work(const char* part, const at::Tensor& input, int passes) const;

  std::string name_;
  at::Tensor weight_;  // [channels] float32, whatever the network's dtype
  at::Tensor bias_;
  std::int64_t groups_;
  double epsilon_;
  Activation activation_;
  int level_;
  SiteId site_;
};

}  // namespace pcpp

#endif  // PCPP_OPS_GROUP_NORM_H_
