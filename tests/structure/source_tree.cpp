#include "structure/source_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

namespace pcpp {

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::istringstream text(read_text(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::vector<std::filesystem::path> sources_under(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> sources;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string extension = entry.path().extension();
    if (extension == ".h" || extension == ".cpp" || extension == ".cu") {
      sources.push_back(entry.path());
    }
  }
  std::sort(sources.begin(), sources.end());
  return sources;
}

std::vector<Include> includes_of(const std::filesystem::path& source) {
  std::vector<Include> includes;
  for (const std::string& line : read_lines(source)) {
    if (!line.starts_with("#include")) continue;
    const auto own = between(line, "\"", "\"");
    const auto foreign = between(line, "<", ">");
    if (!own.empty()) includes.push_back({own.front(), true});
    if (!foreign.empty()) includes.push_back({foreign.front(), false});
  }
  return includes;
}

std::vector<std::string> between(const std::string& text, const std::string& open,
                                 const std::string& close) {
  std::vector<std::string> found;
  std::size_t begin = text.find(open);
  while (begin != std::string::npos) {
    begin += open.size();
    const std::size_t end = text.find(close, begin);
    if (end == std::string::npos) break;
    found.push_back(text.substr(begin, end - begin));
    begin = text.find(open, end + close.size());
  }
  return found;
}

}  // namespace pcpp
