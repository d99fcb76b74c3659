// What the README shows is what is there.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <set>
#include <string>

#include "structure/source_tree.h"

namespace pcpp {
namespace {

TEST(Readme, ShowsTheProgramThatIsBuilt) {
  const std::string program = read_text("examples/minimal.cpp");
  EXPECT_NE(read_text("README.md").find("```cpp\n" + program + "```"), std::string::npos)
      << "README.md does not hold the text of examples/minimal.cpp";
}

// A heading's name in links, as GitHub makes it.
std::string anchor_of(const std::string& heading) {
  std::string anchor;
  for (const char letter : heading) {
    if (letter == ' ') {
      anchor += '-';
    } else if (std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '-' ||
               letter == '_') {
      anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    }
  }
  return anchor;
}

std::set<std::string> anchors_in(const std::filesystem::path& file) {
  std::set<std::string> anchors;
  for (const std::string& line : read_lines(file)) {
    const std::size_t level = line.find_first_not_of('#');
    if (level == 0 || level == std::string::npos || line[level] != ' ') continue;
    anchors.insert(anchor_of(line.substr(level + 1)));
  }
  return anchors;
}

TEST(Readme, LinksToWhatIsThere) {
  for (const std::filesystem::path readme :
       {"README.md", "CONTRIBUTING.md", "src/README.md", "examples/README.md",
        "benchmarks/README.md", "benchmarks/results/README.md", "models/README.md",
        "models/emoji-scenes/README.md", "models/emoji-scenes-turbo/README.md"}) {
    for (const std::string& link : between(read_text(readme), "](", ")")) {
      if (link.starts_with("http")) continue;
      const std::size_t hash = link.find('#');
      const std::filesystem::path target =
          hash == 0 ? readme : readme.parent_path() / link.substr(0, hash);
      EXPECT_TRUE(std::filesystem::exists(target)) << readme << " links to " << link;
      if (hash == std::string::npos) continue;
      EXPECT_TRUE(anchors_in(target).contains(link.substr(hash + 1)))
          << readme << " links to " << link << ", a heading that is not there";
    }
  }
}

}  // namespace
}  // namespace pcpp
