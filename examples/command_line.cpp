#include "command_line.h"

#include <fcntl.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <set>
#include <system_error>

#include "pcpp/output_file.h"
#include "pcpp/version.h"

namespace pcpp::examples {

ParallelConfig config_of(Method method, double partial, int pool) {
  if (method == Method::naive) return ParallelConfig::naive();
  if (method == Method::distrifusion) return ParallelConfig::distrifusion();
  ParallelConfig config = ParallelConfig::pcpp(partial);
  config.pool = pool;
  return config;
}

Method method_of(const PlannedRun& run) {
  if (run.ranks == 1) return Method::single;
  if (run.parallel.reach == Reach::none) return Method::naive;
  return run.parallel.reach == Reach::all ? Method::distrifusion : Method::pcpp;
}

void hold_closed_streams() {
  for (const int stream : {0, 1, 2}) {
    if (fcntl(stream, F_GETFD) < 0) open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY);
  }
  for (const int signal : {SIGPIPE, SIGXFSZ}) std::signal(signal, SIG_IGN);
}

int finish_output() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
  print_to(stderr,
           "error: the standard output is full or closed and lacks what was printed: name another "
           "place\n");
  return 1;
}

namespace {

[[noreturn]] void fail_to_read(const std::filesystem::path& path, const std::error_code& error) {
  throw CheckpointError(fmt::format("cannot read {}: {}; name a file that can be read",
                                    path.string(), error.message()));
}

// The file that `path` leads to, whether or not it is there.
std::filesystem::path end_of(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path whole = absolute(path, error);
  if (!error) whole = weakly_canonical(whole, error);
  if (error) fail_to_read(path, error);
  return whole;
}

}  // namespace

void check_outputs(const std::vector<std::filesystem::path>& outputs,
                   const std::vector<std::filesystem::path>& inputs) {
  std::set<std::filesystem::path> read, written;
  for (const std::filesystem::path& input : inputs) {
    if (!input.empty()) read.insert(end_of(input));
  }
  for (const std::filesystem::path& output : outputs) {
    if (output.empty()) continue;
    const std::filesystem::path file = check_writable(output);
    std::error_code error;
    const bool is_there = exists(file, error);
    const bool is_in_model = std::any_of(read.begin(), read.end(), [&](const auto& input) {
      const auto [end, position] =
          std::mismatch(input.begin(), input.end(), file.begin(), file.end());
      return is_there && end == input.end() && position != file.end();
    });
    if (is_in_model) {
      throw ConfigError(fmt::format("{} is a file of a folder that is read: name another place",
                                    output.string()));
    }
    if (read.contains(file)) {
      throw ConfigError(
          fmt::format("{} is named for an input and for an output: give each its own "
                      "file",
                      output.string()));
    }
    if (!written.insert(file).second) {
      throw ConfigError(
          fmt::format("{} is named for two outputs: give each its own file", output.string()));
    }
  }
}

std::string name_in(const std::filesystem::path& path) {
  const std::filesystem::path normal = path.lexically_normal();
  return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
}

DeviceProfile read_profile(const std::string& profile) {
  for (const DeviceProfile& known : DeviceProfile::known()) {
    if (known.name == profile) return known;
  }
  std::error_code error;
  const std::filesystem::file_type type = std::filesystem::status(profile, error).type();
  if (type == std::filesystem::file_type::none) fail_to_read(profile, error);
  return type == std::filesystem::file_type::not_found ? DeviceProfile::named(profile)
                                                       : DeviceProfile::load(profile);
}

CLI::Option* as_list(CLI::Option* option) {
  return option->delimiter(',')->allow_extra_args(false)->multi_option_policy(
      CLI::MultiOptionPolicy::TakeAll);
}

void take_each(CLI::Option* option) {
  option->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

namespace {

void parse_device(const std::string& text, DeviceOptions& options) {
  constexpr std::string_view kPrefix = "cuda:";
  options.gpus.clear();
  options.cuda = text != "cpu";
  if (text == "cpu" || text == "cuda") return;
  const bool named = text.starts_with(kPrefix);
  for (const std::string& word : split(named ? text.substr(kPrefix.size()) : "")) {
    const auto gpu = parse_number<int>(word);
    if (!gpu || *gpu < 0) {
      throw CLI::ValidationError(fmt::format(
          "--device: '{}' is not one of cpu, cuda or GPUs by number as cuda:0,1", text));
    }
    options.gpus.push_back(*gpu);
  }
}

}  // namespace

World DeviceOptions::world(int ranks, int threads, const std::optional<Link>& link) const {
  return cuda ? World::cuda(gpus, ranks, gpu_transport()) : World(ranks, threads, link);
}

PipelineOptions DeviceOptions::pipeline_options() const {
  PipelineOptions options;
  options.cuda_graphs = cuda_graphs.value_or(options.cuda_graphs);
  options.attention = attention.value_or(options.attention);
  return options;
}

std::vector<int> DeviceOptions::used_gpus() const {
  if (!cuda || !gpus.empty()) return gpus;
  std::vector<int> all(static_cast<std::size_t>(World::gpu_count()));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

void add_device_options(CLI::App& app, DeviceOptions& options) {
  app.add_option_function<std::string>(
         "--device", [&](const std::string& text) { parse_device(text, options); },
         "what the ranks compute on: the cpu, all GPUs, or GPUs by number (default: cpu)")
      ->type_name("cpu|cuda|cuda:N,...");
  add_choice<GpuTransport>(app, "--transport", kTransports,
                           "between GPUs: their copy engines or NCCL (default: peer)",
                           [&](GpuTransport transport) { options.transport = transport; });
}

void add_gpu_options(CLI::App& app, DeviceOptions& options) {
  add_choice<bool>(app, "--cuda-graphs", kSwitch,
                   "on GPUs: record steady steps and launch what was recorded (default: on)",
                   [&](bool on) { options.cuda_graphs = on; });
  add_choice<GpuAttention>(app, "--attention", kAttentions,
                           "on GPUs: which of libtorch's kernels attention takes (default: auto)",
                           [&](GpuAttention attention) { options.attention = attention; });
}

std::string contradiction(const DeviceOptions& options, DataType dtype, int threads) {
  if (options.cuda && threads != 0) return "--threads is for --device cpu: leave it out";
  if (!options.cuda && options.transport) return "--transport is for --device cuda: leave it out";
  if (!options.cuda && options.cuda_graphs) {
    return "--cuda-graphs is for --device cuda: leave it out";
  }
  if (!options.cuda && options.attention) return "--attention is for --device cuda: leave it out";
  if (!options.cuda && dtype == DataType::float16) {
    return "--dtype float16 is for --device cuda: take float32 or bfloat16";
  }
  return "";
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t comma = list.find(',');
    parts.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    list.remove_prefix(comma + 1);
  }
}

Size parse_size(const std::string& text) {
  const std::size_t cross = text.find('x');
  if (cross == std::string::npos) {
    throw CLI::ValidationError(fmt::format("--size: '{}' is not WxH in pixels", text));
  }
  const auto pixels = [](std::string_view part) {
    return number_in("--size", part, 1, kMostPixels);
  };
  return {pixels(std::string_view(text).substr(0, cross)),
          pixels(std::string_view(text).substr(cross + 1))};
}

namespace {

// What other programs of the kind call it, and these.
constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"--batch-count", "--images"},
    {"--batch-size", "--images"},
    {"--cfg-scale", "--guidance-scale"},
    {"--denoising-strength", "--strength"},
    {"--height", "--size"},
    {"--init-img", "--init-image"},
    {"--n-iter", "--images"},
    {"--num-inference-steps", "--steps"},
    {"--precision", "--dtype"},
    {"--sampler", "--scheduler"},
    {"--sampling-method", "--scheduler"},
    {"--size", "--width"},
    {"--type", "--dtype"},
    {"--width", "--size"},
    {"-H", "--height"},
    {"-W", "--width"},
    {"-i", "--init-image"},
    {"-m", "--model"},
    {"-n", "--negative-prompt"},
    {"-o", "--output"},
    {"-p", "--prompt"},
    {"-s", "--seed"},
};

// Of the words that are left when `app` has taken its own.
std::string text_of_unknown(const CLI::App& app) {
  const std::vector<std::string> words = app.remaining();
  const auto option =
      std::ranges::find_if(words, [](const std::string& word) { return word.starts_with("-"); });
  if (option == words.end()) return fmt::format("'{}' belongs to no option", words.front());
  const std::string name = option->substr(0, option->find('='));
  for (const auto& [other, own] : kOtherNames) {
    if (name == other && app.get_option_no_throw(std::string(own)) != nullptr) {
      return fmt::format("{} is called {} here", name, own);
    }
  }
  return fmt::format("there is no option {}", name);
}

}  // namespace

std::optional<int> parse(CLI::App& app, int argc, char** argv) {
  app.set_version_flag("--version", fmt::format("libpcpp {}", version()));
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    print_to(stdout, "{}", app.help());
    return finish_output();
  } catch (const CLI::CallForVersion& version) {
    print_to(stdout, "{}\n", version.what());
    return finish_output();
  } catch (const CLI::ExtrasError&) {
    return usage_error(app, text_of_unknown(app));
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error.what());
  }
}

std::string one_line(std::string_view text) {
  std::string line;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const unsigned char next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (byte == '\n') {
      line += ' ';
    } else if (byte < 0x20 || byte == 0x7F) {
      line += fmt::format("\\x{:02x}", byte);
    } else if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {
      line += fmt::format("\\xc2\\x{:02x}", next);
      ++i;
    } else {
      line += text[i];
    }
  }
  return line;
}

int usage_error(const CLI::App& app, const std::string& text) {
  print_to(stderr, "{0}: {1} (see {0} --help)\n", app.get_name(), one_line(text));
  return 2;
}

int report_error(const std::exception& error) {
  print_to(stderr, "error: {}\n", one_line(error.what()));
  return 1;
}

}  // namespace pcpp::examples
