#include "io/textual_inversion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <tuple>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/safetensors.h"

namespace pcpp {
namespace {

// In the order of the text encoders, by ComfyUI's names, which most trainers write, and by those of
// diffusers' first ones.
using NamesOfTwo = std::array<std::string_view, 2>;
constexpr std::array kNamesOfTwo = {NamesOfTwo{"clip_l", "clip_g"},
                                    NamesOfTwo{"text_encoders_0", "text_encoders_1"}};

std::string names_in(const SafetensorsFile& file) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : file.tensors()) names.push_back(excerpt(name));
  return names.empty() ? "no tensors" : "the tensors " + first_of(names);
}

// In the order of the text encoders. Those for other encoders are left, as ComfyUI leaves them.
std::vector<std::string> names_of(const SafetensorsFile& file, std::size_t encoders) {
  const auto& tensors = file.tensors();
  if (encoders == 1 && tensors.size() == 1) return {tensors.begin()->first};
  for (const NamesOfTwo& names : kNamesOfTwo) {
    std::vector<std::string> wanted(names.begin(),
                                    names.begin() + static_cast<std::ptrdiff_t>(encoders));
    const auto is_there = [&](const std::string& name) { return tensors.contains(name); };
    if (std::ranges::all_of(wanted, is_there)) return wanted;
  }
  fail<CheckpointError>(
      "{} has {}: a textual inversion for a model with one text encoder has one tensor, or clip_l "
      "among others, and for SDXL clip_l and clip_g, or text_encoders_0 and text_encoders_1; take "
      "one that was made for the model",
      file.path().string(), names_in(file));
}

FloatTensor read_vectors(const TensorView& tensor, const std::string& name, std::int64_t width,
                         std::int64_t most) {
  const std::size_t dimensions = tensor.shape.size();
  const bool fits = (dimensions == 1 || dimensions == 2) && tensor.shape.back() == width &&
                    tensor.element_count() > 0;
  check<CheckpointError>(fits,
                         "{} has shape {}: [n, {}] or [{}] is needed, of the vectors that this "
                         "model's text encoder reads; take one that was made for the model",
                         name, to_string(tensor.shape), width, width);
  const std::int64_t vectors = tensor.element_count() / width;
  check<CheckpointError>(vectors <= most,
                         "{} holds {} vectors, and a text has room for {}: take one of fewer", name,
                         vectors, most);
  FloatTensor result{{vectors, width}, {}};
  result.values.resize(static_cast<std::size_t>(tensor.element_count()));
  to_float(tensor, name, result.values);
  const auto bad =
      std::ranges::find_if_not(result.values, [](float value) { return std::isfinite(value); });
  check<CheckpointError>(bad == result.values.end(), "{} holds {}; get the file again", name,
                         bad == result.values.end() ? 0 : *bad);
  return result;
}

}  // namespace

WordVectors read_textual_inversion(const std::filesystem::path& path,
                                   const std::vector<std::int64_t>& widths, std::int64_t most) {
  check<CheckpointError>(widths.size() == 1 || widths.size() == std::tuple_size_v<NamesOfTwo>,
                         "{} is a textual inversion, and the model has no text encoder: leave it "
                         "out",
                         path.string());
  const SafetensorsFile file = SafetensorsFile::open(path);
  const std::vector<std::string> names = names_of(file, widths.size());
  WordVectors vectors;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    vectors.push_back(read_vectors(file.tensors().at(names[i]),
                                   path.string() + ": " + excerpt(names[i]), widths[i], most));
    check<CheckpointError>(vectors.back().shape[0] == vectors.front().shape[0],
                           "{}: {} holds {} vectors and {} {}: they must be as many; get the file "
                           "again",
                           path.string(), names.front(), vectors.front().shape[0], names[i],
                           vectors.back().shape[0]);
  }
  return vectors;
}

}  // namespace pcpp
