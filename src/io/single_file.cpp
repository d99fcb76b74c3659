#include "io/single_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/lora_names.h"
#include "io/single_file_names.h"

namespace pcpp {
namespace {

using single_file::has_name_of;
using single_file::kVaePrefix;
using single_file::Layout;
using single_file::Part;
using single_file::part_of;
using single_file::Place;
using single_file::Way;

// Newer programs write the matrix itself.
TensorView linear(const TensorView& tensor, const std::string& label) {
  const std::vector<std::int64_t>& shape = tensor.shape;
  const bool is_pointwise = shape.size() == 4 && shape[2] == 1 && shape[3] == 1;
  check<CheckpointError>(is_pointwise || shape.size() == 2,
                         "{} has shape {}; a 1x1 convolution [outputs, inputs, 1, 1] is wanted; "
                         "get the file again",
                         label, to_string(shape));
  return {tensor.dtype, {shape[0], shape[1]}, tensor.bytes};
}

std::vector<std::byte> transposed(const TensorView& tensor) {
  const auto rows = static_cast<std::size_t>(tensor.shape[0]);
  const auto columns = static_cast<std::size_t>(tensor.shape[1]);
  const std::size_t size = size_of(tensor.dtype);
  std::vector<std::byte> bytes(tensor.bytes.size());
  // By element: a matrix without any may claim as many rows as it likes.
  for (std::size_t i = 0; i < bytes.size() / size; ++i) {
    const std::size_t target = i % columns * rows + i / columns;
    std::memcpy(bytes.data() + target * size, tensor.bytes.data() + i * size, size);
  }
  return bytes;
}

class Reader {
 public:
  Reader(const std::string& source, const Layout& layout) : source_(source), layout_(layout) {}

  void read(const std::string& name, const TensorView& tensor) {
    if (const Part* part = part_of(name)) read(name, *part, part->prefix.size(), tensor);
  }

  // Of `part`, whatever the first so many characters of its name are.
  void read(const std::string& name, const Part& part, std::size_t prefix,
            const TensorView& tensor) {
    component_ = part.component;
    label_ = fmt::format("{}: the tensor {}", source_, excerpt(name));
    const std::optional<Place> place =
        place_of(part, std::string_view(name).substr(prefix), layout_);
    check<CheckpointError>(place.has_value(),
                           "{} is none of a {} of Stable Diffusion 1.x, 2.x or SDXL; take a "
                           "checkpoint of these, or save this one as a folder with diffusers",
                           label_, part.word);
    if (place->way == Way::thirds) return add_thirds(*place, tensor);
    if (place->way == Way::left_out) return;
    const std::string full_name = fmt::format("{}.{}", place->module, place->parameter);
    if (place->way == Way::transposed) return add_transposed(full_name, tensor);
    add(full_name, place->way == Way::linear ? linear(tensor, label_) : tensor);
  }

  SingleFile take() && { return std::move(result_); }

 private:
  void add(const std::string& name, TensorView tensor) {
    check<CheckpointError>(result_.components[component_].emplace(name, std::move(tensor)).second,
                           "{} becomes the {}'s {}, as another of its tensors does; save the file "
                           "anew under one kind of names",
                           label_, component_, name);
  }

  void add_thirds(const Place& place, const TensorView& tensor) {
    check<CheckpointError>(!tensor.shape.empty() && tensor.shape[0] % 3 == 0,
                           "{} has shape {}; as many rows for queries as for keys and for values "
                           "are wanted; get the file again",
                           label_, to_string(tensor.shape));
    TensorView third = tensor;
    third.shape[0] /= 3;
    const std::size_t bytes = tensor.bytes.size() / 3;
    std::size_t begin = 0;
    for (const char which : {'q', 'k', 'v'}) {
      third.bytes = tensor.bytes.subspan(begin, bytes);
      add(fmt::format("{}.{}_proj.{}", place.module, which, place.parameter), third);
      begin += bytes;
    }
  }

  void add_transposed(const std::string& name, const TensorView& tensor) {
    constexpr std::int64_t kMost = 4096;  // those of CLIP have 1280 at most
    const bool fits = tensor.shape.size() == 2 && std::ranges::max(tensor.shape) <= kMost;
    check<CheckpointError>(
        fits,
        "{} has shape {}; a matrix of at most {} rows and columns is wanted; get "
        "the file again",
        label_, to_string(tensor.shape), kMost);
    auto bytes = std::make_shared<const std::vector<std::byte>>(transposed(tensor));
    add(name, {tensor.dtype, {tensor.shape[1], tensor.shape[0]}, *bytes});
    result_.made.push_back(std::move(bytes));
  }

  const std::string& source_;
  const Layout layout_;
  SingleFile result_;
  std::string component_;  // of the tensor that is read
  std::string label_;      // its name in errors
};

}  // namespace

SingleFile read_single_file(const std::map<std::string, TensorView>& tensors,
                            const std::string& source) {
  Reader reader(source, single_file::layout_of(tensors));
  for (const auto& [name, tensor] : tensors) reader.read(name, tensor);
  SingleFile result = std::move(reader).take();
  const auto is_of_lora = [](const auto& entry) {
    return parse_lora_name(entry.first).has_value();
  };
  check<CheckpointError>(
      result.components.contains("unet"),
      "{}: no tensor begins with {}: it is no checkpoint of Stable Diffusion "
      "1.x, 2.x or SDXL in one file{}; take one, or a folder as diffusers saves",
      source, single_file::kUNetPrefix,
      std::ranges::any_of(tensors, is_of_lora) ? " but a LoRA, to be named beside a model" : "");
  return result;
}

std::map<std::string, TensorView> read_vae_file(const std::map<std::string, TensorView>& tensors,
                                                const std::string& source) {
  const std::string_view prefix = has_name_of(tensors, kVaePrefix) ? kVaePrefix : "";
  if (has_name_of(tensors, fmt::format("{}decoder.mid_block.", prefix))) {
    std::map<std::string, TensorView> named;  // as diffusers does
    for (const auto& [name, tensor] : tensors) {
      if (name.starts_with(prefix)) named.emplace(name.substr(prefix.size()), tensor);
    }
    return named;
  }
  check<CheckpointError>(
      has_name_of(tensors, fmt::format("{}decoder.mid.", prefix)),
      "{}: it holds no VAE: no tensor's name begins with decoder.mid_block. or "
      "decoder.mid., with or without {} in front; take one (tiny autoencoders, TAESD, are none)",
      source, kVaePrefix);
  Reader reader(source, single_file::layout_of(tensors, single_file::kUNetPrefix, prefix));
  const Part& vae = *part_of(kVaePrefix);
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) reader.read(name, vae, prefix.size(), tensor);
  }
  return std::move(reader).take().components.at(std::string(vae.component));
}

}  // namespace pcpp
