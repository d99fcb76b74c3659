// A DeviceProfile as a JSON file.

#include <algorithm>
#include <climits>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/excerpt.h"
#include "base/link.h"
#include "io/config_reader.h"
#include "io/json_file.h"
#include "pcpp/output_file.h"
#include "pcpp/plan.h"
#include "planner/costs.h"

namespace pcpp {

namespace {

using Json = nlohmann::ordered_json;

Json to_json(const std::optional<Link>& link) {
  if (!link) return nullptr;
  return {{"name", link->name},
          {"bytes_per_second", link->bytes_per_second},
          {"latency_seconds", link->latency_seconds},
          {"shared", link->shared}};
}

Json to_json(const RateCurve& curve) {
  Json work = Json::array();
  Json seconds = Json::array();
  for (const RateCurve::Point& point : curve.points) {
    work.push_back(point.work);
    seconds.push_back(point.seconds);
  }
  return {{"kind", name_of(curve.kind)},
          {"shape", curve.shape},
          {"devices", curve.devices},
          {"work", std::move(work)},
          {"seconds", std::move(seconds)}};
}

Link read_link(ConfigReader config) {
  Link link;
  link.name = config.text("name");
  link.bytes_per_second = config.number("bytes_per_second");
  link.latency_seconds = config.number("latency_seconds");
  link.shared = config.boolean("shared");
  config.finish();
  return link;
}

WorkKind read_kind(ConfigReader& config) {
  const std::string word = config.text("kind");
  for (const WorkKind kind : all_work_kinds()) {
    if (name_of(kind) == word) return kind;
  }
  config.refuse("kind",
                "it must be one of convolution, linear, attention, normalisation, "
                "elementwise, exchange and gather");
}

constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;
constexpr double kMostSeconds = 1e9;

RateCurve read_curve(ConfigReader config) {
  RateCurve curve;
  curve.kind = read_kind(config);
  curve.shape = config.text("shape");
  curve.devices = static_cast<int>(std::clamp<std::int64_t>(config.integer("devices"), 0, INT_MAX));
  const std::vector<double> work = config.numbers("work");
  const std::vector<double> seconds = config.numbers("seconds");
  config.finish();
  if (work.size() != seconds.size()) {
    config.refuse("work", "it must have as many entries as seconds");
  }
  for (std::size_t i = 0; i < work.size(); ++i) curve.points.push_back({work[i], seconds[i]});
  return curve;
}

void check_curve(const RateCurve& curve, const std::string& place) {
  check<ConfigError>(curve.devices >= 1 && curve.devices <= World::kMostRanks,
                     "{}: {} devices are outside [1, {}]", place, curve.devices, World::kMostRanks);
  check<ConfigError>(!curve.points.empty(), "{}: it has no point: give at least one", place);
  double last = -1;
  for (const RateCurve::Point& point : curve.points) {
    check<ConfigError>(std::isfinite(point.work) && point.work >= 0 && point.work > last,
                       "{}: work {} after {}: it must be finite, at least 0 and ascending", place,
                       point.work, last);
    check<ConfigError>(point.seconds >= 0 && point.seconds <= kMostSeconds,
                       "{}: {} seconds for work {}: they must lie in [0, {}]", place, point.seconds,
                       point.work, kMostSeconds);
    last = point.work;
  }
}

}  // namespace

void check_profile(const DeviceProfile& profile) {
  const std::string name = excerpt(profile.name);
  check_enumerator("dtype", profile.dtype, DataType::bfloat16);
  for (const auto& [field, bytes] : {std::pair("memory_bytes", profile.memory_bytes),
                                     std::pair("extra_weight_bytes", profile.extra_weight_bytes)}) {
    check<ConfigError>(bytes >= 0 && bytes <= kMostBytes,
                       "the profile {}: {} {} is outside [0, {}]", name, field, bytes, kMostBytes);
  }
  if (profile.link) check_link(*profile.link);
  check<ConfigError>(!profile.curves.empty(),
                     "the profile {} has no curve: measure one, or load it from a file", name);
  for (std::size_t i = 0; i < profile.curves.size(); ++i) {
    check_enumerator("kind", profile.curves[i].kind, WorkKind::gather);
    check_curve(profile.curves[i], fmt::format("the profile {}, curve {}, of {}", name, i,
                                               name_of(profile.curves[i].kind)));
  }
}

DeviceProfile DeviceProfile::load(const std::filesystem::path& file) {
  const std::string source = file.string();
  ConfigReader config(read_json_file(file), source);
  DeviceProfile profile;
  profile.name = config.text("name");
  profile.source = config.text("source");
  profile.measured = config.boolean("measured");
  const std::string dtype = config.one_of("dtype", {"float32", "float16", "bfloat16"}, "");
  for (const DataType known : {DataType::float32, DataType::float16, DataType::bfloat16}) {
    if (dtype == name_of(known)) profile.dtype = known;
  }
  profile.memory_bytes = config.integer("memory_bytes");
  profile.extra_weight_bytes = config.integer("extra_weight_bytes");
  const nlohmann::json link = config.value("link");
  if (!link.is_null()) profile.link = read_link(ConfigReader(link, source + ": link"));
  const nlohmann::json curves = config.value("curves");
  if (!curves.is_array()) config.refuse("curves", "it must be a list");
  for (std::size_t i = 0; i < curves.size(); ++i) {
    profile.curves.push_back(
        read_curve(ConfigReader(curves[i], fmt::format("{}: curve {}", source, i))));
  }
  config.finish();
  try {
    check_profile(profile);
  } catch (const ConfigError& error) {
    fail<CheckpointError>("{}: {}", source, error.what());
  }
  return profile;
}

void DeviceProfile::save(const std::filesystem::path& file) const {
  check_profile(*this);
  Json all = Json::array();
  for (const RateCurve& curve : curves) all.push_back(to_json(curve));
  const Json json = {{"name", name},
                     {"source", source},
                     {"measured", measured},
                     {"dtype", name_of(dtype)},
                     {"memory_bytes", memory_bytes},
                     {"extra_weight_bytes", extra_weight_bytes},
                     {"link", to_json(link)},
                     {"curves", std::move(all)}};
  write_file(file, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace pcpp
