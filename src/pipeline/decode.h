// Latents to pixels: every rank's part of a request's pictures.
#ifndef PCPP_PIPELINE_DECODE_H_
#define PCPP_PIPELINE_DECODE_H_

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <vector>

#include "cache/exchange_plan.h"
#include "models/vae.h"
#include "parallel/transport.h"
#include "pcpp/image.h"

namespace pcpp {

// What all ranks share; nothing in it changes while they run.
struct DecodeTask {
  const ExchangePlan& plan;
  at::Tensor latents;  // of all pictures, whole, float32 on the CPU
  std::chrono::milliseconds peer_timeout{};
  std::stop_token stop;
};

// Of latents of `rows` x `columns`, one picture at a time, in as many bands of at least one row as
// `ranks` allows; `vae` computes in `dtype`.
ExchangePlan decode_plan(const VaeDecoder& vae, DataType dtype, int ranks, std::int64_t rows,
                         std::int64_t columns);

// The rank's rows of all pictures [images, 3, rows, columns], float32 on the CPU. It computes where
// `device` says, which is where `vae` lies. Called by every rank of the transport's world, each on
// its own thread. Throws Cancelled once a stop is requested.
at::Tensor decode_band(const DecodeTask& task, const VaeDecoder& vae, at::Device device,
                       Transport& transport);

// The pictures of all ranks' bands, from the top. Throws DeviceError where a value is not finite.
std::vector<Image> joined(const std::vector<at::Tensor>& bands);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_DECODE_H_
