// A network's weights by dotted scope, each taken once and accounted for.
#ifndef PCPP_OPS_WEIGHT_SCOPE_H_
#define PCPP_OPS_WEIGHT_SCOPE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "io/lora_file.h"

namespace pcpp {

// A cheap view of one scope of a checkpoint's component. Not thread-safe.
//
//   const WeightScope unet(component.weights(), at::kFloat);
//   const WeightScope block = unet.scope("down_blocks").scope(0);
//   at::Tensor bias = block.take("conv.bias", {320});
//   unet.finish();
class WeightScope {
 public:
  // Converts every tensor that is taken to `dtype` and brings it to `device`. Keeps the mappings
  // alive until it goes. Once a stop is requested take() throws Cancelled.
  WeightScope(const Weights& weights, at::ScalarType dtype, at::Device device = at::kCPU,
              std::stop_token stop = {});
  // Of tensors in memory that outlives the scope; `source` names them in errors.
  WeightScope(std::map<std::string, TensorView> tensors, std::string source, at::ScalarType dtype);

  // Tensors of whatever shape is asked for, without memory (meta): for planning from a config
  // alone.
  static WeightScope shapes_only(at::ScalarType dtype = at::kFloat);
  // The same of `weights`: names and shapes are checked as they are taken, nothing is read.
  static WeightScope shapes_of(const Weights& weights, at::ScalarType dtype = at::kFloat);
  // The same with memory, each filled with one small number: for timing.
  static WeightScope constants(at::ScalarType dtype, at::Device device = at::kCPU);

  // What the file says of `component`, which this source is of, is added to the tensors that are
  // taken from here on, in float32 before they are converted. Throws CheckpointError, naming the
  // weights, where the source lacks one or has it in another shape, before it reads any; take()
  // throws it then as well where a sum is beyond the dtype.
  void add(const LoraFile& lora, const std::string& component) const;

  WeightScope scope(const std::string& name) const;
  WeightScope scope(std::int64_t index) const { return scope(std::to_string(index)); }

  // The tensor `name` of this scope, contiguous, usable in and out of inference mode. Throws
  // CheckpointError, naming the tensor and the file, where it is missing, has another shape, holds
  // integers or a value that is not finite; std::logic_error where it was taken before.
  at::Tensor take(const std::string& name, const std::vector<std::int64_t>& shape) const;
  bool has(const std::string& name) const;
  // Marks a tensor as known but not needed (position_ids of older CLIP files), if it is there.
  void ignore(const std::string& name) const;

  // Throws CheckpointError naming the tensors of this scope that nobody took or ignored.
  void finish() const;

  // Where tensors that are taken lie.
  at::Device device() const;

  // Elements of all tensors taken so far, by any scope of this source.
  std::int64_t taken_elements() const;

  // The same scope, with `label` ahead of its path and of those of the scopes in it: for one of
  // several sources of a network.
  WeightScope labelled(const std::string& label) const;
  // The same scope, which is entered together with `adapters`, of other sources: scope(name) takes
  // all of them there. What they hold is theirs to take and to finish.
  WeightScope with_adapters(std::vector<WeightScope> adapters) const;
  const std::vector<WeightScope>& adapters() const { return adapters_; }
  // The label, if any, and the dotted scope, without a trailing dot.
  std::string path() const;

 private:
  struct Source;
  static WeightScope made(at::ScalarType dtype, at::Device device);
  WeightScope(std::shared_ptr<Source> source, std::string label, std::string path);
  std::string full_name(const std::string& name) const;
  at::Tensor with_added(at::Tensor values, const std::string& full_name) const;  // in its dtype

  std::shared_ptr<Source> source_;
  std::string label_;
  std::string path_;
  std::vector<WeightScope> adapters_;
};

}  // namespace pcpp

#endif  // PCPP_OPS_WEIGHT_SCOPE_H_
