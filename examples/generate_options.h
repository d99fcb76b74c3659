// The command line of `generate`.
#ifndef PCPP_EXAMPLES_GENERATE_OPTIONS_H_
#define PCPP_EXAMPLES_GENERATE_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "command_line.h"
#include "pcpp/pcpp.h"

namespace pcpp::examples {

inline constexpr std::int64_t kBytesPerMegabyte = 1'000'000;

// Of LoRAs, ControlNets and image prompts.
inline constexpr double kMostScale = 100;

// In place of a file.
inline constexpr std::string_view kNone = "none";

struct GenerateOptions {
  std::filesystem::path model;
  std::filesystem::path configs;
  std::filesystem::path vae;
  std::vector<std::string> prompts;
  std::vector<std::string> negative_prompts;
  PromptSyntax prompt_syntax = PromptSyntax::plain;
  int clip_skip = 0;
  int width = 0;
  int height = 0;
  int steps = 25;
  std::optional<double> guidance_scale;
  double guidance_start = 0;
  double guidance_end = 1;
  double guidance_rescale = 0;
  std::vector<std::uint64_t> seeds = {0};  // a run for each, one after the other
  int images = 1;
  std::optional<SchedulerKind> scheduler;
  std::optional<TimestepSpacing> timestep_spacing;
  std::optional<SigmaSpacing> sigmas;
  DeviceOptions device;
  DataType dtype = DataType::float32;
  int ranks = 0;
  int threads = 0;
  std::string convolution_times;
  std::string variant;
  std::vector<Lora> loras;
  std::vector<TextualInversion> textual_inversions;
  std::int64_t extra_weight_mb = PipelineOptions{}.extra_weight_bytes / kBytesPerMegabyte;
  Method method = Method::pcpp;
  double partial = 0.3;
  int pool = 0;
  int sync_steps = 4;
  Guidance guidance = Guidance::batched;
  GroupNormMode group_norm = GroupNormMode::corrected;
  RowFormat row_format = RowFormat::exact;
  std::vector<int> bands;
  std::string profile;
  std::vector<std::filesystem::path> init_images;
  std::vector<std::filesystem::path> masks;
  std::optional<double> strength;
  std::vector<std::filesystem::path> controlnets;
  // As many for each ControlNet, in their order: one, or one for each prompt.
  std::vector<std::filesystem::path> control_images;
  // One for all ControlNets, or one for each.
  std::vector<double> control_scales = {1};
  std::vector<double> control_starts = {0};
  std::vector<double> control_ends = {1};
  std::vector<std::filesystem::path> ip_adapters;
  // One for all IP-Adapters, or one for each.
  std::vector<std::filesystem::path> image_encoders;
  std::vector<std::filesystem::path> ip_images;  // as control_images
  std::vector<double> ip_scales = {1};           // as control_scales
  std::string latents;
  std::string prompt_embeds;
  std::string save_latents;
  bool save_steps = false;
  std::string output = "picture.png";  // or kNone
  std::string report;
  std::string trace;

  bool draws_pictures() const { return output != kNone; }
  std::vector<std::filesystem::path> images_of(std::size_t controlnet) const;
  // Without its images.
  Control control(std::size_t controlnet) const;
  IpAdapter ip_adapter(std::size_t place) const;
  std::vector<std::filesystem::path> ip_images_of(std::size_t ip_adapter) const;
  double ip_scale(std::size_t ip_adapter) const;
  ParallelConfig parallel() const;
  // The options that repeat what `auto` chose of `world`.
  GenerateOptions as(const PlannedRun& chosen, const World& world) const;
  // How the work is shared, in the words of the command line.
  std::string arrangement() const;
};

// The options, or the exit status of a run that ends here: help was asked for (0, printed on the
// standard output), or the command line is wrong (2, one line on the standard error).
std::variant<GenerateOptions, int> parse_command_line(int argc, char** argv);

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_GENERATE_OPTIONS_H_
