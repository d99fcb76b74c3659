// What `generate` writes beside the picture: the JSON report and the PNG's text chunks.
#ifndef PCPP_EXAMPLES_REPORT_H_
#define PCPP_EXAMPLES_REPORT_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "generate_options.h"

namespace pcpp::examples {

// What is known of a finished run.
struct RunFacts {
  const GenerateOptions& options;  // with what `auto` chose in its place
  const World& world;
  const GenerationResult& result;
  std::uint64_t seed = 0;
  double load_seconds = 0;
  std::vector<std::filesystem::path> pictures;
};

// Every setting; what `auto` chose, if it did; each rank's rows, and per step its kind, compute and
// wait times and bytes sent by kind of site; totals; seconds; peak memory.
std::string report_json(const RunFacts& facts);

// Every setting that shapes the run, as words; of places only their names.
std::map<std::string, std::string> setting_words(const RunFacts& facts);

// The settings of picture `index`, for its PNG.
std::map<std::string, std::string> text_chunks(const RunFacts& facts, std::size_t index);

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_REPORT_H_
