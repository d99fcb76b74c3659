// The files of a CLIP tokenizer's folder, read and checked, and nothing of how text is encoded.
#ifndef PCPP_IO_CLIP_VOCABULARY_H_
#define PCPP_IO_CLIP_VOCABULARY_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/byte_pairs.h"

namespace pcpp {

// A token that is found in the text as it stands, before words are split.
struct AddedToken {
  std::string content;
  std::int64_t id = 0;
  bool normalized = false;  // sought in the cleaned, lower-case text instead of the text as given
};

struct ClipVocabulary {
  Vocabulary tokens;
  Merges merges;
  std::string merges_file;        // where they are from
  std::vector<AddedToken> added;  // no content twice
  std::string start;
  std::string end;
  std::string pad;
  int max_length = 0;

  // The id of a token of the vocabulary or of an added one; -1 where there is none.
  std::int64_t find(const std::string& token) const;
};

// Reads what ClipTokenizer::load describes. Throws CheckpointError naming the file and the entry.
ClipVocabulary read_clip_vocabulary(const std::filesystem::path& folder);

// What ClipTokenizer::clip describes.
ClipVocabulary own_clip_vocabulary(const std::string& pad_token);

}  // namespace pcpp

#endif  // PCPP_IO_CLIP_VOCABULARY_H_
