// What a request says: how the work is split and what is drawn. Plain values, checked when used.
#ifndef PCPP_CONFIG_H_
#define PCPP_CONFIG_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "pcpp/export.h"
#include "pcpp/image.h"
#include "pcpp/trace.h"

namespace pcpp {

// float16 is for GPUs alone.
enum class DataType { float32, float16, bfloat16 };

// "float32", "float16" or "bfloat16".
PCPP_EXPORT std::string_view name_of(DataType dtype);

// Whose rows a self-attention reads in a steady step. Convolutions and GroupNorm follow: with
// `none` they read nobody's, else their neighbours' (convolution) and all bands' (GroupNorm).
enum class Reach { none, adjacent, all };

// "none", "adjacent" or "all".
PCPP_EXPORT std::string_view name_of(Reach reach);

// How GroupNorm's statistics are made in a steady step (DistriFusion, section 4 and its ablation).
enum class GroupNormMode {
  // own fresh + (global stale - own stale); where that leaves less variance than half of what own
  // rows alone give the image, own variance (the paper: where it is below 0)
  corrected,
  stale,        // the mean over bands: own fresh, the others' stale
  local,        // own only
  synchronous,  // all bands' fresh moments, waited for in every step
};

// "corrected", "stale", "local" or "synchronous".
PCPP_EXPORT std::string_view name_of(GroupNormMode mode);

// How rows of activations (attention, convolutions) travel in a steady step.
enum class RowFormat {
  exact,  // as they are
  int8,   // a byte a value, a float32 scale for each 128 of a row; GroupNorm's moments in float16
  // Half a byte a value, and scales and moments as with int8: the difference to the last rows sent,
  // which the sender and every receiver keep. What one step rounds off the next one sends.
  int4,
};

// "exact", "int8" or "int4".
PCPP_EXPORT std::string_view name_of(RowFormat format);

// Where the two branches of classifier-free guidance run.
enum class Guidance {
  batched,  // both on every rank: as many patches as ranks
  split,    // one half of the ranks each: half as many patches as ranks
};

// "batched" or "split".
PCPP_EXPORT std::string_view name_of(Guidance guidance);

// How one image is split over ranks. The methods of the literature are values of it.
struct PCPP_EXPORT ParallelConfig {
  Reach reach = Reach::adjacent;
  // The fraction of an adjacent band's tokens, nearest the common border, that self-attention
  // reads at reach `adjacent`; in [0, 1]. PCPP (arXiv 2412.02962) uses 0.3. The decimal that the
  // number prints as (up to 15 places) is meant: 0.3 is exactly 3/10.
  double partial = 0.3;
  // Far context at reach `adjacent`: what `partial` leaves unread of the other bands is read as
  // means, of `pool` neighbouring tokens' keys and values each, whose scores count for as many
  // tokens. 0: it is not read, as in PCPP; 1: every token for itself. At most as old as the rest.
  int pool = 0;
  // How many steps at the start wait for this step's data; at least 1 where several bands read each
  // other's.
  int sync_steps = 4;
  GroupNormMode group_norm = GroupNormMode::corrected;
  RowFormat row_format = RowFormat::exact;
  Guidance guidance = Guidance::batched;
  // Latent rows of each band from the top, one entry for each patch: every one but the last a
  // multiple of ModelInfo::row_unit, together all latent rows. Empty: as equal as possible.
  std::vector<int> bands = {};

  static ParallelConfig naive();
  static ParallelConfig distrifusion();
  static ParallelConfig pcpp(double partial = 0.3);
};

// A host tensor, row-major.
struct FloatTensor {
  std::vector<std::int64_t> shape = {};
  std::vector<float> values = {};
};
using TensorMap = std::map<std::string, FloatTensor>;

// What on_step is told: step `step` of `steps` (counted from 1) is done or, on a GPU, given to it,
// in `step_ms` of the host's time.
struct StepProgress {
  int step = 0;
  int steps = 0;
  StepKind kind = StepKind::synchronous;
  double step_ms = 0;
  // A copy of the latents after the step, as GenerationResult::latents; on a GPU it waits for the
  // step. To be called by on_step alone, before it returns.
  std::function<FloatTensor()> latents = {};
};

// The last three add noise in every step, but for a last one that ends without any, as diffusers
// does.
enum class SchedulerKind {
  ddim,
  euler,            // Euler's method
  dpmpp_2m,         // DPM-Solver++ with two steps' predictions (DPM++ 2M)
  unipc,            // UniPC (arXiv 2302.04867), a predictor and corrector of order 2
  pndm,             // PLMS, which Stable Diffusion 1.x was published with: of more than one step
                    // it makes one more. Only where it is asked for; it loses more to stale rows.
                    // (Where a run begins with an init image, diffusers tells its steps after the
                    // second of less noise than there is.)
  euler_ancestral,  // k-diffusion's "Euler a"
  dpmpp_2m_sde,     // DPM++ 2M of the stochastic equation (k-diffusion's "DPM++ 2M SDE")
  lcm,              // of latent consistency models (arXiv 2310.04378), LCM-LoRA among them.
                    // Steady steps of several bands spoil its pictures: make all synchronous
};

// "ddim", "euler", "dpmpp_2m", "unipc", "pndm", "euler_ancestral", "dpmpp_2m_sde" or
// "lcm".
PCPP_EXPORT std::string_view name_of(SchedulerKind kind);

// Which of the training's timesteps a run visits (arXiv 2305.08891, table 2).
enum class TimestepSpacing {
  leading,   // multiples of their distance, from the least noise on
  linspace,  // evenly from the least to the most noise
  trailing,  // multiples of their distance, from the most noise down: what Turbo, Lightning and
             // Hyper-SD are drawn with
};

// "leading", "linspace" or "trailing", as in diffusers' files.
PCPP_EXPORT std::string_view name_of(TimestepSpacing spacing);

// Where a run's noise levels (sigma = noise / signal) lie between the most and the least noise, for
// schedulers that step along them: Euler, DPM++ 2M (with noise or without) and UniPC.
enum class SigmaSpacing {
  timesteps,    // where the timesteps' are, which the model's scheduler spaces
  karras,       // closer to one another where there is little noise (arXiv 2206.00364, equation 5)
  exponential,  // evenly spaced logarithms
};

// "timesteps", "karras" or "exponential".
PCPP_EXPORT std::string_view name_of(SigmaSpacing spacing);

// How prompts and negative prompts are read.
enum class PromptSyntax {
  plain,  // as diffusers reads them: every character is text, and what the text encoders do not
          // take (of CLIP, after 75 tokens) is left out
  // As ComfyUI reads them: (words) weigh 1.1 times as much, (words:1.3) as much as the number says,
  // \( and \) are text, embedding:word is a TextualInversion, of which there must be one; long ones
  // are encoded in sections, one after another, and nothing is left out. A weight of w moves what
  // the encoder makes of a token to w * it + (1 - w) * what it makes of the empty text in that
  // place.
  comfyui,
};

// "plain" or "comfyui".
PCPP_EXPORT std::string_view name_of(PromptSyntax syntax);

// The longest side of a picture, in pixels.
inline constexpr int kMostPixels = 16384;

// What one ControlNet of a Pipeline is shown (arXiv 2302.05543). Diffusers' options of the same
// meaning: image, controlnet_conditioning_scale, control_guidance_start and control_guidance_end.
struct Control {
  // Made for the ControlNet: edges, a depth map, a pose. One for all prompts, or one for each;
  // brought to the request's size as init_images are.
  std::vector<Image> images = {};
  double scale = 1;  // of what it adds; finite
  // The part of the steps that it steers, from 0 to 1: step i of n where start <= i / n and
  // (i + 1) / n <= end. After its end it costs nothing. Ahead of its start neither, on one rank or
  // with Reach::none; else it runs from the last synchronous step on, since steady steps need its
  // rows of the step before.
  double start = 0;
  double end = 1;
};

// What one IP-Adapter of a Pipeline reads besides the text (arXiv 2308.06721). Diffusers' options
// of the same meaning: ip_adapter_image and set_ip_adapter_scale.
struct ImagePrompt {
  // One for all prompts, or one for each (diffusers shows a list of them to every prompt, all at
  // once); no side longer than kMostPixels. The square in the middle of each is what is read.
  std::vector<Image> images = {};
  double scale = 1;  // of what it adds to what attention reads of the text; finite
};

// One batch of pictures: `images_per_prompt` for each prompt, in the order of the prompts.
struct PCPP_EXPORT GenerationRequest {
  std::vector<std::string> prompts = {};
  // Read where the unconditional branch runs. One serves all prompts, else one for each. Absent is
  // diffusers' None: the empty text, or zeros with SDXL, unless the model's folder says that
  // force_zeros_for_empty_prompt is false.
  std::optional<std::vector<std::string>> negative_prompts = {};
  PromptSyntax prompt_syntax = PromptSyntax::plain;
  // How many of the text encoders' last layers are left out, as diffusers counts: of Stable
  // Diffusion 1.x and 2.x 1 is what others call a CLIP skip of 2. (SDXL leaves out one more in any
  // case, which others count: 1 is their 3.) In both branches, as ComfyUI;
  // diffusers reads negative prompts with all layers. At most ModelInfo::most_clip_skip.
  int clip_skip = 0;
  int width = 0;   // pixels, a multiple of ModelInfo::scale; 0: as ModelInfo::picture_size says
  int height = 0;  // likewise
  int steps = 25;
  // Absent: ModelInfo::default_guidance_scale. At 1 or below only the conditional branch runs, and
  // of ModelInfo::guidance_embedded always.
  std::optional<double> guidance_scale = {};
  // The part of the steps with guidance (arXiv 2404.07724), from 0 to 1: step i of n where start <=
  // i / n and (i + 1) / n <= end. In the others only the conditional branch runs, which is about
  // half the work: with Guidance::split on all ranks, in bands as equal as possible. The first step
  // with guidance and the first after it are synchronous. Not looked at where only the conditional
  // branch runs in any case.
  double guidance_start = 0;
  double guidance_end = 1;
  // How much of guidance's contrast is taken back, in [0, 1]: the guided prediction is mixed with
  // itself at the conditional one's standard deviation (arXiv 2305.08891, equations 15 and 16),
  // each picture by itself. 0.7 is that paper's, for models of zero terminal SNR. Both branches'
  // predictions are then gathered, which a plan does not count. Diffusers' guidance_rescale.
  double guidance_rescale = 0;
  // Of all noise: that of encoded init images, that which the run begins with, that of what masks
  // keep, and that which schedulers add in steps. Each draw is for the whole batch, as diffusers'
  // with one CPU generator: a picture of a batch is repeated by drawing the batch again.
  std::uint64_t seed = 0;
  // In its place, one for each picture, in their order: each has the noise that it would have if it
  // were drawn alone with that seed (diffusers' list of generators). Empty: `seed`.
  std::vector<std::uint64_t> seeds = {};
  int images_per_prompt = 1;
  std::optional<SchedulerKind> scheduler = {};           // absent: the model's own, or the nearest
  std::optional<TimestepSpacing> timestep_spacing = {};  // absent: the model's own; LCM takes none
  std::optional<SigmaSpacing> sigmas = {};  // likewise; only those that SigmaSpacing names

  // Standard normal, [images, c, height / scale, width / scale] with ModelInfo::scale; takes
  // the place of the noise that the run begins with, for which `seed` then draws nothing. (With
  // masks and a strength below 1 diffusers leaves the init image out of such a beginning.)
  std::optional<FloatTensor> latents = {};
  // Image to image (SDEdit, arXiv 2108.01073): what the run begins with, under noise; one for all
  // prompts, or one for each; no side longer than kMostPixels. Those of another size are brought to
  // the request's, whatever becomes of their aspect ratio (bicubic, antialiased; diffusers takes
  // Lanczos' filter). Each is for all of its prompt's images_per_prompt (diffusers repeats the list
  // as a whole). Empty: the run begins with noise alone.
  std::vector<Image> init_images = {};
  // Inpainting: where a mask is white (its luma 128 or above) the picture is drawn anew, where it
  // is black the init image stays, but for what its way through the VAE changes. One for all
  // prompts, or one for each, of sizes as init_images, without which there must be none. Of each
  // latent row and column the first pixel's counts (as in diffusers). Models for inpainting
  // (ModelInfo::inpainting) need them: they are shown what is to stay, and may change it a little.
  std::vector<Image> masks = {};
  // How much of the init images is drawn anew, above 0 and at most 1: only the last
  // floor(strength * steps) steps are made, of which there must be one at least. Absent: 0.8, and 1
  // with masks, at which a masked picture begins with noise alone. Not looked at without
  // init_images. (With whole latent consistency models diffusers makes all steps, of a shorter
  // schedule.)
  std::optional<double> strength = {};
  // One for each of PipelineOptions::controlnets, in their order.
  std::vector<Control> controls = {};
  // One for each of PipelineOptions::ip_adapters, in their order.
  std::vector<ImagePrompt> image_prompts = {};
  // prompt_embeds [n, tokens, c], negative_prompt_embeds, and for SDXL pooled_prompt_embeds [n, c],
  // negative_pooled_prompt_embeds. Where given, `prompts` must be empty.
  TensorMap prompt_embeds = {};

  ParallelConfig parallel = {};
  // The pipeline plans, and takes the fastest of one device and `parallel`'s method over every
  // arrangement of its world: ranks used, guidance and bands, which `parallel` then leaves open
  // (its bands must be empty, its guidance is not looked at). Where a part of the steps has
  // guidance it is the fastest for those. result.chosen says what it was, and the picture depends
  // on it. The same request with `automatic` false and `parallel` from result.chosen repeats it on
  // a World of result.chosen->ranks ranks, each with as many threads as in the world that chose, or
  // on the first so many of its GPUs.
  bool automatic = false;
  bool decode = true;       // false: nothing is decoded, and result.images is empty
  bool keep_steps = false;  // result.step_latents holds the latents after each scheduler step
  // result.trace says what each rank did when; no picture changes. On GPUs steps are then launched
  // singly, not as CUDA graphs.
  bool trace = false;
  // For measurement: in steady steps the ranks compute one after the other, each with the machine
  // to itself, so that StepRecord::compute_ms is what its band costs on a device of its own,
  // however many ranks share one. No picture changes. Not for automatic or traced requests, nor
  // for what ranks cannot do one by one: GroupNormMode::synchronous and GpuTransport::nccl.
  bool ranks_in_turn = false;

  // Called on one of the library's threads after each step, which it holds up: the other ranks wait
  // for it, for peer_timeout at most. What it throws ends the request, and generate() throws it.
  std::function<void(const StepProgress&)> on_step = {};
  // A stop ends all ranks, what an automatic request measures, the text encoders, the image
  // encoders and the VAE (at their next block), the loading of all these and what is drawn and
  // resized before them, and throws Cancelled.
  std::stop_token stop = {};
  // The longest that a rank waits for its peers before it gives up with TransportError. It does not
  // bound the request's time: for that, request a stop.
  std::chrono::milliseconds peer_timeout = std::chrono::minutes(10);
};

}  // namespace pcpp

#endif  // PCPP_CONFIG_H_
