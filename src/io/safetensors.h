// Reading and writing safetensors files. A file is taken for hostile until every field of it has
// been checked; nothing is copied: the tensors are views of the mapped file.
#ifndef PCPP_IO_SAFETENSORS_H_
#define PCPP_IO_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pcpp {

class MappedFile;

enum class DType {
  f64,
  f32,
  f16,
  bf16,
  f8_e4m3,  // without infinities (E4M3FN)
  f8_e5m2,
  i64,
  i32,
  i16,
  i8,
  u64,
  u32,
  u16,
  u8,
  boolean
};

// The name in the file: "F32", "BF16", "BOOL", ...
std::string_view name_of(DType dtype);
std::size_t size_of(DType dtype);

// A row-major little-endian tensor in memory that somebody else owns. `bytes` may lie at any
// address: read elements by memcpy, or through to_float.
struct TensorView {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  std::int64_t element_count() const;
};

// The elements as float32: F64 rounds to nearest, all other floating-point types are exact, an
// integer or BOOL tensor throws CheckpointError (`name` names the tensor in it). `target` must hold
// element_count() values.
void to_float(const TensorView& tensor, std::string_view name, std::span<float> target);

// "[2, 3]", as excerpt() cuts it.
std::string to_string(std::span<const std::int64_t> shape);

// A file whose header has been checked: a JSON object without duplicate names, known dtypes,
// shapes whose sizes agree with the offsets, tensors that fill the file without overlap or hole.
// Immutable, thread-safe. Copies share the bytes; the views live as long as any copy does.
class SafetensorsFile {
 public:
  // Maps it: it must not be shortened while any copy lives. Throws CheckpointError naming the file,
  // the tensor, the value and the rule.
  static SafetensorsFile open(const std::filesystem::path& path);
  // Reads all of it, after which it may change. Throws as open().
  static SafetensorsFile read(const std::filesystem::path& path);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

  // Gives back the memory of a tensor that will hardly be read again; it keeps its values. Does
  // nothing for a tensor of another file, or of one that is not mapped.
  void release(const TensorView& tensor) const;

 private:
  SafetensorsFile() = default;

  std::filesystem::path path_;
  std::shared_ptr<const MappedFile> mapped_;  // of the two, one
  std::shared_ptr<const std::string> read_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Writes `tensors`, larger dtypes first, so that each is aligned to its element size. The file
// appears whole under `path` or not at all. Throws ConfigError for a tensor whose shape and bytes
// disagree, CheckpointError with the path and the system's reason for a place that cannot be
// written.
void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace pcpp

#endif  // PCPP_IO_SAFETENSORS_H_
