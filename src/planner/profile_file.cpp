// A DeviceProfile as a JSON file.

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "io/config_reader.h"
#include "io/json_file.h"
#include "parallel/link_courier.h"
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
  try {
    check_link(link);
  } catch (const ConfigError& error) {
    fail<CheckpointError>("{}: {}", config.source(), error.what());
  }
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

RateCurve read_curve(ConfigReader config) {
  RateCurve curve;
  curve.kind = read_kind(config);
  curve.shape = config.text("shape");
  const std::int64_t devices = config.integer("devices");
  if (devices < 1 || devices > 1024) config.refuse("devices", "it must be in [1, 1024]");
  curve.devices = static_cast<int>(devices);
  const std::vector<double> work = config.numbers("work");
  const std::vector<double> seconds = config.numbers("seconds");
  config.finish();
  if (work.empty() || work.size() != seconds.size()) {
    config.refuse("work", "it must have as many entries as seconds, and at least one");
  }
  for (std::size_t i = 0; i < work.size(); ++i) {
    const bool good = std::isfinite(work[i]) && std::isfinite(seconds[i]) && work[i] >= 0 &&
                      (i == 0 || work[i] > work[i - 1]);
    if (!good) config.refuse("work", "its entries must be finite, at least 0 and ascending");
    if (seconds[i] < 0) {
      config.refuse("seconds", fmt::format("entry {} is {}; none may be below 0", i, seconds[i]));
    }
    curve.points.push_back({work[i], seconds[i]});
  }
  return curve;
}

}  // namespace

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
  if (profile.memory_bytes < 0) config.refuse("memory_bytes", "it must be at least 0");
  profile.extra_weight_bytes = config.integer("extra_weight_bytes");
  if (profile.extra_weight_bytes < 0) {
    config.refuse("extra_weight_bytes", "it must be at least 0");
  }
  const nlohmann::json link = config.value("link");
  if (!link.is_null()) profile.link = read_link(ConfigReader(link, source + ": link"));
  const nlohmann::json curves = config.value("curves");
  if (!curves.is_array()) config.refuse("curves", "it must be a list");
  for (std::size_t i = 0; i < curves.size(); ++i) {
    profile.curves.push_back(
        read_curve(ConfigReader(curves[i], fmt::format("{}: curve {}", source, i))));
  }
  config.finish();
  return profile;
}

void DeviceProfile::save(const std::filesystem::path& file) const {
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
  write_file(file, json.dump(1) + "\n");
}

}  // namespace pcpp
