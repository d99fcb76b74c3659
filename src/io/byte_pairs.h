// Byte-pair encoding of words, as CLIP does it: GPT-2's byte symbols, "</w>" at a word's end.
#ifndef PCPP_IO_BYTE_PAIRS_H_
#define PCPP_IO_BYTE_PAIRS_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pcpp {

// Ends a word's last symbol.
inline constexpr std::string_view kWordEnd = "</w>";

// Sorted: who makes a file may make its hashes collide.
using Vocabulary = std::map<std::string, std::int64_t>;
using Merges = std::vector<std::pair<std::string, std::string>>;

// The vocabulary that CLIP makes of merges: the bytes' symbols, the same at a word's end, what each
// merge makes, numbered in this order. (Special tokens follow.)
Vocabulary vocabulary_of(const Merges& merges);

// Immutable, thread-safe.
class BytePairs {
 public:
  // `merges` in the order of their ranks. Throws CheckpointError naming `source` and the entry
  // where a byte's symbol, a merge's part or its result is not in the vocabulary, or a merge stands
  // twice.
  BytePairs(const Vocabulary& vocabulary, const Merges& merges, const std::string& source);

  // Appends the ids of one word, any bytes. The pair of lowest rank is merged first, the leftmost
  // among equals.
  void encode(std::string_view word, std::vector<std::int64_t>& ids) const;

 private:
  struct Merge {
    std::int64_t rank;
    std::int64_t id;
  };
  using Pair = std::pair<std::int64_t, std::int64_t>;

  std::array<std::int64_t, 256> inner_ids_;  // of each byte within a word
  std::array<std::int64_t, 256> final_ids_;  // of each byte at its end
  std::map<Pair, Merge> merges_;
};

}  // namespace pcpp

#endif  // PCPP_IO_BYTE_PAIRS_H_
