// A tiny VAE's folder, and a stop on the way through it.
#ifndef PCPP_TESTS_MODELS_VAE_FILES_H_
#define PCPP_TESTS_MODELS_VAE_FILES_H_

#include <map>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>

#include "models/tiny_models.h"
#include "parallel/timeline.h"

namespace pcpp {

// To be changed before it is built.
struct VaeFiles {
  explicit VaeFiles(const std::string& family) : component(tiny_component(family, "vae")) {}

  Component component;
  Weights weights = component.weights();
  nlohmann::json config = component.config_object("config.json");
  std::map<std::string, TensorView> tensors = weights.tensors();

  // VaeDecoder or VaeEncoder.
  template <typename Part>
  Part build() const {
    return Part(ConfigReader(config, "config.json"), WeightScope(tensors, "the file", at::kFloat));
  }
};

// Requests a stop at one of the operators' marks.
class StoppingTimeline : public Timeline {
 public:
  explicit StoppingTimeline(int last) : last_(last) {}
  Mark mark() override {
    if (++marks_ == last_) source_.request_stop();
    return marks_;
  }
  Clock::time_point time_of(Mark /*mark*/) const override { return {}; }
  std::stop_token token() const { return source_.get_token(); }
  int marks() const { return marks_; }

 private:
  int last_;
  int marks_ = 0;
  std::stop_source source_;
};

}  // namespace pcpp

#endif  // PCPP_TESTS_MODELS_VAE_FILES_H_
