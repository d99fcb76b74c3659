#include "io/clip_tokenizer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/byte_pairs.h"
#include "io/clip_vocabulary.h"
#include "io/unicode.h"

namespace pcpp {
namespace {

// A word of transformers' pattern, whatever the special tokens are; byte-pair encoding then sees it
// in three parts.
struct Marker {
  std::u32string_view whole;
  std::array<std::u32string_view, 3> parts;
};
constexpr std::array<Marker, 2> kMarkers = {{{U"<|startoftext|>", {U"<|", U"startoftext", U"|>"}},
                                             {U"<|endoftext|>", {U"<|", U"endoftext", U"|>"}}}};
constexpr std::array<std::u32string_view, 7> kContractions = {U"'s", U"'t",  U"'re", U"'ve",
                                                              U"'m", U"'ll", U"'d"};

// A token that is sought in the text before words are split.
struct Literal {
  std::u32string text;
  std::vector<std::int64_t> ids;
  bool alone = false;  // not as a part of a longer word
};

std::u32string normalize(const std::u32string& text) {
  std::u32string result = to_lower(to_nfc(text));
  std::u32string collapsed;
  for (const char32_t character : result) {
    if (!is_space(character)) {
      collapsed.push_back(character);
    } else if (collapsed.empty() || collapsed.back() != U' ') {
      collapsed.push_back(U' ');
    }
  }
  return collapsed;
}

bool is_other(char32_t character) {
  return !is_space(character) && !is_letter(character) && !is_number(character);
}

template <typename Predicate>
std::size_t run_length(std::u32string_view text, Predicate matches) {
  const auto end = std::ranges::find_if_not(text, matches);
  return static_cast<std::size_t>(end - text.begin());
}

// Calls `visit` with each word of normalized text, by the pattern
//   <|startoftext|> | <|endoftext|> | 's | 't | 're | 've | 'm | 'll | 'd
//   | letters | one number | anything but spaces, letters and numbers
// of transformers' CLIPTokenizer: at each place the first alternative that matches.
template <typename Visit>
void for_each_word(std::u32string_view text, Visit visit) {
  while (!text.empty()) {
    const auto marker = std::ranges::find_if(
        kMarkers, [&](const Marker& candidate) { return text.starts_with(candidate.whole); });
    if (marker != kMarkers.end()) {
      for (const std::u32string_view part : marker->parts) visit(part);
      text.remove_prefix(marker->whole.size());
      continue;
    }
    const auto contraction = std::ranges::find_if(
        kContractions, [&](std::u32string_view suffix) { return text.starts_with(suffix); });
    std::size_t length = 1;
    if (contraction != kContractions.end()) {
      length = contraction->size();
    } else if (is_letter(text.front())) {
      length = run_length(text, is_letter);
    } else if (is_other(text.front())) {
      length = run_length(text, is_other);
    }
    if (!is_space(text.front())) visit(text.substr(0, length));
    text.remove_prefix(length);
  }
}

bool is_of_word(char32_t character) { return is_letter(character) || is_number(character); }

// Whether `text` has the literal at `position`.
bool stands_at(std::u32string_view text, std::size_t position, const Literal& literal) {
  if (literal.text.empty() || !text.substr(position).starts_with(literal.text)) return false;
  if (!literal.alone) return true;
  const std::size_t end = position + literal.text.size();
  const bool goes_on_before =
      position > 0 && is_of_word(text[position - 1]) && is_of_word(literal.text.front());
  const bool goes_on_behind =
      end < text.size() && is_of_word(literal.text.back()) && is_of_word(text[end]);
  return !goes_on_before && !goes_on_behind;
}

// Cuts `text` at the literals: the leftmost, the longest of those. Calls `visit_text` with what
// lies between them and `visit_ids` with their ids.
template <typename VisitText, typename VisitIds>
void split_at_literals(const std::u32string& text, const std::vector<Literal>& literals,
                       VisitText visit_text, VisitIds visit_ids) {
  std::size_t begin = 0;
  std::size_t position = 0;
  while (position < text.size()) {
    const Literal* longest = nullptr;
    for (const Literal& literal : literals) {
      if (stands_at(text, position, literal) &&
          (longest == nullptr || literal.text.size() > longest->text.size())) {
        longest = &literal;
      }
    }
    if (longest == nullptr) {
      ++position;
      continue;
    }
    visit_text(text.substr(begin, position - begin));
    visit_ids(longest->ids);
    position += longest->text.size();
    begin = position;
  }
  visit_text(text.substr(begin));
}

// Lost merges would give other ids in silence.
void check_merges(const ClipVocabulary& vocabulary) {
  std::set<std::string> made;
  for (const auto& [left, right] : vocabulary.merges) made.insert(left + right);
  for (const AddedToken& token : vocabulary.added) made.insert(token.content);
  const auto is_byte = [](std::string_view token) {
    if (token.size() > kWordEnd.size() && token.ends_with(kWordEnd)) {
      token.remove_suffix(kWordEnd.size());
    }
    const std::optional<std::u32string> symbols = decode_utf8(token);
    return symbols && symbols->size() == 1;
  };
  std::map<std::int64_t, std::string_view> unmade;
  for (const auto& [token, id] : vocabulary.tokens) {
    if (!made.contains(token) && !is_byte(token)) unmade.emplace(id, token);
  }
  check<CheckpointError>(
      unmade.empty(),
      "{}: none of its {} merges makes '{}' and {} more tokens of the vocabulary: every token that "
      "is neither a byte nor an added one must come out of a merge; fetch the file again",
      vocabulary.merges_file, vocabulary.merges.size(),
      excerpt(unmade.empty() ? "" : unmade.begin()->second), unmade.size() - 1);
}

}  // namespace

struct ClipTokenizer::Tables {
  BytePairs pairs;
  std::vector<Literal> raw_literals;
  std::vector<Literal> normalized_literals;
  int max_length;
  std::int64_t start_id;
  std::int64_t end_id;
  std::int64_t pad_id;
  std::int64_t vocabulary_size;
};

ClipTokenizer ClipTokenizer::load(const std::filesystem::path& folder) {
  return of(read_clip_vocabulary(folder), folder.string());
}

ClipTokenizer ClipTokenizer::clip(const std::string& pad_token) {
  return of(own_clip_vocabulary(pad_token), "CLIP's vocabulary");
}

ClipTokenizer ClipTokenizer::of(const ClipVocabulary& vocabulary, const std::string& source) {
  auto tables =
      std::make_shared<Tables>(Tables{.pairs = {vocabulary.tokens, vocabulary.merges, source},
                                      .raw_literals = {},
                                      .normalized_literals = {},
                                      .max_length = vocabulary.max_length,
                                      .start_id = vocabulary.find(vocabulary.start),
                                      .end_id = vocabulary.find(vocabulary.end),
                                      .pad_id = vocabulary.find(vocabulary.pad),
                                      .vocabulary_size = 0});
  check_merges(vocabulary);
  for (const AddedToken& token : vocabulary.added) {
    const std::optional<std::u32string> content = decode_utf8(token.content);
    check<CheckpointError>(content.has_value(), "{}: the added token {} is not UTF-8", source,
                           token.id);
    if (token.normalized) {
      tables->normalized_literals.push_back({normalize(*content), {token.id}});
    } else {
      tables->raw_literals.push_back({*content, {token.id}});
    }
    tables->vocabulary_size = std::max(tables->vocabulary_size, token.id + 1);
  }
  for (const auto& [token, id] : vocabulary.tokens) {
    tables->vocabulary_size = std::max(tables->vocabulary_size, id + 1);
  }
  return ClipTokenizer(std::move(tables));
}

ClipTokenizer::ClipTokenizer(std::shared_ptr<const Tables> tables) : tables_(std::move(tables)) {}

std::vector<std::int64_t> ClipTokenizer::text_ids(std::string_view text,
                                                  std::span<const AddedWord> words) const {
  const std::optional<std::u32string> characters = decode_utf8(text);
  check<ConfigError>(characters.has_value(), "the text is not valid UTF-8");
  std::vector<Literal> normalized_literals = tables_->normalized_literals;
  for (const AddedWord& word : words) {
    const std::optional<std::u32string> content = decode_utf8(word.text);
    check<ConfigError>(content.has_value(), "the word {} is not valid UTF-8", excerpt(word.text));
    normalized_literals.push_back({normalize(*content), word.ids, true});
  }
  std::vector<std::int64_t> ids;
  const auto append_ids = [&](const std::vector<std::int64_t>& more) {
    ids.insert(ids.end(), more.begin(), more.end());
  };
  const auto append_words = [&](const std::u32string& piece) {
    for_each_word(piece,
                  [&](std::u32string_view word) { tables_->pairs.encode(encode_utf8(word), ids); });
  };
  split_at_literals(
      *characters, tables_->raw_literals,
      [&](const std::u32string& piece) {
        split_at_literals(normalize(piece), normalized_literals, append_words, append_ids);
      },
      append_ids);
  return ids;
}

TokenIds ClipTokenizer::encode(std::string_view text, std::span<const AddedWord> words) const {
  const std::vector<std::int64_t> ids = text_ids(text, words);
  const auto max_length = static_cast<std::size_t>(tables_->max_length);
  const std::size_t kept = std::min(ids.size(), max_length - 2);
  TokenIds result;
  result.dropped = static_cast<int>(ids.size() - kept);
  result.ids.push_back(tables_->start_id);
  result.ids.insert(result.ids.end(), ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept));
  result.ids.push_back(tables_->end_id);
  result.ids.resize(max_length, tables_->pad_id);
  return result;
}

int ClipTokenizer::max_length() const { return tables_->max_length; }
std::int64_t ClipTokenizer::start_id() const { return tables_->start_id; }
std::int64_t ClipTokenizer::end_id() const { return tables_->end_id; }
std::int64_t ClipTokenizer::pad_id() const { return tables_->pad_id; }
std::int64_t ClipTokenizer::vocabulary_size() const { return tables_->vocabulary_size; }

}  // namespace pcpp
