#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/atomic_file.h"
#include "io/input_file.h"
#include "io/json_file.h"
#include "io/mapped_file.h"

namespace pcpp {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMostHeaderBytes = 100'000'000;
constexpr std::size_t kMostReadBytes = std::size_t{4} << 30;
constexpr std::size_t kMostExtents = 64;  // of a tensor's shape; as many as libtorch's
constexpr std::string_view kMetadataKey = "__metadata__";

struct DTypeEntry {
  DType dtype;
  std::string_view name;
  std::size_t size;
};
constexpr std::array<DTypeEntry, 15> kDTypes = {{{DType::f64, "F64", 8},
                                                 {DType::f32, "F32", 4},
                                                 {DType::f16, "F16", 2},
                                                 {DType::bf16, "BF16", 2},
                                                 {DType::f8_e4m3, "F8_E4M3", 1},
                                                 {DType::f8_e5m2, "F8_E5M2", 1},
                                                 {DType::i64, "I64", 8},
                                                 {DType::i32, "I32", 4},
                                                 {DType::i16, "I16", 2},
                                                 {DType::i8, "I8", 1},
                                                 {DType::u64, "U64", 8},
                                                 {DType::u32, "U32", 4},
                                                 {DType::u16, "U16", 2},
                                                 {DType::u8, "U8", 1},
                                                 {DType::boolean, "BOOL", 1}}};

const DTypeEntry& entry_of(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)]; }

// The bytes that a tensor fills; nothing where the product does not fit in 63 bits.
std::optional<std::uint64_t> byte_count(DType dtype, std::span<const std::int64_t> shape) {
  std::int64_t count = static_cast<std::int64_t>(size_of(dtype));
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(count, extent, &count)) return std::nullopt;
  }
  return static_cast<std::uint64_t>(count);
}

// Refuses what people take for safetensors files. (Their first eight bytes, a length, would be
// beyond any.)
void check_kind(std::span<const std::byte> bytes, const std::string& source) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min<std::size_t>(bytes.size(), 64));
  const auto begins_with = [&](std::initializer_list<std::string_view> beginnings) {
    return std::ranges::any_of(beginnings, [&](std::string_view beginning) {
      return text.size() >= kLengthBytes && text.starts_with(beginning);
    });
  };
  check<CheckpointError>(!begins_with({"PK\x03\x04", "\x80\x02", "\x80\x03", "\x80\x04"}),
                         "{} is a pickled file, which could run code when it is read: get it as a "
                         "safetensors file, or convert it with the program that made it",
                         source);
  check<CheckpointError>(!begins_with({"GGUF"}),
                         "{} is a GGUF file, which is not supported: get it as a safetensors file",
                         source);
  check<CheckpointError>(!begins_with({"version https://git-lfs"}),
                         "{} is only git's pointer to a large file: fetch that, as by git lfs pull",
                         source);
  check<CheckpointError>(!begins_with({"<!DOCTYPE", "<!doctype", "<html", "<?xml"}),
                         "{} is a web page: fetch the file itself, signed in where that is needed",
                         source);
}

// Checks one file's header and gives the tensors that it describes.
class HeaderReader {
 public:
  HeaderReader(const std::filesystem::path& path, std::span<const std::byte> bytes)
      : source_(path.string()), bytes_(bytes) {}

  void read(std::map<std::string, TensorView>& tensors,
            std::map<std::string, std::string>& metadata) {
    const json header = parse_header();
    for (const auto& [name, entry] : header.items()) {
      if (name == kMetadataKey) {
        read_metadata(entry, metadata);
      } else {
        tensors.emplace(name, read_tensor(name, entry));
      }
    }
    check_coverage();
  }

 private:
  struct Extent {
    std::uint64_t begin;
    std::uint64_t end;
    std::string name;
  };

  json parse_header() {
    check_kind(bytes_, source_);
    check<CheckpointError>(bytes_.size() >= kLengthBytes,
                           "{}: {} bytes are too few for a safetensors file; fetch it again",
                           source_, bytes_.size());
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), kLengthBytes);
    const std::uint64_t rest = bytes_.size() - kLengthBytes;
    check<CheckpointError>(
        length <= rest && length <= kMostHeaderBytes,
        "{}: not a safetensors file, or cut short: of {} bytes after the first eight, {} would "
        "be "
        "its header, and at most {} may be; save or fetch it again as safetensors",
        source_, rest, length, kMostHeaderBytes);
    data_ = bytes_.subspan(kLengthBytes + length);
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + kLengthBytes,
                                length);
    check<CheckpointError>(text.starts_with('{'),
                           "{}: the header does not begin with '{{'; it must be a JSON object",
                           source_);
    return parse_json(text, source_ + " (header)");
  }

  void read_metadata(const json& entry, std::map<std::string, std::string>& metadata) const {
    if (entry.is_null()) return;
    check<CheckpointError>(entry.is_object(), "{}: {} is {}; it must be an object", source_,
                           kMetadataKey, to_error_text(entry));
    for (const auto& [key, value] : entry.items()) {
      check<CheckpointError>(value.is_string(), "{}: {} '{}' is {}; values must be strings",
                             source_, kMetadataKey, excerpt(key), to_error_text(value));
      metadata.emplace(key, value.get<std::string>());
    }
  }

  TensorView read_tensor(const std::string& name, const json& entry) {
    if (!entry.is_object()) refuse(name, "entry", entry, "it must be an object");
    for (const auto& [key, value] : entry.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        refuse(name, key, value, "only dtype, shape and data_offsets are known");
      }
    }
    TensorView tensor;
    tensor.dtype = read_dtype(name, field(name, entry, "dtype"));
    const json& shape = field(name, entry, "shape");
    tensor.shape = read_shape(name, shape);
    const std::optional<std::uint64_t> size = byte_count(tensor.dtype, tensor.shape);
    if (!size) refuse(name, "shape", shape, "its size does not fit in 63 bits");
    const json& offsets = field(name, entry, "data_offsets");
    const auto [begin, end] = read_offsets(name, offsets);
    if (end - begin != *size) {
      refuse(name, "data_offsets", offsets,
             fmt::format("{} {} needs {} bytes", name_of(tensor.dtype), to_string(tensor.shape),
                         *size));
    }
    extents_.push_back({begin, end, name});
    tensor.bytes = data_.subspan(begin, end - begin);
    return tensor;
  }

  DType read_dtype(const std::string& name, const json& value) const {
    if (value.is_string()) {
      for (const DTypeEntry& known : kDTypes) {
        if (value.get_ref<const std::string&>() == known.name) return known.dtype;
      }
    }
    refuse(name, "dtype", value,
           "it must be one of F64, F32, F16, BF16, F8_E4M3, F8_E5M2, I64, I32, I16, I8, U64, U32, "
           "U16, U8, BOOL: get the file in one of these, as F16");
  }

  std::vector<std::int64_t> read_shape(const std::string& name, const json& value) const {
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    std::vector<std::int64_t> shape;
    bool valid = value.is_array();
    for (const json& extent : valid ? value : json::array()) {
      valid = valid && extent.is_number_unsigned() && extent.get<std::uint64_t>() <= kMost;
      if (valid) shape.push_back(extent.get<std::int64_t>());
    }
    if (!valid) refuse(name, "shape", value, "it must be a list of integers of at least 0");
    if (shape.size() > kMostExtents) {
      refuse(
          name, "shape", value,
          fmt::format("it has {} extents; at most {} are supported", shape.size(), kMostExtents));
    }
    return shape;
  }

  std::pair<std::uint64_t, std::uint64_t> read_offsets(const std::string& name,
                                                       const json& value) const {
    if (!value.is_array() || value.size() != 2 || !value[0].is_number_unsigned() ||
        !value[1].is_number_unsigned()) {
      refuse(name, "data_offsets", value, "it must be two integers of at least 0");
    }
    const auto begin = value[0].get<std::uint64_t>();
    const auto end = value[1].get<std::uint64_t>();
    if (begin > end || end > data_.size()) {
      refuse(
          name, "data_offsets", value,
          fmt::format("they must rise and lie within the {} data bytes of the file", data_.size()));
    }
    return {begin, end};
  }

  // The format demands that the tensors fill the data section, end to end.
  void check_coverage() {
    std::ranges::sort(extents_, {}, [](const Extent& e) { return std::tie(e.begin, e.end); });
    std::uint64_t expected = 0;
    for (const Extent& extent : extents_) {
      check<CheckpointError>(
          extent.begin == expected,
          "{}: tensor '{}' begins at byte {} of the data, the one before it ends at {}; {}",
          source_, excerpt(extent.name), extent.begin, expected,
          extent.begin < expected ? "tensors must not overlap" : "no byte may lie between tensors");
      expected = extent.end;
    }
    check<CheckpointError>(expected == data_.size(),
                           "{}: the tensors fill {} of {} data bytes; none may be left over",
                           source_, expected, data_.size());
  }

  const json& field(const std::string& name, const json& entry, const char* key) const {
    const auto found = entry.find(key);
    check<CheckpointError>(found != entry.end(), "{}: tensor '{}' has no {}", source_,
                           excerpt(name), key);
    return *found;
  }

  [[noreturn]] void refuse(const std::string& name, std::string_view what, const json& value,
                           std::string_view rule) const {
    fail<CheckpointError>("{}: tensor '{}': {} is {}; {}", source_, excerpt(name), excerpt(what),
                          to_error_text(value), rule);
  }

  std::string source_;
  std::span<const std::byte> bytes_;
  std::span<const std::byte> data_;
  std::vector<Extent> extents_;
};

}  // namespace

std::string_view name_of(DType dtype) { return entry_of(dtype).name; }
std::size_t size_of(DType dtype) { return entry_of(dtype).size; }

std::int64_t TensorView::element_count() const {
  return static_cast<std::int64_t>(bytes.size() / size_of(dtype));
}

std::string to_string(std::span<const std::int64_t> shape) {
  return excerpt(fmt::format("[{}]", fmt::join(shape, ", ")));
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile result;
  result.path_ = path;
  result.mapped_ = std::make_shared<const MappedFile>(path);
  HeaderReader(path, result.mapped_->bytes()).read(result.tensors_, result.metadata_);
  return result;
}

SafetensorsFile SafetensorsFile::read(const std::filesystem::path& path) {
  SafetensorsFile result;
  result.path_ = path;
  const InputFile file(path);
  check<CheckpointError>(file.size() <= kMostReadBytes,
                         "{} holds {} bytes; a file of tensors may hold {} at most", path.string(),
                         file.size(), kMostReadBytes);
  result.read_ = std::make_shared<const std::string>(file.read());
  HeaderReader(path, std::as_bytes(std::span(*result.read_)))
      .read(result.tensors_, result.metadata_);
  return result;
}

void SafetensorsFile::release(const TensorView& tensor) const {
  if (mapped_) mapped_->release(tensor.bytes);
}

void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const std::pair<const std::string, TensorView>*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::ranges::stable_sort(order, std::ranges::greater{},
                           [](const auto* entry) { return size_of(entry->second.dtype); });
  json header = json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::uint64_t offset = 0;
  for (const auto* entry : order) {
    const auto& [name, tensor] = *entry;
    check<ConfigError>(name != kMetadataKey, "a tensor cannot be named {}", kMetadataKey);
    check<ConfigError>(byte_count(tensor.dtype, tensor.shape) == tensor.bytes.size(),
                       "tensor '{}' is {} {} but holds {} bytes", excerpt(name),
                       name_of(tensor.dtype), to_string(tensor.shape), tensor.bytes.size());
    check<ConfigError>(tensor.shape.size() <= kMostExtents,
                       "tensor '{}' has {} extents; at most {} are supported", excerpt(name),
                       tensor.shape.size(), kMostExtents);
    const std::uint64_t end = offset + tensor.bytes.size();
    header[name] = {
        {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    fail<ConfigError>("cannot write {}: a tensor's name or the metadata is not UTF-8",
                      path.string());
  }
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  const std::uint64_t length = text.size();

  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const auto* entry : order) file.write(entry->second.bytes);
  file.commit();
}

}  // namespace pcpp
