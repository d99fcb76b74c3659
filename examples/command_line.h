// What the programs' command lines share.
#ifndef PCPP_EXAMPLES_COMMAND_LINE_H_
#define PCPP_EXAMPLES_COMMAND_LINE_H_

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "pcpp/pcpp.h"

namespace pcpp::examples {

// How the ranks share the work.
enum class Method { single, naive, distrifusion, pcpp, automatic };

// The words of the command line and what they stand for.
template <typename Value>
using Words = std::vector<std::pair<std::string, Value>>;

// By the library's names.
template <typename Value>
Words<Value> named(std::initializer_list<Value> values) {
  Words<Value> words;
  for (const Value value : values) words.emplace_back(name_of(value), value);
  return words;
}

inline const Words<Method> kMethods = {{"single", Method::single},
                                       {"naive", Method::naive},
                                       {"distrifusion", Method::distrifusion},
                                       {"pcpp", Method::pcpp},
                                       {"auto", Method::automatic}};
inline const Words<DataType> kDataTypes =
    named({DataType::float32, DataType::float16, DataType::bfloat16});
inline const Words<Guidance> kGuidances = named({Guidance::batched, Guidance::split});
inline const Words<SchedulerKind> kSchedulers =
    named({SchedulerKind::ddim, SchedulerKind::euler, SchedulerKind::dpmpp_2m, SchedulerKind::unipc,
           SchedulerKind::pndm, SchedulerKind::euler_ancestral, SchedulerKind::dpmpp_2m_sde,
           SchedulerKind::lcm});
inline const Words<TimestepSpacing> kTimestepSpacings =
    named({TimestepSpacing::leading, TimestepSpacing::linspace, TimestepSpacing::trailing});
inline const Words<PromptSyntax> kPromptSyntaxes =
    named({PromptSyntax::plain, PromptSyntax::comfyui});
inline const Words<SigmaSpacing> kSigmaSpacings =
    named({SigmaSpacing::timesteps, SigmaSpacing::karras, SigmaSpacing::exponential});
inline const Words<GroupNormMode> kGroupNorms =
    named({GroupNormMode::corrected, GroupNormMode::stale, GroupNormMode::local,
           GroupNormMode::synchronous});
inline const Words<RowFormat> kRowFormats =
    named({RowFormat::exact, RowFormat::int8, RowFormat::int4});
inline const Words<GpuTransport> kTransports = named({GpuTransport::peer, GpuTransport::nccl});
inline const Words<GpuAttention> kAttentions =
    named({GpuAttention::automatic, GpuAttention::flash, GpuAttention::efficient,
           GpuAttention::cudnn, GpuAttention::math});
inline const Words<bool> kSwitch = {{"on", true}, {"off", false}};

template <typename Value>
std::string word_for(const Words<Value>& words, Value value) {
  const auto found = std::find_if(words.begin(), words.end(),
                                  [&](const auto& entry) { return entry.second == value; });
  return found == words.end() ? "" : found->first;
}

// The words of these values alone, in their order.
template <typename Value>
Words<Value> words_of(const Words<Value>& words, std::initializer_list<Value> values) {
  Words<Value> chosen;
  for (const Value value : values) chosen.emplace_back(word_for(words, value), value);
  return chosen;
}

// A method as a value of the library's, for single and automatic that of pcpp. These three alone
// read `partial` and `pool`.
ParallelConfig config_of(Method method, double partial, int pool);
// The method of a run that was planned.
Method method_of(const PlannedRun& run);

inline constexpr int kMostImages = 1024;

// An option whose value is several, separated by commas.
CLI::Option* as_list(CLI::Option* option);

// An option that may be given several times, with one value each.
void take_each(CLI::Option* option);

// An option that takes one of some words, which its help and its error list.
template <typename Value>
void add_choice(CLI::App& app, const std::string& name, const Words<Value>& words,
                const std::string& help, std::function<void(Value)> store) {
  std::string list;
  for (const auto& [word, value] : words) list += (list.empty() ? "" : "|") + word;
  const auto parse = [name, words, list, store](const std::string& text) {
    for (const auto& [word, value] : words) {
      if (word != text) continue;
      store(value);
      return;
    }
    throw CLI::ValidationError(fmt::format("{}: '{}' is not one of {}", name, text, list));
  };
  app.add_option_function<std::string>(name, parse, help)->type_name(list);
}

// An option that takes several of some words, separated by commas. `values` holds its default.
template <typename Value>
void add_choices(CLI::App& app, const std::string& name, const Words<Value>& words,
                 std::vector<Value>& values, const std::string& help) {
  std::vector<std::string> known, defaults;
  for (const auto& [word, value] : words) known.push_back(word);
  for (const Value value : values) defaults.push_back(word_for(words, value));
  const auto store = [&values, words](const std::vector<std::string>& chosen) {
    values.clear();
    for (const std::string& text : chosen) {
      for (const auto& [word, value] : words) {
        if (word == text) values.push_back(value);
      }
    }
  };
  as_list(app.add_option_function<std::vector<std::string>>(name, store, help))
      ->check(CLI::IsMember(known))
      ->default_str(fmt::format("[{}]", fmt::join(defaults, ",")));
}

// To `stream`, or nowhere where it takes no more: that a log is full ends no run.
template <typename... Arguments>
void print_to(std::FILE* stream, fmt::format_string<Arguments...> format,
              Arguments&&... arguments) {
  const std::string text = fmt::format(format, std::forward<Arguments>(arguments)...);
  std::fwrite(text.data(), 1, text.size(), stream);
}

// To be called first: a standard stream that the caller has closed becomes one that fails, for
// else the next file that is opened would take its number and with it what is printed; and to print
// where nobody reads any more, or to write a file beyond its limit, fails too, in place of ending
// the process.
void hold_closed_streams();
// The exit status of a run that succeeded: 0; or 1, and one line on the standard error, where the
// standard output did not take all that was printed.
int finish_output();

// Before any work: throws Error where one of these files cannot be written, which would cost the
// whole run, or where two names lead to one file, of outputs or of an output and an input, or an
// output to a file that is there in one of the folders among the inputs (of models). Empty names
// stand for none.
void check_outputs(const std::vector<std::filesystem::path>& outputs,
                   const std::vector<std::filesystem::path>& inputs);

// The last part of a path, of a folder as well.
std::string name_in(const std::filesystem::path& path);

// A GPU's by its name, else a file's. Throws ConfigError, with the names that there are, where it
// is neither, CheckpointError where there is a file that cannot be read.
DeviceProfile read_profile(const std::string& profile);

// The whole text as a number.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

// `text` as a number in [least, most], an option's. Throws CLI::ValidationError where it is none.
template <typename Number>
Number number_in(const std::string& option, std::string_view text, Number least, Number most) {
  const auto number = parse_number<Number>(text);
  if (number && *number >= least && *number <= most) return *number;
  throw CLI::ValidationError(fmt::format("{}: '{}' is not a {} from {} to {}", option, text,
                                         std::is_integral_v<Number> ? "whole number" : "number",
                                         least, most));
}

// Leaves the first of equal values.
template <typename Value>
void drop_repeated(std::vector<Value>& values) {
  std::vector<Value> kept;
  for (const Value& value : values) {
    if (std::find(kept.begin(), kept.end(), value) == kept.end()) kept.push_back(value);
  }
  values = std::move(kept);
}

// An option that takes a number in [least, most], without a default.
template <typename Number, typename Target>
CLI::Option* add_number_to(CLI::App& app, const std::string& name, Target& target, Number least,
                           Number most, const std::string& help) {
  const auto store = [&target, name, least, most](const std::string& text) {
    target = number_in(name, text, least, most);
  };
  return app.add_option_function<std::string>(name, store, help)
      ->type_name(std::is_integral_v<Number> ? "INT" : "FLOAT");
}

// `number` holds its default; one outside the bounds stands for none.
template <typename Number>
CLI::Option* add_number(CLI::App& app, const std::string& name, Number& number,
                        std::type_identity_t<Number> least, std::type_identity_t<Number> most,
                        const std::string& help) {
  CLI::Option* option = add_number_to<Number>(app, name, number, least, most, help);
  return number >= least ? option->default_str(fmt::format("{}", number)) : option;
}

template <typename Number>
CLI::Option* add_number(CLI::App& app, const std::string& name, std::optional<Number>& number,
                        std::type_identity_t<Number> least, std::type_identity_t<Number> most,
                        const std::string& help) {
  return add_number_to<Number>(app, name, number, least, most, help);
}

// The parts of a list that commas separate, at least one.
std::vector<std::string> split(std::string_view list);

// An option that takes several numbers in [least, most], separated by commas.
template <typename Number>
CLI::Option* add_numbers(CLI::App& app, const std::string& name, std::vector<Number>& numbers,
                         std::type_identity_t<Number> least, std::type_identity_t<Number> most,
                         const std::string& help) {
  const auto store = [&numbers, name, least, most](const std::string& list) {
    numbers.clear();
    for (const std::string& text : split(list)) {
      numbers.push_back(number_in(name, text, least, most));
    }
  };
  return app.add_option_function<std::string>(name, store, help);
}

// An option that names a file or a folder. `path` holds its default; an empty one stands for none.
template <typename Path>
CLI::Option* add_path(CLI::App& app, const std::string& name, Path& path, const std::string& help) {
  const auto store = [&path, name](const std::string& text) {
    if (text.empty()) {
      throw CLI::ValidationError(fmt::format("{}: '' names nothing: leave it out", name));
    }
    if (text == "-") {
      throw CLI::ValidationError(
          fmt::format("{} -: only files and folders are read and written: name one", name));
    }
    path = text;
  };
  CLI::Option* option = app.add_option_function<std::string>(name, store, help);
  if (!path.empty()) option->default_str(std::filesystem::path(path).string());
  return option->type_name("PATH");
}

// What the ranks compute on: CPU cores, or GPUs.
struct DeviceOptions {
  bool cuda = false;
  std::vector<int> gpus;  // none: all that there are
  std::optional<GpuTransport> transport;
  std::optional<bool> cuda_graphs;  // PipelineOptions'
  std::optional<GpuAttention> attention;

  // As World's constructors.
  World world(int ranks, int threads, const std::optional<Link>& link = std::nullopt) const;
  // The library's options with those of --cuda-graphs and --attention.
  PipelineOptions pipeline_options() const;
  // The GPUs that ranks compute on, by number: those named or, where none is, all that there are.
  // Empty on the cpu. As World::gpu_count().
  std::vector<int> used_gpus() const;
  GpuTransport gpu_transport() const { return transport.value_or(GpuTransport::peer); }
};
// --device and --transport.
void add_device_options(CLI::App& app, DeviceOptions& options);
// --cuda-graphs and --attention.
void add_gpu_options(CLI::App& app, DeviceOptions& options);
// Of options that do not go together; empty where all is well. `threads` as they were asked for.
std::string contradiction(const DeviceOptions& options, DataType dtype, int threads);

// A picture's size in pixels.
struct Size {
  int width = 0;
  int height = 0;

  friend bool operator==(const Size&, const Size&) = default;
};
// Throws CLI::ValidationError unless `text` is WxH, each from 1 to kMostPixels.
Size parse_size(const std::string& text);

// The exit status of a run that ends here, if it does: help was asked for (0, printed on the
// standard output), or the command line is wrong (2, one line on the standard error).
std::optional<int> parse(CLI::App& app, int argc, char** argv);

// `text` with line ends as spaces and other control characters as \x1b, for a terminal.
std::string one_line(std::string_view text);
// One line on the standard error; returns the exit status, 2.
int usage_error(const CLI::App& app, const std::string& text);
// One line that begins `error:` on the standard error; returns the exit status, 1.
int report_error(const std::exception& error);

}  // namespace pcpp::examples

#endif  // PCPP_EXAMPLES_COMMAND_LINE_H_
