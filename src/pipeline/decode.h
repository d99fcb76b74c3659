// Latents to pixels: every rank's part of a request's pictures.
#ifndef PCPP_PIPELINE_DECODE_H_
#define PCPP_PIPELINE_DECODE_H_

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/deadline.h"
#include "cache/exchange_plan.h"
#include "models/vae_decoder.h"
#include "parallel/transport.h"
#include "pcpp/image.h"
#include "pcpp/trace.h"

namespace pcpp {

// What all ranks share; nothing in it changes while they run.
struct DecodeTask {
  const ExchangePlan& plan;
  at::Tensor latents;  // of all pictures, whole, float32 on the CPU
  std::chrono::milliseconds peer_timeout{};
  std::stop_token stop;
  int step = 0;  // that it counts as: behind the last one
  // Absent: nothing is traced. From when a trace counts its times.
  std::optional<Clock::time_point> trace_zero = std::nullopt;
};

struct DecodedBand {
  at::Tensor pictures;  // the rank's rows of all, [images, 3, rows, columns], float32 on the CPU
  StepRecord record;
  RankTrace trace;  // where asked for
};

// Of latents of `rows` x `columns`, one picture at a time, in as many bands of at least one row as
// `ranks` allows; `vae` computes in `dtype`.
ExchangePlan decode_plan(const VaeDecoder& vae, DataType dtype, int ranks, std::int64_t rows,
                         std::int64_t columns);

// One rank's part. It computes where `device` says, which is where `vae` lies. Called by every rank
// of the transport's world, each on its own thread. Throws Cancelled once a stop is requested.
DecodedBand decode_band(const DecodeTask& task, const VaeDecoder& vae, at::Device device,
                        Transport& transport);

// The pictures of all ranks' bands, which lie from the top. Throws DeviceError where a value is not
// finite.
std::vector<Image> joined(const std::vector<DecodedBand>& bands);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_DECODE_H_
