// What the README shows is what is there.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "structure/source_tree.h"

namespace pcpp {
namespace {

TEST(Readme, ShowsTheProgramThatIsBuilt) {
  const std::string program = read_text("examples/minimal.cpp");
  EXPECT_NE(read_text("README.md").find("```cpp\n" + program + "```"), std::string::npos)
      << "README.md does not hold the text of examples/minimal.cpp";
}

TEST(Readme, LinksToFilesThatExist) {
  for (const char* readme :
       {"README.md", "CONTRIBUTING.md", "src/README.md", "benchmarks/README.md"}) {
    const std::filesystem::path folder = std::filesystem::path(readme).parent_path();
    for (const std::string& link : between(read_text(readme), "](", ")")) {
      if (link.starts_with("http") || link.starts_with("#")) continue;
      const std::string file = link.substr(0, link.find('#'));
      EXPECT_TRUE(std::filesystem::exists(folder / file)) << readme << " links to " << file;
    }
  }
}

}  // namespace
}  // namespace pcpp
