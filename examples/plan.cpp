// plan: what a picture costs on several devices, predicted for every way to share it. See
// README.md.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "json.h"
#include "pcpp/output_file.h"
#include "plan_options.h"

namespace pcpp::examples {

namespace {

using Json = nlohmann::ordered_json;

Json partial_of(const PlannedRun& run) {
  return method_of(run) == Method::pcpp ? Json(run.parallel.partial) : Json();
}

Json to_json(const PlannedRun& run) {
  return {{"method", word_for(kMethods, method_of(run))},
          {"partial", partial_of(run)},
          {"ranks", run.ranks},
          {"guidance", word_for(kGuidances, run.parallel.guidance)},
          {"bands", run.parallel.bands},
          {"balanced", run.balanced},
          {"flops", {{"mean", run.mean_flops}, {"slowest", run.slowest_flops}}},
          {"bytes_per_step", examples::to_json(run.sent)},
          {"memory_bytes",
           {{"weights", run.weight_bytes},
            {"activations", run.activation_bytes},
            {"stale", run.stale_bytes},
            {"buffers", run.buffer_bytes},
            {"total", run.memory_bytes()}}},
          {"fits", run.fits},
          {"step_ms", run.step_ms},
          {"exposed_ms", run.exposed_ms},
          {"speedup", run.speedup}};
}

Json names_in(const std::vector<std::filesystem::path>& folders) {
  Json names = Json::array();
  for (const std::filesystem::path& folder : folders) names.push_back(name_in(folder));
  return names;
}

std::string json_text(const PlanOptions& options, const DeviceProfile& profile, const Plan& plan) {
  Json runs = Json::array();
  for (const PlannedRun& run : plan.runs) runs.push_back(to_json(run));
  const Json json = {{"prediction", true},
                     {"model", name_in(options.model)},
                     {"configs", options.configs.empty() ? Json() : Json(name_in(options.configs))},
                     {"controlnets", names_in(options.controlnets)},
                     {"size", fmt::format("{}x{}", plan.width, plan.height)},
                     {"images", options.images},
                     {"guided", plan.guided},
                     {"devices", options.devices},
                     {"profile",
                      {{"name", profile.name},
                       {"source", profile.source},
                       {"measured", profile.measured},
                       {"dtype", word_for(kDataTypes, profile.dtype)},
                       {"link", profile.link ? Json(profile.link->name) : Json()}}},
                     {"fastest", static_cast<std::size_t>(&plan.fastest() - plan.runs.data())},
                     {"runs", std::move(runs)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void print_table(const DeviceProfile& profile, const Plan& plan) {
  print_to(stdout, "prediction for {}x{} pixels, {}, profile {} ({})\n\n", plan.width, plan.height,
           plan.guided ? "both branches" : "one branch", one_line(profile.name),
           one_line(profile.source));
  print_to(stdout,
           "| | method | ranks | guidance | bands | TFLOP, mean (slowest) | MB sent a device "
           "| memory GB | step ms | exposed ms | speed-up |\n"
           "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  const PlannedRun& best = plan.fastest();
  for (const PlannedRun& run : plan.runs) {
    const Method method = method_of(run);
    print_to(stdout,
             "| {} | {}{} | {} | {} | {} | {:.4g} ({:.4g}) | {:.1f} | {:.2f}{} | {:.4g} | {:.3g} "
             "| {:.2f} |\n",
             &run == &best ? "*" : " ", word_for(kMethods, method),
             method == Method::pcpp ? fmt::format(" {}", run.parallel.partial) : "", run.ranks,
             word_for(kGuidances, run.parallel.guidance), fmt::join(run.parallel.bands, ","),
             run.mean_flops / 1e12, run.slowest_flops / 1e12,
             static_cast<double>(run.sent.total()) / 1e6,
             static_cast<double>(run.memory_bytes()) / 1e9, run.fits ? "" : " too much",
             run.step_ms, run.exposed_ms, run.speedup);
  }
}

void list_profiles() {
  for (const DeviceProfile& profile : DeviceProfile::known()) {
    print_to(stdout, "{}: {}, {} GB, link {}; {}\n", profile.name,
             word_for(kDataTypes, profile.dtype), profile.memory_bytes / 1000000000,
             profile.link->name, profile.source);
  }
}

DeviceProfile profile_for(const PlanOptions& options) {
  if (options.profile == "measured") {
    return measure_profile(options.model, options.request(), options.dtype,
                           options.device.world(options.devices, options.threads));
  }
  return read_profile(options.profile);
}

void run(const PlanOptions& options) {
  if (options.list_profiles) return list_profiles();
  std::vector<std::filesystem::path> inputs = {options.profile, options.model, options.configs};
  inputs.insert(inputs.end(), options.controlnets.begin(), options.controlnets.end());
  check_outputs({options.measure, options.json}, inputs);
  const DeviceProfile profile = profile_for(options);
  if (!options.measure.empty()) profile.save(options.measure);
  const Plan plan = make_plan(options.model, options.request(), profile);
  print_table(profile, plan);
  if (!options.json.empty()) write_file(options.json, json_text(options, profile, plan));
}

int main_with(int argc, char** argv) {
  hold_closed_streams();
  const auto parsed = parse_plan_options(argc, argv);
  if (const int* status = std::get_if<int>(&parsed)) return *status;
  try {
    run(std::get<PlanOptions>(parsed));
    return finish_output();
  } catch (const std::exception& error) {
    return report_error(error);
  }
}

}  // namespace

}  // namespace pcpp::examples

int main(int argc, char** argv) { return pcpp::examples::main_with(argc, argv); }
