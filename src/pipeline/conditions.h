// What the U-Net is told of the text, and with it of image prompts (pipeline/image_prompts): made
// from prompts by the model's text encoders, or given.
#ifndef PCPP_PIPELINE_CONDITIONS_H_
#define PCPP_PIPELINE_CONDITIONS_H_

#include <ATen/core/Tensor.h>

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "io/clip_tokenizer.h"
#include "io/lora_file.h"
#include "io/textual_inversion.h"
#include "models/clip_text.h"
#include "ops/attention.h"
#include "pcpp/config.h"

namespace pcpp {

// One branch's conditions: [n, tokens, c], SDXL's pooled text [n, c] (undefined elsewhere), and the
// tokens of image prompts.
struct Conditions {
  at::Tensor text;
  at::Tensor pooled;
  int truncated_tokens = 0;              // of the longest text, that did not fit
  std::vector<ImageTokens> images = {};  // of each IP-Adapter, for n pictures
};

// How prompts are read: GenerationRequest's settings of these names.
struct TextReading {
  PromptSyntax prompt_syntax = PromptSyntax::plain;
  int clip_skip = 0;
};

// A word and its vectors for each of a checkpoint's text encoders.
struct TextualWord {
  std::string word;
  WordVectors vectors;
};

// The text encoders of a checkpoint: one CLIP, or SDXL's two. Immutable.
class TextEncoders {
 public:
  // Throws CheckpointError where the folder lacks one. `is_xl`: there must be two, and the model
  // may leave out force_zeros_for_empty_prompt, as true. `dtype` is the networks', `device` where
  // they compute. Throws Cancelled between two weights once a stop is requested.
  TextEncoders(const Checkpoint& checkpoint, const std::vector<LoraFile>& loras,
               const std::vector<TextualWord>& words, bool is_xl, at::ScalarType dtype,
               at::Device device = at::kCPU, const std::stop_token& stop = {});

  // The last extents of what encode() returns; 0: nothing is pooled.
  std::int64_t text_width() const;
  std::int64_t pooled_width() const;
  // On the CPU. With PromptSyntax::comfyui as many tokens as the sections of all prompts can be
  // repeated to fill: attention reads repeated tokens as it reads them once. Throws ConfigError for
  // a prompt that is not UTF-8, too long, or names a word that there is not, and Cancelled between
  // two layers once a stop is requested.
  Conditions encode(const std::vector<std::string>& prompts, const TextReading& reading = {},
                    const std::stop_token& stop = {}) const;
  // Whether an absent negative prompt means zeros (diffusers' force_zeros_for_empty_prompt).
  bool zeros_for_absent() const { return zeros_for_absent_; }

 private:
  struct Encoder {
    ClipTokenizer tokenizer;
    std::vector<AddedWord> words;
    ClipText model;
  };

  // `ids` are of texts as long as an encoder takes, one after another.
  Conditions run(const Encoder& encoder, const std::vector<std::int64_t>& ids, int clip_skip,
                 const std::stop_token& stop) const;
  Conditions encode_plain(const Encoder& encoder, const std::vector<std::string>& prompts,
                          int clip_skip, const std::stop_token& stop) const;
  Conditions encode_sections(const Encoder& encoder, const std::vector<std::string>& prompts,
                             int clip_skip, const std::stop_token& stop) const;

  std::vector<Encoder> encoders_;
  at::Device device_;
  bool zeros_for_absent_ = false;
};

// Conditions of the conditional branch and, with guidance, of the unconditional one.
struct BranchConditions {
  Conditions conditional;
  std::optional<Conditions> unconditional;
};

// From the request's prompts, until its stop. `images_per_prompt` rows for each prompt.
BranchConditions encode_prompts(const TextEncoders& encoders, const GenerationRequest& request,
                                bool guided);

// From the request's embeddings, checked against the U-Net's `text_width` (and `pooled_width`, 0
// where it takes none). Throws ConfigError naming what is missing or has another shape.
BranchConditions given_conditions(const GenerationRequest& request, std::int64_t text_width,
                                  std::int64_t pooled_width, bool guided);

// SDXL's micro-conditioning (arXiv 2307.01952, section 2.2), [1, 6]: original size, crop, target
// size, each with the height first.
at::Tensor time_ids(int height, int width);

}  // namespace pcpp

#endif  // PCPP_PIPELINE_CONDITIONS_H_
