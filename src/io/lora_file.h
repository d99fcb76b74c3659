// LoRA files: changes of a model's weights.
#ifndef PCPP_IO_LORA_FILE_H_
#define PCPP_IO_LORA_FILE_H_

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "io/lora_update.h"
#include "io/safetensors.h"

namespace pcpp {

// The updates of one component by flat_name() of their weights.
using LoraUpdates = std::map<std::string, LoraUpdate>;

// A safetensors file with the names that parse_lora_name() knows. Immutable, thread-safe. Copies
// share all; the views live as long as any copy does.
class LoraFile {
 public:
  // Each update's scale is `scale`; where a weight has no alpha, diffusers' metadata may have one.
  // Throws CheckpointError for a file that cannot be read, for tensors that are no part of an
  // update, as lora_update_of() does, and for settings in diffusers' metadata that mean another
  // scale or other weights below. `per_level` is the U-Net's, as parse_lora_name() takes it.
  static LoraFile open(const std::filesystem::path& path, double scale,
                       int per_level = original::kUsualPerLevel);

  const std::filesystem::path& path() const { return file_->path(); }
  // By component, those that it changes.
  const std::map<std::string, LoraUpdates>& components() const { return *components_; }

  // Gives back the memory of an update that will hardly be read again.
  void release(const LoraUpdate& update) const;

 private:
  LoraFile() = default;

  std::shared_ptr<const SafetensorsFile> file_;
  std::shared_ptr<const std::map<std::string, LoraUpdates>> components_;
};

}  // namespace pcpp

#endif  // PCPP_IO_LORA_FILE_H_
