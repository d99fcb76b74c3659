// The tiny models of tests/data/models and diffusers' outputs of them
// (tests/reference/models_make.py).
#ifndef PCPP_TESTS_MODELS_TINY_MODELS_H_
#define PCPP_TESTS_MODELS_TINY_MODELS_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "io/checkpoint.h"
#include "io/json_file.h"
#include "models/unet.h"
#include "ops/weight_scope.h"
#include "pcpp/tensor_file.h"

namespace pcpp {

inline std::filesystem::path models_folder() {
  return std::filesystem::path(PCPP_TEST_DATA) / "models";
}

// ControlNets for them (tests/reference/control_make.py).
inline std::filesystem::path control_folder() {
  return std::filesystem::path(PCPP_TEST_DATA) / "control";
}

// Image encoders and IP-Adapters for them (tests/reference/ip_adapter_make.py).
inline std::filesystem::path ip_adapter_folder() {
  return std::filesystem::path(PCPP_TEST_DATA) / "ip_adapter";
}

inline Component tiny_component(const std::string& family, const std::string& name) {
  return Checkpoint::open(models_folder() / family).component(name);
}

inline std::map<std::string, at::Tensor> load_tensors_of(const std::filesystem::path& file) {
  std::map<std::string, at::Tensor> references;
  for (const auto& [name, tensor] : load_tensors(file)) {
    at::Tensor values = at::empty(tensor.shape, at::kFloat);
    std::memcpy(values.mutable_data_ptr(), tensor.values.data(), values.nbytes());
    references.emplace(name, values);
  }
  return references;
}

inline std::map<std::string, at::Tensor> load_references(const std::string& file) {
  return load_tensors_of(models_folder() / file);
}

// The entries of one section of index.json.
inline nlohmann::json reference_cases(const std::string& section) {
  return read_json_file(models_folder() / "index.json").at(section);
}

inline UNet tiny_unet(const std::string& family, at::ScalarType dtype = at::kFloat) {
  const Component component = tiny_component(family, "unet");
  return UNet(read_unet_config(component.config()), WeightScope(component.weights(), dtype));
}

inline at::Tensor timestep(double value) { return at::full({1}, value, at::kFloat); }

}  // namespace pcpp

#endif  // PCPP_TESTS_MODELS_TINY_MODELS_H_
