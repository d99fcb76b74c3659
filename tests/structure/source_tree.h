// The project's own files, read as text. Tests run from the top of the tree.
#ifndef PCPP_TESTS_STRUCTURE_SOURCE_TREE_H_
#define PCPP_TESTS_STRUCTURE_SOURCE_TREE_H_

#include <filesystem>
#include <string>
#include <vector>

namespace pcpp {

// The whole file; a test failure and an empty text where there is none.
std::string read_text(const std::filesystem::path& path);
std::vector<std::string> read_lines(const std::filesystem::path& path);

// Every .h, .cpp and .cu file under the folder, sorted.
std::vector<std::filesystem::path> sources_under(const std::filesystem::path& folder);

// #include "path" (own) or #include <path>.
struct Include {
  std::string path;
  bool own = false;
};
std::vector<Include> includes_of(const std::filesystem::path& source);

// What stands between `open` and `close` in each place where they do.
std::vector<std::string> between(const std::string& text, const std::string& open,
                                 const std::string& close);

}  // namespace pcpp

#endif  // PCPP_TESTS_STRUCTURE_SOURCE_TREE_H_
