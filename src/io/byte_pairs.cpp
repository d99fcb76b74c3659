#include "io/byte_pairs.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/unicode.h"

namespace pcpp {
namespace {

// The characters that stand for the bytes 0 to 255: printable Latin-1 characters for themselves,
// the others take those from U+0100 on, in order (GPT-2's encoder.py, bytes_to_unicode).
std::array<std::string, 256> byte_symbols() {
  std::array<std::string, 256> symbols;
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool is_printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const char32_t symbol = is_printable ? byte : next++;
    symbols[byte] = encode_utf8({&symbol, 1});
  }
  return symbols;
}

std::int64_t id_of(const Vocabulary& vocabulary, const std::string& token,
                   const std::string& source, std::string_view role) {
  const auto found = vocabulary.find(token);
  check<CheckpointError>(found != vocabulary.end(),
                         "{}: the vocabulary lacks '{}', {}; it is not the model's own", source,
                         excerpt(token), role);
  return found->second;
}

// A piece of the word in a doubly linked list; -1 ends it.
struct Symbol {
  std::int64_t id;
  int previous;
  int next;
  bool is_merged = false;  // into the symbol before it
};

struct Candidate {
  std::int64_t rank;
  int position;
  std::int64_t id;

  bool operator>(const Candidate& other) const {
    return std::tie(rank, position) > std::tie(other.rank, other.position);
  }
};

// Printable ones come first.
std::vector<std::string> symbols_in_order() {
  std::array<std::string, 256> symbols = byte_symbols();
  std::ranges::stable_partition(symbols, [](const std::string& symbol) {
    return symbol < encode_utf8(std::u32string_view(U"\u0100"));
  });
  return {symbols.begin(), symbols.end()};
}

}  // namespace

Vocabulary vocabulary_of(const Merges& merges) {
  Vocabulary tokens;
  const auto add = [&](std::string token) {
    tokens.emplace(std::move(token), static_cast<std::int64_t>(tokens.size()));
  };
  const std::vector<std::string> symbols = symbols_in_order();
  for (const std::string& symbol : symbols) add(symbol);
  for (const std::string& symbol : symbols) add(symbol + std::string(kWordEnd));
  for (const auto& [left, right] : merges) add(left + right);
  return tokens;
}

BytePairs::BytePairs(const Vocabulary& vocabulary, const Merges& merges,
                     const std::string& source) {
  const std::array<std::string, 256> symbols = byte_symbols();
  for (std::size_t byte = 0; byte < symbols.size(); ++byte) {
    const std::string role = fmt::format("the symbol of byte {}", byte);
    inner_ids_[byte] = id_of(vocabulary, symbols[byte], source, role);
    final_ids_[byte] = id_of(vocabulary, symbols[byte] + std::string(kWordEnd), source, role);
  }
  for (const auto& [left, right] : merges) {
    const std::string role = fmt::format("which merge {} ('{} {}') needs", merges_.size() + 1,
                                         excerpt(left), excerpt(right));
    const Pair pair = {id_of(vocabulary, left, source, role),
                       id_of(vocabulary, right, source, role)};
    const std::int64_t id = id_of(vocabulary, left + right, source, role);
    const auto rank = static_cast<std::int64_t>(merges_.size());
    check<CheckpointError>(merges_.emplace(pair, Merge{rank, id}).second,
                           "{}: the merge '{} {}' stands twice", source, excerpt(left),
                           excerpt(right));
  }
}

void BytePairs::encode(std::string_view word, std::vector<std::int64_t>& ids) const {
  if (word.empty()) return;
  std::vector<Symbol> symbols;
  const int length = static_cast<int>(word.size());
  for (int i = 0; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(word[static_cast<std::size_t>(i)]);
    const bool is_last = i + 1 == length;
    symbols.push_back({is_last ? final_ids_[byte] : inner_ids_[byte], i - 1, is_last ? -1 : i + 1});
  }
  const auto at = [&](int i) -> Symbol& { return symbols[static_cast<std::size_t>(i)]; };

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto find = [&](int left) { return merges_.find({at(left).id, at(at(left).next).id}); };
  const auto offer = [&](int left) {
    if (left < 0 || at(left).next < 0) return;
    if (const auto found = find(left); found != merges_.end()) {
      queue.push({found->second.rank, left, found->second.id});
    }
  };
  for (int i = 0; i < length; ++i) offer(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.position);
    if (left.is_merged || left.next < 0) continue;
    // An entry from before one of its symbols changed is out of date.
    const auto found = find(best.position);
    if (found == merges_.end() || found->second.id != best.id) continue;
    Symbol& right = at(left.next);
    right.is_merged = true;
    left.id = best.id;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = best.position;
    offer(left.previous);
    offer(best.position);
  }
  for (int i = 0; i >= 0; i = at(i).next) ids.push_back(at(i).id);
}

}  // namespace pcpp
