// What OpenMP's environment allows, which oneDNN does not ask for.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>
#include <utility>
#include <vector>

#include "examples/generate_runs.h"
#include "pcpp/pcpp.h"

namespace pcpp {
namespace {

class OpenMpTest : public GenerateRuns {
 protected:
  ~OpenMpTest() override {
    for (const char* name : {"OMP_DYNAMIC", "OMP_THREAD_LIMIT", "OMP_MAX_ACTIVE_LEVELS"}) {
      unsetenv(name);
    }
  }
  Outcome draw_with(const Words& words) const {
    Words all = {"--model",        data("../../models/emoji-scenes"),
                 "--prompt",       "a fox",
                 "--ranks",        "1",
                 "--steps",        "2",
                 "--width",        "128",
                 "--height",       "128",
                 "--output",       "none",
                 "--save-latents", place("latents.safetensors")};
    all.insert(all.end(), words.begin(), words.end());
    return generate(all);
  }
  std::vector<float> latents_with(const Words& words) const {
    const Outcome outcome = draw_with(words);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return load_tensors(place("latents.safetensors")).at("latents").values;
  }
};

TEST_F(OpenMpTest, MayGiveOtherThreadsWithTheLoadAndDoesNot) {
  const std::vector<float> expected = latents_with({"--threads", "2"});
  setenv("OMP_DYNAMIC", "true", 1);
  EXPECT_EQ(latents_with({"--threads", "2"}), expected);
}

TEST_F(OpenMpTest, LimitsThreads) {
  const std::vector<float> expected = latents_with({"--threads", "1"});
  for (const auto& [name, value] :
       {std::pair{"OMP_THREAD_LIMIT", "1"}, {"OMP_MAX_ACTIVE_LEVELS", "0"}}) {
    setenv(name, value, 1);
    EXPECT_EQ(latents_with({}), expected) << name;
    const Outcome outcome = draw_with({"--threads", "2"});
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.errors.find("2 threads a rank, and OpenMP allows 1"), std::string::npos)
        << outcome.errors;
    unsetenv(name);
  }
}

}  // namespace
}  // namespace pcpp
