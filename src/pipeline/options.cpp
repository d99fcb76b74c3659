#include "pipeline/options.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <vector>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/unicode.h"
#include "ops/convolution_costs.h"
#include "ops/elements.h"
#include "ops/gpu_attention.h"
#include "planner/costs.h"

namespace pcpp {

namespace {

void check_words(const std::vector<TextualInversion>& inversions) {
  std::set<std::u32string> known;
  for (const TextualInversion& inversion : inversions) {
    const std::string word = word_of(inversion);
    const std::optional<std::u32string> characters = decode_utf8(word);
    check<ConfigError>(
        characters && !characters->empty() && std::ranges::none_of(*characters, is_space),
        "the textual inversion {} is to stand for the word '{}': name one without "
        "spaces, in UTF-8",
        inversion.file.string(), excerpt(word));
    check<ConfigError>(known.insert(to_lower(to_nfc(*characters))).second,
                       "two textual inversions stand for the word '{}', whatever the case of its "
                       "letters: name another for {}",
                       excerpt(word), inversion.file.string());
  }
}

}  // namespace

void check_dtype(DataType dtype, const World& world) {
  check_enumerator("dtype", dtype, DataType::bfloat16);
  check<ConfigError>(dtype != DataType::float16 || !world.gpus().empty(),
                     "dtype float16 on the cpu: only GPUs compute in it; take bfloat16 or float32, "
                     "or device cuda");
}

std::string word_of(const TextualInversion& inversion) {
  return inversion.word.empty() ? inversion.file.stem().string() : inversion.word;
}

const PipelineOptions& checked(const PipelineOptions& options, const World& world) {
  const bool on_gpus = !world.gpus().empty();
  check_dtype(options.dtype, world);
  check_enumerator("attention", options.attention, GpuAttention::math);
  check<ConfigError>(options.attention == GpuAttention::automatic || on_gpus,
                     "attention {} on the cpu, which has a kernel of its own: leave it at auto, or "
                     "take device cuda",
                     name_of(options.attention));
  check<ConfigError>(options.extra_weight_bytes >= 0,
                     "{} bytes of extra weights were allowed: allow 0 or more",
                     options.extra_weight_bytes);
  for (const Lora& lora : options.loras) {
    check<ConfigError>(std::isfinite(lora.scale),
                       "the LoRA {} is to be added {} times: name a "
                       "finite scale",
                       lora.file.string(), lora.scale);
  }
  check_words(options.textual_inversions);
  check_convolution_times(options.convolution_times.value_or(""));
  if (!options.profile) return options;
  check_profile(*options.profile);
  const auto bytes = [](DataType dtype) { return c10::elementSize(scalar_type_of(dtype)); };
  const DataType planned = options.profile->dtype;
  check<ConfigError>(
      planned == options.dtype || (on_gpus && bytes(planned) == bytes(options.dtype)),
      "the profile {} is for networks in {} and this pipeline's are in {}: measure one, or load "
      "the model with its dtype",
      options.profile->name, name_of(planned), name_of(options.dtype));
  return options;
}

}  // namespace pcpp
