// `generate` as other programs call it: its options, its files, its exit statuses.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "examples/generate_runs.h"
#include "examples/parsing.h"
#include "pcpp/pcpp.h"

namespace pcpp {
namespace {

using CommandLineTest = GenerateRuns;

long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

// The folder lacks all that a model is loaded from but the configs that a request is judged by.
TEST_F(CommandLineTest, RefusesABadRequestBeforeTheModelIsLoaded) {
  for (const char* config :
       {"unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"}) {
    folder_.write(std::string("configs/") + config,
                  testing::read_text(data(std::string("models/sd15/") + config)));
  }
  const Words all = {"--model", place("configs"), "--prompt", "a fox", "--output", place("x.png")};
  Words wide = all;
  wide.insert(wide.end(), {"--width", "257"});
  for (const auto& [more, text] :
       {std::pair{wide, "width 257 is not a multiple of 8"}, std::pair{all, "no text encoder"}}) {
    const Outcome outcome = generate(more);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.errors.find(text), std::string::npos) << outcome.errors;
    EXPECT_EQ(files(), Words{"configs"});
  }
}

TEST_F(CommandLineTest, DrawsAPictureWithItsSettingsAndReport) {
  const Outcome outcome = generate(
      {"--prompt", "a fox \xC3\xA9", "--negative-prompt", "rain", "--seed", "18446744073709551615",
       "--ranks", "2", "--output", place("fox.png"), "--report", place("fox.json"), "--trace",
       place("trace.json"), "--convolution-times", place("times.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(outcome.output, place("fox.png") + "\n");
  EXPECT_EQ(lines(outcome.errors), 6);
  std::map<std::string, std::string> text;
  const Image image = read_png(place("fox.png"), &text);
  EXPECT_EQ(image.width, 64);
  EXPECT_EQ(image.height, 128);
  EXPECT_EQ(text.at("positive_prompt"), "a fox \xC3\xA9");
  EXPECT_EQ(text.at("parameters"),
            "a fox \xC3\xA9\nNegative prompt: rain\nSteps: 6, Sampler: DDIM, CFG scale: 7.5, Seed: "
            "18446744073709551615, Size: 64x128, Model: sd15, RNG: CPU, Version: libpcpp " +
                std::string(version()));
  EXPECT_EQ(text.at("negative_prompt"), "rain");
  EXPECT_EQ(text.at("seed"), "18446744073709551615");
  EXPECT_EQ(text.at("Software"), "libpcpp " + std::string(version()));
  EXPECT_EQ(text.at("method"), "pcpp");
  EXPECT_EQ(text.at("model"), "sd15");
  EXPECT_EQ(text.at("convolution_times"), "times.json");
  EXPECT_FALSE(text.contains("cuda_graphs"));

  const nlohmann::json report = nlohmann::json::parse(std::ifstream(place("fox.json")));
  EXPECT_EQ(report.at("version"), version());
  EXPECT_EQ(report.at("settings").at("partial"), 0.3);
  EXPECT_EQ(report.at("settings").at("pool"), 0);
  EXPECT_EQ(report.at("settings").at("ranks"), 2);
  EXPECT_EQ(report.at("settings").at("convolution_times"), place("times.json"));
  for (const char* unused : {"profile", "transport", "cuda_graphs", "attention"}) {
    EXPECT_TRUE(report.at("settings").at(unused).is_null()) << unused;
  }
  ASSERT_EQ(report.at("ranks").size(), 2U);
  EXPECT_EQ(report.at("ranks")[0].at("rows"), (std::vector<int>{0, 8}));
  EXPECT_EQ(report.at("ranks")[1].at("rows"), (std::vector<int>{8, 16}));
  const nlohmann::json& steps = report.at("ranks")[0].at("steps");
  ASSERT_EQ(steps.size(), 6U);
  EXPECT_EQ(steps[1].at("kind"), "synchronous");
  EXPECT_EQ(steps[2].at("kind"), "steady");
  for (const char* kind : {"attention", "halo", "group_norm", "gather"}) {
    EXPECT_GT(steps[2].at("sent_bytes").at(kind), 0) << kind;
  }
  EXPECT_GT(report.at("peak_bytes"), 0);
  EXPECT_GT(report.at("seconds").at("total"), 0);

  const nlohmann::json trace = nlohmann::json::parse(std::ifstream(place("trace.json")));
  EXPECT_EQ(trace.at("otherData").at("settings").at("method"), "pcpp");
  EXPECT_EQ(trace.at("otherData").at("settings").at("model"), "sd15");
  const auto steady = std::ranges::count_if(
      trace.at("traceEvents"), [](const auto& event) { return event.at("name") == "steady step"; });
  EXPECT_EQ(steady, 2 * 4);
}

TEST_F(CommandLineTest, DrawsThePictureUnlessToldNotTo) {
  const Words more = {"--prompt", "a fox", "--steps", "2", "--method", "single"};
  Words all = words(more);
  all.insert(all.end(), {"--save-latents", "l.safetensors", "--report", "r.json"});
  all.insert(all.begin(), {"/bin/sh", "-c", R"(cd "$0" && exec "$@")", place("")});
  Outcome outcome = run_process(all);
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(outcome.output, "picture.png\n");
  EXPECT_EQ(files(), (Words{"l.safetensors", "picture.png", "r.json"}));
  fs::remove(place("picture.png"));
  all.insert(all.end(), {"--output", "none"});
  outcome = run_process(all);
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(outcome.output, "");
  EXPECT_EQ(files(), (Words{"l.safetensors", "r.json"}));
}

TEST_F(CommandLineTest, EveryFileIsCheckedBeforeAnyWork) {
  fs::create_directory(place("a"));
  fs::create_directory_symlink(place("a"), place("b"));
  fs::create_directory(place("q-2.png"));
  fs::create_symlink("o-1.png", place("to_be"));
  const Words before = files();
  const std::vector<std::pair<Words, std::string>> failing = {
      {{"--output", place("o.png"), "--report", place("o-1.png")}, "two outputs"},
      {{"--output", place("a/o.png"), "--trace", place("b/o-2.png")}, "two outputs"},
      {{"--output", place("o.png"), "--report", place("to_be")}, "two outputs"},
      {{"--report", "none_written.json", "--trace", "./none_written.json"}, "two outputs"},
      {{"--method", "auto", "--profile", place("a/../l"), "--report", place("l")},
       "an input and for an output"},
      {{"--convolution-times", place("t"), "--trace", place("t")}, "an input and for an output"},
      {{"--lora", place("t") + ":0.5", "--report", place("t")}, "an input and for an output"},
      {{"--output", place("q.png")}, "q-2.png: it exists and is not a regular file"},
  };
  for (const auto& [more, text] : failing) {
    Words all = {"--prompt", "a fox", "--images", "2"};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = generate(all);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.errors.find(text), std::string::npos) << outcome.errors;
    EXPECT_EQ(lines(outcome.errors), 1) << outcome.errors;
    EXPECT_EQ(files(), before);
    EXPECT_TRUE(fs::is_empty(place("a")));
  }
}

TEST_F(CommandLineTest, LatentsAndEmbeddingsNeedOnlyUnetAndScheduler) {
  const TensorMap inputs = load_tensors(data("patch/inputs_32x12.safetensors"));
  TensorMap embeds = inputs;
  embeds.erase("latents");
  save_tensors(place("embeds.safetensors"), embeds);
  save_tensors(place("noise.safetensors"), {{"latents", inputs.at("latents")}});
  const Outcome outcome = run_process({PCPP_GENERATE,
                                       "--model",
                                       data("patch"),
                                       "--prompt-embeds",
                                       place("embeds.safetensors"),
                                       "--latents",
                                       place("noise.safetensors"),
                                       "--width",
                                       "96",
                                       "--height",
                                       "256",
                                       "--steps",
                                       "8",
                                       "--guidance-scale",
                                       "5",
                                       "--sync-steps",
                                       "2",
                                       "--ranks",
                                       "2",
                                       "--output",
                                       "none",
                                       "--save-latents",
                                       place("out.safetensors"),
                                       "--save-steps"});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const TensorMap saved = load_tensors(place("out.safetensors"));
  ASSERT_EQ(saved.size(), 9U);
  EXPECT_EQ(saved.at("latents").values, saved.at("step_007").values);
  const TensorMap reference = load_tensors(data("patch/pcpp_030_2.safetensors"));
  const FloatTensor& last = reference.at("step_007");
  for (std::size_t i = 0; i < last.values.size(); ++i) {
    EXPECT_NEAR(saved.at("latents").values[i], last.values[i], 1e-3);
  }
}

// Each draws other latents than the others, and the report names it.
TEST_F(CommandLineTest, EveryWordOfAnOptionIsWhatIsDrawnBy) {
  struct Option {
    std::string name;
    std::string setting;
    Words words;
    Words others;
  };
  const std::vector<Option> options = {
      {"--scheduler",
       "scheduler",
       {"ddim", "euler", "dpmpp_2m", "unipc", "pndm", "euler_ancestral", "dpmpp_2m_sde", "lcm"},
       {"--method", "single"}},
      {"--timestep-spacing",
       "timestep_spacing",
       {"leading", "linspace", "trailing"},
       {"--method", "single"}},
      {"--sigmas",
       "sigmas",
       {"timesteps", "karras", "exponential"},
       {"--method", "single", "--scheduler", "euler"}},
      {"--row-format", "row_format", {"exact", "int8", "int4"}, {"--ranks", "2"}},
      {"--group-norm",
       "group_norm",
       {"corrected", "stale", "local", "synchronous"},
       {"--ranks", "2"}}};
  for (const Option& option : options) {
    std::map<std::vector<float>, std::string> drawn;
    std::map<std::string, std::int64_t> sent;
    for (const std::string& word : option.words) {
      Words more = {"--prompt", "a fox",          "--output",
                    "none",     "--save-latents", place("l.safetensors"),
                    "--report", place("r.json"),  option.name,
                    word};
      more.insert(more.end(), option.others.begin(), option.others.end());
      const Outcome outcome = generate(more);
      ASSERT_EQ(outcome.status, 0) << outcome.errors;
      const auto latents = load_tensors(place("l.safetensors")).at("latents").values;
      const auto [known, fresh] = drawn.emplace(latents, word);
      EXPECT_TRUE(fresh) << word << " draws what " << known->second << " draws";
      const nlohmann::json report = nlohmann::json::parse(std::ifstream(place("r.json")));
      EXPECT_EQ(report.at("settings").at(option.setting), word);
      sent[word] = report.at("totals").at("sent_bytes").at("attention");
    }
    if (option.name != "--row-format") continue;
    EXPECT_LT(sent["int4"], sent["int8"]);
    EXPECT_LT(sent["int8"], sent["exact"]);
  }
}

TEST_F(CommandLineTest, GuidesAPartOfTheSteps) {
  const Outcome outcome =
      generate({"--prompt", "a", "--ranks", "2", "--sync-steps", "1", "--guidance-start", "0.2",
                "--guidance-end", "0.7", "--guidance-rescale", "0.6", "--output", "none",
                "--report", place("r.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const nlohmann::json report = nlohmann::json::parse(std::ifstream(place("r.json")));
  EXPECT_EQ(report.at("settings").at("guidance_start"), 0.2);
  EXPECT_EQ(report.at("settings").at("guidance_end"), 0.7);
  EXPECT_EQ(report.at("settings").at("guidance_rescale"), 0.6);
  Words kinds;
  for (const nlohmann::json& step : report.at("ranks")[0].at("steps"))
    kinds.push_back(step.at("kind"));
  // Steps 2 and 3 of 6 have guidance.
  EXPECT_EQ(kinds,
            (Words{"synchronous", "steady", "synchronous", "steady", "synchronous", "steady"}));
}

TEST_F(CommandLineTest, WrongUsageIsOneLineAndStatusTwo) {
  const std::vector<Words> wrong = {
      {},
      {"--prompt", "a", "--nonsense"},
      {"--prompt", "a", "--steps", "many"},
      {"--prompt", "a", "--method", "magic"},
      {"--prompt", "a", "--device", "abacus"},
      {"--prompt", "a", "--device", "cuda:"},
      {"--prompt", "a", "--device", "cuda:0,x"},
      {"--prompt", "a", "--device", "cuda", "--threads", "2"},
      {"--prompt", "a", "--transport", "nccl"},
      {"--prompt", "a", "--cuda-graphs", "off"},
      {"--prompt", "a", "--device", "cuda", "--cuda-graphs", "maybe"},
      {"--prompt", "a", "--attention", "flash"},
      {"--prompt", "a", "--device", "cuda", "--attention", "fast"},
      {"--prompt", "a", "--dtype", "float16"},
      {"--prompt", "a", "--seed", "-1"},
      {"--prompt", "a", "--seed", "18446744073709551616"},
      {"--prompt", "a", "--seed", "1,"},
      {"--prompt", "a", "--seed", "1,2", "--report", "r.json"},
      {"--prompt", "a", "--seed", "1,2", "--latents", "l.safetensors"},
      {"--prompt", "a", "--prompt-embeds", "b"},
      {"--prompt", "a", "--save-steps"},
      {"--prompt", "a", "--save-latents", "l", "--save-steps=-5"},
      {"--prompt", "a", "--method", "single", "--ranks", "2"},
      {"--prompt", "a", "--method", "distrifusion", "--partial", "0.3"},
      {"--prompt", "a", "--method", "single", "--pool", "16"},
      {"--prompt", "a", "--profile", "profile.json"},
      {"--prompt", "a", "--output", ""},
      {"--prompt", "a", "--output", "a.JPG"},
      {"--prompt", "a", "--output", "-"},
      {"--prompt", "a", "--variant", ""},
      {"--prompt-embeds", "b", "--clip-skip", "1"},
      {"--prompt-embeds", "b", "--prompt-syntax", "comfyui"},
      {"--prompt", "a", "--report", ""},
      {"--prompt", "a", "--lora", ""},
      {"--prompt", "a", "--lora", ":0.5"},
      {"--prompt", "a", "--lora", "a.safetensors:nan"},
      {"--prompt", "a", "--textual-inversion", "a.safetensors:"},
      {"--prompt", "a", "--textual-inversion", ""},
      {"--prompt", "a", "--clip-skip", "-1"},
      {"--prompt", "a", "--guidance-end", "1.5"},
      {"--prompt", "a", "--guidance-end", "0.5", "--guidance-scale", "1"},
      {"--prompt", "a", "--guidance-rescale", "1.5"},
      {"--prompt", "a", "stray"},
  };
  for (const Words& words : wrong) {
    const Outcome outcome = parsed(words);
    EXPECT_EQ(outcome.status, 2) << outcome.errors;
    EXPECT_EQ(lines(outcome.errors), 1) << outcome.errors;
    EXPECT_EQ(outcome.output, "");
  }
  EXPECT_EQ(parsed({"--prompt", "a"}).status, testing::kGoesOn);
  const Outcome started = generate(wrong.back());
  EXPECT_EQ(started.status, 2);
  EXPECT_EQ(started.errors, parsed(wrong.back()).errors);
  EXPECT_EQ(run_process({PCPP_GENERATE, "--help"}).status, 0);
}

TEST_F(CommandLineTest, TellsItsVersion) {
  const std::string name = "libpcpp " + std::string(version());
  const Outcome told = run_process({PCPP_GENERATE, "--version"});
  EXPECT_EQ(told.status, 0);
  EXPECT_EQ(told.output, name + "\n");
}

TEST_F(CommandLineTest, ErrorsAreOneLineWithoutControlCharacters) {
  const std::string wild = "a\x1b[31m\r\n\u009bx";
  for (const Words& words : {Words{"--steps", wild}, Words{wild}, Words{"--model", place(wild)},
                             Words{"--latents", place(wild)}}) {
    Words all = {"--prompt", "a fox"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = generate(all);
    EXPECT_NE(outcome.status, 0);
    EXPECT_NE(outcome.errors.find("a\\x1b[31m\\x0d \\xc2\\x9bx"), std::string::npos)
        << outcome.errors;
    EXPECT_EQ(lines(outcome.errors), 1) << outcome.errors;
    EXPECT_TRUE(outcome.errors.ends_with('\n'));
  }
}

TEST_F(CommandLineTest, NumbersOutsideTheirBoundsAreNamedWithThem) {
  const std::vector<std::array<std::string, 3>> wrong = {
      {"--width", "abc", "whole number from 1 to 16384"},
      {"--height", "", "whole number from 1 to 16384"},
      {"--steps", "2.5", "whole number from 1 to 2147483647"},
      {"--guidance-scale", "", "number from 0 to 1000"},
      {"--guidance-scale", "nan", "number from 0 to 1000"},
      {"--seed", "-1", "whole number from 0 to 18446744073709551615"},
      {"--images", "0", "whole number from 1 to 1024"},
      {"--ranks", "0", "whole number from 1 to 1024"},
      {"--threads", "", "whole number from 1 to 1024"},
      {"--extra-weight-mb", "9223372036854775807", "whole number from 0 to 9223372036854"},
      {"--partial", "1.5", "number from 0 to 1"},
      {"--pool", "", "whole number from 0 to 2147483647"},
      {"--sync-steps", "99999999999", "whole number from 0 to 2147483647"},
      {"--bands", "", "whole number from 1 to 2147483647"},
      {"--bands", "8,,8", "whole number from 1 to 2147483647"},
  };
  for (const auto& [option, value, rule] : wrong) {
    // The last of several counts.
    const Outcome outcome = parsed({"--prompt", "a", option, "1", option, value});
    const std::string part = value == "8,,8" ? "" : value;
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.errors, "generate: " + option + ": '" + part + "' is not a " + rule +
                                  " (see generate --help)\n");
  }
}

TEST_F(CommandLineTest, OtherFailuresNameTheValueAndLeaveNoFile) {
  std::ofstream(place("broken.safetensors")) << "not a tensor file";
  fs::create_symlink(place("circle"), place("circle"));
  const std::vector<std::pair<Words, std::string>> failing = {
      {{"--model", place("nowhere")}, "nowhere"},
      {{"--width", "100"}, "width 100"},
      {{"--ranks", "9"}, "9 patches"},
      {{"--sync-steps", "0", "--ranks", "2"}, "0 synchronous steps"},
      {{"--latents", place("broken.safetensors")}, "broken.safetensors"},
      {{"--latents", place("none")}, "none: No such file or directory; name a file that can be"},
      {{"--convolution-times", place("circle")}, "circle: Too many levels of symbolic links; name"},
      {{"--lora", place("none")}, "none: No such file or directory; name a file that can be"},
      {{"--lora", place("broken.safetensors") + ":0.5"}, "broken.safetensors"},
      {{"--textual-inversion", place("broken.safetensors") + ":glow"}, "broken.safetensors: "},
      {{"--clip-skip", "99"}, "clip_skip of 99: from 0 to"},
      {{"--report", place("no/such/report.json")}, "no/such"},
      {{"--trace", place("no/such/trace.json")}, "no/such"},
      {{"--report", place("x.png")}, "two outputs"},
      {{"--output", "/proc/x.png"}, "/proc/x.png"},
      {{"--prompt", "\xFF"}, "UTF-8"},
      {{"--device", "cuda:4711"}, "device cuda"},
  };
  for (const auto& [words, text] : failing) {
    Words all = {"--prompt", "a fox", "--output", place("x.png")};
    if (words.front() == "--output") all.resize(2);
    all.insert(all.end(), words.begin(), words.end());
    if (words.front() == "--model") {
      all.insert(all.begin(), PCPP_GENERATE);
    } else {
      all = CommandLineTest::words(all);
    }
    const Outcome outcome = run_process(all);
    EXPECT_EQ(outcome.status, 1) << text << ": " << outcome.errors;
    EXPECT_TRUE(outcome.errors.starts_with("error: ")) << outcome.errors;
    EXPECT_NE(outcome.errors.find(text), std::string::npos) << outcome.errors;
    EXPECT_EQ(lines(outcome.errors), 1) << outcome.errors;
    EXPECT_EQ(files(), (Words{"broken.safetensors", "circle"}));
  }
}

TEST_F(CommandLineTest, NamesThatAreNotUtf8AreWrittenWithReplacements) {
  const Outcome outcome = generate({"--prompt", "a fox", "--output", place("x.png"), "--report",
                                    place("x.json"), "--convolution-times", place("\xE8.json")});
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  std::map<std::string, std::string> text;
  read_png(place("x.png"), &text);
  EXPECT_EQ(text.at("convolution_times"), "\xEF\xBF\xBD.json");
}

}  // namespace
}  // namespace pcpp
