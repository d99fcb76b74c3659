#include "plan_options.h"

namespace pcpp::examples {

namespace {

void add_picture_options(CLI::App& app, PlanOptions& options) {
  add_path(app, "--model", options.model,
           "the model's folder, of which only the configs are read, or single safetensors file");
  add_path(
      app, "--configs", options.configs,
      "of a single file: folder in diffusers' layout, for its configs (default: those of Stable "
      "Diffusion 1.x, 2.x or SDXL)");
  take_each(app.add_option("--controlnet", options.controlnets,
                           "ControlNet that runs in every step: a folder in diffusers' layout, or "
                           "a single safetensors file; once for each")
                ->type_name("PATH"));
  app.add_option_function<std::string>(
         "--size", [&](const std::string& text) { options.size = parse_size(text); },
         "pixels (default: the model's)")
      ->type_name("WxH");
  add_number(app, "--images", options.images, 1, kMostImages, "pictures in one batch");
  add_choice<bool>(app, "--guided", kSwitch, "whether both branches run (default: on)",
                   [&](bool guided) { options.guided = guided; });
}

void add_measured_options(CLI::App& app, PlanOptions& options) {
  add_number(app, "--devices", options.devices, 1, World::kMostRanks, "how many there are at most");
  add_choices(app, "--methods",
              words_of(kMethods, {Method::naive, Method::distrifusion, Method::pcpp}),
              options.methods, "to try beside one device");
  add_numbers(app, "--partial", options.partials, 0, 1,
              "pcpp: the parts of an adjacent band that attention reads (default: 0.3)")
      ->type_name("P,...");
  add_path(app, "--profile", options.profile,
           "what the devices are: a name of --list-profiles, a file of --measure, or measured: "
           "what --device names, timed now");
  add_device_options(app, options.device);
  add_choice<DataType>(app, "--dtype", kDataTypes,
                       "of the networks that are timed (default: float32); float16 on GPUs",
                       [&](DataType dtype) { options.dtype = dtype; });
  add_number(app, "--threads", options.threads, 1, World::kMostRanks,
             "of each rank that is timed on the cpu (default: the cores shared evenly)");
  app.add_flag("--list-profiles", options.list_profiles, "print the names that there are")
      ->disable_flag_override();
}

}  // namespace

PlanRequest PlanOptions::request() const {
  PlanRequest request;
  request.width = size.width;
  request.height = size.height;
  request.images = images;
  request.guided = guided;
  request.devices = devices;
  if (!configs.empty()) request.configs = configs;
  request.controlnets = controlnets;
  request.methods.clear();
  for (const Method method : methods) {
    for (const double partial : partials) {
      request.methods.push_back(config_of(method, partial, 0));
      if (method != Method::pcpp) break;  // which alone reads `partial`
    }
  }
  return request;
}

std::variant<PlanOptions, int> parse_plan_options(int argc, char** argv) {
  PlanOptions options;
  options.model = PCPP_DEFAULT_MODEL;
  CLI::App app("Predicts what a picture costs on several devices, for every way to share it.",
               "plan");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_picture_options(app, options);
  add_measured_options(app, options);
  add_path(app, "--measure", options.measure, "write the profile of this machine to this file");
  add_path(app, "--json", options.json, "write the plan to this file");
  if (const std::optional<int> status = parse(app, argc, argv)) return *status;
  if (!options.measure.empty() && options.profile != "measured") {
    return usage_error(app, "--measure times this machine: leave --profile out");
  }
  for (const std::string option : {"--device", "--transport", "--dtype", "--threads"}) {
    if (options.profile != "measured" && app.count(option) > 0) {
      return usage_error(app, option + " is for what is timed: leave it or --profile out");
    }
  }
  if (options.list_profiles && (!options.measure.empty() || !options.json.empty())) {
    return usage_error(app, "--list-profiles prints names alone: leave --measure and --json out");
  }
  drop_repeated(options.methods);
  drop_repeated(options.partials);
  const std::string wrong = contradiction(options.device, options.dtype, options.threads);
  if (!wrong.empty()) return usage_error(app, wrong);
  return options;
}

}  // namespace pcpp::examples
