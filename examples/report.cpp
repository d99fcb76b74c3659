#include "report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "json.h"
#include "pcpp/version.h"

namespace pcpp::examples {

namespace {

using Json = nlohmann::ordered_json;

Json paths(const std::vector<std::filesystem::path>& files) {
  Json all = Json::array();
  for (const std::filesystem::path& file : files) all.push_back(file.string());
  return all;
}

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json loras_json(const GenerateOptions& options) {
  Json loras = Json::array();
  for (const Lora& lora : options.loras) {
    loras.push_back({{"file", lora.file.string()}, {"scale", lora.scale}});
  }
  return loras;
}

Json inversions_json(const GenerateOptions& options) {
  Json inversions = Json::array();
  for (const TextualInversion& inversion : options.textual_inversions) {
    inversions.push_back({{"file", inversion.file.string()}, {"word", or_null(inversion.word)}});
  }
  return inversions;
}

Json controls_json(const GenerateOptions& options) {
  Json controls = Json::array();
  for (std::size_t net = 0; net < options.controlnets.size(); ++net) {
    const Control control = options.control(net);
    controls.push_back({{"controlnet", options.controlnets[net].string()},
                        {"images", paths(options.images_of(net))},
                        {"scale", control.scale},
                        {"start", control.start},
                        {"end", control.end}});
  }
  return controls;
}

Json image_prompts_json(const GenerateOptions& options) {
  Json prompts = Json::array();
  for (std::size_t place = 0; place < options.ip_adapters.size(); ++place) {
    const IpAdapter adapter = options.ip_adapter(place);
    prompts.push_back({{"ip_adapter", adapter.file.string()},
                       {"image_encoder", adapter.image_encoder.string()},
                       {"images", paths(options.ip_images_of(place))},
                       {"scale", options.ip_scale(place)}});
  }
  return prompts;
}

Json settings(const RunFacts& facts) {
  const GenerateOptions& options = facts.options;
  Json negatives = options.negative_prompts.empty() ? Json() : Json(options.negative_prompts);
  Json all = {{"model", options.model.string()},
              {"variant", or_null(options.variant)},
              {"configs", or_null(options.configs.string())},
              {"vae", or_null(options.vae.string())},
              {"loras", loras_json(options)},
              {"textual_inversions", inversions_json(options)},
              {"prompt", options.prompts},
              {"negative_prompt", std::move(negatives)},
              {"prompt_syntax", name_of(options.prompt_syntax)},
              {"clip_skip", options.clip_skip},
              {"init_images", paths(options.init_images)},
              {"masks", paths(options.masks)},
              {"strength", options.init_images.empty() ? Json() : Json(facts.result.strength)},
              {"controls", controls_json(options)},
              {"image_prompts", image_prompts_json(options)},
              {"width", facts.result.width},
              {"height", facts.result.height},
              {"steps", options.steps},
              {"guidance_scale", facts.result.guidance_scale},
              {"guidance_start", options.guidance_start},
              {"guidance_end", options.guidance_end},
              {"guidance_rescale", options.guidance_rescale},
              {"seed", facts.seed},
              {"images", options.images},
              {"scheduler", name_of(facts.result.scheduler)},
              {"timestep_spacing",
               options.timestep_spacing ? Json(name_of(*options.timestep_spacing)) : Json()},
              {"sigmas", options.sigmas ? Json(word_for(kSigmaSpacings, *options.sigmas)) : Json()},
              {"device", facts.world.device()}};
  all.update(gpu_json(options.device));
  const Json others = {{"dtype", word_for(kDataTypes, options.dtype)},
                       {"ranks", facts.result.ranks.size()},
                       {"threads", facts.world.threads_per_rank()},
                       {"extra_weight_mb", options.extra_weight_mb},
                       {"convolution_times", or_null(options.convolution_times)},
                       {"method", word_for(kMethods, options.method)},
                       {"profile", or_null(options.profile)},
                       {"partial", options.partial},
                       {"pool", options.pool},
                       {"sync_steps", options.sync_steps},
                       {"guidance", word_for(kGuidances, options.guidance)},
                       {"group_norm", word_for(kGroupNorms, options.group_norm)},
                       {"row_format", word_for(kRowFormats, options.row_format)},
                       {"bands", or_null(fmt::format("{}", fmt::join(options.bands, ",")))},
                       {"latents", or_null(options.latents)},
                       {"prompt_embeds", or_null(options.prompt_embeds)},
                       {"save_latents", or_null(options.save_latents)},
                       {"save_steps", options.save_steps},
                       {"output", options.draws_pictures() ? Json(options.output) : Json()},
                       {"report", or_null(options.report)},
                       {"trace", or_null(options.trace)}};
  all.update(others);
  return all;
}

Json costs_json(const StepRecord& record) {
  return {{"compute_ms", record.compute_ms},
          {"wait_ms", record.wait_ms},
          {"sent_bytes", to_json(record.sent)}};
}

Json rank_json(int rank, const RankReport& report) {
  Json steps = Json::array();
  for (const StepRecord& record : report.steps) {
    Json step = {{"step", record.step}, {"kind", name_of(record.kind)}};
    step.update(costs_json(record));
    step["graphs"] = record.graphs;
    steps.push_back(std::move(step));
  }
  return {{"rank", rank},
          {"branch", report.branch},
          {"rows", report.rows},
          {"stale_bytes", report.stale_bytes},
          {"encode", report.encode ? costs_json(*report.encode) : Json()},
          {"steps", std::move(steps)},
          {"decode", report.decode ? costs_json(*report.decode) : Json()}};
}

Json totals(const GenerationResult& result) {
  StepRecord all;
  for (const RankReport& rank : result.ranks) {
    for (const StepRecord& step : rank.steps) {
      all.sent += step.sent;
      all.compute_ms += step.compute_ms;
      all.wait_ms += step.wait_ms;
    }
  }
  return costs_json(all);
}

// Names of files may be any bytes, text is UTF-8.
std::string as_utf8(const std::string& bytes) {
  const std::string dumped = Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(dumped).get<std::string>();
}

// Their names alone, as pictures carry them.
std::string names(const std::vector<std::filesystem::path>& files) {
  std::vector<std::string> all;
  for (const std::filesystem::path& file : files) all.push_back(as_utf8(name_in(file)));
  return fmt::format("{}", fmt::join(all, ", "));
}

}  // namespace

std::string report_json(const RunFacts& facts) {
  const RunTimes& times = facts.result.times;
  const ConvolutionWays& ways = facts.result.convolutions;
  Json ranks = Json::array();
  for (std::size_t rank = 0; rank < facts.result.ranks.size(); ++rank) {
    ranks.push_back(rank_json(static_cast<int>(rank), facts.result.ranks[rank]));
  }
  Json pictures = Json::array();
  for (const std::filesystem::path& picture : facts.pictures) pictures.push_back(picture.string());
  Json chosen;
  if (const auto& run = facts.result.chosen) {
    chosen = {{"options", facts.options.arrangement()},
              {"prediction", {{"step_ms", run->step_ms}, {"speedup", run->speedup}}}};
  }
  const Json report = {{"version", version()},
                       {"settings", settings(facts)},
                       {"chosen", std::move(chosen)},
                       {"pictures", std::move(pictures)},
                       {"truncated_tokens", facts.result.truncated_tokens},
                       {"seconds",
                        {{"load", facts.load_seconds},
                         {"text", times.text_seconds},
                         {"image_prompts", times.image_prompt_seconds},
                         {"encode", times.encode_seconds},
                         {"denoise", times.denoise_seconds},
                         {"decode", times.decode_seconds},
                         {"total", facts.load_seconds + times.total_seconds}}},
                       {"convolutions",
                        {{"direct", ways.direct},
                         {"tiles_of_two", ways.tiles_of_two},
                         {"tiles_of_four", ways.tiles_of_four},
                         {"extra_weight_bytes", ways.extra_weight_bytes}}},
                       {"peak_bytes", facts.result.peak_bytes},
                       {"totals", totals(facts.result)},
                       {"ranks", std::move(ranks)}};
  return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::map<std::string, std::string> setting_words(const RunFacts& facts) {
  std::map<std::string, std::string> words;
  const Json all = settings(facts);
  for (const auto& [key, value] : all.items()) {
    const bool is_place =
        key == "output" || key == "report" || key == "trace" || key.starts_with("save_");
    if (is_place || value.is_null() || value.is_array()) continue;
    words[key] = value.is_string() ? as_utf8(value.get<std::string>()) : value.dump();
  }
  // Pictures are passed on, and where a file lay is nobody else's business.
  for (const char* key :
       {"model", "configs", "vae", "latents", "prompt_embeds", "profile", "convolution_times"}) {
    if (words.contains(key)) words[key] = name_in(words[key]);
  }
  std::vector<std::string> loras;
  for (const Lora& lora : facts.options.loras) {
    loras.push_back(fmt::format("{}:{}", as_utf8(name_in(lora.file)), lora.scale));
  }
  if (!loras.empty()) words["loras"] = fmt::format("{}", fmt::join(loras, ", "));
  const GenerateOptions& options = facts.options;
  std::vector<std::string> inversions;
  for (const TextualInversion& inversion : options.textual_inversions) {
    inversions.push_back(as_utf8(name_in(inversion.file)) +
                         (inversion.word.empty() ? "" : ":" + as_utf8(inversion.word)));
  }
  if (!inversions.empty()) {
    words["textual_inversions"] = fmt::format("{}", fmt::join(inversions, ", "));
  }
  if (!options.init_images.empty()) words["init_images"] = names(options.init_images);
  if (!options.masks.empty()) words["masks"] = names(options.masks);
  std::vector<std::string> controls;
  for (std::size_t net = 0; net < options.controlnets.size(); ++net) {
    const Control control = options.control(net);
    controls.push_back(fmt::format("{}:{} from {} to {} by {}",
                                   as_utf8(name_in(options.controlnets[net])), control.scale,
                                   control.start, control.end, names(options.images_of(net))));
  }
  if (!controls.empty()) words["controls"] = fmt::format("{}", fmt::join(controls, "; "));
  std::vector<std::string> prompts;
  for (std::size_t place = 0; place < options.ip_adapters.size(); ++place) {
    prompts.push_back(fmt::format("{}:{} by {}", as_utf8(name_in(options.ip_adapters[place])),
                                  options.ip_scale(place), names(options.ip_images_of(place))));
  }
  if (!prompts.empty()) words["image_prompts"] = fmt::format("{}", fmt::join(prompts, "; "));
  return words;
}

namespace {

// As the web interface names it.
std::string_view sampler_name(SchedulerKind kind) {
  switch (kind) {
    case SchedulerKind::ddim:
      return "DDIM";
    case SchedulerKind::euler:
      return "Euler";
    case SchedulerKind::dpmpp_2m:
      return "DPM++ 2M";
    case SchedulerKind::unipc:
      return "UniPC";
    case SchedulerKind::pndm:
      return "PLMS";
    case SchedulerKind::euler_ancestral:
      return "Euler a";
    case SchedulerKind::dpmpp_2m_sde:
      return "DPM++ 2M SDE";
    case SchedulerKind::lcm:
      break;
  }
  return "LCM";
}

// The picture's settings in the words of Stable Diffusion's web interface (AUTOMATIC1111), which
// other programs and sites read.
std::string infotext(const RunFacts& facts, const std::string& prompt, const std::string& negative,
                     std::size_t index) {
  const GenerateOptions& options = facts.options;
  const GenerationResult& result = facts.result;
  std::string text = prompt + "\n";
  if (!negative.empty()) text += fmt::format("Negative prompt: {}\n", negative);
  text += fmt::format("Steps: {}, Sampler: {}, ", options.steps, sampler_name(result.scheduler));
  if (options.sigmas == SigmaSpacing::karras) text += "Schedule type: Karras, ";
  if (options.sigmas == SigmaSpacing::exponential) text += "Schedule type: Exponential, ";
  text += fmt::format("CFG scale: {}, Seed: {}, Size: {}x{}, Model: {}, ", result.guidance_scale,
                      facts.seed, result.width, result.height, as_utf8(name_in(options.model)));
  if (!options.init_images.empty())
    text += fmt::format("Denoising strength: {}, ", result.strength);
  if (result.images.size() > 1) {
    text += fmt::format("Batch size: {}, Batch pos: {}, ", result.images.size(), index);
  }
  return text + fmt::format("RNG: CPU, Version: libpcpp {}", version());
}

}  // namespace

std::map<std::string, std::string> text_chunks(const RunFacts& facts, std::size_t index) {
  std::map<std::string, std::string> chunks = setting_words(facts);
  chunks["Software"] = fmt::format("libpcpp {}", version());
  const GenerateOptions& options = facts.options;
  const std::size_t prompt = index / static_cast<std::size_t>(options.images);
  std::string negative;
  if (!options.negative_prompts.empty()) {
    const bool one_for_all = options.negative_prompts.size() == 1;
    negative = options.negative_prompts.at(one_for_all ? 0 : prompt);
    chunks["negative_prompt"] = negative;
  }
  if (!options.prompts.empty()) {
    // Not as "prompt", under which ComfyUI has its own.
    chunks["positive_prompt"] = options.prompts.at(prompt);
    chunks["parameters"] = infotext(facts, options.prompts.at(prompt), negative, index);
  }
  if (options.init_images.size() > 1) {
    chunks["init_images"] = as_utf8(name_in(options.init_images.at(prompt)));
  }
  if (options.masks.size() > 1) chunks["masks"] = as_utf8(name_in(options.masks.at(prompt)));
  chunks["image"] = std::to_string(index);
  return chunks;
}

}  // namespace pcpp::examples
