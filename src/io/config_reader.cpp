#include "io/config_reader.h"

#include <fmt/ranges.h>

#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "io/json_file.h"

namespace pcpp {
namespace {

using nlohmann::json;

const json kNull;

template <typename T>
bool is_a(const json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  if constexpr (std::is_same_v<T, double>) return value.is_number();
  if constexpr (std::is_same_v<T, std::int64_t>) {
    // An unsigned number beyond the signed range would wrap.
    return value.is_number_integer() &&
           (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX);
  }
}

template <typename T>
constexpr std::string_view kKindOf = "";
template <>
constexpr std::string_view kKindOf<bool> = "true or false";
template <>
constexpr std::string_view kKindOf<std::string> = "a text";
template <>
constexpr std::string_view kKindOf<double> = "a number";
template <>
constexpr std::string_view kKindOf<std::int64_t> = "an integer";

[[noreturn]] void fail_at(const std::string& source, std::string_view key, const json& value,
                          std::string_view rule) {
  fail<CheckpointError>("{}: {} is {}; {}", source, key, to_error_text(value), rule);
}

template <typename T>
T value_as(const std::string& source, std::string_view key, const json& value) {
  if (!is_a<T>(value)) fail_at(source, key, value, fmt::format("it must be {}", kKindOf<T>));
  return value.get<T>();
}

template <typename T>
std::vector<T> list_as(const std::string& source, std::string_view key, const json& value) {
  std::vector<T> result;
  bool valid = value.is_array();
  for (const json& entry : valid ? value : json::array()) {
    valid = valid && is_a<T>(entry);
    if (valid) result.push_back(entry.get<T>());
  }
  if (!valid) {
    fail_at(source, key, value, fmt::format("it must be a list, each entry {}", kKindOf<T>));
  }
  return result;
}

}  // namespace

ConfigReader::ConfigReader(const std::filesystem::path& path)
    : ConfigReader(read_json_file(path), path.string()) {}

ConfigReader::ConfigReader(json object, std::string source)
    : source_(std::move(source)), object_(std::move(object)) {
  check<CheckpointError>(object_.is_object(), "{}: {} is not a JSON object", source_,
                         to_error_text(object_));
}

bool ConfigReader::has(std::string_view key) const {
  const auto found = object_.find(key);
  return found != object_.end() && !found->is_null();
}

bool ConfigReader::is_null(std::string_view key) {
  const json* value = take(key);
  return value != nullptr && value->is_null();
}

const json* ConfigReader::take(std::string_view key) {
  read_.emplace(key);
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

const json& ConfigReader::take_required(std::string_view key) {
  const json* value = take(key);
  check<CheckpointError>(value != nullptr, "{}: {} is missing", source_, key);
  return *value;
}

template <typename T>
T ConfigReader::value_or(std::string_view key, T absent) {
  const json* value = take(key);
  return value == nullptr ? absent : value_as<T>(source_, key, *value);
}

template <typename T>
std::optional<T> ConfigReader::optional(std::string_view key) {
  const json* value = take(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return value_as<T>(source_, key, *value);
}

template <typename T>
std::vector<T> ConfigReader::value_or_list(std::string_view key, std::size_t count, T absent) {
  const json* value = take(key);
  if (value == nullptr) return std::vector<T>(count, absent);
  if (!value->is_array()) return std::vector<T>(count, value_as<T>(source_, key, *value));
  std::vector<T> list = list_as<T>(source_, key, *value);
  if (list.size() != count) {
    fail_at(source_, key, *value, fmt::format("it must have {} entries", count));
  }
  return list;
}

std::int64_t ConfigReader::integer(std::string_view key) {
  return value_as<std::int64_t>(source_, key, take_required(key));
}
std::int64_t ConfigReader::integer(std::string_view key, std::int64_t absent) {
  return value_or(key, absent);
}
double ConfigReader::number(std::string_view key) {
  return value_as<double>(source_, key, take_required(key));
}
double ConfigReader::number(std::string_view key, double absent) { return value_or(key, absent); }

bool ConfigReader::boolean(std::string_view key) {
  const json& value = take_required(key);
  return !value.is_null() && value_as<bool>(source_, key, value);
}
bool ConfigReader::boolean(std::string_view key, bool absent) {
  const json* value = take(key);
  if (value == nullptr) return absent;
  return !value->is_null() && value_as<bool>(source_, key, *value);
}

std::string ConfigReader::text(std::string_view key) {
  return value_as<std::string>(source_, key, take_required(key));
}
std::string ConfigReader::text(std::string_view key, std::string_view absent) {
  return value_or(key, std::string(absent));
}

std::optional<double> ConfigReader::optional_number(std::string_view key) {
  return optional<double>(key);
}
std::optional<std::string> ConfigReader::optional_text(std::string_view key) {
  return optional<std::string>(key);
}

std::vector<std::int64_t> ConfigReader::integers(std::string_view key) {
  return list_as<std::int64_t>(source_, key, take_required(key));
}
std::vector<std::int64_t> ConfigReader::integers(std::string_view key,
                                                 std::vector<std::int64_t> absent) {
  const json* value = take(key);
  return value == nullptr ? std::move(absent) : list_as<std::int64_t>(source_, key, *value);
}
std::vector<double> ConfigReader::numbers(std::string_view key) {
  return list_as<double>(source_, key, take_required(key));
}
std::vector<std::string> ConfigReader::texts(std::string_view key,
                                             std::vector<std::string> absent) {
  const json* value = take(key);
  return value == nullptr ? std::move(absent) : list_as<std::string>(source_, key, *value);
}

std::vector<std::int64_t> ConfigReader::integer_or_list(std::string_view key, std::size_t count,
                                                        std::int64_t absent) {
  return value_or_list(key, count, absent);
}
std::vector<bool> ConfigReader::boolean_or_list(std::string_view key, std::size_t count,
                                                bool absent) {
  return value_or_list(key, count, absent);
}

nlohmann::json ConfigReader::value(std::string_view key) {
  const nlohmann::json* found = take(key);
  return found == nullptr ? kNull : *found;
}

void ConfigReader::require_equal(std::string_view key, const nlohmann::json& supported,
                                 const nlohmann::json& absent) {
  const nlohmann::json* found = take(key);
  const nlohmann::json& value = found == nullptr ? absent : *found;
  if (value == supported || (value.is_null() && supported == false)) return;
  fail_at(source_, key, value,
          fmt::format("{}only {} is supported", found == nullptr ? "(the default); " : "",
                      to_error_text(supported)));
}
void ConfigReader::require_equal(std::string_view key, const nlohmann::json& supported) {
  require_equal(key, supported, supported);
}

std::string ConfigReader::one_of(std::string_view key,
                                 std::initializer_list<std::string_view> supported,
                                 std::string_view absent) {
  const std::string value = text(key, absent);
  for (const std::string_view known : supported) {
    if (value == known) return value;
  }
  fail_at(source_, key, value, fmt::format("supported are: {}", fmt::join(supported, ", ")));
}

void ConfigReader::ignore(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) read_.emplace(key);
}

void ConfigReader::finish() const {
  std::vector<std::string> unread;
  for (const auto& [key, value] : object_.items()) {
    if (key.starts_with('_') || read_.contains(key)) continue;
    unread.push_back(fmt::format("{} = {}", excerpt(key), to_error_text(value)));
  }
  check<CheckpointError>(unread.empty(), "{}: options that are not supported: {}", source_,
                         first_of(unread));
}

void ConfigReader::refuse(std::string_view key, std::string_view rule) const {
  const auto found = object_.find(key);
  fail_at(source_, key, found == object_.end() ? kNull : *found, rule);
}

}  // namespace pcpp
