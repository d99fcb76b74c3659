#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <string>

#include "command_line.h"

namespace pcpp::examples {

namespace {

constexpr int kBarWidth = 30;

std::string minutes_and_seconds(double seconds) {
  const auto whole = std::lround(seconds);
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::show(const StepProgress& progress) {
  if (!terminal_) {
    print_to(stderr, "step {}/{} {} {:.0f} ms\n", progress.step, progress.steps,
             name_of(progress.kind), progress.step_ms);
    return;
  }
  if (progress.step == 1) elapsed_ms_ = 0;
  elapsed_ms_ += progress.step_ms;
  const double step_seconds = elapsed_ms_ / 1e3 / progress.step;
  const double left = step_seconds * (progress.steps - progress.step);
  const int filled = kBarWidth * progress.step / progress.steps;
  print_to(stderr, "\r[{:=<{}}{: <{}}] {}/{}  {:.2f} s a step, {} left ", "", filled, "",
           kBarWidth - filled, progress.step, progress.steps, step_seconds,
           minutes_and_seconds(left));
  line_open_ = true;
  if (progress.step == progress.steps) finish();
}

void Progress::finish() {
  if (line_open_) print_to(stderr, "\n");
  line_open_ = false;
}

}  // namespace pcpp::examples
