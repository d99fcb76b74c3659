// Several pictures of one command.

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "examples/generate_runs.h"
#include "pcpp/pcpp.h"

namespace pcpp {
namespace {

using BatchesTest = GenerateRuns;

TEST_F(BatchesTest, SeveralSeedsMakeSeveralRuns) {
  const auto draw = [&](const std::string& seeds, const std::string& output) {
    const Outcome outcome =
        generate({"--prompt", "a fox", "--images", "2", "--steps", "2", "--method", "single",
                  "--seed", seeds, "--output", place(output)});
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
  };
  draw("3,5", "x.png");
  draw("5", "y.png");
  EXPECT_EQ(files(), (Words{"x-1.png", "x-2.png", "x-3.png", "x-4.png", "y-1.png", "y-2.png"}));
  std::map<std::string, std::string> text;
  const Image fourth = read_png(place("x-4.png"), &text);
  EXPECT_EQ(text.at("seed"), "5");
  EXPECT_EQ(text.at("image"), "1");
  EXPECT_EQ(fourth.rgb, read_png(place("y-2.png")).rgb);
  EXPECT_NE(read_png(place("x-2.png")).rgb, fourth.rgb);
}

TEST_F(BatchesTest, PromptsAndImagesMakeOneBatch) {
  const Outcome outcome =
      generate({"--prompt", "a fox", "--prompt", "a moon", "--images", "2", "--steps", "2",
                "--method", "single", "--output", place("many.png")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(files(), (Words{"many-1.png", "many-2.png", "many-3.png", "many-4.png"}));
  std::map<std::string, std::string> text;
  read_png(place("many-3.png"), &text);
  EXPECT_EQ(text.at("positive_prompt"), "a moon");
}

}  // namespace
}  // namespace pcpp
