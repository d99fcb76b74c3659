// Unicode text as code points: decoding, normal form, lower case and character classes.
#ifndef PCPP_IO_UNICODE_H_
#define PCPP_IO_UNICODE_H_

#include <optional>
#include <string>
#include <string_view>

namespace pcpp {

// The code points of `text`; nothing where it is not valid UTF-8.
std::optional<std::u32string> decode_utf8(std::string_view text);
std::string encode_utf8(std::u32string_view text);

// Normalization form C (Unicode Standard Annex 15).
std::u32string to_nfc(const std::u32string& text);
// Each character by itself, by its full mapping: a sigma at a word's end is not special.
std::u32string to_lower(const std::u32string& text);

bool is_letter(char32_t character);  // general category L
bool is_number(char32_t character);  // general category N
bool is_space(char32_t character);   // property White_Space

}  // namespace pcpp

#endif  // PCPP_IO_UNICODE_H_
