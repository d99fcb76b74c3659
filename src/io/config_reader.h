// A JSON configuration read with accounting: every key is asked for, checked or ignored by name,
// and finish() refuses the rest, so that no option of a model is ever passed over in silence.
#ifndef PCPP_IO_CONFIG_READER_H_
#define PCPP_IO_CONFIG_READER_H_

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace pcpp {

// One JSON object. A value of another type than the getter's throws CheckpointError naming file,
// key, value and the type that is expected. null is a value of its own, as in Python: the
// optional_* getters take it for absent, a boolean reads it as false, every other getter refuses
// it, so that null never turns into a default. Not thread-safe.
//
//   ConfigReader config(folder / "config.json");
//   config.require_equal("act_fn", "silu", "silu");       // absent means "silu"
//   int groups = config.integer("norm_num_groups", 32);
//   config.ignore({"sample_size"});
//   config.finish();                                      // an unknown key is refused here
class ConfigReader {
 public:
  explicit ConfigReader(const std::filesystem::path& path);
  // `source` names where `object` came from, in errors.
  ConfigReader(nlohmann::json object, std::string source);

  // Whether the key is there and not null. Does not count as reading it.
  bool has(std::string_view key) const;
  // Whether the key is there and null, which then counts as read.
  bool is_null(std::string_view key);

  std::int64_t integer(std::string_view key);
  std::int64_t integer(std::string_view key, std::int64_t absent);
  double number(std::string_view key);
  double number(std::string_view key, double absent);
  bool boolean(std::string_view key);
  bool boolean(std::string_view key, bool absent);
  std::string text(std::string_view key);
  std::string text(std::string_view key, std::string_view absent);
  std::optional<double> optional_number(std::string_view key);
  std::optional<std::string> optional_text(std::string_view key);

  std::vector<std::int64_t> integers(std::string_view key);
  std::vector<std::int64_t> integers(std::string_view key, std::vector<std::int64_t> absent);
  std::vector<double> numbers(std::string_view key);
  std::vector<std::string> texts(std::string_view key, std::vector<std::string> absent);
  // A single integer (or boolean) stands for `count` equal ones; a list must have `count` entries.
  std::vector<std::int64_t> integer_or_list(std::string_view key, std::size_t count,
                                            std::int64_t absent);
  std::vector<bool> boolean_or_list(std::string_view key, std::size_t count, bool absent);
  // The value as it stands; null where absent.
  nlohmann::json value(std::string_view key);

  // For options of which one value is supported: any other is refused, naming key, value and the
  // supported one. An absent key counts as `absent` (the default of the format), without it as
  // the supported value. Where a boolean is supported, null counts as false.
  void require_equal(std::string_view key, const nlohmann::json& supported,
                     const nlohmann::json& absent);
  void require_equal(std::string_view key, const nlohmann::json& supported);
  // One of several values; returns the one that is there.
  std::string one_of(std::string_view key, std::initializer_list<std::string_view> supported,
                     std::string_view absent);

  // Keys without meaning for inference, whatever their values. Keys that begin with '_' are always
  // ignored: they are notes of the tool that wrote the file.
  void ignore(std::initializer_list<std::string_view> keys);

  // Throws CheckpointError that names the keys (with their values) that nobody has read: the first
  // five, and how many more there are.
  void finish() const;

  // Throws CheckpointError "SOURCE: KEY is VALUE; RULE", for rules that span several keys.
  [[noreturn]] void refuse(std::string_view key, std::string_view rule) const;

  const std::string& source() const { return source_; }

 private:
  // The value under `key`, which now counts as read; nullptr where absent.
  const nlohmann::json* take(std::string_view key);
  const nlohmann::json& take_required(std::string_view key);
  template <typename T>
  T value_or(std::string_view key, T absent);
  template <typename T>
  std::optional<T> optional(std::string_view key);
  template <typename T>
  std::vector<T> value_or_list(std::string_view key, std::size_t count, T absent);

  std::string source_;
  nlohmann::json object_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace pcpp

#endif  // PCPP_IO_CONFIG_READER_H_
