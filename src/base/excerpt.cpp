#include "base/excerpt.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <span>

namespace pcpp {
namespace {

constexpr std::size_t kMostBytes = 80;

unsigned char byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

std::size_t length_by(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// The bytes of the character that `text` begins with; 0 where it begins with none.
std::size_t character_length(std::string_view text) {
  const std::size_t length = length_by(byte_at(text, 0));
  if (length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte_at(text, i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

bool is_control(std::string_view character) {
  const unsigned char lead = byte_at(character, 0);
  return lead < 0x20 || lead == 0x7F || (lead == 0xC2 && byte_at(character, 1) < 0xA0);
}

std::string escaped(std::string_view text, std::size_t most) {
  // As nearly all are: they are made for every entry of a vocabulary, whether or not it is refused.
  const auto is_plain_ascii = [](char letter) { return letter >= 0x20 && letter < 0x7F; };
  if (text.size() <= most && std::ranges::all_of(text, is_plain_ascii)) return std::string(text);
  std::string result;
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    const std::string_view character = text.substr(0, length);
    const bool is_plain = length > 0 && !is_control(character);
    const std::string shown =
        is_plain ? std::string(character) : fmt::format("\\x{:02x}", byte_at(text, 0));
    if (result.size() + shown.size() > most) return result + "...";
    result += shown;
    text.remove_prefix(is_plain ? length : 1);
  }
  return result;
}

}  // namespace

std::string escaped(std::string_view text) { return escaped(text, std::string::npos); }

std::string excerpt(std::string_view text) { return escaped(text, kMostBytes); }

std::string first_of(const std::vector<std::string>& texts) {
  constexpr std::size_t kNamed = 5;
  if (texts.size() <= kNamed) return fmt::format("{}", fmt::join(texts, ", "));
  return fmt::format("{} and {} more", fmt::join(std::span(texts).first(kNamed), ", "),
                     texts.size() - kNamed);
}

}  // namespace pcpp
