#include "io/weighted_prompt.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"

namespace pcpp {
namespace {

constexpr int kMostNesting = 64;
constexpr std::size_t kMostSections = 64;
constexpr std::size_t kLongGroup = 8;  // tokens
constexpr std::string_view kEmbedding = "embedding:";
constexpr std::string_view kSpaces = " \t\n\v\f\r";
constexpr double kEmphasis = 1.1;
constexpr double kMostWeight = 1000;

std::optional<double> number_in(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  text = text.substr(0, text.find_last_not_of(kSpaces) + 1);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) {
    return std::nullopt;
  }
  return number;
}

bool is_escape(std::string_view text, std::size_t at) {
  return text[at] == '\\' && at + 1 < text.size() && (text[at + 1] == '(' || text[at + 1] == ')');
}

std::string unescaped(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_escape(text, i)) ++i;
    result += text[i];
  }
  return result;
}

// Its outermost parenthesised parts, with their parentheses, and what is between them.
std::vector<std::string_view> split_at_parentheses(std::string_view text) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  const auto end_part = [&](std::size_t end) {
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end;
  };
  int open = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_escape(text, i)) {
      ++i;
    } else if (text[i] == '(') {
      if (open == 0) end_part(i);
      ++open;
    } else if (text[i] == ')') {
      --open;
      if (open == 0) end_part(i + 1);
    }
  }
  end_part(text.size());
  return parts;
}

void parse(std::string_view text, double weight, int nesting, std::vector<WeightedText>& result) {
  check<ConfigError>(nesting <= kMostNesting,
                     "a prompt's parentheses are nested deeper than {}: take weights, as "
                     "(words:1.3)",
                     kMostNesting);
  for (const std::string_view part : split_at_parentheses(text)) {
    const bool is_parenthesised = part.size() >= 2 && part.front() == '(' && part.back() == ')' &&
                                  !is_escape(part, part.size() - 2);
    if (!is_parenthesised) {
      result.push_back({unescaped(part), weight});
      continue;
    }
    std::string_view inner = part.substr(1, part.size() - 2);
    double inner_weight = weight * kEmphasis;
    const std::size_t colon = inner.rfind(':');
    if (colon != inner.npos && colon > 0) {
      if (const std::optional<double> number = number_in(inner.substr(colon + 1))) {
        inner_weight = *number;
        check<ConfigError>(std::abs(inner_weight) <= kMostWeight,
                           "a prompt's weight of {}: from {} to {} are possible", inner_weight,
                           -kMostWeight, kMostWeight);
        inner = inner.substr(0, colon);
      }
    }
    parse(inner, inner_weight, nesting + 1, result);
  }
}

class Sections {
 public:
  explicit Sections(const ClipTokenizer& tokenizer) : tokenizer_(tokenizer) { begin(); }

  void add(std::span<const std::int64_t> group, float weight) {
    const bool is_long = group.size() >= kLongGroup;
    while (group.size() > room()) {
      if (is_long) group = group.subspan(append(group.first(room()), weight));
      end();
      begin();
    }
    append(group, weight);
  }

  std::vector<TokenSection> take() && {
    end();
    return std::move(sections_);
  }

 private:
  // Of the section, but for its end.
  std::size_t room() const {
    return static_cast<std::size_t>(tokenizer_.max_length()) - 1 - sections_.back().ids.size();
  }

  void begin() {
    check<ConfigError>(sections_.size() < kMostSections,
                       "a prompt has more tokens than {} texts of {} take: shorten it",
                       kMostSections, tokenizer_.max_length());
    sections_.emplace_back();
    append(std::vector{tokenizer_.start_id()}, 1);
  }

  void end() {
    append(std::vector{tokenizer_.end_id()}, 1);
    const auto length = static_cast<std::size_t>(tokenizer_.max_length());
    sections_.back().ids.resize(length, tokenizer_.pad_id());
    sections_.back().weights.resize(length, 1);
  }

  std::size_t append(std::span<const std::int64_t> ids, float weight) {
    TokenSection& section = sections_.back();
    section.ids.insert(section.ids.end(), ids.begin(), ids.end());
    section.weights.insert(section.weights.end(), ids.size(), weight);
    return ids.size();
  }

  const ClipTokenizer& tokenizer_;
  std::vector<TokenSection> sections_;
};

// The place of the one that is called so; absent where there is none.
std::optional<std::size_t> find_word(std::span<const std::string> words, std::string_view name) {
  constexpr std::string_view kExtension = ".safetensors";
  const auto found = std::ranges::find_if(words, [&](const std::string& word) {
    return name.starts_with(word) &&
           (name.size() == word.size() || name.substr(word.size()) == kExtension);
  });
  if (found == words.end()) return std::nullopt;
  return static_cast<std::size_t>(found - words.begin());
}

[[noreturn]] void fail_on_name(std::span<const std::string> words, std::string_view name) {
  const std::vector<std::string> known(words.begin(), words.end());
  fail<ConfigError>(
      "the prompt names the embedding {}, and there is {}: load it as a textual inversion of that "
      "word, or leave it out",
      excerpt(name), known.empty() ? "none" : "only " + first_of(known));
}

// Takes an embedding's name off the beginning of `text`, with what says that it is one: its place
// among `words`.
std::optional<std::size_t> take_embedding(std::string_view& text,
                                          std::span<const std::string> words) {
  if (!text.starts_with(kEmbedding)) return std::nullopt;
  std::string_view rest = text.substr(kEmbedding.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(kSpaces), rest.size()));
  const std::string_view whole = rest.substr(0, rest.find_first_of(kSpaces));
  const std::string_view bare = whole.substr(0, whole.find_last_not_of(',') + 1);
  for (const std::string_view name : {whole, bare}) {
    const std::optional<std::size_t> found = find_word(words, name);
    if (!found) continue;
    text = rest.substr(name.size());
    return found;
  }
  fail_on_name(words, bare);
}

// Where the next embedding begins in `text`, after its beginning; its end, where none does.
std::size_t next_embedding(std::string_view text) {
  for (std::size_t at = text.find(kEmbedding, 1); at != text.npos;
       at = text.find(kEmbedding, at + 1)) {
    if (text[at - 1] == ' ' || text[at - 1] == '\n') return at;
  }
  return text.size();
}

// Calls use(embedding, text, weight) for what a prompt consists of: the place of an embedding among
// `words`, where one begins it, and the text after it.
template <typename Use>
void split_prompt(std::string_view prompt, std::span<const std::string> words, const Use& use) {
  for (const WeightedText& part : parse_weights(prompt)) {
    std::string_view rest = part.text;
    while (!rest.empty()) {
      const std::size_t end = next_embedding(rest);
      std::string_view text = rest.substr(0, end);
      rest.remove_prefix(end);
      const std::optional<std::size_t> embedding = take_embedding(text, words);
      use(embedding, text, static_cast<float>(part.weight));
    }
  }
}

}  // namespace

std::vector<WeightedText> parse_weights(std::string_view prompt) {
  std::vector<WeightedText> result;
  parse(prompt, 1, 0, result);
  return result;
}

std::vector<TokenSection> sections_of(const ClipTokenizer& tokenizer, std::string_view prompt,
                                      std::span<const AddedWord> words) {
  Sections sections(tokenizer);
  std::vector<std::string> names;
  for (const AddedWord& word : words) names.push_back(word.text);
  split_prompt(prompt, names, [&](const auto& embedding, std::string_view text, float weight) {
    if (embedding) sections.add(words[*embedding].ids, weight);
    sections.add(tokenizer.text_ids(text), weight);
  });
  return std::move(sections).take();
}

void check_weighted(std::string_view prompt, std::span<const std::string> words) {
  split_prompt(prompt, words, [](const auto&...) {});
}

}  // namespace pcpp
