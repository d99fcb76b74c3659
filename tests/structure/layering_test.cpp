// Who may include whom: the table "Layers" of src/README.md, held against every #include line.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "structure/source_tree.h"

namespace pcpp {
namespace {

namespace fs = std::filesystem;

struct Layer {
  fs::path folder;                 // "src/ops"
  std::set<std::string> includes;  // first words of the #include lines that it may have
  bool libtorch = false;
};

std::string first_word(const std::string& path) { return path.substr(0, path.find('/')); }

// | `src/ops` | `cache` `io` | yes | what it holds |; a folder may always include itself.
std::vector<Layer> read_table() {
  std::vector<Layer> layers;
  bool in_section = false;
  for (const std::string& line : read_lines("src/README.md")) {
    if (line.starts_with("## ")) in_section = line == "## Layers";
    if (!in_section || !line.starts_with("| `")) continue;
    std::istringstream row(line.substr(1));
    std::string folder, includes, libtorch;
    std::getline(row, folder, '|');
    std::getline(row, includes, '|');
    std::getline(row, libtorch, '|');
    Layer layer;
    layer.folder = between(folder, "`", "`").at(0);
    layer.includes.insert(layer.folder.filename());
    for (const std::string& word : between(includes, "`", "`")) layer.includes.insert(word);
    layer.libtorch = libtorch == " yes ";
    layers.push_back(layer);
  }
  return layers;
}

bool is_libtorch(const std::string& path) {
  static const std::set<std::string> folders = {"ATen", "c10", "caffe2", "torch"};
  return folders.contains(first_word(path));
}

bool is_standard(const std::string& path) { return path.find_first_of("/.") == std::string::npos; }

std::string guard_of(const fs::path& header) {
  fs::path name = header;
  if (first_word(header) == "src" || first_word(header) == "include") {
    name = header.lexically_relative(first_word(header));
  }
  std::string guard = (name.string().starts_with("pcpp/") ? "" : "PCPP_") + name.string() + "_";
  for (char& c : guard) {
    c = std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::toupper(c)) : '_';
  }
  return guard;
}

TEST(Layering, TheTableNamesEveryFolder) {
  std::set<fs::path> named;
  for (const Layer& layer : read_table()) named.insert(layer.folder);
  for (const auto& entry : fs::directory_iterator("src")) {
    if (!entry.is_directory()) continue;
    EXPECT_TRUE(named.contains(entry.path())) << entry.path();
  }
  for (const char* folder : {"kernels", "include/pcpp", "examples", "benchmarks"}) {
    EXPECT_TRUE(named.contains(folder)) << folder;
  }
}

TEST(Layering, NoFileIncludesWhatItsLayerMayNot) {
  for (const Layer& layer : read_table()) {
    const std::vector<fs::path> sources = sources_under(layer.folder);
    EXPECT_FALSE(sources.empty()) << layer.folder;
    for (const fs::path& source : sources) {
      for (const Include& include : includes_of(source)) {
        if (is_libtorch(include.path)) {
          EXPECT_TRUE(layer.libtorch) << source << " includes libtorch's " << include.path;
        }
        if (!include.own) continue;
        const bool beside = fs::exists(source.parent_path() / include.path);
        EXPECT_TRUE(beside || layer.includes.contains(first_word(include.path)))
            << source << " includes " << include.path << ", which " << layer.folder
            << " may not (src/README.md)";
      }
    }
  }
}

TEST(Layering, OnlyParallelKnowsTheBackends) {
  static const std::set<std::string> backends = {"nccl.h", "mpi.h"};
  for (const char* folder : {"include", "src", "kernels", "examples", "benchmarks"}) {
    for (const fs::path& source : sources_under(folder)) {
      if (source.parent_path() == "src/parallel") continue;
      for (const Include& include : includes_of(source)) {
        EXPECT_FALSE(backends.contains(include.path)) << source << " includes " << include.path;
      }
    }
  }
}

TEST(Layering, OnlyBaseParallelGpuAndTheKernelsKnowTheCudaRuntime) {
  static const std::set<fs::path> knowing = {"src/base", "src/parallel", "src/gpu"};
  for (const char* folder : {"include", "src", "examples", "benchmarks"}) {
    for (const fs::path& source : sources_under(folder)) {
      if (knowing.contains(source.parent_path())) continue;
      for (const Include& include : includes_of(source)) {
        EXPECT_FALSE(include.path.starts_with("cuda") || include.path == "base/cuda.h")
            << source << " includes " << include.path;
      }
    }
  }
}

TEST(Layering, PublicHeadersNeedTheStandardLibraryOnly) {
  for (const fs::path& header : sources_under("include")) {
    for (const Include& include : includes_of(header)) {
      const bool allowed =
          include.own ? first_word(include.path) == "pcpp" && fs::exists("include/" + include.path)
                      : is_standard(include.path);
      EXPECT_TRUE(allowed) << header << " includes " << include.path;
    }
  }
}

TEST(Layering, IncludeGuardsFollowThePath) {
  for (const char* folder : {"include", "src", "kernels", "examples", "benchmarks", "tests"}) {
    for (const fs::path& source : sources_under(folder)) {
      if (source.extension() != ".h") continue;
      const std::string guard = guard_of(source);
      EXPECT_NE(read_text(source).find("#ifndef " + guard + "\n#define " + guard + "\n"),
                std::string::npos)
          << source << " should be guarded by " << guard;
    }
  }
}

}  // namespace
}  // namespace pcpp
