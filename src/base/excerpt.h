// Texts of files that are not trusted, and of other libraries, in errors and in the log.
#ifndef PCPP_BASE_EXCERPT_H_
#define PCPP_BASE_EXCERPT_H_

#include <string>
#include <string_view>
#include <vector>

namespace pcpp {

// As a line, or a part of one: control characters and bytes that are not UTF-8 as \x1b.
std::string escaped(std::string_view text);

// The same, cut after about 80 bytes, between two characters.
std::string excerpt(std::string_view text);

// What an error says; the lines after it are CUDA's and libtorch's advice for programmers.
inline std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// The first five, separated by commas, and how many more there are.
std::string first_of(const std::vector<std::string>& texts);

}  // namespace pcpp

#endif  // PCPP_BASE_EXCERPT_H_
