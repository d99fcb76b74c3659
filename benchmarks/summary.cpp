#include "summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "examples/json.h"
#include "flip.h"
#include "quality.h"
#include "quantile.h"

namespace pcpp::benchmarks {

namespace {

using Json = nlohmann::ordered_json;

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

// Numbers that are infinite or not a number are null.
Json or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

template <typename Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json();
}

std::string cell(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "-";
}

std::string row(const Summary& summary) {
  const Combination& combination = summary.combination;
  const Quantiles& step = summary.step_ms;
  return fmt::format(
      "| {} | {} | {} | {} | {}x{} | {} | {} | {:.2f} ({:.2f} to {:.2f}) | {:.2f} | {} | "
      "{:.3f} "
      "| {:.2f} | {:.0f} | {} | {} | {} | {} |\n",
      combination.method_word(), combination.ranks,
      combination.partial ? fmt::format("{}", *combination.partial) : "-",
      combination.pool ? fmt::format("{}", *combination.pool) : "-", combination.size.width,
      combination.size.height, combination.guidance_word(),
      combination.link ? combination.link->name + " (emulated)" : "memory", step.median, step.p10,
      step.p90, summary.speedup, cell(summary.wait_ms, 2),
      static_cast<double>(summary.bytes_per_step.total()) / 1e6,
      static_cast<double>(summary.stale_bytes) / 1e6, static_cast<double>(summary.peak_bytes) / 1e6,
      combination.is_single() ? "-" : cell(summary.psnr_db, 1), cell(summary.ssim, 4),
      cell(summary.flip, 4), cell(summary.seam, 2));
}

void add_quality(Summary& summary, const Drawing& drawing, const std::vector<Image>& references) {
  const auto count = static_cast<double>(references.size());
  for (std::size_t i = 0; i < references.size(); ++i) {
    const Image& image = drawing.images[i];
    const Image& reference = references[i];
    summary.psnr_db_each.push_back(psnr_db(image, reference));
    summary.psnr_db += summary.psnr_db_each.back() / count;
    summary.ssim += ssim(image, reference) / count;
    summary.flip += flip(image, reference) / count;
    summary.seam += seam(image, drawing.borders) / count;
    summary.seam_single += seam(reference, drawing.borders) / count;
  }
}

}  // namespace

Summary summarize(const Combination& combination, const BenchOptions& options,
                  const std::vector<Drawing>& runs, const Drawing& single) {
  Summary summary;
  summary.combination = combination;
  summary.sync_steps = combination.has_synchronous_steps() ? options.sync_steps : 0;
  std::vector<double> seconds;
  std::vector<double> step_ms;
  std::vector<double> wait_ms;
  for (const Drawing& run : runs) {
    seconds.push_back(run.seconds);
    summary.peak_bytes = std::max(summary.peak_bytes, run.peak_bytes);
    if (run.cores && (!summary.cores || run.cores->others > summary.cores->others)) {
      summary.cores = run.cores;
    }
    for (int step = options.sync_steps; step < options.steps - 1; ++step) {
      step_ms.push_back(run.steps[static_cast<std::size_t>(step)].step_ms);
      wait_ms.push_back(run.steps[static_cast<std::size_t>(step)].wait_ms);
    }
  }
  const double none = std::numeric_limits<double>::quiet_NaN();
  summary.seconds = options.in_turn ? none : median(seconds);
  summary.step_ms = {median(step_ms), quantile(step_ms, 0.1), quantile(step_ms, 0.9)};
  summary.wait_ms = options.in_turn ? none : median(wait_ms);
  summary.samples = step_ms.size();
  const Drawing& first = runs.front();
  summary.bytes_per_step = first.steps[static_cast<std::size_t>(options.sync_steps)].sent;
  summary.stale_bytes = first.stale_bytes;
  add_quality(summary, first, single.images);
  return summary;
}

std::string environment_line(const BenchOptions& options, const std::string& scheduler) {
  Json gpu_names = Json::array();
  for (const int gpu : options.device.used_gpus()) gpu_names.push_back(World::gpu_name(gpu));
  const Json line = {{"environment",
                      {{"cpu", processor()},
                       {"cores", World::cores()},
                       {"gpus", std::move(gpu_names)},
                       {"torch", PCPP_TORCH_VERSION},
                       {"compiler", __VERSION__},
                       {"model", examples::name_in(options.model)},
                       {"prompts", options.prompts},
                       {"seed", options.seed},
                       {"scheduler", scheduler},
                       {"steps", options.steps},
                       {"guidance_scale", options.guidance_scale},
                       {"repeat", options.repeat}}}};
  return line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string json_line(const Summary& summary, const BenchOptions& options) {
  const Combination& combination = summary.combination;
  const std::optional<Link>& link = combination.link;
  Json psnr_db_each = Json::array();
  for (const double value : summary.psnr_db_each) psnr_db_each.push_back(or_null(value));
  Json line = {{"method", combination.method_word()},
               {"ranks", combination.ranks},
               {"partial", or_null(combination.partial)},
               {"pool", combination.pool ? Json(*combination.pool) : Json()},
               {"size", fmt::format("{}x{}", combination.size.width, combination.size.height)},
               {"guidance", combination.guidance_word()},
               {"bands", combination.bands.empty() ? Json() : Json(combination.bands)},
               {"sync_steps", summary.sync_steps},
               {"group_norm", examples::word_for(examples::kGroupNorms, options.group_norm)},
               {"row_format", examples::word_for(examples::kRowFormats, options.row_format)},
               {"device", options.device.cuda ? "cuda" : "cpu"}};
  line.update(examples::gpu_json(options.device));
  const Json others = {
      {"dtype", examples::word_for(examples::kDataTypes, options.dtype)},
      {"threads", options.threads},
      {"link", link ? Json(link->name) : Json()},
      {"emulated", link.has_value()},
      {"link_bytes_per_second", link ? Json(link->bytes_per_second) : Json()},
      {"link_latency_us", link ? Json(link->latency_seconds * 1e6) : Json()},
      {"link_shared", link ? Json(link->shared) : Json()},
      {"in_turn", options.in_turn},
      {"seconds", or_null(summary.seconds)},
      {"step_ms",
       {{"median", summary.step_ms.median},
        {"p10", summary.step_ms.p10},
        {"p90", summary.step_ms.p90}}},
      {"samples", summary.samples},
      {"other_cores", summary.cores ? Json(summary.cores->others) : Json()},
      {"idle_cores", summary.cores ? Json(summary.cores->idle) : Json()},
      {"speedup", summary.speedup},
      {"wait_ms", or_null(summary.wait_ms)},
      {"bytes_per_step", examples::to_json(summary.bytes_per_step)},
      {"peak_bytes", summary.peak_bytes},
      {"stale_bytes", summary.stale_bytes},
      {"psnr_db", or_null(summary.psnr_db)},
      {"psnr_db_each", std::move(psnr_db_each)},
      {"ssim", summary.ssim},
      {"flip", summary.flip},
      {"seam", or_null(summary.seam)},
      {"seam_single", or_null(summary.seam_single)},
      {"picture", options.pictures.empty()
                      ? Json()
                      : Json(combination.picture_names(options.prompts.size()).front())}};
  line.update(others);
  return line.dump() + "\n";
}

std::string markdown_table(const std::vector<Summary>& summaries) {
  std::string table =
      "| method | ranks | partial | pool | size | guidance | link | step ms, median (p10 to p90) | "
      "speed-up "
      "| wait ms | MB a step | stale MB | peak MB | PSNR dB | SSIM | FLIP | seam |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- "
      "| --- | --- |\n";
  for (const Summary& summary : summaries) table += row(summary);
  return table;
}

}  // namespace pcpp::benchmarks
