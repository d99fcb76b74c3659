// The weights of a component, wherever they lie.
#ifndef PCPP_IO_WEIGHTS_H_
#define PCPP_IO_WEIGHTS_H_

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "io/safetensors.h"

namespace pcpp {

// The weights of one component: all tensors of its file or of its shards, in one map. The object
// owns the mappings; views live as long as any copy of it. Immutable, thread-safe.
class Weights {
 public:
  // Finds the weights in `folder`: diffusion_pytorch_model or model, `.safetensors` or
  // `.safetensors.index.json` with shards, with `variant` ("fp16": diffusion_pytorch_model.fp16
  // .safetensors, diffusion_pytorch_model.safetensors.index.fp16.json). Without a variant the plain
  // files are taken where they exist, else the only variant that is there. Throws CheckpointError
  // where there are none, where only pickled files (.bin) are, or where index and shards disagree.
  static Weights open(const std::filesystem::path& folder,
                      const std::optional<std::string>& variant = std::nullopt);
  // Those of them in `file`, or in memory that is `made` of it.
  Weights(const SafetensorsFile& file, std::map<std::string, TensorView> tensors,
          std::vector<std::shared_ptr<const std::vector<std::byte>>> made);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // The file or the index that was read, for errors.
  const std::filesystem::path& path() const { return path_; }

  // Gives back the memory of one of them; it keeps its values.
  void release(const TensorView& tensor) const;

 private:
  Weights() = default;

  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::vector<std::shared_ptr<const std::vector<std::byte>>> made_;
  std::map<std::string, TensorView> tensors_;
};

// Of a component's folder; "" is the plain weights'.
std::set<std::string> variants_in(const std::filesystem::path& folder);

// "fp16, ema", as excerpt() cuts it.
std::string list_of(const std::set<std::string>& variants);

// Throws CheckpointError unless there is such a folder.
void check_model_folder(const std::filesystem::path& folder);

}  // namespace pcpp

#endif  // PCPP_IO_WEIGHTS_H_
