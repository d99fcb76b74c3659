#include "pcpp/tensor_file.h"

#include "base/excerpt.h"
#include "io/safetensors.h"

namespace pcpp {

TensorMap load_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file = SafetensorsFile::read(path);
  TensorMap result;
  for (const auto& [name, view] : file.tensors()) {
    FloatTensor& tensor = result[name];
    tensor.shape = view.shape;
    tensor.values.resize(static_cast<std::size_t>(view.element_count()));
    to_float(view, path.string() + ": " + excerpt(name), tensor.values);
  }
  return result;
}

void save_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    views[name] = {DType::f32, tensor.shape, std::as_bytes(std::span(tensor.values))};
  }
  write_safetensors(path, views, metadata);
}

}  // namespace pcpp
