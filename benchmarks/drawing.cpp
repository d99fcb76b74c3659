#include "drawing.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace pcpp::benchmarks {

namespace {

using Json = nlohmann::json;
using Bytes = std::vector<std::uint8_t>;

StepCost step_cost(const std::vector<RankReport>& ranks, std::size_t step, bool in_turn) {
  StepCost cost;
  for (const RankReport& rank : ranks) {
    const StepRecord& record = rank.steps[step];
    cost.step_ms = std::max(cost.step_ms, record.compute_ms + (in_turn ? 0 : record.wait_ms));
    cost.wait_ms += record.wait_ms / static_cast<double>(ranks.size());
    cost.sent += record.sent;
  }
  return cost;
}

Drawing to_drawing(GenerationResult& result, int scale, bool in_turn) {
  Drawing drawing;
  drawing.seconds = result.times.denoise_seconds;
  for (std::size_t step = 0; step < result.ranks.front().steps.size(); ++step) {
    drawing.steps.push_back(step_cost(result.ranks, step, in_turn));
  }
  std::set<int> borders;
  for (const RankReport& rank : result.ranks) {
    drawing.stale_bytes = std::max(drawing.stale_bytes, rank.stale_bytes);
    if (rank.rows.front() > 0) borders.insert(static_cast<int>(rank.rows.front()) * scale);
  }
  drawing.borders.assign(borders.begin(), borders.end());
  drawing.peak_bytes = result.peak_bytes;
  drawing.latents = std::move(result.latents.values);
  drawing.images = std::move(result.images);
  drawing.scheduler = name_of(result.scheduler);
  return drawing;
}

Json to_json(const Drawing& drawing) {
  Json steps = Json::array();
  for (const StepCost& step : drawing.steps) {
    steps.push_back({step.step_ms, step.wait_ms, step.sent.attention, step.sent.halo,
                     step.sent.group_norm, step.sent.gather});
  }
  Json images = Json::array();
  for (const Image& image : drawing.images) {
    images.push_back({image.width, image.height, Json::binary(image.rgb)});
  }
  Bytes latents(drawing.latents.size() * sizeof(float));
  std::memcpy(latents.data(), drawing.latents.data(), latents.size());
  return {{"seconds", drawing.seconds},         {"steps", std::move(steps)},
          {"borders", drawing.borders},         {"peak_bytes", drawing.peak_bytes},
          {"stale_bytes", drawing.stale_bytes}, {"latents", Json::binary(std::move(latents))},
          {"images", std::move(images)},        {"scheduler", drawing.scheduler}};
}

Drawing from_json(const Json& json) {
  Drawing drawing;
  drawing.seconds = json.at("seconds").get<double>();
  for (const Json& step : json.at("steps")) {
    drawing.steps.push_back({step.at(0).get<double>(),
                             step.at(1).get<double>(),
                             {step.at(2).get<std::int64_t>(), step.at(3).get<std::int64_t>(),
                              step.at(4).get<std::int64_t>(), step.at(5).get<std::int64_t>()}});
  }
  drawing.borders = json.at("borders").get<std::vector<int>>();
  drawing.peak_bytes = json.at("peak_bytes").get<std::int64_t>();
  drawing.stale_bytes = json.at("stale_bytes").get<std::int64_t>();
  const Bytes& latents = json.at("latents").get_binary();
  drawing.latents.resize(latents.size() / sizeof(float));
  std::memcpy(drawing.latents.data(), latents.data(), latents.size());
  for (const Json& image : json.at("images")) {
    drawing.images.push_back(
        {image.at(0).get<int>(), image.at(1).get<int>(), image.at(2).get_binary()});
  }
  drawing.scheduler = json.at("scheduler").get<std::string>();
  return drawing;
}

Json draw_all(const BenchOptions& options, const Combination& combination,
              const std::vector<GenerationRequest>& requests) {
  const World world = options.device.world(combination.ranks, options.threads, combination.link);
  PipelineOptions loading = options.device.pipeline_options();
  loading.dtype = options.dtype;
  Pipeline pipeline(options.model, world, loading);
  Json drawings = Json::array();
  for (const GenerationRequest& request : requests) {
    GenerationResult result = pipeline.generate(request);
    if (result.trace) {
      write_chrome_trace(options.traces / combination.trace_name(), result,
                         {{"combination", combination.text()},
                          {"dtype", examples::word_for(examples::kDataTypes, options.dtype)},
                          {"threads", std::to_string(options.threads)},
                          {"steps", std::to_string(request.steps)},
                          {"sync_steps", std::to_string(options.sync_steps)}});
    }
    drawings.push_back(to_json(to_drawing(result, pipeline.model().scale, options.in_turn)));
  }
  return drawings;
}

// Everything that the child does, as the message that it sends. What is thrown must not reach the
// code of the parent that lies below: it ends the child.
Bytes message_of_child(const BenchOptions& options, const Combination& combination,
                       const std::vector<GenerationRequest>& requests) noexcept {
  try {
    return Json::to_msgpack(draw_all(options, combination, requests));
  } catch (const std::exception& error) {
    return Json::to_msgpack({{"error", error.what()}});
  }
}

void write_all(int descriptor, const Bytes& bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count = write(descriptor, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno != EINTR) return;
    written += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
  }
}

Bytes read_all(int descriptor) {
  Bytes bytes;
  std::array<std::uint8_t, 65536> buffer{};
  for (;;) {
    const ssize_t count = read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return bytes;
    bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + count);
  }
}

}  // namespace

std::vector<Drawing> draw_in_child(const BenchOptions& options, const Combination& combination,
                                   const std::vector<GenerationRequest>& requests) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) throw DeviceError("no pipe for a child process is to be had");
  std::fflush(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw DeviceError("no child process is to be had");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(ends[0]);
    write_all(ends[1], message_of_child(options, combination, requests));
    _exit(0);
  }
  close(ends[1]);
  const Bytes message = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
    throw DeviceError(fmt::format("{}: its process ended with status {}", combination.text(),
                                  WEXITSTATUS(status)));
  }
  if (!WIFEXITED(status)) {
    throw DeviceError(fmt::format("{}: its process was ended by signal {}{}", combination.text(),
                                  WTERMSIG(status),
                                  WTERMSIG(status) == SIGKILL ? " (out of memory?)" : ""));
  }
  const Json answer = Json::from_msgpack(message);
  if (answer.is_object()) {
    throw ConfigError(
        fmt::format("{}: {}", combination.text(), answer.at("error").get<std::string>()));
  }
  std::vector<Drawing> drawings;
  std::transform(answer.begin(), answer.end(), std::back_inserter(drawings), from_json);
  return drawings;
}

}  // namespace pcpp::benchmarks
