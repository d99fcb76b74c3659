#include "combination.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace pcpp::benchmarks {

namespace {

// Why the combination cannot be; empty where it can.
std::string obstacle(const Combination& combination, const ModelInfo& model) {
  const bool split = combination.guidance == "split";
  if (split && combination.ranks % 2 != 0) return "guidance split needs an even number of ranks";
  const int patches = split ? combination.ranks / 2 : combination.ranks;
  const int most = model.max_patches(combination.size.height);
  if (patches > most) return fmt::format("a picture of this height has at most {} bands", most);
  return "";
}

// Of one size, method and guidance: by ranks, partial and link.
void add_combinations(const BenchOptions& options, const Combination& common,
                      const ModelInfo& model, std::vector<Combination>& combinations) {
  std::vector<std::optional<double>> partials = {std::nullopt};
  if (common.method == "pcpp") partials.assign(options.partials.begin(), options.partials.end());
  for (const int ranks : options.ranks) {
    for (const std::optional<double>& partial : partials) {
      for (const std::optional<Link>& link : options.links) {
        Combination combination = common;
        combination.ranks = ranks;
        combination.partial = partial;
        combination.link = link;
        const std::string reason = obstacle(combination, model);
        if (reason.empty()) {
          combinations.push_back(combination);
        } else {
          fmt::print(stderr, "left out: {}: {}\n", combination.text(), reason);
        }
      }
    }
  }
}

}  // namespace

ParallelConfig Combination::parallel(int sync_steps) const {
  ParallelConfig config = ParallelConfig::pcpp(partial.value_or(0.3));
  if (method == "naive") config = ParallelConfig::naive();
  if (method == "distrifusion") config = ParallelConfig::distrifusion();
  config.sync_steps = sync_steps;
  config.guidance = guidance == "split" ? Guidance::split : Guidance::batched;
  return config;
}

bool Combination::draws_like(const Combination& other) const {
  return method == other.method && ranks == other.ranks && partial == other.partial &&
         size == other.size && guidance == other.guidance;
}

std::string Combination::text() const {
  const std::string name = partial ? fmt::format("{} {}", method, *partial) : method;
  return fmt::format("{}, {} ranks, {}x{}, {}{}", name, ranks, size.width, size.height, guidance,
                     link ? ", " + link->name : "");
}

std::string Combination::picture_name() const {
  const std::string name = partial ? fmt::format("{}-{}", method, *partial) : method;
  return fmt::format("{}-{}ranks-{}x{}-{}.png", name, ranks, size.width, size.height, guidance);
}

std::vector<Combination> make_combinations(const BenchOptions& options, const ModelInfo& model) {
  std::vector<Size> sizes = options.sizes;
  if (sizes.empty()) sizes.push_back({model.default_width, model.default_height});
  std::vector<Combination> combinations;
  for (const Size& size : sizes) {
    if (model.max_patches(size.height) == 0 || size.width % model.scale != 0) {
      throw ConfigError(fmt::format("{}x{} is not a size in multiples of {} pixels", size.width,
                                    size.height, model.scale));
    }
    Combination common;
    common.size = size;
    combinations.push_back(common);
    for (const std::string& method : options.methods) {
      if (method == "single") continue;
      common.method = method;
      for (const std::string& guidance : options.guidances) {
        common.guidance = guidance;
        add_combinations(options, common, model, combinations);
      }
    }
  }
  const bool only_single = options.methods == std::vector<std::string>{"single"};
  if (combinations.size() == sizes.size() && !only_single) {
    throw ConfigError("no combination of methods, ranks and sizes is left: lower --ranks");
  }
  return combinations;
}

}  // namespace pcpp::benchmarks
