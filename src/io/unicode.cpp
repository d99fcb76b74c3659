#include "io/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "base/check.h"

namespace pcpp {

std::optional<std::u32string> decode_utf8(std::string_view text) {
  std::u32string result;
  const auto* next = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t character = 0;
    const utf8proc_ssize_t length = utf8proc_iterate(next, left, &character);
    if (length <= 0) return std::nullopt;
    result.push_back(static_cast<char32_t>(character));
    next += length;
    left -= length;
  }
  return result;
}

std::string encode_utf8(std::u32string_view text) {
  std::string result;
  for (const char32_t character : text) {
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t length =
        utf8proc_encode_char(static_cast<utf8proc_int32_t>(character), bytes);
    result.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
  }
  return result;
}

namespace {

constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

// Each character by itself: utf8proc's function for texts also puts marks into order, in time that
// grows with the square of their number.
std::vector<utf8proc_int32_t> decomposed(const std::u32string& text) {
  std::array<utf8proc_int32_t, 8> parts{};  // Unicode's longest canonical decomposition has 4
  std::vector<utf8proc_int32_t> result;
  for (const char32_t character : text) {
    int boundary = UTF8PROC_BOUNDCLASS_START;
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(character), parts.data(), parts.size(), kCompose, &boundary);
    check<ConfigError>(count >= 0, "cannot normalize the text: {}", utf8proc_errmsg(count));
    result.insert(result.end(), parts.begin(), parts.begin() + count);
  }
  return result;
}

int combining_class(utf8proc_int32_t character) {
  return utf8proc_get_property(character)->combining_class;
}

// Canonical order: each run of marks by their combining classes.
void order_marks(std::vector<utf8proc_int32_t>& characters) {
  const auto is_mark = [](utf8proc_int32_t character) { return combining_class(character) != 0; };
  for (auto begin = characters.begin(); begin != characters.end();) {
    begin = std::find_if(begin, characters.end(), is_mark);
    const auto end = std::find_if_not(begin, characters.end(), is_mark);
    std::ranges::stable_sort(begin, end, {}, combining_class);
    begin = end;
  }
}

}  // namespace

std::u32string to_nfc(const std::u32string& text) {
  std::vector<utf8proc_int32_t> characters = decomposed(text);
  order_marks(characters);
  const utf8proc_ssize_t length = utf8proc_normalize_utf32(
      characters.data(), static_cast<utf8proc_ssize_t>(characters.size()), kCompose);
  check<ConfigError>(length >= 0, "cannot normalize the text: {}", utf8proc_errmsg(length));
  return {characters.begin(), characters.begin() + length};
}

std::u32string to_lower(const std::u32string& text) {
  std::u32string result;
  for (const char32_t character : text) {
    // The one character whose full mapping is longer than the simple one that utf8proc knows.
    if (character == U'\u0130') {
      result += U"i\u0307";
    } else {
      result.push_back(
          static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(character))));
    }
  }
  return result;
}

bool is_letter(char32_t character) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(character));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t character) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(character));
  return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool is_space(char32_t character) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(character));
  return (character >= 0x09 && character <= 0x0D) || character == 0x85 ||
         (category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP);
}

}  // namespace pcpp
