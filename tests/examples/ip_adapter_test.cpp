// Pictures that IP-Adapters have a part in.

#include <gtest/gtest.h>

#include <cstdint>
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

class IpAdapterTest : public GenerateRuns {
 protected:
  IpAdapterTest() {
    for (const char* name : {"a.png", "b.png"}) {
      Image image{30, 40, {}};
      for (int i = 0; i < 3 * 30 * 40; ++i) {
        image.rgb.push_back(static_cast<std::uint8_t>(i * (name[0] == 'a' ? 7 : 3) % 256));
      }
      write_png(place(name), image);
    }
  }

  // Without images.
  static Words adapter(const std::string& name) {
    return {"--ip-adapter", data("ip_adapter/" + name + ".safetensors"), "--image-encoder",
            data("ip_adapter/vision")};
  }
  static Words joined(Words words, const Words& more) {
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  void draw(const Words& more, const std::string& output) const {
    const Outcome outcome =
        generate(joined(more, {"--output", place(output), "--report", place("report.json")}));
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
  }
};

TEST_F(IpAdapterTest, ReadsThePictureAndSaysSo) {
  const Words one = joined({"--prompt", "a fox"}, adapter("sd15_plain"));
  draw(joined(one, {"--ip-image", place("a.png")}), "x.png");
  draw(joined(one, {"--ip-image", place("b.png")}), "y.png");
  EXPECT_NE(read_png(place("x.png")).rgb, read_png(place("y.png")).rgb);
  draw(joined(one, {"--ip-adapter", data("ip_adapter/sd15_plus.safetensors"), "--ip-image",
                    place("a.png"), "--ip-image", place("b.png"), "--ip-scale", "0.5,-1.25"}),
       "z.png");
  std::map<std::string, std::string> text;
  EXPECT_EQ(read_png(place("z.png"), &text).height, 128);
  EXPECT_EQ(text.at("image_prompts"),
            "sd15_plain.safetensors:0.5 by a.png; sd15_plus.safetensors:-1.25 by b.png");
  const nlohmann::json report = nlohmann::json::parse(std::ifstream(place("report.json")));
  const nlohmann::json expected = {{"ip_adapter", data("ip_adapter/sd15_plus.safetensors")},
                                   {"image_encoder", data("ip_adapter/vision")},
                                   {"images", {place("b.png")}},
                                   {"scale", -1.25}};
  EXPECT_EQ(report.at("settings").at("image_prompts")[1], expected);
  EXPECT_GT(report.at("seconds").at("image_prompts"), 0);
}

TEST_F(IpAdapterTest, EachPromptMayHaveItsPicture) {
  const Words two = joined({"--prompt", "a", "--prompt", "a"}, adapter("sd15_plus"));
  draw(joined(two, {"--ip-image", place("a.png")}), "x.png");
  draw(joined(two, {"--ip-image", place("a.png"), "--ip-image", place("b.png")}), "y.png");
  EXPECT_EQ(read_png(place("x-1.png")).rgb, read_png(place("y-1.png")).rgb);
  EXPECT_NE(read_png(place("x-2.png")).rgb, read_png(place("y-2.png")).rgb);
}

TEST_F(IpAdapterTest, NoOutputTakesThePlaceOfWhatIsRead) {
  fs::copy(data("ip_adapter/vision"), place("vision"));
  fs::copy(data("ip_adapter/sd15_plain.safetensors"), place("plain.safetensors"));
  const auto size = fs::file_size(place("plain.safetensors"));
  for (const std::string& output :
       {place("vision") + "/config.json", place("plain.safetensors"), place("a.png")}) {
    const Outcome drawn = generate({"--prompt", "a", "--ip-adapter", place("plain.safetensors"),
                                    "--image-encoder", place("vision"), "--ip-image",
                                    place("a.png"), "--output", "none", "--report", output});
    EXPECT_EQ(drawn.status, 1);
    EXPECT_NE(drawn.errors.find(output), std::string::npos) << drawn.errors;
  }
  EXPECT_EQ(fs::file_size(place("plain.safetensors")), size);
}

TEST_F(IpAdapterTest, RefusesWhatDoesNotFit) {
  const std::string image = place("a.png");
  const std::string file = data("ip_adapter/sd15_plain.safetensors");
  const Words plain = adapter("sd15_plain");
  struct Refusal {
    Words more;
    int status;
    std::string text;
  };
  for (const Refusal& refusal : std::vector<Refusal>{
           {{"--ip-image", image}, 2, "--ip-image is for --ip-adapter"},
           {{"--image-encoder", image}, 2, "--image-encoder is for --ip-adapter"},
           {{"--ip-scale", "1"}, 2, "--ip-scale is for --ip-adapter"},
           {{"--ip-adapter", file, "--ip-image", image}, 2, "0 image encoders for 1 IP-Adapters"},
           {plain, 2, "0 images for 1 IP-Adapters"},
           {joined(plain, {"--image-encoder", image, "--ip-image", image}), 2,
            "2 image encoders for 1 IP-Adapters"},
           {joined(plain, {"--ip-adapter", file, "--ip-image", image}), 2,
            "1 images for 2 IP-Adapters"},
           {joined(plain, {"--ip-image", image, "--ip-scale", "1,2"}), 2,
            "--ip-scale has 2 numbers for 1 IP-Adapters"},
           {joined(plain, {"--ip-image", image, "--ip-scale", "101"}), 2,
            "'101' is not a number from -100 to 100"},
           {{"--ip-adapter", "", "--image-encoder", "x", "--ip-image", image}, 2, "names nothing"},
           {{"--ip-adapter", file, "--image-encoder", "", "--ip-image", image}, 2, "names nothing"},
           {joined(plain, {"--ip-image", file}), 1, "sd15_plain"},
           {joined(adapter("sdxl_plain"), {"--ip-image", image}), 1, "for another model"},
           {joined(plain, {"--ip-image", image, "--ip-image", image}), 1, "for 1 prompts"},
           {{"--ip-adapter", place("none"), "--image-encoder", place("none"), "--ip-image", image},
            1,
            place("none")}}) {
    const Outcome outcome = refused(
        joined({"--prompt", "a", "--output", place("x.png")}, refusal.more), refusal.status);
    EXPECT_EQ(outcome.status, refusal.status) << refusal.text;
    EXPECT_NE(outcome.errors.find(refusal.text), std::string::npos) << outcome.errors;
  }
  EXPECT_EQ(files(), (std::vector<std::string>{"a.png", "b.png"}));
}

}  // namespace
}  // namespace pcpp
