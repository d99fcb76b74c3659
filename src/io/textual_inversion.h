// Textual inversions: vectors that stand for a word of prompts (arXiv 2208.01618).
#ifndef PCPP_IO_TEXTUAL_INVERSION_H_
#define PCPP_IO_TEXTUAL_INVERSION_H_

#include <cstdint>
#include <filesystem>
#include <vector>

#include "pcpp/config.h"

namespace pcpp {

// For each text encoder vectors [n, width], n the same for all.
using WordVectors = std::vector<FloatTensor>;

// A safetensors file for text encoders of these widths: for one its only tensor, [n, width] or
// [width], whatever its name, or clip_l among others; for two clip_l and clip_g (or text_encoders_0
// and text_encoders_1). Throws CheckpointError, naming the file, the tensor and the rule, where it
// is none of these, holds what is not finite, or more than `most` vectors.
WordVectors read_textual_inversion(const std::filesystem::path& path,
                                   const std::vector<std::int64_t>& widths, std::int64_t most);

}  // namespace pcpp

#endif  // PCPP_IO_TEXTUAL_INVERSION_H_
