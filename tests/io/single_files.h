// Single files in memory, and what diffusers has of their tensors.
#ifndef PCPP_TESTS_IO_SINGLE_FILES_H_
#define PCPP_TESTS_IO_SINGLE_FILES_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json_file.h"
#include "io/single_file.h"

namespace pcpp {

inline constexpr std::string_view kUNet = "model.diffusion_model.";
inline constexpr std::string_view kVae = "first_stage_model.";
inline constexpr std::array<const char*, 3> kFamilies = {"sd15", "sd21", "sdxl"};

using Shape = std::vector<std::int64_t>;
using Values = std::vector<std::uint32_t>;

// No two elements of a file have the same bits.
class File {
 public:
  explicit File(DType dtype = DType::f32) : dtype_(dtype) {}

  void add(const std::string& name, Shape shape) {
    TensorView view{dtype_, std::move(shape), {}};
    const std::size_t size = size_of(dtype_);
    std::size_t count = 1;
    for (const std::int64_t extent : view.shape) count *= static_cast<std::size_t>(extent);
    std::vector<std::byte>& bytes = memory_.emplace_back(count * size);
    for (std::size_t i = 0; i < bytes.size(); i += size) {
      std::memcpy(bytes.data() + i, &next_, size);
      ++next_;
    }
    view.bytes = bytes;
    tensors_.insert_or_assign(name, view);
  }

  SingleFile read() const { return read_single_file(tensors_, "some.safetensors"); }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const TensorView& operator[](const std::string& name) const { return tensors_.at(name); }

  bool owns(const TensorView& view) const {
    return std::ranges::any_of(memory_, [&](const std::vector<std::byte>& bytes) {
      return view.bytes.data() >= bytes.data() &&
             view.bytes.data() + view.bytes.size() <= bytes.data() + bytes.size();
    });
  }

 private:
  DType dtype_;
  std::uint32_t next_ = 1;
  std::deque<std::vector<std::byte>> memory_;
  std::map<std::string, TensorView> tensors_;
};

// A U-Net of two layers a level, as far as names go.
inline File small_file() {
  File file;
  file.add("model.diffusion_model.input_blocks.0.0.weight", {4, 3, 3, 3});
  file.add("model.diffusion_model.input_blocks.3.0.op.weight", {4, 4, 3, 3});
  return file;
}

inline Values values_of(const TensorView& view) {
  const std::size_t size = size_of(view.dtype);
  Values values(view.bytes.size() / size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::memcpy(&values[i], view.bytes.data() + i * size, size);
  }
  return values;
}

struct Entry {
  std::string name, component, weight, how;
};

// tests/reference/single_file_make.py
inline std::vector<Entry> read_entries(const std::string& family) {
  std::vector<Entry> entries;
  const std::string path = std::string(PCPP_TEST_DATA) + "/single_file/" + family + ".json";
  for (const auto& entry : read_json_file(path)) {
    entries.push_back({entry.at(0), entry.at(1), entry.at(2), entry.at(3)});
  }
  return entries;
}

inline Shape shape_for(const Entry& entry) {
  if (entry.how == "squeezed") return {3, 2, 1, 1};
  if (entry.how == "transposed") return {3, 4};
  if (entry.how == "passed over") return {1};
  const bool is_vector =
      entry.name.ends_with("bias") || entry.name.find("norm") != std::string::npos;
  if (entry.how.starts_with("rows")) return is_vector ? Shape{6} : Shape{6, 2};
  return is_vector ? Shape{5} : Shape{2, 3};
}

inline void expect_part_of(const TensorView& whole, const std::string& how,
                           const TensorView& view) {
  Shape shape = whole.shape;
  Values values = values_of(whole);
  if (how == "squeezed") shape.resize(2);
  if (how.starts_with("rows ")) {
    shape[0] /= 3;
    const auto third = static_cast<std::ptrdiff_t>(values.size() / 3);
    const auto begin = values.begin() + (how[5] - '0') * third;
    values = Values(begin, begin + third);
  }
  if (how == "transposed") {
    std::swap(shape[0], shape[1]);
    values.clear();
    for (std::int64_t row = 0; row < shape[0]; ++row) {
      for (std::int64_t column = 0; column < shape[1]; ++column) {
        values.push_back(values_of(whole)[static_cast<std::size_t>(column * shape[0] + row)]);
      }
    }
  }
  EXPECT_EQ(view.dtype, whole.dtype);
  EXPECT_EQ(view.shape, shape);
  EXPECT_FALSE(values.empty());
  EXPECT_EQ(values_of(view), values);
}

inline File whole_file(const std::vector<Entry>& entries, DType dtype) {
  File file(dtype);
  for (const Entry& entry : entries) file.add(entry.name, shape_for(entry));
  return file;
}

}  // namespace pcpp

#endif  // PCPP_TESTS_IO_SINGLE_FILES_H_
