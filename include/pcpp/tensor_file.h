// Host tensors in safetensors files: latents and prompt embeddings, in and out.
#ifndef PCPP_TENSOR_FILE_H_
#define PCPP_TENSOR_FILE_H_

#include <filesystem>
#include <map>
#include <string>

#include "pcpp/config.h"
#include "pcpp/export.h"

namespace pcpp {

// All tensors of the file, of at most 4 GiB, as float32; float64, float16, bfloat16 and those of
// eight bits (F8_E4M3, F8_E5M2) are converted. Throws CheckpointError for a file that is missing,
// larger or damaged, or a tensor of another type.
PCPP_EXPORT TensorMap load_tensors(const std::filesystem::path& path);

// Writes float32 tensors. The file appears whole under `path` or not at all. Throws ConfigError for
// a tensor whose shape and values disagree, and OutputError for a place that cannot be written.
PCPP_EXPORT void save_tensors(const std::filesystem::path& path, const TensorMap& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace pcpp

#endif  // PCPP_TENSOR_FILE_H_
