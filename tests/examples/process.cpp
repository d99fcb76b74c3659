#include "examples/process.h"

#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

extern char** environ;

namespace pcpp::testing {

namespace {

struct Pipe {
  std::array<int, 2> ends{};
  Pipe() {
    if (pipe(ends.data()) != 0) throw std::runtime_error("no pipe");
  }
};

// Adds what is there to `text`; false at the end.
bool read_some(int descriptor, std::string& text) {
  std::array<char, 4096> buffer{};
  const ssize_t count = read(descriptor, buffer.data(), buffer.size());
  if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
  return count > 0;
}

pid_t start(const std::vector<std::string>& words, const Pipe& output, const Pipe& errors) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions{};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output.ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors.ends[1], STDERR_FILENO);
  for (const Pipe* pipe : {&output, &errors}) {
    for (const int end : pipe->ends) posix_spawn_file_actions_addclose(&actions, end);
  }
  pid_t process = 0;
  const int failed =
      posix_spawn(&process, arguments.front(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(output.ends[1]);
  close(errors.ends[1]);
  if (failed != 0) throw std::runtime_error("cannot start " + words.front());
  return process;
}

}  // namespace

Outcome run_process(const std::vector<std::string>& words,
                    const std::function<void(int, const std::string&)>& on_errors) {
  const Pipe output;
  const Pipe errors;
  const pid_t process = start(words, output, errors);
  Outcome outcome;
  std::array<pollfd, 2> watched = {pollfd{output.ends[0], POLLIN, 0},
                                   pollfd{errors.ends[0], POLLIN, 0}};
  std::array<std::string*, 2> texts = {&outcome.output, &outcome.errors};
  while (watched[0].fd >= 0 || watched[1].fd >= 0) {
    poll(watched.data(), watched.size(), -1);
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (watched[i].fd < 0 || watched[i].revents == 0) continue;
      if (!read_some(watched[i].fd, *texts[i])) watched[i].fd = -1;
      if (i == 1) on_errors(process, outcome.errors);
    }
  }
  close(output.ends[0]);
  close(errors.ends[0]);
  int status = 0;
  waitpid(process, &status, 0);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

std::vector<std::string> redirected(const std::string& redirection,
                                    const std::vector<std::string>& words) {
  std::vector<std::string> all = {"/bin/sh", "-c", "exec \"$0\" \"$@\" " + redirection};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

}  // namespace pcpp::testing
