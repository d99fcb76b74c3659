// Prompts as ComfyUI reads them: with weights, and however long they are.
#ifndef PCPP_IO_WEIGHTED_PROMPT_H_
#define PCPP_IO_WEIGHTED_PROMPT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/clip_tokenizer.h"

namespace pcpp {

struct WeightedText {
  std::string text;
  double weight = 1;

  friend bool operator==(const WeightedText&, const WeightedText&) = default;
};

// The parts of a prompt. (text) weighs 1.1 times what is around it, (text:1.3) what the number
// says, both one in another; \( and \) are parentheses of the text. What is no number, or a
// parenthesis without its other one, is text, and after a closing one too many all is. Throws
// ConfigError where they are nested deeper than 64, and for a number beyond 1000.
std::vector<WeightedText> parse_weights(std::string_view prompt);

// Throws ConfigError where sections_of() would for its weights and its embeddings, of which there
// are those of these words.
void check_weighted(std::string_view prompt, std::span<const std::string> words);

// As many tokens as a text encoder takes: start, words, end, padding.
struct TokenSection {
  std::vector<std::int64_t> ids;
  std::vector<float> weights;  // of each
};

// All of a prompt, in one section at least. A part of one weight, without the embeddings in it,
// that does not fit what is left of a section begins the next, unless it has 8 tokens or more: then
// it is cut where the section ends. "embedding:" after a space, a newline or nothing and the text
// of one of `words` (and ".safetensors", if need be) is that one, commas after it text. Throws
// ConfigError where `prompt` is not UTF-8, has more than 64 sections, or names an embedding that is
// not among `words`.
std::vector<TokenSection> sections_of(const ClipTokenizer& tokenizer, std::string_view prompt,
                                      std::span<const AddedWord> words = {});

}  // namespace pcpp

#endif  // PCPP_IO_WEIGHTED_PROMPT_H_
