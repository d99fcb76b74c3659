// Pictures that begin with other pictures.

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "examples/generate_runs.h"
#include "pcpp/pcpp.h"

namespace pcpp {
namespace {

using InitImageTest = GenerateRuns;

TEST_F(InitImageTest, BeginsWithThePictureAndSaysSo) {
  ASSERT_EQ(generate({"--prompt", "a fox", "--output", place("first.png")}).status, 0);
  const Words asked = {
      PCPP_GENERATE, "--model",  data("models/sd15"), "--steps",          "6",
      "--prompt",    "a cat",    "--init-image",      place("first.png"), "--strength",
      "0.5",         "--output", place("x.png"),      "--report",         place("x.json")};
  const Outcome outcome = run_process(asked);
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_NE(outcome.errors.find("step 3/3"), std::string::npos) << outcome.errors;
  std::map<std::string, std::string> text;
  const Image picture = read_png(place("x.png"), &text);
  EXPECT_EQ(picture.width, 64);
  EXPECT_EQ(picture.height, 128);
  EXPECT_EQ(text.at("init_images"), "first.png");
  EXPECT_EQ(text.at("strength"), "0.5");
  const nlohmann::json report = nlohmann::json::parse(std::ifstream(place("x.json")));
  EXPECT_EQ(report.at("settings").at("init_images")[0], place("first.png"));
  EXPECT_EQ(report.at("settings").at("strength"), 0.5);
  EXPECT_GT(report.at("seconds").at("encode"), 0);
  EXPECT_EQ(report.at("ranks")[0].at("steps").size(), 3U);
  EXPECT_GT(report.at("ranks")[0].at("encode").at("compute_ms"), 0);
}

TEST_F(InitImageTest, EachPictureNamesItsOwn) {
  for (const char* name : {"a.png", "b.png"}) {
    write_png(place(name), {8, 8, std::vector<std::uint8_t>(192, 7)});
  }
  const Outcome outcome =
      generate({"--prompt", "a", "--prompt", "b", "--init-image", place("a.png"), "--init-image",
                place("b.png"), "--output", place("x.png")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  for (const auto& [picture, image] : {std::pair{"x-1.png", "a.png"}, {"x-2.png", "b.png"}}) {
    std::map<std::string, std::string> text;
    read_png(place(picture), &text);
    EXPECT_EQ(text.at("init_images"), image);
  }
}

TEST_F(InitImageTest, MayBeAJpegFile) {
  for (const std::string kind : {"jpg", "png"}) {
    const Outcome outcome = generate(
        {"--prompt", "a", "--init-image", data("images/seen_6." + kind), "--output", place(kind)});
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
  }
  EXPECT_EQ(read_png(place("jpg")).rgb, read_png(place("png")).rgb);
}

// With a mask of all that is drawn anew, unless a strength is given.
TEST_F(InitImageTest, MasksKeepAPartAndAreNamed) {
  Image picture{64, 128, std::vector<std::uint8_t>(std::size_t{3} * 64 * 128, 200)};
  write_png(place("a.png"), picture);
  for (const char* name : {"left.png", "right.png"}) {
    for (std::size_t i = 0; i < picture.rgb.size(); ++i) {
      picture.rgb[i] = (i / 3 % 64 < 32) == (name[0] == 'l') ? 255 : 0;
    }
    write_png(place(name), picture);
  }
  const auto draw = [&](const char* first, const char* second, const char* output) {
    const Outcome outcome = generate(
        {"--prompt", "a", "--prompt", "b", "--init-image", place("a.png"), "--mask", place(first),
         "--mask", place(second), "--output", place(output), "--report", place("x.json")});
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
  };
  draw("right.png", "right.png", "y.png");
  draw("left.png", "right.png", "x.png");
  EXPECT_NE(read_png(place("x-1.png")).rgb, read_png(place("y-1.png")).rgb);
  EXPECT_EQ(read_png(place("x-2.png")).rgb, read_png(place("y-2.png")).rgb);
  for (const auto& [drawn, mask] : {std::pair{"x-1.png", "left.png"}, {"x-2.png", "right.png"}}) {
    std::map<std::string, std::string> text;
    read_png(place(drawn), &text);
    EXPECT_EQ(text.at("masks"), mask);
    EXPECT_EQ(text.at("strength"), "1.0");
  }
  const nlohmann::json report = nlohmann::json::parse(std::ifstream(place("x.json")));
  EXPECT_EQ(report.at("settings").at("masks")[1], place("right.png"));
}

TEST_F(InitImageTest, NothingIsSaidWithoutOne) {
  const Outcome outcome =
      generate({"--prompt", "a", "--output", place("x.png"), "--report", place("x.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  std::map<std::string, std::string> text;
  read_png(place("x.png"), &text);
  EXPECT_FALSE(text.contains("init_images"));
  EXPECT_FALSE(text.contains("strength"));
  EXPECT_FALSE(text.contains("masks"));
  const nlohmann::json report = nlohmann::json::parse(std::ifstream(place("x.json")));
  EXPECT_TRUE(report.at("settings").at("strength").is_null());
  EXPECT_TRUE(report.at("ranks")[0].at("encode").is_null());
}

TEST_F(InitImageTest, RefusesWhatCannotBeBegunWith) {
  std::ofstream(place("photo.jpg")) << "not a picture";
  write_png(place("a.png"), {8, 8, std::vector<std::uint8_t>(192, 7)});
  write_png(place("b.png"), {8, 8, std::vector<std::uint8_t>(192, 7)});
  struct Refusal {
    Words more;
    int status;
    std::string text;
  };
  for (const Refusal& refusal : std::vector<Refusal>{
           {{"--init-image", place("photo.jpg")}, 1, "photo.jpg begins as neither"},
           {{"--init-image", place("none.png")}, 1, "none.png"},
           {{"--strength", "0.5"}, 2, "--strength is for --init-image"},
           {{"--mask", place("a.png")}, 2, "--mask is for --init-image"},
           {{"--init-image", place("a.png"), "--mask", place("photo.jpg")},
            1,
            "neither a PNG nor a JPEG"},
           {{"--init-image", place("b.png"), "--mask", place("a.png"), "--output", place("a.png")},
            1,
            "a.png"},
           {{"--init-image", place("a.png"), "--strength", "0"}, 1, "a strength of 0"},
           {{"--init-image", place("a.png"), "--strength", "0.1"}, 1, "leave none to make"},
           {{"--init-image", place("a.png"), "--output", place("a.png")}, 1, "a.png"}}) {
    Words asked = {"--prompt", "a", "--output", place("x.png")};
    asked.insert(asked.end(), refusal.more.begin(), refusal.more.end());
    const Outcome outcome = refused(asked, refusal.status);
    EXPECT_EQ(outcome.status, refusal.status) << refusal.text;
    EXPECT_NE(outcome.errors.find(refusal.text), std::string::npos) << outcome.errors;
  }
  EXPECT_EQ(files(), (std::vector<std::string>{"a.png", "b.png", "photo.jpg"}));
}

}  // namespace
}  // namespace pcpp
