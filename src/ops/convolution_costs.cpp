#include "ops/convolution_costs.h"

#include <ATen/Parallel.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <system_error>

#include "base/check.h"
#include "base/deadline.h"
#include "base/excerpt.h"
#include "base/log.h"
#include "io/json_file.h"
#include "io/user_cache.h"
#include "ops/conv2d.h"
#include "pcpp/output_file.h"
#include "pcpp/version.h"

namespace pcpp {

namespace {

constexpr const char* kFormat = "pcpp convolution times 1";

using Times = std::array<double, kConvolutionWays.size()>;  // milliseconds

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

// What times depend on that no shape tells.
std::string machine() {
  return fmt::format("{}, {}, {} threads, libpcpp {}, libtorch " TORCH_VERSION, processor(),
                     name_of(vector_level()), at::get_num_threads(), version());
}

std::string text_of(const ConvolutionShape& shape) {
  return fmt::format("{} x {} > {} at {}x{}{}", shape.batch, shape.in, shape.out, shape.rows,
                     shape.columns, shape.dtype == at::kFloat ? "" : " bfloat16");
}

// The least of several calls: other work on the machine only adds.
double milliseconds_of(const ConvolutionShape& shape, ConvolutionWay way) {
  constexpr int kLeastCalls = 2;  // the first lays out weights
  constexpr double kLeastMs = 20;
  const c10::InferenceMode inference;
  Kernel3x3 kernel(WeightScope::constants(shape.dtype), shape.in, shape.out, 1);
  if (way) kernel.use_winograd(*way);
  const at::Tensor input = at::ones({shape.batch, shape.in, shape.rows, shape.columns}, shape.dtype)
                               .contiguous(at::MemoryFormat::ChannelsLast);
  double least = std::numeric_limits<double>::infinity();
  double total = 0;
  for (int call = 0; call < kLeastCalls || total < kLeastMs; ++call) {
    const Clock::time_point begin = Clock::now();
    kernel(input, Neighbours());
    const double ms = milliseconds_since(begin);
    least = std::min(least, ms);
    total += ms;
  }
  return least;
}

Times times_of(const ConvolutionShape& shape) {
  Times times;
  std::ranges::transform(kConvolutionWays, times.begin(),
                         [&](ConvolutionWay way) { return milliseconds_of(shape, way); });
  return times;
}

using Json = nlohmann::json;

// By machine, then by shape.
using TimesFile = std::map<std::string, std::map<std::string, Times>>;

bool is_missing_or_empty(const std::filesystem::path& path) {
  std::error_code ignored;  // reading or writing it will tell
  return std::filesystem::status(path, ignored).type() == std::filesystem::file_type::not_found ||
         std::filesystem::file_size(path, ignored) == 0;
}

// A value of the file, which must be an object.
const Json& object_at(const std::string& place, const Json& value) {
  check<CheckpointError>(value.is_object(), "{} is {}; it must be an object", place,
                         to_error_text(value));
  return value;
}

Times parse_shape(const std::string& place, const Json& value) {
  Times times{};
  const bool valid = value.is_array() && value.size() == times.size() &&
                     std::ranges::all_of(value, [](const Json& milliseconds) {
                       return milliseconds.is_number() && milliseconds.get<double>() > 0;
                     });
  check<CheckpointError>(valid, "{} is {}; it must be {} positive numbers", place,
                         to_error_text(value), times.size());
  std::ranges::transform(value, times.begin(), [](const Json& ms) { return ms.get<double>(); });
  return times;
}

// Throws CheckpointError.
TimesFile parse_times(const std::filesystem::path& path) {
  const Json content = read_json_file(path);
  check<CheckpointError>(content.is_object() && content.value("format", Json()) == kFormat,
                         "its format is not '{}'", kFormat);
  const Json machines = content.value("machines", Json());
  TimesFile times;
  for (const auto& [name, shapes] : object_at("machines", machines).items()) {
    const std::string place = fmt::format("machines, '{}'", excerpt(name));
    for (const auto& [shape, value] : object_at(place, shapes).items()) {
      times[name][shape] = parse_shape(fmt::format("{}, '{}'", place, excerpt(shape)), value);
    }
  }
  return times;
}

// That a default file is replaced is told at `level`.
TimesFile read_times(const std::filesystem::path& path, spdlog::level::level_enum level) {
  if (is_missing_or_empty(path)) return {};
  try {
    return parse_times(path);
  } catch (const CheckpointError& error) {
    check<ConfigError>(path == default_convolution_times(),
                       "convolution times {}: {}; what was not written by this library is not "
                       "replaced: name a new file, an empty one or one with such times",
                       path.string(), error.what());
    check_writable(path);
    log().log(level, "{} is replaced, convolutions are timed anew: {}", path.string(),
              error.what());
    return {};
  }
}

// What the file tells of this machine; what it does not tell of `shapes` is timed, and added.
std::map<std::string, Times> known_times(const std::filesystem::path& file,
                                         const std::vector<ConvolutionShape>& shapes,
                                         const std::stop_token& stop) {
  const std::string here = machine();
  std::map<std::string, Times> known = read_times(file, spdlog::level::warn)[here];
  std::map<std::string, const ConvolutionShape*> missing;
  for (const ConvolutionShape& shape : shapes) {
    if (const std::string text = text_of(shape); !known.contains(text)) missing[text] = &shape;
  }
  if (missing.empty()) return known;
  if (file == default_convolution_times()) {
    std::error_code ignored;  // check_writable() tells
    std::filesystem::create_directories(file.parent_path(), ignored);
  }
  check_writable(file);
  const Clock::time_point begin = Clock::now();
  std::size_t timed = 0;
  for (const auto& [text, shape] : missing) {
    if (stop.stop_requested()) break;
    known[text] = times_of(*shape);
    ++timed;
  }
  log().info("timed {} convolutions in {:.1f} s for {}", timed, seconds_since(begin),
             file.string());
  // Again: another process may have timed the same.
  TimesFile all = read_times(file, spdlog::level::debug);
  all[here].merge(known);
  write_file(file, Json{{"format", kFormat}, {"machines", all}}.dump(1) + "\n");
  check_not_stopped(stop);
  return all[here];
}

}  // namespace

std::int64_t weight_bytes(const ConvolutionShape& shape, ConvolutionWay way) {
  return way ? WinogradConvolution::weight_bytes(shape.in, shape.out, *way)
             : 9 * shape.in * shape.out * static_cast<std::int64_t>(c10::elementSize(shape.dtype));
}

// In multiplications of float32 by definition, of which bfloat16 does two at a time. Weights stream
// from memory, and tiles pay for their transforms. Fitted to an AVX-512 core, from 8 to 64 columns
// and 320 to 2560 channels.
double estimated_cost(const ConvolutionShape& shape, ConvolutionWay way) {
  constexpr double kPerByte = 6;
  constexpr double kTiles = 1.25;
  const auto weights = static_cast<double>(shape.in * shape.out);
  const double streamed = kPerByte * static_cast<double>(weight_bytes(shape, way));
  if (!way) {
    const double at_once = shape.dtype == at::kFloat ? 1 : 2;
    const auto pixels = static_cast<double>(shape.batch * shape.rows * shape.columns);
    return 9 / at_once * weights * pixels + streamed;
  }
  const WinogradKernel kernel =
      winograd_kernel(*way, VectorElement::float32, VectorLevel::baseline);
  const std::int64_t tiles = shape.batch * kernel.tiles(shape.rows, shape.columns);
  return kTiles * weights * static_cast<double>(kernel.positions * tiles) + streamed;
}

std::filesystem::path default_convolution_times() {
  const std::filesystem::path cache = user_cache();
  return cache.empty() ? cache : cache / "convolutions.json";
}

void check_convolution_times(const std::filesystem::path& file) {
  if (file.empty() || file == default_convolution_times()) return;
  if (!is_missing_or_empty(file)) {
    read_times(file, spdlog::level::warn);
    return;
  }
  try {
    check_writable(file);
  } catch (const OutputError& error) {
    fail<ConfigError>("convolution times {}: {}, in a folder that exists", file.string(),
                      error.what());
  }
}

ConvolutionCosts measured_costs(const std::filesystem::path& file,
                                const std::vector<ConvolutionShape>& shapes,
                                const std::stop_token& stop) {
  std::map<std::string, Times> known;
  try {
    known = known_times(file, shapes, stop);
  } catch (const OutputError& error) {
    log().warn("convolutions are chosen without being timed: {}", error.what());
    return estimated_cost;
  }
  return [known = std::move(known)](const ConvolutionShape& shape, ConvolutionWay way) {
    const auto at = std::ranges::find(kConvolutionWays, way) - kConvolutionWays.begin();
    return known.at(text_of(shape)).at(static_cast<std::size_t>(at));
  };
}

}  // namespace pcpp
