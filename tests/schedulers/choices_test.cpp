// Which scheduler draws with a file of which class, and which choices are refused.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "pcpp/error.h"
#include "schedulers/config_file.h"
#include "schedulers/refusals.h"
#include "support/errors.h"

namespace pcpp {
namespace {

TEST(SchedulerChoices, SomeTakeNoSigmas) {
  for (const auto& [name, kind] : {std::pair{"DDIMScheduler", "ddim"},
                                   {"EulerAncestralDiscreteScheduler", "euler_ancestral"},
                                   {"LCMScheduler", "lcm"}}) {
    expect_error<ConfigError>(
        [&] { scheduler_from(config_of(name), {.sigmas = SigmaSpacing::karras}); },
        {kind, "sigmas", "dpmpp_2m"});
  }
}

TEST(SchedulerChoices, PndmTakesNoSigmas) {
  expect_error<ConfigError>(
      [] {
        scheduler_from(config_of("PNDMScheduler", R"(, "skip_prk_steps": true)"),
                       {.kind = SchedulerKind::pndm, .sigmas = SigmaSpacing::karras});
      },
      {"pndm", "sigmas"});
}

TEST(SchedulerChoices, LcmTakesNoTimestepSpacing) {
  expect_error<ConfigError>(
      [] {
        scheduler_from(config_of("LCMScheduler"), {.timestep_spacing = TimestepSpacing::trailing});
      },
      {"lcm", "timestep_spacing"});
}

TEST(SchedulerChoices, AnotherClassNeedsAChoice) {
  for (const char* name : {"FlaxPNDMScheduler", "TCDScheduler", "EDMEulerScheduler"}) {
    expect_error<ConfigError>([&] { scheduler_from(config_of(name)); },
                              {name, "ddim", "euler", "dpmpp_2m", "unipc", "pndm",
                               "euler_ancestral", "dpmpp_2m_sde", "lcm", "scheduler_config.json"});
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
TEST(SchedulerChoices, PndmIsTakenForDdimWhereNoneIsChosen) {
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

TEST(SchedulerChoices, PndmsFileIsMendedAsItsOwnClassIs) {
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
TEST(SchedulerChoices, PndmMakesNoRungeKuttaSteps) {
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

TEST(SchedulerChoices, WhatIsNotBuiltInIsDrawnByTheNearest) {
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
TEST(SchedulerChoices, PndmsFileMeansItsOwnDefaults) {
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

TEST(SchedulerChoices, DpmppWithNoiseIsAnAlgorithmOfItsClass) {
  const std::string noisy =
      config_of("DPMSolverMultistepScheduler", R"(, "algorithm_type": "sde-dpmsolver++")");
  const std::string plain = config_of("DPMSolverMultistepScheduler");
  EXPECT_EQ(scheduler_from(noisy)->kind(), SchedulerKind::dpmpp_2m_sde);
  EXPECT_EQ(scheduler_from(plain)->kind(), SchedulerKind::dpmpp_2m);
  for (const auto kind : {SchedulerKind::dpmpp_2m, SchedulerKind::dpmpp_2m_sde}) {
    for (const std::string& text : {noisy, plain}) {
      const auto scheduler = scheduler_from(text, {kind});
      scheduler->set_steps(4);
      EXPECT_EQ(scheduler->kind(), kind);
      EXPECT_EQ(scheduler->noisy_steps(), kind == SchedulerKind::dpmpp_2m ? 0 : 3);
    }
  }
}

// diffusers takes it for dpmsolver++ and then refuses its own default of final_sigmas_type.
TEST(SchedulerChoices, DeisMayBeDrawnByDpmpp2m) {
  const auto scheduler = scheduler_from(
      config_of("DEISMultistepScheduler", R"(, "algorithm_type": "deis", "solver_type": "logrho")"),
      {SchedulerKind::dpmpp_2m});
  EXPECT_NO_THROW(scheduler->set_steps(20));
}

TEST(SchedulerChoices, NamingTheFoldersOwnClassIsAsStrict) {
  const std::string text = config_of("DDIMScheduler", R"(, "beta_strat": 0.1)");
  expect_error<CheckpointError>([&] { scheduler_from(text, {SchedulerKind::ddim}); },
                                {"beta_strat"});
  EXPECT_NO_THROW(scheduler_from(text, {SchedulerKind::euler}));
}

TEST(SchedulerChoices, CarriedValuesAreCheckedToo) {
  expect_error<ConfigError>(
      [] {
        scheduler_from(config_of("UniPCMultistepScheduler", R"(, "use_beta_sigmas": true)"),
                       {SchedulerKind::euler});
      },
      {"the euler scheduler does not fit", "use_beta_sigmas"});
}

TEST(SchedulerChoices, KeysOfDiffusersFirstReleasesArePassedOver) {
  const std::string rest =
      R"(, "tensor_format": "pt", "timestep_values": null, "predict_epsilon": true)";
  EXPECT_NO_THROW(scheduler_from(config_of("DDIMScheduler", rest)));
  EXPECT_NO_THROW(scheduler_from(config_of("DPMSolverMultistepScheduler", rest)));
  expect_error<CheckpointError>(
      [] { scheduler_from(config_of("DDIMScheduler", R"(, "predict_epsilon": false)")); },
      {"predict_epsilon"});
}

// Folders that were saved after a change of scheduler hold the former one's keys.
TEST(SchedulerChoices, KeysOfOtherSchedulersArePassedOver) {
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
