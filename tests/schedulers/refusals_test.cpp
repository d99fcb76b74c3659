// What a scheduler_config.json or a number of steps is refused for, and by which name.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pcpp/error.h"
#include "schedulers/config_file.h"
#include "support/errors.h"

namespace pcpp {
namespace {

// A config of the class with more keys: `rest` is empty or begins with a comma.
std::string config_of(const std::string& class_name, const std::string& rest = "") {
  return R"({"_class_name": ")" + class_name + "\"" + rest + "}";
}

template <typename E, typename Action>
void expect_error(Action action, const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "no error";
  } catch (const E& error) {
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "'" << part << "' is not in: " << error.what();
    }
  }
}

struct Refusal {
  std::string key_and_value;
  std::vector<std::string> named;
};

void expect_refused(const std::string& class_name, const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(class_name + ": " + refusal.key_and_value);
    expect_error<CheckpointError>(
        [&] { scheduler_from(config_of(class_name, ", " + refusal.key_and_value)); },
        refusal.named);
  }
}

const std::vector<Refusal> kRefusedByAll = {
    {R"("beta_strat": 0.1)", {"beta_strat", "0.1", "scheduler_config.json"}},
    {R"("predict_epsilon": false)", {"predict_epsilon"}},
    {R"("unheard_of": null)", {"unheard_of"}},
    {R"("num_train_timesteps": 1)", {"num_train_timesteps", "1", "[2, "}},
    {R"("num_train_timesteps": 1000000000)", {"num_train_timesteps", "1000000000"}},
    {R"("num_train_timesteps": "many")", {"num_train_timesteps", "many"}},
    {R"("beta_schedule": "sigmoid")", {"beta_schedule", "sigmoid", "scaled_linear"}},
    {R"("beta_start": 0)", {"beta_start", "0"}},
    {R"("beta_start": 1)", {"beta_start", "1", "between 0 and 1"}},
    {R"("beta_end": 1.5)", {"beta_end", "1.5", "between 0 and 1"}},
    {R"("beta_schedule": "linear", "beta_start": 0.98, "beta_end": 0.99)", {"beta_end", "0.99"}},
    {R"("trained_betas": [0.1, 0.2])", {"trained_betas", "1000"}},
    {R"("num_train_timesteps": 2, "trained_betas": [0.1, -0.2])", {"trained_betas"}},
    {R"("timestep_spacing": "sideways")", {"timestep_spacing", "sideways", "trailing"}},
    {R"("prediction_type": "flow_prediction")",
     {"prediction_type", "flow_prediction", "v_prediction"}},
    {R"("steps_offset": -1)", {"steps_offset", "-1"}},
    {R"("steps_offset": 1000)", {"steps_offset", "1000"}},
    {R"("rescale_betas_zero_snr": 1)", {"rescale_betas_zero_snr", "1"}},
};

TEST(SchedulerRefusals, OptionsOfAll) {
  expect_refused("DDIMScheduler", kRefusedByAll);
  expect_refused("EulerDiscreteScheduler", kRefusedByAll);
  expect_refused("DPMSolverMultistepScheduler", kRefusedByAll);
  expect_refused("EulerAncestralDiscreteScheduler", kRefusedByAll);
  expect_refused("LCMScheduler", kRefusedByAll);
}

TEST(SchedulerRefusals, OptionsOfEulerAncestral) {
  expect_refused("EulerAncestralDiscreteScheduler",
                 {{R"("prediction_type": "sample")", {"prediction_type", "sample", "epsilon"}},
                  {R"("eta": 0.5)", {"eta"}}});
}

TEST(SchedulerRefusals, OptionsOfLcm) {
  expect_refused(
      "LCMScheduler",
      {{R"("prediction_type": "original_sample")", {"prediction_type", "original_sample"}},
       {R"("original_inference_steps": 0)", {"original_inference_steps", "[1, 1000]"}},
       {R"("original_inference_steps": 1001)", {"original_inference_steps", "1001"}},
       {R"("timestep_scaling": "ten")", {"timestep_scaling", "ten"}},
       {R"("timestep_scaling": 0)", {"timestep_scaling", "above 0"}},
       {R"("timestep_scaling": -10)", {"timestep_scaling", "-10"}},
       {R"("timestep_scaling": 1e300)", {"timestep_scaling", "1e+300"}},
       {R"("num_train_timesteps": 37)", {"original_inference_steps", "[1, 37]", "50"}},
       {R"("clip_sample": true, "clip_sample_range": 0)", {"clip_sample_range", "above 0"}}});
}

TEST(SchedulerRefusals, LcmSteps) {
  const auto scheduler =
      scheduler_from(config_of("LCMScheduler", R"(, "original_inference_steps": 8)"));
  for (const int steps : {-3, 0, 9}) {
    expect_error<ConfigError>([&] { scheduler->set_steps(steps); },
                              {std::to_string(steps), "[1, 8]", "original_inference_steps"});
  }
  EXPECT_NO_THROW(scheduler->set_steps(8));
  const auto silent =
      scheduler_from(config_of("LCMScheduler", R"(, "rescale_betas_zero_snr": true)"));
  expect_error<ConfigError>([&] { silent->set_steps(4); }, {"rescale_betas_zero_snr", "epsilon"});
  EXPECT_NO_THROW(silent->set_steps(4, 1));
}

TEST(SchedulerRefusals, OptionsOfDdim) {
  expect_refused(
      "DDIMScheduler",
      {{R"("prediction_type": "original_sample")", {"prediction_type", "original_sample"}},
       {R"("clip_sample": "yes")", {"clip_sample", "yes"}},
       {R"("clip_sample_range": -1)", {"clip_sample_range", "-1"}},
       {R"("clip_sample_range": 0)", {"clip_sample_range", "above 0"}},
       {R"("thresholding": true, "dynamic_thresholding_ratio": 2)",
        {"dynamic_thresholding_ratio", "2"}},
       {R"("thresholding": true, "dynamic_thresholding_ratio": -0.1)",
        {"dynamic_thresholding_ratio", "-0.1"}},
       {R"("thresholding": true, "sample_max_value": 0.5)", {"sample_max_value", "0.5"}}});
}

TEST(SchedulerRefusals, NotTheEndsOfThresholdings) {
  for (const char* ratio : {"0", "1"}) {
    EXPECT_NO_THROW(
        scheduler_from(config_of("DDIMScheduler", R"(, "thresholding": true, "sample_max_value": 1)"
                                                  R"(, "dynamic_thresholding_ratio": )" +
                                                      std::string(ratio))));
  }
}

TEST(SchedulerRefusals, OptionsOfEuler) {
  expect_refused("EulerDiscreteScheduler",
                 {{R"("use_beta_sigmas": true)", {"use_beta_sigmas", "true"}},
                  {R"("use_karras_sigmas": true, "use_exponential_sigmas": true)",
                   {"use_karras_sigmas", "use_exponential_sigmas"}},
                  {R"("interpolation_type": "cubic")", {"interpolation_type", "cubic"}},
                  {R"("interpolation_type": "log_linear", "timestep_type": "continuous",
                       "prediction_type": "v_prediction")",
                   {"interpolation_type", "log_linear", "continuous"}},
                  {R"("timestep_type": "random")", {"timestep_type", "random"}},
                  {R"("final_sigmas_type": "one")", {"final_sigmas_type", "one"}},
                  {R"("beta_end": 0.17)", {"beta_end", "0.17", "float32"}},
                  {R"("sigma_min": 0)", {"sigma_min", "0"}},
                  {R"("sigma_max": -3)", {"sigma_max", "-3"}},
                  {R"("sigma_min": 5, "sigma_max": 4)", {"sigma_min", "5", "sigma_max"}}});
}

TEST(SchedulerRefusals, OptionsOfDpmpp2m) {
  expect_refused(
      "DPMSolverMultistepScheduler",
      {{R"("algorithm_type": "sde-dpmsolver++")", {"algorithm_type", "sde-dpmsolver++"}},
       {R"("algorithm_type": "dpmsolver")", {"algorithm_type", "dpmsolver++"}},
       {R"("solver_order": 3)", {"solver_order", "3", "2 is supported"}},
       {R"("solver_type": "euler")", {"solver_type", "euler", "midpoint"}},
       {R"("use_beta_sigmas": true)", {"use_beta_sigmas", "true"}},
       {R"("use_lu_lambdas": true)", {"use_lu_lambdas", "true"}},
       {R"("use_flow_sigmas": true)", {"use_flow_sigmas", "true"}},
       {R"("final_sigmas_type": "one")", {"final_sigmas_type", "one"}},
       {R"("lambda_min_clipped": "low")", {"lambda_min_clipped", "low"}},
       {R"("thresholding": true, "sample_max_value": 0.5)", {"sample_max_value", "0.5"}}});
}

// Python writes the default so.
TEST(SchedulerRefusals, LambdaMinClippedMayBeMinusInfinity) {
  const auto said = scheduler_from(
      config_of("DPMSolverMultistepScheduler", R"(, "lambda_min_clipped": -Infinity)"));
  const auto bare = scheduler_from(config_of("DPMSolverMultistepScheduler"));
  said->set_steps(20);
  bare->set_steps(20);
  EXPECT_EQ(said->timesteps(), bare->timesteps());
  const std::string text =
      config_of("EulerDiscreteScheduler", R"(, "lambda_min_clipped": -Infinity)");
  EXPECT_NO_THROW(scheduler_from(text));
  EXPECT_NO_THROW(scheduler_from(text, {SchedulerKind::ddim}));
}

TEST(SchedulerRefusals, SomeTakeNoSigmas) {
  for (const auto& [name, kind] : {std::pair{"DDIMScheduler", "ddim"},
                                   {"EulerAncestralDiscreteScheduler", "euler_ancestral"},
                                   {"LCMScheduler", "lcm"}}) {
    expect_error<ConfigError>(
        [&] { scheduler_from(config_of(name), {.sigmas = SigmaSpacing::karras}); },
        {kind, "sigmas", "dpmpp_2m"});
  }
}

TEST(SchedulerRefusals, PndmTakesNoSigmas) {
  expect_error<ConfigError>(
      [] {
        scheduler_from(config_of("PNDMScheduler", R"(, "skip_prk_steps": true)"),
                       {.kind = SchedulerKind::pndm, .sigmas = SigmaSpacing::karras});
      },
      {"pndm", "sigmas"});
}

TEST(SchedulerRefusals, LcmTakesNoTimestepSpacing) {
  expect_error<ConfigError>(
      [] {
        scheduler_from(config_of("LCMScheduler"), {.timestep_spacing = TimestepSpacing::trailing});
      },
      {"lcm", "timestep_spacing"});
}

TEST(SchedulerRefusals, Dpmpp2mSteps) {
  const auto scheduler =
      scheduler_from(config_of("DPMSolverMultistepScheduler", R"(, "num_train_timesteps": 50)"));
  for (const int steps : {-3, 0, 50}) {
    expect_error<ConfigError>([&] { scheduler->set_steps(steps); },
                              {std::to_string(steps), "[1, 49]"});
  }
  EXPECT_NO_THROW(scheduler->set_steps(49));
  EXPECT_THROW(scheduler->set_steps(0), ConfigError);
  EXPECT_EQ(scheduler->timesteps().size(), 49U);  // the plan before the refused one stands
  const auto offset = scheduler_from(config_of(
      "DPMSolverMultistepScheduler", R"(, "timestep_spacing": "leading", "steps_offset": 1)"));
  expect_error<ConfigError>([&] { offset->set_steps(999); }, {"1000", "steps_offset"});
  EXPECT_NO_THROW(offset->set_steps(999, 1));
  const auto clipped =
      scheduler_from(config_of("DPMSolverMultistepScheduler", R"(, "lambda_min_clipped": 100)"));
  expect_error<ConfigError>([&] { clipped->set_steps(1); }, {"lambda_min_clipped"});
}

TEST(SchedulerRefusals, AnotherClassNeedsAChoice) {
  for (const char* name : {"FlaxPNDMScheduler", "TCDScheduler", "EDMEulerScheduler"}) {
    expect_error<ConfigError>([&] { scheduler_from(config_of(name)); },
                              {name, "ddim", "euler", "dpmpp_2m", "unipc", "pndm",
                               "euler_ancestral", "lcm", "scheduler_config.json"});
    EXPECT_EQ(scheduler_from(config_of(name), {SchedulerKind::ddim})->kind(), SchedulerKind::ddim);
    EXPECT_EQ(scheduler_from(config_of(name), {SchedulerKind::euler})->kind(),
              SchedulerKind::euler);
    EXPECT_EQ(scheduler_from(config_of(name), {SchedulerKind::dpmpp_2m})->kind(),
              SchedulerKind::dpmpp_2m);
  }
  expect_error<ConfigError>([] { scheduler_from("{}"); }, {"_class_name", "missing"});
  const std::string long_name = config_of("\\u001b\\n" + std::string(100'000, 'x'));
  testing::expect_short_error<ConfigError>([&] { scheduler_from(long_name); });
  EXPECT_EQ(scheduler_from("{}", {SchedulerKind::euler})->kind(), SchedulerKind::euler);
}

// What diffusers' DDIMScheduler.from_config makes of Stable Diffusion 1.5's file.
TEST(SchedulerRefusals, PndmIsTakenForDdimWhereNoneIsChosen) {
  const std::string text = config_of(
      "PNDMScheduler", R"(, "beta_schedule": "scaled_linear", "skip_prk_steps": true)"
                       R"(, "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1)");
  const auto taken = scheduler_from(text);
  const auto chosen = scheduler_from(text, {SchedulerKind::ddim});
  EXPECT_EQ(taken->kind(), SchedulerKind::ddim);
  taken->set_steps(20);
  chosen->set_steps(20);
  EXPECT_EQ(taken->timesteps(), chosen->timesteps());
  EXPECT_EQ(scheduler_from(text, {SchedulerKind::euler})->kind(), SchedulerKind::euler);
}

TEST(SchedulerRefusals, PndmsFileIsMendedAsItsOwnClassIs) {
  const auto timesteps = [](const std::string& rest, OutdatedValues outdated) {
    const auto scheduler = scheduler_from(config_of("PNDMScheduler", rest), {}, outdated);
    scheduler->set_steps(20);
    return scheduler->timesteps();
  };
  const std::string offset = R"(, "steps_offset": 1)";
  EXPECT_EQ(timesteps("", OutdatedValues::mend), timesteps(offset, OutdatedValues::keep));
  EXPECT_NE(timesteps("", OutdatedValues::keep), timesteps(offset, OutdatedValues::keep));
}

// diffusers' other steps of it.
TEST(SchedulerRefusals, PndmMakesNoRungeKuttaSteps) {
  expect_error<CheckpointError>(
      [] { scheduler_from(config_of("PNDMScheduler"), {SchedulerKind::pndm}); },
      {"skip_prk_steps", "true"});
  expect_error<CheckpointError>(
      [] {
        scheduler_from(config_of("PNDMScheduler", R"(, "skip_prk_steps": false)"),
                       {SchedulerKind::pndm});
      },
      {"skip_prk_steps", "false", "true"});
  EXPECT_NO_THROW(scheduler_from(config_of("DDIMScheduler"), {SchedulerKind::pndm}));
  expect_error<ConfigError>(
      [] {
        scheduler_from(config_of("DDIMScheduler", R"(, "skip_prk_steps": false)"),
                       {SchedulerKind::pndm});
      },
      {"the pndm scheduler does not fit the model", "skip_prk_steps", "choose another"});
  expect_error<ConfigError>(
      [] {
        scheduler_from(config_of("DDIMScheduler", R"(, "skip_prk_steps": true,
                                 "rescale_betas_zero_snr": true)"),
                       {SchedulerKind::pndm});
      },
      {"rescale_betas_zero_snr"});
}

TEST(SchedulerRefusals, PndmSteps) {
  const auto scheduler =
      scheduler_from(config_of("PNDMScheduler", R"(, "skip_prk_steps": true, "steps_offset": 1)"),
                     {SchedulerKind::pndm});
  EXPECT_NO_THROW(scheduler->set_steps(999));
  expect_error<ConfigError>([&] { scheduler->set_steps(1000); }, {"1000", "steps_offset", "999"});
  expect_error<ConfigError>([&] { scheduler->set_steps(0); }, {"0", "[1, 1000]"});
  EXPECT_EQ(scheduler->timesteps().size(), 1000U);  // the plan before the refused one stands
}

TEST(SchedulerRefusals, UniPcOptions) {
  for (const auto& [key, value] : {std::pair{"solver_order", "4"},
                                   {"solver_order", "0"},
                                   {"predict_x0", "false"},
                                   {"solver_p", R"("DDIMScheduler")"},
                                   {"disable_corrector", "[0]"},
                                   {"use_flow_sigmas", "true"},
                                   {"use_dynamic_shifting", "true"},
                                   {"shift_terminal", "0.1"},
                                   {"use_beta_sigmas", "true"},
                                   {"solver_type", R"("bh3")"},
                                   {"prediction_type", R"("flow_prediction")"}}) {
    const std::string rest = std::string(", \"") + key + "\": " + value;
    expect_error<CheckpointError>(
        [&] { scheduler_from(config_of("UniPCMultistepScheduler", rest)); }, {key});
  }
  for (const char* rest :
       {R"(, "sigma_min": 0.1)", R"(, "sigma_max": 10)", R"(, "final_sigmas_type": "sigma_min")"}) {
    const std::string karras = std::string(rest) + R"(, "use_karras_sigmas": true)";
    EXPECT_THROW(scheduler_from(config_of("UniPCMultistepScheduler", karras)), CheckpointError);
    EXPECT_NO_THROW(scheduler_from(config_of("UniPCMultistepScheduler", rest)));
  }
}

// Beyond them diffusers divides by nothing.
TEST(SchedulerRefusals, UniPcSteps) {
  const auto scheduler =
      scheduler_from(config_of("UniPCMultistepScheduler", R"(, "num_train_timesteps": 50)"));
  for (const int steps : {-3, 0, 50}) {
    expect_error<ConfigError>([&] { scheduler->set_steps(steps); },
                              {std::to_string(steps), "[1, 49]"});
  }
  EXPECT_NO_THROW(scheduler->set_steps(49));
  EXPECT_THROW(scheduler->set_steps(0), ConfigError);
  EXPECT_EQ(scheduler->timesteps().size(), 49U);  // the plan before the refused one stands
  const auto ends =
      scheduler_from(config_of("UniPCMultistepScheduler", R"(, "final_sigmas_type": "sigma_min",
                "timestep_spacing": "trailing", "num_train_timesteps": 50)"));
  expect_error<ConfigError>([&] { ends->set_steps(49); }, {"49", "twice"});
}

TEST(SchedulerRefusals, WhatIsNotBuiltInIsDrawnByTheNearest) {
  const std::string written =
      R"(, "beta_schedule": "scaled_linear", "timestep_spacing": "trailing")";
  for (const auto& [name, kind] : {std::pair{"HeunDiscreteScheduler", SchedulerKind::euler},
                                   {"LMSDiscreteScheduler", SchedulerKind::euler},
                                   {"DEISMultistepScheduler", SchedulerKind::dpmpp_2m},
                                   {"DPMSolverSinglestepScheduler", SchedulerKind::dpmpp_2m}}) {
    const auto taken = scheduler_from(config_of(name, written));
    const auto chosen = scheduler_from(config_of(name, written), {kind});
    EXPECT_EQ(taken->kind(), kind) << name;
    taken->set_steps(4);
    chosen->set_steps(4);
    EXPECT_EQ(taken->timesteps(), chosen->timesteps()) << name;
    EXPECT_EQ(taken->timesteps().front(), 999) << name;
  }
}

// Its own files never say clip_sample, and it never clips.
TEST(SchedulerRefusals, PndmsFileMeansItsOwnDefaults) {
  const std::string known =
      R"(, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012)";
  const auto bare = scheduler_from(config_of("PNDMScheduler", known));
  const auto said = scheduler_from(
      config_of("PNDMScheduler", known + R"(, "clip_sample": false, "set_alpha_to_one": false)"));
  bare->set_steps(20);
  said->set_steps(20);
  EXPECT_EQ(bare->timesteps(), said->timesteps());
  for (const int step : {0, 19}) {
    const auto update = bare->linear_update(step);
    const auto expected = said->linear_update(step);
    ASSERT_TRUE(update && expected) << "a clipped update is not linear";
    EXPECT_EQ(update->sample, expected->sample);
    EXPECT_EQ(update->noise, expected->noise);
  }
}

// diffusers takes it for dpmsolver++ and then refuses its own default of final_sigmas_type.
TEST(SchedulerRefusals, DeisMayBeDrawnByDpmpp2m) {
  const auto scheduler = scheduler_from(
      config_of("DEISMultistepScheduler", R"(, "algorithm_type": "deis", "solver_type": "logrho")"),
      {SchedulerKind::dpmpp_2m});
  EXPECT_NO_THROW(scheduler->set_steps(20));
}

TEST(SchedulerRefusals, NamingTheFoldersOwnClassIsAsStrict) {
  const std::string text = config_of("DDIMScheduler", R"(, "beta_strat": 0.1)");
  expect_error<CheckpointError>([&] { scheduler_from(text, {SchedulerKind::ddim}); },
                                {"beta_strat"});
  EXPECT_NO_THROW(scheduler_from(text, {SchedulerKind::euler}));
}

TEST(SchedulerRefusals, CarriedValuesAreCheckedToo) {
  expect_error<ConfigError>(
      [] {
        scheduler_from(config_of("UniPCMultistepScheduler", R"(, "use_beta_sigmas": true)"),
                       {SchedulerKind::euler});
      },
      {"the euler scheduler does not fit", "use_beta_sigmas"});
}

TEST(SchedulerRefusals, BrokenFiles) {
  expect_error<CheckpointError>([] { scheduler_from("{"); }, {"scheduler_config.json"});
  expect_error<CheckpointError>([] { scheduler_from("[1, 2]"); }, {"scheduler_config.json"});
  expect_error<CheckpointError>([] { scheduler_from(R"({"_class_name": 3})"); },
                                {"_class_name", "3"});
  expect_error<CheckpointError>(
      [] { scheduler_from(config_of("DDIMScheduler", R"(, "_use_default_values": 7)")); },
      {"_use_default_values", "7"});
}

TEST(SchedulerRefusals, Steps) {
  for (const char* name :
       {"DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"}) {
    const auto scheduler = scheduler_from(config_of(name, R"(, "num_train_timesteps": 50)"));
    for (const int steps : {-3, 0, 51}) {
      expect_error<ConfigError>([&] { scheduler->set_steps(steps); },
                                {std::to_string(steps), "[1, 50]"});
    }
    EXPECT_NO_THROW(scheduler->set_steps(50));
    EXPECT_THROW(scheduler->set_steps(0), ConfigError);
    EXPECT_EQ(scheduler->timesteps().size(), 50U);  // the plan before the refused one stands
  }
}

TEST(SchedulerRefusals, DdimStepsBeyondTheTraining) {
  const auto scheduler = scheduler_from(config_of("DDIMScheduler", R"(, "steps_offset": 1)"));
  EXPECT_NO_THROW(scheduler->set_steps(999));
  expect_error<ConfigError>([&] { scheduler->set_steps(1000); }, {"1000", "steps_offset", "999"});
  EXPECT_NO_THROW(scheduler->set_steps(1000, 1));  // which does not visit it
}

TEST(SchedulerRefusals, DdimEpsilonWithoutSignal) {
  const auto scheduler = scheduler_from(config_of(
      "DDIMScheduler", R"(, "rescale_betas_zero_snr": true, "timestep_spacing": "trailing")"));
  expect_error<ConfigError>([&] { scheduler->set_steps(10); },
                            {"999", "rescale_betas_zero_snr", "epsilon"});
  EXPECT_NO_THROW(scheduler->set_steps(10, 1));
}

// Folders that were saved after a change of scheduler hold the former one's keys.
TEST(SchedulerRefusals, KeysOfOtherSchedulersArePassedOver) {
  const std::string rest =
      R"(, "skip_prk_steps": true, "solver_order": 2, "algorithm_type": "dpmsolver++",
         "variance_type": null, "noise_sampler_seed": 3, "use_lu_lambdas": true,
         "original_inference_steps": 50, "set_alpha_to_one": false, "sigma_min": null,
         "use_beta_sigmas": false, "thresholding": false, "_diffusers_version": "0.42.1")";
  EXPECT_NO_THROW(scheduler_from(config_of("DDIMScheduler", rest)));
  EXPECT_NO_THROW(scheduler_from(config_of("EulerDiscreteScheduler", rest)));
  EXPECT_NO_THROW(scheduler_from(config_of("EulerAncestralDiscreteScheduler", rest)));
  EXPECT_NO_THROW(scheduler_from(config_of("LCMScheduler", rest)));
  EXPECT_NO_THROW(scheduler_from(
      config_of("DPMSolverMultistepScheduler",
                R"(, "rho": 7, "predict_x0": true, "skip_prk_steps": true, "clip_sample": true,
         "interpolation_type": "linear", "set_alpha_to_one": false, "sigma_min": null)")));
  EXPECT_NO_THROW(scheduler_from(config_of("DDIMScheduler", R"(, "use_beta_sigmas": true)")));
  EXPECT_NO_THROW(scheduler_from(config_of("EulerDiscreteScheduler", R"(, "thresholding": true)")));
}

}  // namespace
}  // namespace pcpp
