// bench_denoise: what each method costs and what it does to the picture. See benchmarks/README.md.

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "bench_options.h"
#include "combination.h"
#include "drawing.h"
#include "other_programs.h"
#include "pcpp/output_file.h"
#include "summary.h"
#include "verification.h"

namespace pcpp::benchmarks {

namespace {

GenerationRequest make_request(const BenchOptions& options, const Combination& combination,
                               int steps, int sync_steps) {
  GenerationRequest request;
  request.prompts = options.prompts;
  request.width = combination.size.width;
  request.height = combination.size.height;
  request.steps = steps;
  request.guidance_scale = options.guidance_scale;
  request.seed = options.seed;
  request.scheduler = options.scheduler;
  request.parallel = combination.parallel(sync_steps);
  request.parallel.group_norm = options.group_norm;
  request.parallel.row_format = options.row_format;
  request.decode = false;
  request.ranks_in_turn = options.in_turn;
  return request;
}

// Every combination draws two synchronous steps as one device does, and short runs with steady
// steps to the same bits and bytes each time.
void verify(const BenchOptions& options, const std::vector<Combination>& combinations) {
  constexpr int kSynchronousSteps = 2;
  constexpr int kShortSteps = 3;
  Drawing single;
  for (std::size_t i = 0; i < combinations.size(); ++i) {
    const Combination& combination = combinations[i];
    examples::print_to(stderr, "verify {}/{}: {}\n", i + 1, combinations.size(),
                       combination.text());
    const GenerationRequest again = make_request(options, combination, kShortSteps, 1);
    const std::vector<Drawing> drawings = draw_in_child(
        options, combination,
        {make_request(options, combination, kSynchronousSteps, kSynchronousSteps), again, again});
    check_same(drawings[1], drawings[2], combination.text() + ": two runs");
    if (combination.is_single()) single = drawings[0];
    if (combination.has_synchronous_steps()) {
      check_synchronous(drawings[0], single, options.dtype, combination.text());
    }
  }
}

// A warm-up, then the timed run, in one process. The warm-up decodes nothing, so that its peak is
// that of denoising. `first` has pictures and, where traces are asked for, is drawn once more.
Drawing timed_run(const BenchOptions& options, const Combination& combination, bool first) {
  const GenerationRequest warm_up = make_request(options, combination, 3, 1);
  GenerationRequest request = make_request(options, combination, options.steps, options.sync_steps);
  request.decode = first;
  std::vector<GenerationRequest> requests = {warm_up, request};
  if (first && !options.traces.empty()) {
    requests.push_back(request);
    requests.back().decode = false;
    requests.back().trace = true;
  }
  const OtherPrograms others;
  std::vector<Drawing> drawings = draw_in_child(options, combination, requests);
  drawings[1].cores = others.shares();
  if (drawings.size() > 2) {
    check_same(drawings[2], drawings[1], combination.text() + ": with a trace and without");
  }
  drawings[1].peak_bytes = drawings[0].peak_bytes;
  return std::move(drawings[1]);
}

// The first combination that differs from that of `index` in nothing but the link.
std::size_t first_that_draws_like(const std::vector<Combination>& combinations, std::size_t index) {
  const auto found = std::find_if(combinations.begin(), combinations.end(), [&](const auto& other) {
    return other.draws_like(combinations[index]);
  });
  return static_cast<std::size_t>(found - combinations.begin());
}

// By combination; the repeats go round all combinations, so that a drift of the machine hits all.
std::vector<std::vector<Drawing>> time_all(const BenchOptions& options,
                                           const std::vector<Combination>& combinations) {
  std::vector<std::vector<Drawing>> runs(combinations.size());
  for (int repeat = 0; repeat < options.repeat; ++repeat) {
    for (std::size_t i = 0; i < combinations.size(); ++i) {
      examples::print_to(stderr, "time {}/{}, {}/{}: {}\n", repeat + 1, options.repeat, i + 1,
                         combinations.size(), combinations[i].text());
      runs[i].push_back(timed_run(options, combinations[i], repeat == 0));
      check_same(runs[i].back(), runs[i].front(), combinations[i].text() + ": repeats");
      const std::size_t like = first_that_draws_like(combinations, i);
      check_same(runs[i].back(), runs[like].front(), combinations[i].text() + ": links");
    }
  }
  return runs;
}

std::vector<Summary> summarize_all(const BenchOptions& options,
                                   const std::vector<Combination>& combinations,
                                   const std::vector<std::vector<Drawing>>& runs) {
  std::vector<Summary> summaries;
  std::size_t single = 0;
  for (std::size_t i = 0; i < combinations.size(); ++i) {
    if (combinations[i].is_single()) single = i;
    summaries.push_back(summarize(combinations[i], options, runs[i], runs[single].front()));
    summaries[i].speedup = summaries[single].step_ms.median / summaries[i].step_ms.median;
  }
  return summaries;
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw OutputError(fmt::format("cannot write {}: {}; name a folder that can be made",
                                  folder.string(), error.message()));
  }
}

void check_outputs(const BenchOptions& options) {
  if (!options.json.empty()) check_writable(options.json);
  if (!options.traces.empty()) {
    make_folder(options.traces);
    check_writable(options.traces / Combination().trace_name());
  }
  if (options.pictures.empty()) return;
  make_folder(options.pictures);
  check_writable(options.pictures / Combination().picture_names(1).front());
}

// Links change no picture, so there is one file of each for all links.
void write_pictures(const BenchOptions& options, const std::vector<Combination>& combinations,
                    const std::vector<std::vector<Drawing>>& runs) {
  for (std::size_t i = 0; i < combinations.size(); ++i) {
    if (first_that_draws_like(combinations, i) != i) continue;
    const std::vector<Image>& images = runs[i].front().images;
    const std::vector<std::string> names = combinations[i].picture_names(images.size());
    for (std::size_t picture = 0; picture < images.size(); ++picture) {
      write_png(options.pictures / names[picture], images[picture]);
    }
  }
}

void warn_of_others(const std::vector<Summary>& summaries) {
  double most = 0;
  for (const Summary& summary : summaries) {
    if (summary.cores && summary.cores->are_busy()) most = std::max(most, summary.cores->others);
  }
  if (most == 0) return;
  examples::print_to(stderr,
                     "warning: other programs kept {:.1f} of {} cores busy while this was timed: "
                     "times are too long, and speed-ups wrong; measure on an idle machine\n",
                     most, World::cores());
}

void run(const BenchOptions& options) {
  check_outputs(options);
  const ModelInfo model = read_model_info(options.model);
  const std::vector<Combination> combinations = make_combinations(options, model);
  for (const Combination& combination : combinations) {
    model.check(make_request(options, combination, options.steps, options.sync_steps),
                combination.ranks);
  }
  verify(options, combinations);
  const std::vector<std::vector<Drawing>> runs = time_all(options, combinations);
  const std::vector<Summary> summaries = summarize_all(options, combinations, runs);
  warn_of_others(summaries);
  const std::string environment = environment_line(options, runs.front().front().scheduler);
  if (!options.pictures.empty()) write_pictures(options, combinations, runs);
  if (!options.json.empty()) {
    std::string lines = environment;
    for (const Summary& summary : summaries) lines += json_line(summary, options);
    write_file(options.json, lines);
  }
  examples::print_to(stdout, "{}\n{}", environment, markdown_table(summaries));
}

int main_with(int argc, char** argv) {
  examples::hold_closed_streams();
  const auto parsed = parse_command_line(argc, argv);
  if (const int* status = std::get_if<int>(&parsed)) return *status;
  try {
    run(std::get<BenchOptions>(parsed));
    return examples::finish_output();
  } catch (const std::exception& error) {
    return examples::report_error(error);
  }
}

}  // namespace

}  // namespace pcpp::benchmarks

int main(int argc, char** argv) { return pcpp::benchmarks::main_with(argc, argv); }
