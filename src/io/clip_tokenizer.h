// CLIP's byte-pair tokenizer, from a diffusers tokenizer folder: text to token ids.
#ifndef PCPP_IO_CLIP_TOKENIZER_H_
#define PCPP_IO_CLIP_TOKENIZER_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pcpp {

struct ClipVocabulary;

// The ids of one prompt.
struct TokenIds {
  std::vector<std::int64_t> ids;  // start, text, end, padding: max_length() of them
  int dropped = 0;                // how many of the text's tokens did not fit
};

// A word that texts may have besides those of the vocabulary, and what it becomes.
struct AddedWord {
  std::string text;  // UTF-8, without spaces
  std::vector<std::int64_t> ids;
};

// Gives the ids that transformers' CLIPTokenizer (release 5) gives with padding="max_length",
// truncation=True, max_length=model_max_length, for characters up to Unicode 15 (utf8proc 2.8).
// Immutable, thread-safe; copies share the tables.
class ClipTokenizer {
 public:
  // Reads tokenizer.json where it exists (transformers 5 writes no other), else vocab.json and
  // merges.txt; tokenizer_config.json; special_tokens_map.json if it is there. Throws
  // CheckpointError naming the file, the entry and the rule where one is missing, the vocabulary
  // cannot encode every text, merges are missing for its tokens, or the config asks for something
  // else than CLIP's own encoding.
  static ClipTokenizer load(const std::filesystem::path& folder);
  // CLIP's own vocabulary and 77 tokens, padded with `pad_token`, which is one of them: as load()
  // of what Stable Diffusion 1.x, 2.x and SDXL were published with. (The first of SDXL's also takes
  // "<|ENDOFTEXT|>" in capitals for the end.)
  static ClipTokenizer clip(const std::string& pad_token);

  // Throws ConfigError where `text` is not UTF-8, as text_ids(). Each of `words` that stands alone
  // in it, whatever the case of its letters, becomes its ids: next to a letter or number of it,
  // there must be no other. (Transformers reads the words that are added to a tokenizer so too, but
  // for that: also within others.) Where several begin, it is the longest.
  TokenIds encode(std::string_view text, std::span<const AddedWord> words = {}) const;
  // Of the text alone, however long it is.
  std::vector<std::int64_t> text_ids(std::string_view text,
                                     std::span<const AddedWord> words = {}) const;

  int max_length() const;
  std::int64_t start_id() const;
  std::int64_t end_id() const;
  std::int64_t pad_id() const;
  std::int64_t vocabulary_size() const;

 private:
  struct Tables;
  explicit ClipTokenizer(std::shared_ptr<const Tables> tables);
  static ClipTokenizer of(const ClipVocabulary& vocabulary, const std::string& source);

  std::shared_ptr<const Tables> tables_;
};

}  // namespace pcpp

#endif  // PCPP_IO_CLIP_TOKENIZER_H_
