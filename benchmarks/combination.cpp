#include "combination.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace pcpp::benchmarks {

namespace {

// Why the combination cannot be; empty where it can.
std::string obstacle(const Combination& combination, const ModelInfo& model) {
  const bool split = combination.is_split();
  if (split && combination.ranks % 2 != 0) return "guidance split needs an even number of ranks";
  const int patches = split ? combination.ranks / 2 : combination.ranks;
  const int most = model.most_patches(combination.size.height);
  if (patches > most) return fmt::format("a picture of this height has at most {} bands", most);
  return "";
}

// "pcpp 0.3 pool 16"
std::string method_name(const Combination& combination) {
  std::string name = combination.method_word();
  if (combination.partial) name += fmt::format(" {}", *combination.partial);
  if (combination.pool.value_or(0) > 0) name += fmt::format(" pool {}", *combination.pool);
  return name;
}

// Of one size, method and guidance, as pcpp has them: partial and pool.
std::vector<Combination> with_settings(const BenchOptions& options, const Combination& common) {
  if (common.method != Method::pcpp) return {common};
  std::vector<Combination> result;
  for (const double partial : options.partials) {
    for (const int pool : options.pools) {
      result.push_back(common);
      result.back().partial = partial;
      result.back().pool = pool;
    }
  }
  return result;
}

// Of one size, method and guidance: by ranks, settings and link.
void add_combinations(const BenchOptions& options, const Combination& common,
                      const ModelInfo& model, std::vector<Combination>& combinations) {
  for (const int ranks : options.ranks) {
    for (const Combination& settings : with_settings(options, common)) {
      for (const std::optional<Link>& link : options.links) {
        Combination combination = settings;
        combination.ranks = ranks;
        combination.link = link;
        const auto patches = static_cast<std::size_t>(combination.is_split() ? ranks / 2 : ranks);
        if (options.bands.size() == patches) combination.bands = options.bands;
        const std::string reason = obstacle(combination, model);
        if (reason.empty()) {
          combinations.push_back(combination);
        } else {
          examples::print_to(stderr, "left out: {}: {}\n", combination.text(), reason);
        }
      }
    }
  }
}

}  // namespace

ParallelConfig Combination::parallel(int sync_steps) const {
  ParallelConfig config = examples::config_of(method, partial.value_or(ParallelConfig().partial),
                                              pool.value_or(ParallelConfig().pool));
  config.sync_steps = sync_steps;
  config.bands = bands;
  config.guidance = guidance;
  return config;
}

std::string Combination::method_word() const {
  return examples::word_for(examples::kMethods, method);
}

std::string Combination::guidance_word() const {
  return examples::word_for(examples::kGuidances, guidance);
}

bool Combination::draws_like(const Combination& other) const {
  return method == other.method && ranks == other.ranks && partial == other.partial &&
         pool == other.pool && size == other.size && guidance == other.guidance &&
         bands == other.bands;
}

std::string Combination::text() const {
  return fmt::format("{}, {} ranks, {}x{}, {}{}", method_name(*this), ranks, size.width,
                     size.height, guidance_word(), link ? ", " + link->name : "");
}

std::vector<std::string> Combination::picture_names(std::size_t count) const {
  std::string name = fmt::format("{}-{}ranks-{}x{}-{}", method_name(*this), ranks, size.width,
                                 size.height, guidance_word());
  std::replace(name.begin(), name.end(), ' ', '-');
  if (count == 1) return {name + ".png"};
  std::vector<std::string> names;
  for (std::size_t i = 1; i <= count; ++i) names.push_back(fmt::format("{}-{}.png", name, i));
  return names;
}

std::string Combination::trace_name() const {
  std::string name = text() + ".json";
  std::erase(name, ',');
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::vector<Combination> make_combinations(const BenchOptions& options, const ModelInfo& model) {
  std::vector<Size> sizes = options.sizes;
  if (sizes.empty()) sizes.push_back({model.default_width, model.default_height});
  std::vector<Combination> combinations;
  for (const Size& size : sizes) {
    if (model.most_patches(size.height) == 0 || size.width % model.scale != 0) {
      throw ConfigError(fmt::format("{}x{} is not a size in multiples of {} pixels", size.width,
                                    size.height, model.scale));
    }
    Combination common;
    common.size = size;
    combinations.push_back(common);
    for (const Method method : options.methods) {
      if (method == Method::single) continue;
      common.method = method;
      for (const Guidance guidance : options.guidances) {
        common.guidance = guidance;
        add_combinations(options, common, model, combinations);
      }
    }
  }
  const bool only_single = options.methods == std::vector<Method>{Method::single};
  if (combinations.size() == sizes.size() && !only_single) {
    throw ConfigError("no combination of methods, ranks and sizes is left: lower --ranks");
  }
  const auto has_bands = [](const Combination& one) { return !one.bands.empty(); };
  if (!options.bands.empty() && std::ranges::none_of(combinations, has_bands)) {
    throw ConfigError(
        fmt::format("--bands gives {} heights, and no combination has so many bands: "
                    "give as many as --ranks, or half with split guidance",
                    options.bands.size()));
  }
  return combinations;
}

}  // namespace pcpp::benchmarks
