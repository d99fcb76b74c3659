// A request checked against the model and the world, before any work.
#ifndef PCPP_PIPELINE_REQUEST_H_
#define PCPP_PIPELINE_REQUEST_H_

#include <cstdint>

#include "pcpp/config.h"
#include "pcpp/pipeline.h"

namespace pcpp {

// The request's sizes, with the model's own where it says nothing.
struct RequestSizes {
  int width = 0;
  int height = 0;
  std::int64_t rows = 0;  // of the latent
  std::int64_t columns = 0;
  std::int64_t images = 0;
  double guidance_scale = 1;
  bool guided = false;    // an unconditional branch runs
  bool embedded = false;  // the request gives embeddings instead of prompts
};

// Throws ConfigError that names the value, the rule and the remedy. What only the plan, the
// scheduler or the U-Net's config can judge is left to them.
RequestSizes check_request(const GenerationRequest& request, const ModelInfo& model);

// Of a request with init images: what it says, or the default.
double strength_of(const GenerationRequest& request);

// The steps [first, end) of a run.
struct StepRange {
  int first = 0;
  int end = 0;

  bool empty() const { return first == end; }
  bool holds(int step) const { return step >= first && step < end; }
};

// The steps i of `steps` where begin <= i / steps and (i + 1) / steps <= end, in double precision
// as in diffusers; [steps, steps) where there is none.
StepRange steps_within(double begin, double end, int steps);

// How many steps are made of a checked request: fewer than it says where it begins with images.
int steps_made(const GenerationRequest& request);

// Throws ConfigError where the model lacks what the request needs beside the U-Net. Of what
// check_request() has passed; a plan needs none of it.
void check_parts(const GenerationRequest& request, const ModelInfo& model);

// Throws ConfigError for what Pipeline::decode() cannot take.
void check_latents(const FloatTensor& latents, const ModelInfo& model);

// As check_request(), of what an automatic request leaves open to a world of so many ranks.
void check_automatic(const ParallelConfig& parallel, int ranks);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_REQUEST_H_
