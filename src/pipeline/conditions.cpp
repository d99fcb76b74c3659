#include "pipeline/conditions.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "base/check.h"
#include "io/weighted_prompt.h"
#include "ops/weight_scope.h"
#include "pipeline/tensors.h"

namespace pcpp {

namespace {

template <typename T>
at::Tensor as_tensor(const std::vector<T>& values, at::ScalarType dtype) {
  at::Tensor result = at::empty({std::ssize(values)}, dtype);
  std::copy(values.begin(), values.end(), result.mutable_data_ptr<T>());
  return result;
}

// How many tokens texts of so many can all be repeated to.
std::int64_t common_tokens(const std::vector<std::int64_t>& tokens) {
  constexpr std::int64_t kMost = 20'000;
  std::int64_t common = 1;
  for (const std::int64_t each : tokens) {
    common = std::lcm(common, each);
    check<ConfigError>(common <= kMost,
                       "the prompts are of {} tokens: what all of them can be repeated to is more "
                       "than {}: shorten them, or draw each by itself",
                       fmt::join(tokens, ", "), kMost);
  }
  return common;
}

// `text` [sections, tokens, width] with the weight of each of its tokens, by what is encoded of the
// empty text, [1, tokens, width].
at::Tensor weighted(const at::Tensor& text, const at::Tensor& weights, const at::Tensor& empty) {
  const at::Tensor each = weights.view({text.size(0), text.size(1), 1});
  const at::Tensor base = empty.to(at::kFloat);
  const at::Tensor moved = (text.to(at::kFloat) - base) * each + base;
  return at::where(each == 1, text, moved.to(text.scalar_type()));
}

// `text` [n, m, width] again and again, to so many tokens, a multiple of m.
at::Tensor lengthened(const at::Tensor& text, std::int64_t tokens) {
  const std::int64_t times = tokens / text.size(1);
  return times > 1 ? text.repeat({1, times, 1}) : text;
}

void make_as_long(Conditions& one, Conditions& other) {
  const std::int64_t tokens = common_tokens({one.text.size(1), other.text.size(1)});
  one.text = lengthened(one.text, tokens);
  other.text = lengthened(other.text, tokens);
}

at::Tensor repeated(const at::Tensor& tensor, std::int64_t times) {
  return tensor.defined() && times > 1 ? tensor.repeat_interleave(times, 0) : tensor;
}

Conditions repeated(const Conditions& conditions, std::int64_t times) {
  return {repeated(conditions.text, times), repeated(conditions.pooled, times),
          conditions.truncated_tokens};
}

// One embedding of the request, of `dimensions` dimensions with `width` values in the last one.
at::Tensor embedding(const TensorMap& embeds, const char* name, std::int64_t dimensions,
                     std::int64_t width) {
  const auto found = embeds.find(name);
  check<ConfigError>(found != embeds.end(),
                     "the prompt embeddings lack {}, which this request needs", name);
  at::Tensor tensor = to_tensor(found->second, name);
  check<ConfigError>(tensor.dim() == dimensions && tensor.size(-1) == width,
                     "{} has shape {}: {} dimensions are needed, the last of {}", name,
                     fmt::join(found->second.shape, " x "), dimensions, width);
  return tensor;
}

Conditions given(const TensorMap& embeds, const char* text, const char* pooled,
                 std::int64_t text_width, std::int64_t pooled_width) {
  Conditions conditions{embedding(embeds, text, 3, text_width), {}, 0};
  if (pooled_width == 0) return conditions;
  conditions.pooled = embedding(embeds, pooled, 2, pooled_width);
  check<ConfigError>(conditions.pooled.size(0) == conditions.text.size(0),
                     "{} is for {} prompts and {} for {}: they must be for as many", text,
                     conditions.text.size(0), pooled, conditions.pooled.size(0));
  return conditions;
}

// The text encoder pools at its config's end of text: the tokenizer must write that one.
void check_end(ConfigReader config, const ClipTokenizer& tokenizer) {
  constexpr std::int64_t kDefault = 49407;
  constexpr std::int64_t kOldEnd = 2;  // then transformers takes the greatest id for it
  const std::int64_t end = config.integer("eos_token_id", kDefault);
  if (end == tokenizer.end_id() || end == kOldEnd) return;
  config.refuse("eos_token_id", fmt::format("it must be {}, the end of the tokenizer's texts, or "
                                            "{}, which stands for it in old folders",
                                            tokenizer.end_id(), kOldEnd));
}

// Of all words one after another, [n, width], for the text encoder of that place.
at::Tensor vectors_of(const std::vector<TextualWord>& words, std::size_t encoder) {
  std::vector<at::Tensor> vectors;
  for (const TextualWord& word : words) {
    vectors.push_back(to_tensor(word.vectors.at(encoder), word.word.c_str()));
  }
  return vectors.empty() ? at::Tensor() : at::cat(vectors);
}

// With ids from `first` on.
std::vector<AddedWord> numbered(const std::vector<TextualWord>& words, std::int64_t first) {
  std::vector<AddedWord> added;
  for (const TextualWord& word : words) {
    std::vector<std::int64_t> ids(static_cast<std::size_t>(word.vectors.front().shape.front()));
    std::iota(ids.begin(), ids.end(), first);
    first += std::ssize(ids);
    added.push_back({word.word, std::move(ids)});
  }
  return added;
}

}  // namespace

TextEncoders::TextEncoders(const Checkpoint& checkpoint, const std::vector<LoraFile>& loras,
                           const std::vector<TextualWord>& words, bool is_xl, at::ScalarType dtype,
                           at::Device device, const std::stop_token& stop)
    : device_(device),
      zeros_for_absent_(is_xl && checkpoint.flag("force_zeros_for_empty_prompt", true)) {
  const auto add = [&](const char* tokenizer, const char* model) {
    const Component component = checkpoint.component(model);
    const WeightScope weights(component.weights(), dtype, device, stop);
    for (const LoraFile& lora : loras) weights.add(lora, model);
    const std::size_t place = encoders_.size();
    encoders_.push_back({checkpoint.component(tokenizer).tokenizer(),
                         {},
                         ClipText(component.config(), weights, vectors_of(words, place))});
    encoders_.back().words = numbered(words, encoders_.back().model.vocabulary_size());
    const Encoder& added = encoders_.back();
    check<CheckpointError>(
        added.tokenizer.max_length() <= added.model.max_tokens(),
        "{} makes {} tokens, {} takes at most {}: they are not of the same model", tokenizer,
        added.tokenizer.max_length(), model, added.model.max_tokens());
    check<CheckpointError>(added.tokenizer.vocabulary_size() <= added.model.vocabulary_size(),
                           "{} has {} entries, {} knows {}: they are not of the same model",
                           tokenizer, added.tokenizer.vocabulary_size(), model,
                           added.model.vocabulary_size());
    check_end(component.config(), added.tokenizer);
    check<CheckpointError>(
        added.tokenizer.max_length() == encoders_.front().tokenizer.max_length(),
        "{} makes {} tokens and the first tokenizer {}: they are not of the same model", tokenizer,
        added.tokenizer.max_length(), encoders_.front().tokenizer.max_length());
  };
  add("tokenizer", "text_encoder");
  if (is_xl || checkpoint.has("text_encoder_2")) add("tokenizer_2", "text_encoder_2");
}

std::int64_t TextEncoders::text_width() const {
  std::int64_t width = 0;
  for (const Encoder& encoder : encoders_) width += encoder.model.width();
  return width;
}

std::int64_t TextEncoders::pooled_width() const {
  return encoders_.size() == 1 ? 0 : encoders_.back().model.pooled_width();
}

Conditions TextEncoders::run(const Encoder& encoder, const std::vector<std::int64_t>& ids,
                             int clip_skip, const std::stop_token& stop) const {
  const at::Tensor batch = as_tensor(ids, at::kLong).view({-1, encoder.tokenizer.max_length()});
  const ClipText::Output output = encoder.model(batch.to(device_), stop);
  const auto skipped = static_cast<std::size_t>(clip_skip);
  const auto state = [&](std::size_t from_last) {
    return output.hidden_states.at(output.hidden_states.size() - 1 - from_last);
  };
  if (encoders_.size() == 1) {
    const at::Tensor text =
        skipped == 0 ? output.last_hidden_state : encoder.model.normalised(state(skipped));
    return {text.to(at::kCPU), {}, 0};
  }
  // SDXL (arXiv 2307.01952, section 2.1): the penultimate states of both, side by side, and the
  // second one's pooled text.
  return {state(skipped + 1).to(at::kCPU), output.pooled.to(at::kCPU), 0};
}

Conditions TextEncoders::encode_plain(const Encoder& encoder,
                                      const std::vector<std::string>& prompts, int clip_skip,
                                      const std::stop_token& stop) const {
  std::vector<std::int64_t> ids;
  int dropped = 0;
  for (const std::string& prompt : prompts) {
    const TokenIds encoded = encoder.tokenizer.encode(prompt, encoder.words);
    ids.insert(ids.end(), encoded.ids.begin(), encoded.ids.end());
    dropped = std::max(dropped, encoded.dropped);
  }
  Conditions conditions = run(encoder, ids, clip_skip, stop);
  conditions.truncated_tokens = dropped;
  return conditions;
}

Conditions TextEncoders::encode_sections(const Encoder& encoder,
                                         const std::vector<std::string>& prompts, int clip_skip,
                                         const std::stop_token& stop) const {
  std::vector<std::int64_t> ids;
  std::vector<float> weights;
  std::vector<std::int64_t> counts;  // of each prompt's sections
  std::vector<std::int64_t> tokens;  // likewise
  for (const std::string& prompt : prompts) {
    const std::vector<TokenSection> sections =
        sections_of(encoder.tokenizer, prompt, encoder.words);
    counts.push_back(std::ssize(sections));
    tokens.push_back(counts.back() * encoder.tokenizer.max_length());
    for (const TokenSection& section : sections) {
      ids.insert(ids.end(), section.ids.begin(), section.ids.end());
      weights.insert(weights.end(), section.weights.begin(), section.weights.end());
    }
  }
  const bool has_weights = std::ranges::any_of(weights, [](float weight) { return weight != 1; });
  if (has_weights) {
    const std::vector<std::int64_t> empty = encoder.tokenizer.encode("").ids;
    ids.insert(ids.end(), empty.begin(), empty.end());
  }
  const std::int64_t most = common_tokens(tokens);
  const Conditions encoded = run(encoder, ids, clip_skip, stop);
  at::Tensor text = encoded.text;
  if (has_weights) {
    const std::int64_t sections = text.size(0) - 1;
    text = weighted(text.narrow(0, 0, sections), as_tensor(weights, at::kFloat),
                    text.narrow(0, sections, 1));
  }
  std::vector<at::Tensor> texts;
  std::vector<at::Tensor> pooled;  // of the first section of each
  std::int64_t first = 0;
  for (const at::Tensor& part : text.split_with_sizes(counts)) {
    texts.push_back(lengthened(part.flatten(0, 1).unsqueeze(0), most));
    if (encoded.pooled.defined()) pooled.push_back(encoded.pooled.narrow(0, first, 1));
    first += part.size(0);
  }
  return {at::cat(texts), pooled.empty() ? at::Tensor() : at::cat(pooled), 0};
}

Conditions TextEncoders::encode(const std::vector<std::string>& prompts, const TextReading& reading,
                                const std::stop_token& stop) const {
  std::vector<at::Tensor> texts;
  Conditions conditions;
  for (const Encoder& encoder : encoders_) {
    const Conditions encoded = reading.prompt_syntax == PromptSyntax::plain
                                   ? encode_plain(encoder, prompts, reading.clip_skip, stop)
                                   : encode_sections(encoder, prompts, reading.clip_skip, stop);
    check<CheckpointError>(texts.empty() || texts[0].size(1) == encoded.text.size(1),
                           "the tokenizers make {} and {} tokens of the prompts: they are not of "
                           "the same model",
                           texts.empty() ? 0 : texts[0].size(1), encoded.text.size(1));
    texts.push_back(encoded.text);
    conditions.pooled = encoded.pooled;
    conditions.truncated_tokens = std::max(conditions.truncated_tokens, encoded.truncated_tokens);
  }
  conditions.text = texts.size() == 1 ? texts[0] : at::cat(texts, 2);
  return conditions;
}

BranchConditions encode_prompts(const TextEncoders& encoders, const GenerationRequest& request,
                                bool guided) {
  const auto encode = [&](const std::vector<std::string>& prompts) {
    return encoders.encode(prompts, {request.prompt_syntax, request.clip_skip}, request.stop);
  };
  BranchConditions branches{encode(request.prompts), std::nullopt};
  if (guided) {
    if (!request.negative_prompts && encoders.zeros_for_absent()) {
      const at::Tensor& pooled = branches.conditional.pooled;
      branches.unconditional = {at::zeros_like(branches.conditional.text),
                                pooled.defined() ? at::zeros_like(pooled) : pooled, 0};
    } else {
      std::vector<std::string> negatives =
          request.negative_prompts.value_or(std::vector<std::string>{""});
      if (negatives.size() == 1) negatives.resize(request.prompts.size(), negatives.front());
      branches.unconditional = encode(negatives);
    }
    make_as_long(branches.conditional, *branches.unconditional);
    branches.unconditional = repeated(*branches.unconditional, request.images_per_prompt);
  }
  branches.conditional = repeated(branches.conditional, request.images_per_prompt);
  return branches;
}

BranchConditions given_conditions(const GenerationRequest& request, std::int64_t text_width,
                                  std::int64_t pooled_width, bool guided) {
  const TensorMap& embeds = request.prompt_embeds;
  for (const char* pooled : {"pooled_prompt_embeds", "negative_pooled_prompt_embeds"}) {
    check<ConfigError>(pooled_width > 0 || !embeds.contains(pooled),
                       "the prompt embeddings have {}, which this model's U-Net does not read: "
                       "leave it out",
                       pooled);
  }
  BranchConditions branches{
      given(embeds, "prompt_embeds", "pooled_prompt_embeds", text_width, pooled_width),
      std::nullopt};
  if (guided) {
    Conditions negative = given(embeds, "negative_prompt_embeds", "negative_pooled_prompt_embeds",
                                text_width, pooled_width);
    check<ConfigError>(negative.text.sizes() == branches.conditional.text.sizes(),
                       "negative_prompt_embeds has shape {} and prompt_embeds {}: they must be the "
                       "same",
                       fmt::join(negative.text.sizes(), " x "),
                       fmt::join(branches.conditional.text.sizes(), " x "));
    branches.unconditional = repeated(negative, request.images_per_prompt);
  }
  branches.conditional = repeated(branches.conditional, request.images_per_prompt);
  return branches;
}

at::Tensor time_ids(int height, int width) {
  const auto h = static_cast<float>(height);
  const auto w = static_cast<float>(width);
  return as_tensor(std::vector<float>{h, w, 0, 0, h, w}, at::kFloat).unsqueeze(0);
}

}  // namespace pcpp
