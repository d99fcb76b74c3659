#include "io/weights.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/input_file.h"
#include "io/json_file.h"

namespace pcpp {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::array<std::string_view, 2> kStems = {"diffusion_pytorch_model", "model"};
constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kIndex = ".safetensors.index";

// The set of weights that a file name belongs to.
struct Candidate {
  fs::path path;
  std::string variant;  // empty for the plain weights
  bool is_index = false;
};

bool is_variant_name(std::string_view text) {
  return !text.empty() && text.find_first_of(".-") == text.npos;
}

// STEM[.VARIANT].safetensors is a file of weights. STEM.safetensors.index[.VARIANT].json is an
// index of shards; older diffusers wrote STEM.safetensors[.VARIANT].index.json. Shards
// themselves (STEM[.VARIANT]-00001-of-00002.safetensors) are found through their index.
std::optional<Candidate> as_candidate(const fs::path& path) {
  const std::string name = path.filename().string();
  for (const std::string_view stem : kStems) {
    if (!name.starts_with(std::string(stem) + ".")) continue;
    std::string_view rest = std::string_view(name).substr(stem.size());
    if (rest == kSuffix) return Candidate{path, "", false};
    if (rest.ends_with(".json")) {
      rest.remove_suffix(5);
      if (rest == kIndex) return Candidate{path, "", true};
      if (rest.starts_with(kIndex)) {
        rest.remove_prefix(kIndex.size() + 1);
      } else if (rest.starts_with(kSuffix) && rest.ends_with(".index")) {
        rest.remove_prefix(kSuffix.size() + 1);
        rest.remove_suffix(std::min<std::size_t>(rest.size(), 6));
      } else {
        continue;
      }
      if (is_variant_name(rest)) return Candidate{path, std::string(rest), true};
    } else if (rest.ends_with(kSuffix)) {
      rest.remove_suffix(kSuffix.size());
      rest.remove_prefix(1);
      if (is_variant_name(rest)) return Candidate{path, std::string(rest), false};
    }
  }
  return std::nullopt;
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    files.push_back(entry->path());
  }
  check<CheckpointError>(!error, "cannot read the folder {}: {}", folder.string(), error.message());
  std::ranges::sort(files);
  return files;
}

[[noreturn]] void fail_without_weights(const fs::path& folder, const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    if (file.extension() != ".bin" && file.extension() != ".ckpt") continue;
    fail<CheckpointError>(
        "{}: {} is a pickled file, which could run code when it is read, and there are no "
        "safetensors weights; convert the model: load it with diffusers and call "
        "save_pretrained(..., safe_serialization=True)",
        folder.string(), excerpt(file.filename().string()));
  }
  fail<CheckpointError>(
      "{}: there are no weights; diffusion_pytorch_model.safetensors or model.safetensors is "
      "wanted, or an index (.safetensors.index.json) with its shards",
      folder.string());
}

std::vector<Candidate> weights_among(const std::vector<fs::path>& files) {
  std::vector<Candidate> weights;
  for (const fs::path& file : files) {
    if (std::optional<Candidate> found = as_candidate(file)) weights.push_back(*std::move(found));
  }
  return weights;
}

std::set<std::string> variants_of(const std::vector<Candidate>& weights) {
  std::set<std::string> variants;
  for (const Candidate& each : weights) variants.insert(each.variant);
  return variants;
}

Candidate find_weights(const fs::path& folder, const std::optional<std::string>& variant) {
  const std::vector<fs::path> files = files_of(folder);
  std::vector<Candidate> all = weights_among(files);
  const std::set<std::string> variants = variants_of(all);
  if (all.empty()) fail_without_weights(folder, files);
  std::string chosen;
  if (variant && variants.contains(*variant)) {
    chosen = *variant;
  } else if (!variants.contains("")) {
    check<CheckpointError>(variants.size() == 1 && !variant,
                           "{}: there are only these variants of the weights: {}; name one of them",
                           folder.string(), list_of(variants));
    chosen = *variants.begin();
  }
  std::erase_if(all, [&](const Candidate& candidate) { return candidate.variant != chosen; });
  check<CheckpointError>(all.size() == 1,
                         "{}: {} and {} both claim to be the weights; remove the wrong one",
                         folder.string(), excerpt(all.front().path.filename().string()),
                         excerpt(all.back().path.filename().string()));
  return all.front();
}

// The shard of each tensor. File names must stay in the folder: an index is not trusted.
std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const json root = read_json_file(index);
  const auto found = root.is_object() ? root.find("weight_map") : root.end();
  check<CheckpointError>(root.is_object() && found != root.end() && found->is_object(),
                         "{}: an index must be an object with an object weight_map",
                         index.string());
  std::map<std::string, std::string> result;
  for (const auto& [name, value] : found->items()) {
    const std::string file = value.is_string() ? value.get<std::string>() : std::string();
    check<CheckpointError>(
        file.ends_with(kSuffix) && file.find_first_of("/\\") == file.npos && escaped(file) == file,
        "{}: weight_map gives {} for '{}'; it must be the name of a .safetensors file beside the "
        "index",
        index.string(), to_error_text(value), excerpt(name));
    result.emplace(name, file);
  }
  return result;
}

}  // namespace

Weights::Weights(const SafetensorsFile& file, std::map<std::string, TensorView> tensors,
                 std::vector<std::shared_ptr<const std::vector<std::byte>>> made)
    : path_(file.path()), files_{file}, made_(std::move(made)), tensors_(std::move(tensors)) {}

Weights Weights::open(const fs::path& folder, const std::optional<std::string>& variant) {
  check_model_folder(folder);
  const Candidate candidate = find_weights(folder, variant);
  Weights result;
  result.path_ = candidate.path;
  if (!candidate.is_index) {
    result.files_.push_back(SafetensorsFile::open(candidate.path));
    result.tensors_ = result.files_.front().tensors();
    return result;
  }
  const std::string index = candidate.path.string();
  const std::map<std::string, std::string> weight_map = read_weight_map(candidate.path);
  std::set<std::string> shards;
  for (const auto& [name, shard] : weight_map) shards.insert(shard);
  for (const std::string& shard : shards) {
    result.files_.push_back(SafetensorsFile::open(folder / shard));
    for (const auto& [name, view] : result.files_.back().tensors()) {
      const auto place = weight_map.find(name);
      check<CheckpointError>(
          place != weight_map.end() && place->second == shard,
          "{}: shard {} holds '{}', which the index {}", index, excerpt(shard), excerpt(name),
          place == weight_map.end() ? "does not name" : "places in " + excerpt(place->second));
      result.tensors_.emplace(name, view);
    }
  }
  for (const auto& [name, shard] : weight_map) {
    check<CheckpointError>(result.tensors_.contains(name),
                           "{}: the index places '{}' in {}, which does not hold it", index,
                           excerpt(name), excerpt(shard));
  }
  return result;
}

void Weights::release(const TensorView& tensor) const {
  for (const SafetensorsFile& file : files_) file.release(tensor);
}

std::set<std::string> variants_in(const fs::path& folder) {
  return variants_of(weights_among(files_of(folder)));
}

std::string list_of(const std::set<std::string>& variants) {
  return excerpt(fmt::format("{}", fmt::join(variants, ", ")));
}

void check_model_folder(const fs::path& folder) {
  check<CheckpointError>(type_of(folder) != fs::file_type::not_found, "there is no folder {}",
                         folder.string());
  check<CheckpointError>(type_of(folder) == fs::file_type::directory,
                         "{} is not a folder; a model in diffusers' layout is wanted, with a "
                         "folder for each component",
                         folder.string());
}

}  // namespace pcpp
