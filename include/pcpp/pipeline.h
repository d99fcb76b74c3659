// Load a model, generate images.
#ifndef PCPP_PIPELINE_H_
#define PCPP_PIPELINE_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "pcpp/config.h"
#include "pcpp/export.h"
#include "pcpp/image.h"
#include "pcpp/plan.h"
#include "pcpp/trace.h"
#include "pcpp/world.h"

namespace pcpp {

// Which of libtorch's kernels attention takes on GPUs.
enum class GpuAttention {
  automatic,  // the first that serves, in libtorch's order: on Hopper cuDNN's, except
              // with ParallelConfig::pool or where it fails, which is tried while a model loads
  flash,      // FlashAttention: 16 bits, not with ParallelConfig::pool
  efficient,  // the memory-efficient one of xFormers
  cudnn,      // cuDNN's: 16 bits
  math,       // products and softmax one after the other, with all scores in memory
};

// "auto", "flash", "efficient", "cudnn" or "math".
PCPP_EXPORT std::string_view name_of(GpuAttention attention);

// A change of a model's weights by small matrices, in a safetensors file with the names of kohya's
// scripts, LyCORIS, ComfyUI or diffusers: for the U-Net's linear layers and convolutions and for
// the text encoders. LoRA (arXiv 2106.09685), LoCon, LoHa and LoKr (arXiv 2309.14859), in Tucker's
// form or not, with the magnitudes of DoRA (arXiv 2402.09353) or without.
struct Lora {
  std::filesystem::path file = {};
  double scale = 1;  // of the weights' change, with magnitudes too; a negative one takes away
};

// A word of prompts with vectors of its own, which textual inversion (arXiv 2208.01618) has found:
// a safetensors file with one tensor [n, width] or [width]; for SDXL with two of one n, clip_l and
// clip_g, for its two text encoders.
struct TextualInversion {
  std::filesystem::path file = {};
  // What stands for it, without spaces: in plain prompts by itself, whatever the case of its
  // letters; with PromptSyntax::comfyui as "embedding:word". Empty: the file's name without its
  // extension.
  std::string word = {};
};

// What has the U-Net read pictures beside the text (arXiv 2308.06721): keys and values for each of
// its cross-attentions, and what makes tokens of a picture, in one safetensors file with the names
// image_proj. and ip_adapter. that they were published with. Those that read one vector of the
// picture and the "plus" ones, which read the image encoder's penultimate layer; neither FaceID's
// nor those for whole faces.
struct IpAdapter {
  std::filesystem::path file = {};
  // The folder, with config.json, of transformers' CLIPVisionModelWithProjection that it was made
  // with. Adapters that name the same one share it.
  std::filesystem::path image_encoder = {};
};

struct PipelineOptions {
  // Of the networks; latents and schedulers are float32. Where it is float16, VAEs are float32
  // unless their config says that they need not be (force_upcast false).
  DataType dtype = DataType::float32;
  // A folder's files' variant, such as "fp16"; absent: the plain files where both are there. Of
  // ControlNets' and image encoders' folders too, where they have it.
  std::optional<std::string> variant = {};
  // Of a single file: a folder in diffusers' layout, of which configs and tokenizers are taken (its
  // weights are not read). Absent: those that Stable Diffusion 1.x, 2.x or SDXL were published
  // with, by what the U-Net reads of texts. What a model predicts is told as ComfyUI tells it:
  // of 2.x by its weights, of SDXL by tensors named v_pred and ztsnr. What was distilled from them
  // (SSD-1B, BK-SDM) needs a folder; whole latent consistency models come as folders only.
  std::optional<std::filesystem::path> configs = {};
  // The VAE in place of the model's own: a folder in diffusers' layout or a single safetensors
  // file, which is taken to have the config of the model's own, the scaling of latents among it.
  std::optional<std::filesystem::path> vae = {};
  // Added to the weights as they are loaded, for each GPU anew: steps cost the same with them. The
  // constructor throws CheckpointError for one that changes weights which the model does not have.
  std::vector<Lora> loras = {};
  // Words that prompts may have besides, each another. The constructor throws CheckpointError for
  // vectors that are not as wide as the text encoders', or too many for one text.
  std::vector<TextualInversion> textual_inversions = {};
  // ControlNets, which steer the U-Net together: what they make is added. Each is a folder in
  // diffusers' layout or a single safetensors file, which is taken to be shaped as the model's own
  // U-Net but for what its tensors show. Every request then needs GenerationRequest::controls.
  std::vector<std::filesystem::path> controlnets = {};
  // IP-Adapters, which the U-Net reads together: what they make is added. ControlNets do not read
  // them. Every request then needs GenerationRequest::image_prompts. The constructor throws
  // CheckpointError for one that was made for another U-Net or image encoder.
  std::vector<IpAdapter> ip_adapters = {};
  // What automatic requests plan with; absent: the world's ranks are measured, once for each size.
  std::optional<DeviceProfile> profile = {};
  // What weights may take in memory beyond the model's own size where that makes 3x3 convolutions
  // faster: transformed for Winograd's algorithm, they are 1.8 or 4 times as large, in bfloat16
  // twice that. (In bfloat16 it is not used where the processor has AMX.) The picture changes by
  // rounding. 0: none.
  std::int64_t extra_weight_bytes = 1'250'000'000;
  // The file with what those convolutions cost on this machine, by which it is decided which of
  // them are transformed; what it does not know yet is timed when a network is loaded, once, and
  // added. So two runs with the same file and as many threads a rank draw the same picture. Its
  // folder must exist; a file that holds anything else is left as it is, and ConfigError thrown
  // before anything is loaded. Absent: libpcpp/convolutions.json in the user's cache
  // ($XDG_CACHE_HOME, else ~/.cache), which is made, and replaced where it is damaged. Empty:
  // nothing is timed, shapes alone decide.
  std::optional<std::filesystem::path> convolution_times = {};
  // On GPUs: what a rank computes in a steady step is recorded as CUDA graphs, twice in each part
  // of a request whose steps do alike, and launched as those in the steady steps that follow. The
  // picture is the same to the bit; the host has less to do. On a CPU it changes nothing.
  bool cuda_graphs = true;
  // Of the U-Net on GPUs. libtorch has one for the process: requests with others wait in turn, for
  // peer_timeout at most. ConfigError after that, and in the first step where it cannot serve.
  GpuAttention attention = GpuAttention::automatic;
  // A stop ends the constructor, which throws Cancelled; later requests have a stop of their own.
  std::stop_token stop = {};
};

struct PictureSize {
  int width = 0;  // pixels
  int height = 0;
};

// What a model's configs say of the pictures that it draws.
struct PCPP_EXPORT ModelInfo {
  int default_width = 0;  // the size that the model was made for, in pixels
  int default_height = 0;
  int scale = 8;  // pixels a latent row: sizes are multiples of it
  int latent_channels = 4;
  // Without a VAE nothing is decoded, and nothing begins with an image.
  bool has_vae = true;
  int text_encoders = 1;  // without any, requests give prompt_embeds
  // Whether its U-Net reads a mask and what it keeps beside the latents: then requests need masks.
  bool inpainting = false;
  // Whether its U-Net reads the guidance scale (time_cond_proj_dim: whole latent consistency
  // models, not LCM-LoRA). Then only the conditional branch runs, whatever the scale.
  bool guidance_embedded = false;
  // Of a request that gives none: 7.5, with SDXL 5, as in diffusers, unless the folder's
  // model_index.json has another number as _guidance_scale.
  double default_guidance_scale = 7.5;
  int controlnets = 0;    // how many there are: requests need as many controls
  int ip_adapters = 0;    // likewise: requests need as many image prompts
  int row_unit = 8;       // bands are cut at multiples of so many latent rows
  int most_steps = 1000;  // the timesteps that it was trained on
  // Of GenerationRequest::clip_skip; 0 without text encoders.
  int most_clip_skip = 0;

  // The most bands that a picture of this height can be cut into; 0 where `height` is not one.
  int most_patches(int height) const;
  // Of the request's pictures: what it says, else the size of its first init image or, without
  // one, of its first control image, rounded down to multiples of `scale` of which there is one at
  // least, else the model's own. Not judged: check() does that.
  PictureSize picture_size(const GenerationRequest& request) const;
  // Throws ConfigError where generate() of a pipeline of so many ranks would, for what this can
  // judge of a request: sizes, counts, texts, and how the ranks share it. Left to generate() is
  // what the scheduler's, the tokenizers' and the text encoders' files decide.
  void check(const GenerationRequest& request, int ranks) const;
};

// From the configs alone, without loading weights (of a single file a few, to tell its family).
// `model` and `options` are what Pipeline takes; of the latter configs, vae, controlnets and
// ip_adapters are looked at. Throws CheckpointError for what cannot be read or is not supported.
PCPP_EXPORT ModelInfo read_model_info(const std::filesystem::path& model,
                                      const PipelineOptions& options = {});

// How many 3x3 convolutions of a network compute by definition, and how many by Winograd's
// algorithm with tiles of 2x2 and of 4x4 pixels, which makes weights larger.
struct ConvolutionWays {
  int direct = 0;
  int tiles_of_two = 0;
  int tiles_of_four = 0;
  std::int64_t extra_weight_bytes = 0;
};

// Where the time of a request went.
struct RunTimes {
  double text_seconds = 0;  // tokenizer and text encoders
  // Of image prompts: image encoders and what makes tokens of what they see.
  double image_prompt_seconds = 0;
  // Of init images and of what masks keep: the VAE's encoder, on all ranks.
  double encode_seconds = 0;
  double denoise_seconds = 0;  // all steps
  double decode_seconds = 0;   // the VAE's decoder, on all ranks
  double total_seconds = 0;
};

// One rank's part of the request. Where a part of the steps has guidance, rows and branch are those
// of that part, and stale_bytes the most of all parts.
struct RankReport {
  std::array<std::int64_t, 2> rows = {};  // [begin, end) of the latent rows that it computed
  int branch = 0;                // with split guidance 0: unconditional, 1: conditional; else 0
  std::int64_t stale_bytes = 0;  // of its buffers for stale rows
  // All, but of a rank for which steps without guidance have no row left, where it is split.
  std::vector<StepRecord> steps = {};
  // Of all init images and what masks keep of them, as step -1. Absent: there were none, or this
  // rank encoded nothing, for which no row of the latents was left.
  std::optional<StepRecord> encode = {};
  // Of all pictures, as one step after the last. Absent: nothing was decoded, or not by this rank,
  // for which no row of the latents was left.
  std::optional<StepRecord> decode = {};
};

struct GenerationResult {
  std::vector<Image> images = {};  // in the order of the prompts; empty where decode was false
  FloatTensor latents = {};        // [images, c, h, w], before the VAE's scaling is undone
  std::vector<FloatTensor> step_latents = {};  // after each scheduler step; empty unless keep_steps
  int width = 0;
  int height = 0;
  SchedulerKind scheduler = SchedulerKind::ddim;  // that drew
  double guidance_scale = 1;                      // likewise
  double strength = 1;                            // likewise; 1 without init images
  // Of the longest text, beyond what the text encoder takes. Negative prompts count where guidance
  // reads them.
  int truncated_tokens = 0;
  std::vector<RankReport> ranks = {};
  std::optional<PlannedRun> chosen = {};  // of an automatic request
  ConvolutionWays convolutions = {};      // of the U-Net and its ControlNets
  std::optional<Trace> trace = {};        // where asked for
  RunTimes times = {};
  std::int64_t peak_bytes = 0;  // resident memory of the process, so far
};

// As those of GenerationRequest.
struct DecodeSettings {
  std::stop_token stop = {};
  std::chrono::milliseconds peer_timeout = std::chrono::minutes(10);
};

// A diffusion model (SD 1.x, SD 2.x, SDXL): a folder in diffusers' layout, or a single safetensors
// file with the names that the models were first published with, as ComfyUI and
// stable-diffusion.cpp take it. A single file must stay as it is while the object lives: replace it
// by renaming another. The U-Net is loaded by the constructor, text encoders, image encoders
// and VAE by the first request that needs them. One request at a time: calls of generate() and
// decode() on one object must not overlap; the later one throws ConfigError and leaves the other
// undisturbed. No call may be under way when the process ends by exit() or the return of main,
// whose destructors take libtorch apart: request a stop and wait for the call, or end by _exit().
// Several objects may draw at once, of the same devices as well; those that use NCCL on a device
// do it in turn there, and wait for peer_timeout at most.
class PCPP_EXPORT Pipeline {
 public:
  // Throws CheckpointError for a model that cannot be read or is not supported, ConfigError for
  // options that cannot be met, DeviceError where the model does not fit or a device fails,
  // Cancelled. The paths are those of this time: the process may go to another folder.
  Pipeline(const std::filesystem::path& model, const World& world,
           const PipelineOptions& options = {});
  ~Pipeline();
  Pipeline(Pipeline&&) noexcept;
  Pipeline& operator=(Pipeline&&) noexcept;

  // Throws ConfigError for a request that cannot be met, before it loads, times or draws anything
  // (but for prompts of too many tokens, which are counted once text encoders are loaded);
  // CheckpointError for a component that it needs and cannot load; Cancelled, TransportError or
  // DeviceError when it fails on the way. After any of them the next request starts clean.
  GenerationResult generate(const GenerationRequest& request);

  // What the VAE makes of latents [images, c, rows, columns], one picture of each image, on all
  // ranks: of GenerationResult::latents what generate() returns as images, and of step_latents or
  // StepProgress::latents what there is to see so far. Sides are kMostPixels at most. It is a
  // request, too: on_step cannot call it for the pipeline that calls on_step. Throws as generate().
  std::vector<Image> decode(const FloatTensor& latents, const DecodeSettings& settings = {});

  // Not of one that was moved from.
  const World& world() const;
  const ModelInfo& model() const;

 private:
  class Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pcpp

#endif  // PCPP_PIPELINE_H_
