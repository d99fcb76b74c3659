// What a scheduler_config.json or a number of steps is refused for, and by which name.
#include "schedulers/refusals.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pcpp/error.h"
#include "schedulers/config_file.h"
#include "support/errors.h"

namespace pcpp {
namespace {

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
      {{R"("algorithm_type": "sde-dpmsolver")", {"algorithm_type", "sde-dpmsolver++"}},
       {R"("algorithm_type": "dpmsolver")", {"algorithm_type", "dpmsolver++"}},
       {R"("algorithm_type": 3)", {"algorithm_type", "3"}},
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

}  // namespace
}  // namespace pcpp
