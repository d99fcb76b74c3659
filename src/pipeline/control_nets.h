// The ControlNets of a pipeline, and what a request has them do.
#ifndef PCPP_PIPELINE_CONTROL_NETS_H_
#define PCPP_PIPELINE_CONTROL_NETS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "models/control_net.h"
#include "models/unet.h"
#include "parallel/topology.h"
#include "pcpp/config.h"
#include "pipeline/request.h"

namespace pcpp {

struct ControlNetFile {
  Component component;
  ControlNetConfig config;
};

// Throws CheckpointError for one that cannot be read, or is for another U-Net.
std::vector<ControlNetFile> open_control_nets(const std::vector<std::filesystem::path>& paths,
                                              const std::optional<std::string>& variant,
                                              const UNetConfig& unet);

NetworkConfig network_of(const UNetConfig& unet, const std::vector<ControlNetFile>& controls);

// What one ControlNet does in a run, or in a phase of it.
struct ControlTask {
  at::Tensor images;          // [n, 3, height, width] in [0, 1], float32 on the CPU
  std::int64_t pictures = 1;  // for which each of them is, one after the other
  double scale = 1;
  // It runs in the steps [first, end), and adds in [begin, end).
  int first = 0;
  int begin = 0;
  int end = 0;

  bool runs_in(int step) const { return step >= first && step < end; }
  // `image` is what it makes of its images.
  ControlInput input(const at::Tensor& image, int step) const;
  // Whether it does the same in both steps.
  bool does_alike(int step, int other) const;
  // What is left of it in these steps, of so many patches.
  ControlTask within(StepRange phase, const ParallelConfig& parallel, int patches) const;
};

// Of a checked request, `steps` of which are made. Throws Cancelled once a stop is requested.
std::vector<ControlTask> control_tasks(const GenerationRequest& request, const RequestSizes& sizes,
                                       int steps);

// The part of a control image that a rank needs.
struct ControlSlice {
  RowRange band;                  // of the latents' rows
  std::int64_t scale = 8;         // pixels a latent row
  Reach reach = Reach::adjacent;  // with none all that lies beyond the band counts as zeros
  std::int64_t branches = 1;
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;

  // Of `task`'s images, in latent rows.
  RowRange rows(const ControlTask& task) const;
};

// The pixels of that part, where the rank computes. On a GPU this waits until its stream has done
// what it was given before.
at::Tensor control_pixels(const ControlTask& task, const ControlSlice& slice);

// What the ControlNet makes of these, for each branch and each picture.
at::Tensor embed_control(const ControlTask& task, const ControlNet& net, const ControlSlice& slice,
                         const at::Tensor& pixels);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_CONTROL_NETS_H_
