// A step's work on one band, counted by running the network on shapes alone.
#ifndef PCPP_PLANNER_NETWORK_WORK_H_
#define PCPP_PLANNER_NETWORK_WORK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache/exchange_plan.h"
#include "models/unet.h"
#include "ops/patch_context.h"
#include "ops/work.h"
#include "pcpp/config.h"

namespace pcpp {

// What a picture's size and its branches make of a network's work.
struct WorkShape {
  std::int64_t rows = 0;  // of the latent
  std::int64_t columns = 0;
  std::int64_t images = 1;
  int branches = 1;  // 2 with guidance
};

// The conditions of one call, zeros of the right shapes.
struct PlaceholderInputs {
  PlaceholderInputs(const NetworkConfig& network, std::int64_t batch, std::int64_t band_rows,
                    std::int64_t halo, std::int64_t columns, const at::TensorOptions& options);
  at::Tensor latents;
  at::Tensor timestep;
  at::Tensor text;  // as many tokens as CLIP's
  std::optional<AddedConditions> added;
  std::vector<ControlInput> controls;
};

// A network of weights that `weights` makes, each time anew: WeightScope::shapes_only() or
// constants().
UNet made_unet(const NetworkConfig& config, const std::function<WeightScope()>& weights);

// Calls that cost the same.
struct WorkItem {
  Work work;
  int level = 0;  // of a self-attention's site
  int count = 0;
};

struct BandWork {
  std::vector<WorkItem> items;  // self-attention's with the band's own tokens as its only keys
  double elementwise_bytes = 0;
  std::int64_t activation_bytes = 0;  // the most that live at once
};

// The network of one config, with its ControlNets at work, for pictures of one width. Not
// thread-safe.
class NetworkWork {
 public:
  NetworkWork(const NetworkConfig& config, DataType dtype, std::int64_t columns);

  // A steady step's work on `rows` latent rows of `batch` items: text keys and values, which are
  // made in the first step, left out.
  const BandWork& of(std::int64_t rows, std::int64_t batch);

  const UNet& unet() const { return unet_; }
  DataType dtype() const { return dtype_; }
  std::int64_t weight_bytes() const { return unet_.parameters() * element_bytes_; }

 private:
  BandWork count(std::int64_t rows, std::int64_t batch);

  std::int64_t columns_;
  DataType dtype_;
  std::int64_t element_bytes_;
  UNet unet_;
  std::map<std::int64_t, PatchContext> contexts_;  // by batch
  std::map<std::pair<std::int64_t, std::int64_t>, BandWork> counted_;
};

// The shape by which a call on a batch of so many is looked up: how fast one item of a tall band
// and two of a low one are computed differs at equal work.
std::string shape_in_batch(const std::string& shape, std::int64_t batch);

}  // namespace pcpp

#endif  // PCPP_PLANNER_NETWORK_WORK_H_
