// Pictures that ControlNets steer.

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "examples/generate_runs.h"
#include "pcpp/pcpp.h"

namespace pcpp {
namespace {

class ControlTest : public GenerateRuns {
 protected:
  ControlTest() {
    for (const char* name : {"a.png", "b.png"}) {
      Image image{64, 128, {}};
      for (int i = 0; i < 3 * 64 * 128; ++i) {
        image.rgb.push_back(static_cast<std::uint8_t>(i * (name[0] == 'a' ? 7 : 3) % 256));
      }
      write_png(place(name), image);
    }
  }
};

TEST_F(ControlTest, SteersThePictureAndSaysSo) {
  const auto draw = [&](const Words& more, const std::string& output) {
    Words asked = {PCPP_GENERATE,  "--model", data("models/sd15"), "--steps",     "4",
                   "--prompt",     "a fox",   "--output",          place(output), "--report",
                   place("x.json")};
    asked.insert(asked.end(), more.begin(), more.end());
    const Outcome outcome = run_process(asked);
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
  };
  const std::string net = data("control/sd15");
  draw({"--controlnet", net, "--control-image", place("a.png")}, "x.png");
  draw({"--controlnet", net, "--control-image", place("b.png")}, "y.png");
  EXPECT_NE(read_png(place("x.png")).rgb, read_png(place("y.png")).rgb);
  draw({"--controlnet", net, "--controlnet", data("control/sd15_bgr"), "--control-image",
        place("a.png"), "--control-image", place("b.png"), "--control-scale", "0.5,1.25",
        "--control-start", "0.1", "--control-end", "0.75,1"},
       "z.png");
  std::map<std::string, std::string> text;
  const Image picture = read_png(place("z.png"), &text);
  EXPECT_EQ(picture.width, 64);
  EXPECT_EQ(picture.height, 128);
  EXPECT_EQ(text.at("controls"),
            "sd15:0.5 from 0.1 to 0.75 by a.png; sd15_bgr:1.25 from 0.1 to 1 by b.png");
  const nlohmann::json report = nlohmann::json::parse(std::ifstream(place("x.json")));
  const nlohmann::json expected = {{"controlnet", data("control/sd15_bgr")},
                                   {"images", {place("b.png")}},
                                   {"scale", 1.25},
                                   {"start", 0.1},
                                   {"end", 1.0}};
  EXPECT_EQ(report.at("settings").at("controls")[1], expected);
}

TEST_F(ControlTest, EachPromptMayHaveItsImage) {
  const Words prompts = {"--prompt", "a", "--prompt", "a", "--controlnet", data("control/sd15")};
  const auto draw = [&](const Words& images, const std::string& output) {
    Words asked = prompts;
    asked.insert(asked.end(), images.begin(), images.end());
    asked.insert(asked.end(), {"--output", place(output)});
    const Outcome outcome = generate(asked);
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
  };
  draw({"--control-image", place("a.png")}, "x.png");
  draw({"--control-image", place("a.png"), "--control-image", place("b.png")}, "y.png");
  EXPECT_EQ(read_png(place("x-1.png")).rgb, read_png(place("y-1.png")).rgb);
  EXPECT_NE(read_png(place("x-2.png")).rgb, read_png(place("y-2.png")).rgb);
}

// Neither a ControlNet nor a model is written over.
TEST_F(ControlTest, NoOutputTakesThePlaceOfWhatIsRead) {
  const fs::path net = place("net");
  fs::copy(data("control/sd15"), net);
  fs::copy(net / "diffusion_pytorch_model.safetensors", place("net.safetensors"));
  const auto size = fs::file_size(place("net.safetensors"));
  for (const auto& [from, output] :
       {std::pair{net, net / "config.json"},
        {fs::path(place("net.safetensors")), fs::path(place("net.safetensors"))}}) {
    const Outcome drawn =
        generate({"--prompt", "a", "--controlnet", from.string(), "--control-image", place("a.png"),
                  "--output", "none", "--report", output.string()});
    EXPECT_EQ(drawn.status, 1);
    EXPECT_NE(drawn.errors.find(output.string()), std::string::npos) << drawn.errors;
    const Outcome planned =
        run_process({PCPP_PLAN, "--model", data("models/sd15"), "--controlnet", from.string(),
                     "--profile", "a100-nvlink", "--json", output.string()});
    EXPECT_EQ(planned.status, 1);
  }
  EXPECT_EQ(fs::file_size(place("net.safetensors")), size);
  EXPECT_TRUE(nlohmann::json::parse(std::ifstream(net / "config.json")).is_object());
  EXPECT_EQ(generate({"--prompt", "a", "--controlnet", net.string(), "--control-image",
                      place("a.png"), "--output", (net / "new.png").string()})
                .status,
            0);
}

TEST_F(ControlTest, RefusesWhatDoesNotFit) {
  const std::string net = data("control/sd15");
  const std::string image = place("a.png");
  struct Refusal {
    Words more;
    int status;
    std::string text;
  };
  for (const Refusal& refusal : std::vector<Refusal>{
           {{"--control-image", image}, 2, "--control-image is for --controlnet"},
           {{"--control-scale", "1"}, 2, "--control-scale is for --controlnet"},
           {{"--control-start", "0"}, 2, "--control-start is for --controlnet"},
           {{"--control-end", "1"}, 2, "--control-end is for --controlnet"},
           {{"--controlnet", net}, 2, "0 control images for 1 ControlNets"},
           {{"--controlnet", net, "--controlnet", net, "--control-image", image},
            2,
            "1 control images for 2 ControlNets"},
           {{"--controlnet", net, "--control-image", image, "--control-scale", "1,2"},
            2,
            "--control-scale has 2 numbers for 1 ControlNets"},
           {{"--controlnet", net, "--control-image", image, "--control-end", "2"},
            2,
            "'2' is not a number from 0 to 1"},
           {{"--controlnet", net, "--control-image", image, "--control-start", "1"},
            1,
            "a control from 1 to 1 of the steps"},
           {{"--controlnet", net, "--control-image", image, "--output", image}, 1, "a.png"},
           {{"--controlnet", net, "--control-image", net}, 1, "sd15"},
           {{"--controlnet", data("control/sdxl"), "--control-image", image},
            1,
            "it is for another model"},
           {{"--controlnet", "", "--control-image", image}, 2, "names nothing"},
           {{"--controlnet", place("none"), "--control-image", image}, 1, "there is no folder"}}) {
    Words asked = {"--prompt", "a", "--output", place("x.png")};
    asked.insert(asked.end(), refusal.more.begin(), refusal.more.end());
    const Outcome outcome = refused(asked, refusal.status);
    EXPECT_EQ(outcome.status, refusal.status) << refusal.text;
    EXPECT_NE(outcome.errors.find(refusal.text), std::string::npos) << outcome.errors;
  }
  EXPECT_EQ(files(), (std::vector<std::string>{"a.png", "b.png"}));
}

}  // namespace
}  // namespace pcpp
