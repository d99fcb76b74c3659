#include "io/unicode.h"

#include <utf8proc.h>

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

std::u32string to_nfc(const std::u32string& text) {
  const std::string encoded = encode_utf8(text);
  const auto* source = reinterpret_cast<const utf8proc_uint8_t*>(encoded.data());
  const auto size = static_cast<utf8proc_ssize_t>(encoded.size());
  constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const utf8proc_ssize_t needed = utf8proc_decompose(source, size, nullptr, 0, kOptions);
  check<ConfigError>(needed >= 0, "cannot normalize the text: {}", utf8proc_errmsg(needed));
  // One more: the library's own callers reserve a place for a terminator.
  std::vector<utf8proc_int32_t> buffer(static_cast<std::size_t>(needed) + 1);
  const utf8proc_ssize_t decomposed =
      utf8proc_decompose(source, size, buffer.data(), needed, kOptions);
  const utf8proc_ssize_t length = utf8proc_normalize_utf32(buffer.data(), decomposed, kOptions);
  check<ConfigError>(length >= 0, "cannot normalize the text: {}", utf8proc_errmsg(length));
  return {buffer.begin(), buffer.begin() + length};
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
