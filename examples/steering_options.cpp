#include "steering_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <utility>
#include <vector>

#include "command_line.h"

namespace pcpp::examples {

namespace {

using Paths = std::vector<std::filesystem::path>;

// What the `index`-th reads: of one for all, or one for each.
template <typename Value>
const Value& for_one(const std::vector<Value>& values, std::size_t index) {
  return values[values.size() == 1 ? 0 : index];
}

// The images of the `index`-th of so many, which have as many each.
Paths images_for_one(const Paths& images, std::size_t count, std::size_t index) {
  const std::size_t each = images.size() / count;
  const auto first = images.begin() + static_cast<std::ptrdiff_t>(index * each);
  return {first, first + static_cast<std::ptrdiff_t>(each)};
}

void add_control_options(CLI::App& app, GenerateOptions& options) {
  take_each(app.add_option("--controlnet", options.controlnets,
                           "ControlNet: a folder in diffusers' layout, or a single safetensors "
                           "file; once for each")
                ->type_name("PATH"));
  take_each(app.add_option(
                   "--control-image", options.control_images,
                   "PNG or JPEG file that a ControlNet reads; once for each ControlNet, or, net by "
                   "net, once for each prompt")
                ->type_name("FILE"));
  const auto add_list = [&](const std::string& name, std::vector<double>& numbers, double least,
                            double most, const std::string& help) {
    add_numbers(app, name, numbers, least, most, help + "; one for all ControlNets, or for each")
        ->type_name("FLOAT,...");
  };
  add_list("--control-scale", options.control_scales, -kMostScale, kMostScale,
           "how much of what a ControlNet makes is added (default: 1)");
  add_list("--control-start", options.control_starts, 0, 1,
           "it begins to steer after this part of the steps (default: 0)");
  add_list("--control-end", options.control_ends, 0, 1,
           "it stops after this part of the steps (default: 1)");
}

void add_ip_adapter_options(CLI::App& app, GenerateOptions& options) {
  take_each(app.add_option("--ip-adapter", options.ip_adapters,
                           "IP-Adapter, which reads pictures as prompts: a safetensors file; once "
                           "for each")
                ->type_name("FILE"));
  take_each(app.add_option("--image-encoder", options.image_encoders,
                           "folder of the image encoder that an IP-Adapter was made with; once for "
                           "all IP-Adapters, or for each")
                ->type_name("DIR"));
  take_each(
      app.add_option("--ip-image", options.ip_images,
                     "PNG or JPEG file that an IP-Adapter reads; once for each IP-Adapter, or, "
                     "adapter by adapter, once for each prompt")
          ->type_name("FILE"));
  add_numbers(app, "--ip-scale", options.ip_scales, -kMostScale, kMostScale,
              "how much of what an IP-Adapter makes is added (default: 1); one for all "
              "IP-Adapters, or for each")
      ->type_name("FLOAT,...");
}

// Empty where no path is.
std::string empty_path(const char* option, const Paths& paths) {
  const bool is_some = std::ranges::any_of(paths, [](const auto& path) { return path.empty(); });
  return is_some ? fmt::format("{}: '' names nothing: leave it out", option) : std::string();
}

// Empty where a list holds one number, or one for each of so many.
std::string wrong_count(const char* option, const std::vector<double>& numbers, std::size_t count,
                        const char* readers) {
  if (numbers.size() == 1 || numbers.size() == count) return {};
  return fmt::format("{} has {} numbers for {} {}: give one, or one for each", option,
                     numbers.size(), count, readers);
}

std::string control_problem(const GenerateOptions& options) {
  const std::size_t nets = options.controlnets.size();
  if (nets == 0) return {};
  std::string problem = empty_path("--controlnet", options.controlnets);
  if (!problem.empty()) return problem;
  if (options.control_images.empty() || options.control_images.size() % nets != 0) {
    return fmt::format(
        "{} control images for {} ControlNets: give one for each, or one for each "
        "prompt of each",
        options.control_images.size(), nets);
  }
  const std::pair<const char*, const std::vector<double>&> lists[] = {
      {"--control-scale", options.control_scales},
      {"--control-start", options.control_starts},
      {"--control-end", options.control_ends}};
  for (const auto& [name, numbers] : lists) {
    problem = wrong_count(name, numbers, nets, "ControlNets");
    if (!problem.empty()) return problem;
  }
  return {};
}

std::string ip_adapter_problem(const GenerateOptions& options) {
  const std::size_t adapters = options.ip_adapters.size();
  if (adapters == 0) return {};
  std::string problem = empty_path("--ip-adapter", options.ip_adapters);
  if (problem.empty()) problem = empty_path("--image-encoder", options.image_encoders);
  if (!problem.empty()) return problem;
  const std::size_t encoders = options.image_encoders.size();
  if (encoders != 1 && encoders != adapters) {
    return fmt::format(
        "{} image encoders for {} IP-Adapters: give --image-encoder once, or once for each",
        encoders, adapters);
  }
  if (options.ip_images.empty() || options.ip_images.size() % adapters != 0) {
    return fmt::format(
        "{} images for {} IP-Adapters: give --ip-image once for each, or once for each prompt of "
        "each",
        options.ip_images.size(), adapters);
  }
  return wrong_count("--ip-scale", options.ip_scales, adapters, "IP-Adapters");
}

}  // namespace

Paths GenerateOptions::images_of(std::size_t controlnet) const {
  return images_for_one(control_images, controlnets.size(), controlnet);
}

Control GenerateOptions::control(std::size_t controlnet) const {
  return {{},
          for_one(control_scales, controlnet),
          for_one(control_starts, controlnet),
          for_one(control_ends, controlnet)};
}

IpAdapter GenerateOptions::ip_adapter(std::size_t place) const {
  return {ip_adapters[place], for_one(image_encoders, place)};
}

Paths GenerateOptions::ip_images_of(std::size_t ip_adapter) const {
  return images_for_one(ip_images, ip_adapters.size(), ip_adapter);
}

double GenerateOptions::ip_scale(std::size_t ip_adapter) const {
  return for_one(ip_scales, ip_adapter);
}

void add_steering_options(CLI::App& app, GenerateOptions& options) {
  add_control_options(app, options);
  add_ip_adapter_options(app, options);
}

std::string steering_problem(const GenerateOptions& options) {
  std::string problem = control_problem(options);
  return problem.empty() ? ip_adapter_problem(options) : problem;
}

std::string unread_steering(const CLI::App& app, const GenerateOptions& options) {
  for (const char* name :
       {"--control-image", "--control-scale", "--control-start", "--control-end"}) {
    if (app.count(name) > 0 && options.controlnets.empty()) {
      return fmt::format("{} is for --controlnet: add that, or leave it out", name);
    }
  }
  for (const char* name : {"--image-encoder", "--ip-image", "--ip-scale"}) {
    if (app.count(name) > 0 && options.ip_adapters.empty()) {
      return fmt::format("{} is for --ip-adapter: add that, or leave it out", name);
    }
  }
  return {};
}

}  // namespace pcpp::examples
