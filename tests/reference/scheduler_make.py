"""Writes tests/data/schedulers/{ddim,euler,dpmpp_2m,unipc,pndm,euler_ancestral,dpmpp_2m_sde,lcm}.json: what
diffusers' schedulers do with many configs.

Each case holds the text of a scheduler_config.json and a run with it: the timesteps, the first
scale, and after some of the steps the scaled input and the sample. The U-Net's place is taken by
prediction_of below, that of a step's noise by noise_of, which tests/schedulers/schedulers_test.cpp
computes too.
"""

import json
import math
import pathlib
import warnings

import diffusers
import torch
from diffusers.schedulers import (
    scheduling_dpmsolver_multistep,
    scheduling_euler_ancestral_discrete,
    scheduling_lcm,
)

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "schedulers"
SHAPE = [2, 1, 2, 3]

SD15 = {  # PNDM
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False,
    "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None}
SD21_V = {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False,
    "num_train_timesteps": 1000, "prediction_type": "v_prediction", "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None}
SDXL = {
    "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0",
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading",
    "trained_betas": None, "use_karras_sigmas": False}
SDXL_TURBO = {
    "_class_name": "EulerAncestralDiscreteScheduler", "_diffusers_version": "0.24.0.dev0",
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "rescale_betas_zero_snr": False, "sample_max_value": 1.0,
    "set_alpha_to_one": False, "sigma_max": None, "sigma_min": None, "skip_prk_steps": True,
    "steps_offset": 1, "timestep_spacing": "trailing", "timestep_type": "discrete",
    "trained_betas": None, "use_karras_sigmas": False}
SVD = {
    "_class_name": "EulerDiscreteScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "clip_sample": False, "interpolation_type": "linear",
    "num_train_timesteps": 1000, "prediction_type": "v_prediction", "set_alpha_to_one": False,
    "sigma_max": 700.0, "sigma_min": 0.002, "skip_prk_steps": True, "steps_offset": 1,
    "timestep_spacing": "leading", "timestep_type": "continuous", "trained_betas": None,
    "use_karras_sigmas": True}
SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
DDIM = {"_class_name": "DDIMScheduler", **SCALED}
EULER = {"_class_name": "EulerDiscreteScheduler", **SCALED}
DPM = {"_class_name": "DPMSolverMultistepScheduler", **SCALED, "algorithm_type": "dpmsolver++",
       "solver_order": 2, "use_karras_sigmas": True, "timestep_spacing": "linspace",
       "steps_offset": 1, "lower_order_final": True, "final_sigmas_type": "sigma_min"}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
            "prediction_type": "v_prediction", "clip_sample": False}
PREDICTIONS = ["epsilon", "sample", "v_prediction"]
SPACINGS = ["leading", "linspace", "trailing"]
CLASSES = {"ddim": diffusers.DDIMScheduler, "euler": diffusers.EulerDiscreteScheduler,
           "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
           "unipc": diffusers.UniPCMultistepScheduler, "pndm": diffusers.PNDMScheduler,
           "euler_ancestral": diffusers.EulerAncestralDiscreteScheduler,
           "dpmpp_2m_sde": diffusers.DPMSolverMultistepScheduler,
           "lcm": diffusers.LCMScheduler}
ALGORITHMS = {"dpmpp_2m": "dpmsolver++", "dpmpp_2m_sde": "sde-dpmsolver++"}


def ddim_cases():
    yield "sd15_as_ddim", SD15, "ddim", 20
    yield "sd21_v", SD21_V, None, 25
    yield "sd21_v_named", SD21_V, "ddim", 2
    for spacing in SPACINGS:
        for prediction in PREDICTIONS:
            yield (f"{spacing}_{prediction}", {**DDIM, "timestep_spacing": spacing,
                   "prediction_type": prediction, "clip_sample": False, "steps_offset": 1}, None, 7)
    for steps in [1, 2, 20, 48, 50]:
        for spacing in SPACINGS:
            yield (f"{spacing}_{steps}_steps", {**DDIM, "timestep_spacing": spacing,
                   "clip_sample": False}, None, steps)
    yield "all_steps", {**DDIM, "clip_sample": False}, None, 1000
    # numpy's arange gives one timestep too many here: run without it.
    yield "trailing_61", {**DDIM, "timestep_spacing": "trailing", "clip_sample": False}, None, 61
    # Here timesteps lie half way between two whole ones.
    yield "trailing_16", {**DDIM, "timestep_spacing": "trailing", "clip_sample": False}, None, 16
    yield "defaults", {"_class_name": "DDIMScheduler"}, None, 10
    yield "clip_range", {**DDIM, "clip_sample_range": 0.7}, None, 7
    yield "set_alpha_to_one", {**DDIM, "set_alpha_to_one": True, "clip_sample": False}, None, 7
    yield "linear", {"_class_name": "DDIMScheduler", "clip_sample": False, "beta_start": 0.0002,
                     "beta_end": 0.015}, None, 7
    yield "cosine", {"_class_name": "DDIMScheduler", "clip_sample": False,
                     "beta_schedule": "squaredcos_cap_v2"}, None, 7
    yield "few_train_timesteps", {**DDIM, "num_train_timesteps": 37, "clip_sample": False}, None, 7
    yield "trained_betas", {"_class_name": "DDIMScheduler", "num_train_timesteps": 5,
                            "trained_betas": [0.01, 0.05, 0.1, 0.2, 0.4]}, None, 5
    yield "thresholding", {**DDIM, "thresholding": True, "dynamic_thresholding_ratio": 0.8,
                           "sample_max_value": 1.5}, None, 7
    for steps in [1, 4, 20, 50]:
        yield f"zero_snr_{steps}_steps", {**DDIM, **ZERO_SNR}, None, steps
    yield "zero_snr_sample", {**DDIM, **ZERO_SNR, "prediction_type": "sample"}, None, 4
    yield "zero_snr_leading", {**DDIM, "rescale_betas_zero_snr": True, "clip_sample": False,
                               "steps_offset": 1}, None, 7
    yield "sdxl_as_ddim", SDXL, "ddim", 20
    yield "turbo_as_ddim", SDXL_TURBO, "ddim", 4
    yield "dpm_as_ddim", DPM, "ddim", 7
    # Euler's default spacing is linspace and PNDM's set_alpha_to_one is false: not carried over.
    yield "euler_defaults_as_ddim", {"_class_name": "EulerDiscreteScheduler"}, "ddim", 7
    yield "pndm_defaults_as_ddim", {"_class_name": "PNDMScheduler"}, "ddim", 7
    yield "heun_defaults_as_ddim", {"_class_name": "HeunDiscreteScheduler"}, "ddim", 7
    yield "unknown_key_as_ddim", {**SD15, "unheard_of": 3}, "ddim", 2
    yield "listed_defaults", {**DDIM, "clip_sample": False, "steps_offset": 1,
                              "_use_default_values": ["clip_sample", "steps_offset"]}, None, 7
    yield "mended", DDIM, None, 7, True
    yield "mended_as_ddim", {**SD15, "steps_offset": 0, "clip_sample": True}, "ddim", 7, True
    yield "mended_defaults_as_ddim", {"_class_name": "PNDMScheduler"}, "ddim", 7, True


def euler_cases():
    yield "sdxl", SDXL, None, 30
    yield "sdxl_named", SDXL, "euler", 2
    yield "svd", SVD, None, 25
    yield "turbo_as_euler", SDXL_TURBO, "euler", 1
    for spacing in SPACINGS:
        for prediction in PREDICTIONS + ["original_sample"]:
            yield (f"{spacing}_{prediction}", {**EULER, "timestep_spacing": spacing,
                   "prediction_type": prediction, "steps_offset": 1}, None, 7)
    for steps in [1, 2, 12, 20, 48, 50]:
        for spacing in SPACINGS:
            yield f"{spacing}_{steps}_steps", {**EULER, "timestep_spacing": spacing}, None, steps
    yield "all_steps", EULER, None, 1000
    yield ("all_steps_leading", {**EULER, "timestep_spacing": "leading", "steps_offset": 1}, None,
           1000)
    yield "trailing_16", {**EULER, "timestep_spacing": "trailing"}, None, 16
    yield "defaults", {"_class_name": "EulerDiscreteScheduler"}, None, 10
    yield "cosine", {"_class_name": "EulerDiscreteScheduler",
                     "beta_schedule": "squaredcos_cap_v2"}, None, 7
    yield "few_train_timesteps", {**EULER, "num_train_timesteps": 37}, None, 7
    yield "trained_betas", {"_class_name": "EulerDiscreteScheduler", "num_train_timesteps": 5,
                            "trained_betas": [0.01, 0.05, 0.1, 0.2, 0.4]}, None, 4
    yield "log_linear", {**EULER, "interpolation_type": "log_linear"}, None, 7
    yield "log_linear_karras", {**EULER, "interpolation_type": "log_linear",
                                "use_karras_sigmas": True}, None, 7
    yield "final_sigma_min", {**EULER, "final_sigmas_type": "sigma_min"}, None, 7
    for steps in [1, 2, 20]:
        yield f"karras_{steps}_steps", {**EULER, "use_karras_sigmas": True}, None, steps
        yield (f"exponential_{steps}_steps", {**EULER, "use_exponential_sigmas": True,
               "timestep_spacing": "trailing"}, None, steps)
    yield "karras_ends", {**EULER, "use_karras_sigmas": True, "sigma_min": 0.05,
                          "sigma_max": 10.0}, None, 7
    yield "karras_wide", {**EULER, "use_karras_sigmas": True, "sigma_min": 0.001,
                          "timestep_spacing": "leading"}, None, 7
    yield "ends_unused", {**EULER, "sigma_min": 0.05, "sigma_max": 10.0}, None, 7
    yield "continuous_v", {**EULER, "timestep_type": "continuous",
                           "prediction_type": "v_prediction"}, None, 7
    yield "continuous_epsilon", {**EULER, "timestep_type": "continuous"}, None, 7
    yield "zero_snr", {**EULER, **ZERO_SNR}, None, 20
    yield "zero_snr_epsilon", {**EULER, "rescale_betas_zero_snr": True}, None, 7
    yield "sd15_as_euler", SD15, "euler", 12
    yield "sd21_v_as_euler", SD21_V, "euler", 12
    yield "dpm_as_euler", DPM, "euler", 7
    # DDIM's default spacing is leading and Heun's betas differ: not carried over.
    yield "ddim_defaults_as_euler", {"_class_name": "DDIMScheduler"}, "euler", 7
    yield "heun_defaults_as_euler", {"_class_name": "HeunDiscreteScheduler"}, "euler", 7
    yield "zero_snr_ddim_as_euler", {**DDIM, **ZERO_SNR}, "euler", 7
    yield "mended", {**EULER, "timestep_spacing": "leading"}, None, 7, True
    yield ("mended_as_euler", {**SD15, "steps_offset": 0, "timestep_spacing": "leading"}, "euler",
           7, True)
    yield "mended_defaults_as_euler", {**DDIM, "timestep_spacing": "leading"}, "euler", 7, True


def dpmpp_2m_cases():
    dpm = {"_class_name": "DPMSolverMultistepScheduler", **SCALED}
    for spacing in SPACINGS:
        for prediction in PREDICTIONS:
            yield (f"{spacing}_{prediction}", {**dpm, "timestep_spacing": spacing,
                   "prediction_type": prediction, "steps_offset": 1}, None, 7)
    for steps in [1, 2, 14, 15, 20, 50]:
        for spacing in SPACINGS:
            yield f"{spacing}_{steps}_steps", {**dpm, "timestep_spacing": spacing}, None, steps
    yield "trailing_16", {**dpm, "timestep_spacing": "trailing"}, None, 16
    yield "many_steps", dpm, None, 400
    yield "defaults", {"_class_name": "DPMSolverMultistepScheduler"}, None, 10
    yield "few_train_timesteps", {**dpm, "num_train_timesteps": 37}, None, 7
    yield "trained_betas", {"_class_name": "DPMSolverMultistepScheduler", "num_train_timesteps": 5,
                            "trained_betas": [0.01, 0.05, 0.1, 0.2, 0.4]}, None, 4
    for spacing in SPACINGS:
        yield (f"cosine_{spacing}", {"_class_name": "DPMSolverMultistepScheduler",
               "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1,
               "timestep_spacing": spacing}, None, 12)
    # numpy's arange ends at a timestep of -1 here: run without it.
    yield ("cosine_trailing_223", {"_class_name": "DPMSolverMultistepScheduler",
           "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1,
           "timestep_spacing": "trailing", "final_sigmas_type": "sigma_min",
           "lower_order_final": False}, None, 223)
    # In more steps several share the first timestep, and diffusers begins with the second of them.
    yield "cosine_karras", {"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True,
                            "beta_schedule": "squaredcos_cap_v2"}, None, 2
    for steps in [1, 2, 7, 20]:
        yield f"karras_{steps}_steps", {**dpm, "use_karras_sigmas": True}, None, steps
        yield f"exponential_{steps}_steps", {**dpm, "use_exponential_sigmas": True}, None, steps
    for steps in [2, 7, 20]:
        yield f"heun_{steps}_steps", {**dpm, "solver_type": "heun"}, None, steps
        for final in [{"final_sigmas_type": "sigma_min"},
                      {"final_sigmas_type": "sigma_min", "euler_at_final": True},
                      {"final_sigmas_type": "sigma_min", "lower_order_final": False}]:
            names = "_".join(list(final)[1:] or ["sigma_min"])
            yield f"{names}_{steps}_steps", {**dpm, "use_karras_sigmas": True, **final}, None, steps
    yield "heun_sigma_min", {**dpm, "solver_type": "heun", "final_sigmas_type": "sigma_min",
                             "lower_order_final": False}, None, 7
    yield "thresholding", {**dpm, "thresholding": True, "dynamic_thresholding_ratio": 0.8,
                           "sample_max_value": 1.5}, None, 7
    for steps in [1, 4, 20]:
        yield f"zero_snr_{steps}_steps", {**dpm, **ZERO_SNR}, None, steps
    yield "zero_snr_linspace", {**dpm, "rescale_betas_zero_snr": True,
                                "prediction_type": "v_prediction"}, None, 7
    # As diffusers writes the file of a scheduler with all of its defaults.
    yield "written", {**dpm, "algorithm_type": "dpmsolver++", "euler_at_final": False,
                      "solver_order": 2,
                      "solver_type": "midpoint", "variance_type": None, "flow_shift": 1.0,
                      "use_lu_lambdas": False, "use_flow_sigmas": False, "use_beta_sigmas": False,
                      "use_dynamic_shifting": False, "time_shift_type": "exponential"}, None, 7
    yield "sd15", SD15, "dpmpp_2m", 20
    yield "sd21_v", SD21_V, "dpmpp_2m", 20
    yield "sdxl", SDXL, "dpmpp_2m", 20
    yield "turbo", SDXL_TURBO, "dpmpp_2m", 4
    yield "zero_snr_ddim", {**DDIM, **ZERO_SNR}, "dpmpp_2m", 7
    yield "ddim_defaults", {"_class_name": "DDIMScheduler"}, "dpmpp_2m", 7
    yield "unipc", {"_class_name": "UniPCMultistepScheduler", **SCALED, "solver_type": "bh2",
                    "solver_order": 2}, "dpmpp_2m", 7
    yield "sde", {**dpm, "algorithm_type": "sde-dpmsolver++"}, "dpmpp_2m", 7
    yield "mended", {**dpm, "timestep_spacing": "leading"}, None, 7, True
    yield "mended_sd15", {**SD15, "steps_offset": 0, "timestep_spacing": "leading"}, "dpmpp_2m", 7, \
        True


def unipc_cases():
    unipc = {"_class_name": "UniPCMultistepScheduler", **SCALED}
    for spacing in SPACINGS:
        for prediction in PREDICTIONS:
            yield (f"{spacing}_{prediction}", {**unipc, "timestep_spacing": spacing,
                   "prediction_type": prediction, "steps_offset": 1}, None, 7)
    for steps in [1, 2, 3, 4, 20, 50]:
        for spacing in SPACINGS:
            yield f"{spacing}_{steps}_steps", {**unipc, "timestep_spacing": spacing}, None, steps
    for order in [1, 2, 3]:
        for solver in ["bh1", "bh2"]:
            for steps in [2, 9]:
                yield (f"order_{order}_{solver}_{steps}_steps",
                       {**unipc, "solver_order": order, "solver_type": solver,
                        "final_sigmas_type": "sigma_min"}, None, steps)
            yield (f"order_{order}_{solver}_to_the_end",
                   {**unipc, "solver_order": order, "solver_type": solver,
                    "final_sigmas_type": "sigma_min", "lower_order_final": False}, None, 7)
        yield f"order_{order}_zero", {**unipc, "solver_order": order}, None, 6
    yield "defaults", {"_class_name": "UniPCMultistepScheduler"}, None, 10
    yield "cosine", {"_class_name": "UniPCMultistepScheduler",
                     "beta_schedule": "squaredcos_cap_v2"}, None, 12
    yield "few_train_timesteps", {**unipc, "num_train_timesteps": 37}, None, 7
    yield "trained_betas", {"_class_name": "UniPCMultistepScheduler", "num_train_timesteps": 5,
                            "trained_betas": [0.01, 0.05, 0.1, 0.2, 0.4]}, None, 4
    for steps in [1, 2, 7, 20]:
        yield f"karras_{steps}_steps", {**unipc, "use_karras_sigmas": True}, None, steps
        yield f"exponential_{steps}_steps", {**unipc, "use_exponential_sigmas": True}, None, steps
    yield "thresholding", {**unipc, "thresholding": True, "dynamic_thresholding_ratio": 0.8,
                           "sample_max_value": 1.5}, None, 7
    for steps in [1, 4, 20]:
        yield f"zero_snr_{steps}_steps", {**unipc, **ZERO_SNR}, None, steps
    yield "sd15", SD15, "unipc", 20
    yield "sd21_v", SD21_V, "unipc", 20
    yield "sdxl", SDXL, "unipc", 20
    yield "turbo", SDXL_TURBO, "unipc", 4
    yield "dpm", {**DPM, "solver_type": "midpoint", "final_sigmas_type": "zero"}, "unipc", 7
    yield "ddim_defaults", {"_class_name": "DDIMScheduler"}, "unipc", 7
    yield "mended", {**unipc, "timestep_spacing": "leading"}, None, 7, True
    yield "mended_sd15", {**SD15, "steps_offset": 0, "timestep_spacing": "leading"}, "unipc", 7, \
        True


def pndm_cases():
    pndm = {"_class_name": "PNDMScheduler", **SCALED, "skip_prk_steps": True}
    yield "sd15", SD15, "pndm", 20
    yield "sd15_named", SD15, "pndm", 3
    for spacing in SPACINGS:
        for prediction in ["epsilon", "v_prediction"]:
            for steps in [4, 5, 7]:
                yield (f"{spacing}_{prediction}_{steps}_steps", {**pndm, "timestep_spacing": spacing,
                       "prediction_type": prediction, "steps_offset": 1}, "pndm", steps)
    for steps in [1, 2, 3, 16, 50]:
        for spacing in ["leading", "trailing"]:
            yield f"{spacing}_{steps}_steps", {**pndm, "timestep_spacing": spacing}, "pndm", steps
    yield "linspace_3_steps", {**pndm, "timestep_spacing": "linspace"}, "pndm", 3
    yield "linspace_50_steps", {**pndm, "timestep_spacing": "linspace"}, "pndm", 50
    yield "set_alpha_to_one", {**pndm, "set_alpha_to_one": True}, "pndm", 7
    yield "linear", {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "beta_start": 0.0002,
                     "beta_end": 0.015}, "pndm", 7
    yield "defaults", {"_class_name": "PNDMScheduler", "skip_prk_steps": True}, "pndm", 10
    yield "cosine", {"_class_name": "PNDMScheduler", "beta_schedule": "squaredcos_cap_v2",
                     "skip_prk_steps": True}, "pndm", 7
    yield "few_train_timesteps", {**pndm, "num_train_timesteps": 37}, "pndm", 7
    yield "trained_betas", {"_class_name": "PNDMScheduler", "num_train_timesteps": 5,
                            "trained_betas": [0.01, 0.05, 0.1, 0.2, 0.4],
                            "skip_prk_steps": True}, "pndm", 5
    yield "sd21_v", SD21_V, "pndm", 20
    yield "sdxl", SDXL, "pndm", 20
    yield "turbo", SDXL_TURBO, "pndm", 4
    yield "mended", pndm, "pndm", 7, True
    yield "mended_sd21", {**SD21_V, "steps_offset": 0}, "pndm", 7, True


def euler_ancestral_cases():
    ancestral = {"_class_name": "EulerAncestralDiscreteScheduler", **SCALED}
    yield "turbo", SDXL_TURBO, None, 4
    yield "turbo_named", SDXL_TURBO, "euler_ancestral", 1
    for spacing in SPACINGS:
        for prediction in ["epsilon", "v_prediction"]:
            yield (f"{spacing}_{prediction}", {**ancestral, "timestep_spacing": spacing,
                   "prediction_type": prediction, "steps_offset": 1}, None, 7)
    for steps in [1, 2, 12, 20, 48, 50]:
        for spacing in SPACINGS:
            yield (f"{spacing}_{steps}_steps", {**ancestral, "timestep_spacing": spacing}, None,
                   steps)
    yield "all_steps", ancestral, None, 1000
    yield "defaults", {"_class_name": "EulerAncestralDiscreteScheduler"}, None, 10
    yield "cosine", {"_class_name": "EulerAncestralDiscreteScheduler",
                     "beta_schedule": "squaredcos_cap_v2"}, None, 7
    yield "few_train_timesteps", {**ancestral, "num_train_timesteps": 37}, None, 7
    yield "trained_betas", {"_class_name": "EulerAncestralDiscreteScheduler",
                            "num_train_timesteps": 5,
                            "trained_betas": [0.01, 0.05, 0.1, 0.2, 0.4]}, None, 4
    yield "zero_snr", {**ancestral, **ZERO_SNR}, None, 20
    for kind, config in [("sd15", SD15), ("sd21_v", SD21_V), ("sdxl", SDXL), ("dpm", DPM),
                         ("svd", SVD), ("euler", {**EULER, "use_karras_sigmas": True}),
                         ("zero_snr_ddim", {**DDIM, **ZERO_SNR}),
                         ("ddim_defaults", {"_class_name": "DDIMScheduler"})]:
        yield kind, config, "euler_ancestral", 12
    yield "mended", {**ancestral, "timestep_spacing": "leading"}, None, 7, True
    yield "mended_sd15", {**SD15, "steps_offset": 0}, "euler_ancestral", 7, True


def dpmpp_2m_sde_cases():
    sde = {"_class_name": "DPMSolverMultistepScheduler", **SCALED,
           "algorithm_type": "sde-dpmsolver++"}
    for spacing in SPACINGS:
        for prediction in PREDICTIONS:
            yield (f"{spacing}_{prediction}", {**sde, "timestep_spacing": spacing,
                   "prediction_type": prediction, "steps_offset": 1}, None, 7)
    for steps in [1, 2, 14, 15, 50]:
        yield f"{steps}_steps", sde, None, steps
        yield f"karras_{steps}_steps", {**sde, "use_karras_sigmas": True}, None, steps
    yield "many_steps", sde, None, 400
    yield "exponential", {**sde, "use_exponential_sigmas": True}, None, 7
    yield "cosine", {"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -5.1,
                     "algorithm_type": "sde-dpmsolver++",
                     "beta_schedule": "squaredcos_cap_v2"}, None, 12
    for steps in [2, 7, 20]:
        yield f"heun_{steps}_steps", {**sde, "solver_type": "heun"}, None, steps
        # Without Karras' sigmas the last step adds noise too.
        for karras in [True, False]:
            for final in [{}, {"euler_at_final": True}, {"lower_order_final": False}]:
                names = "_".join([*final, "karras" if karras else "sigma_min"])
                yield (f"{names}_{steps}_to_the_least",
                       {**sde, "use_karras_sigmas": karras, "final_sigmas_type": "sigma_min",
                        **final}, None, steps)
    yield "heun_sigma_min", {**sde, "solver_type": "heun", "final_sigmas_type": "sigma_min",
                             "lower_order_final": False}, None, 7
    yield "thresholding", {**sde, "thresholding": True, "dynamic_thresholding_ratio": 0.8,
                           "sample_max_value": 1.5}, None, 7
    for steps in [1, 4]:
        yield f"zero_snr_{steps}_steps", {**sde, **ZERO_SNR}, None, steps
    for kind, config in [("own", sde), ("sd15", SD15), ("sd21_v", SD21_V), ("sdxl", SDXL),
                         ("turbo", SDXL_TURBO), ("dpm", DPM),
                         ("deis", {"_class_name": "DEISMultistepScheduler", **SCALED,
                                   "final_sigmas_type": "sigma_min"}),
                         ("ddim_defaults", {"_class_name": "DDIMScheduler"})]:
        yield kind, config, "dpmpp_2m_sde", 12
    yield "mended_sd15", {**SD15, "steps_offset": 0, "timestep_spacing": "leading"}, \
        "dpmpp_2m_sde", 7, True


def lcm_cases():
    lcm = {"_class_name": "LCMScheduler"}
    for steps in [1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 25, 26, 49, 50]:
        yield f"{steps}_steps", lcm, None, steps
    for prediction in PREDICTIONS:
        yield prediction, {**lcm, "prediction_type": prediction}, None, 4
    for spacing in SPACINGS:
        yield spacing, {**lcm, "timestep_spacing": spacing}, None, 4
    for original in [1, 4, 30, 1000]:
        yield (f"{original}_original_steps", {**lcm, "original_inference_steps": original}, None,
               min(4, original))
    yield "scaling", {**lcm, "timestep_scaling": 0.01}, None, 4
    yield "clip", {**lcm, "clip_sample": True, "clip_sample_range": 0.7}, None, 4
    yield "set_alpha_to_one", {**lcm, "set_alpha_to_one": False}, None, 4
    yield "thresholding", {**lcm, "thresholding": True, "dynamic_thresholding_ratio": 0.8,
                           "sample_max_value": 1.5}, None, 4
    yield "linear", {**lcm, "beta_schedule": "linear"}, None, 4
    yield "beta_ends", {**lcm, "beta_start": 0.0002, "beta_end": 0.015}, None, 4
    yield "cosine", {**lcm, "beta_schedule": "squaredcos_cap_v2"}, None, 4
    yield "few_train_timesteps", {**lcm, "num_train_timesteps": 87}, None, 4
    yield "zero_snr", {**lcm, "rescale_betas_zero_snr": True,
                       "prediction_type": "v_prediction"}, None, 4
    for kind, config in [("sd15", SD15), ("sd21_v", SD21_V), ("sdxl", SDXL), ("turbo", SDXL_TURBO),
                         ("dpm", DPM), ("euler_defaults", {"_class_name": "EulerDiscreteScheduler"}),
                         ("ddim_defaults", {"_class_name": "DDIMScheduler"})]:
        yield kind, config, "lcm", 4
    yield "mended", {**lcm, "clip_sample": True}, None, 4, True


def pipeline_with(scheduler):
    return diffusers.StableDiffusionPipeline(
        vae=None, text_encoder=None, tokenizer=None, unet=None, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def scheduler_of(config, kind, mend):
    """As a user does it: load the folder, then name another scheduler where one is wanted."""
    scheduler = getattr(diffusers, config["_class_name"]).from_config(config)
    if mend:
        scheduler = pipeline_with(scheduler).scheduler
    if kind in ALGORITHMS:
        return CLASSES[kind].from_config(scheduler.config, algorithm_type=ALGORITHMS[kind])
    if kind and not isinstance(scheduler, CLASSES[kind]):
        scheduler = CLASSES[kind].from_config(scheduler.config)
    return scheduler


def prediction_of(scaled, timestep):
    ramp = torch.arange(scaled.numel(), dtype=torch.float32).sin().reshape(scaled.shape)
    return scaled.tanh() * (0.6 * math.cos(timestep / 100)) + ramp * 0.1


def noise_of(step, shape):
    return (torch.arange(math.prod(shape), dtype=torch.float32) + 1.7 * step).cos().reshape(shape)


def short(value):
    """A float32 in as few digits as give it back."""
    return float(f"{value:.9g}")


def run(noise, name, config, kind, asked, mend=False):
    scheduler = scheduler_of(config, kind, mend)
    scheduler.set_timesteps(asked)
    most = asked + 1 if kind == "pndm" else asked
    timesteps = [t for t in scheduler.timesteps[:most] if t != -1]
    steps = len(timesteps)    # fewer where the noisiest timesteps are clipped
    kept = sorted({0, 1, steps // 2, steps - 2, steps - 1} & set(range(steps)))
    case = {"name": name, "config": config, "kind": kind, "mend": mend, "steps": asked,
            "init_noise_sigma": short(float(scheduler.init_noise_sigma)),
            "timesteps": [short(float(t)) for t in timesteps], "kept": kept,
            "scaled": [], "samples": []}
    sample = noise * scheduler.init_noise_sigma
    for i, t in enumerate(timesteps):
        for module in [scheduling_dpmsolver_multistep, scheduling_euler_ancestral_discrete,
                       scheduling_lcm]:
            module.randn_tensor = lambda shape, step=i, **_: noise_of(step, shape)
        scaled = scheduler.scale_model_input(sample, t)
        sample = scheduler.step(prediction_of(scaled, float(t)), t, sample).prev_sample
        if i in kept:
            case["scaled"].append([short(x) for x in scaled.flatten().tolist()])
            case["samples"].append([short(x) for x in sample.flatten().tolist()])
    assert torch.isfinite(sample).all(), name
    return case


def main():
    torch.set_grad_enabled(False)
    diffusers.utils.logging.set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    DATA.mkdir(parents=True, exist_ok=True)
    for kind, cases in [("ddim", ddim_cases()), ("euler", euler_cases()),
                        ("dpmpp_2m", dpmpp_2m_cases()), ("unipc", unipc_cases()),
                        ("pndm", pndm_cases()),
                        ("euler_ancestral", euler_ancestral_cases()),
                        ("dpmpp_2m_sde", dpmpp_2m_sde_cases()), ("lcm", lcm_cases())]:
        runs = [run(noise, *case) for case in cases]
        assert len({case["name"] for case in runs}) == len(runs)
        head = json.dumps({"shape": SHAPE, "noise": [short(x) for x in noise.flatten().tolist()]})
        lines = ",\n".join(json.dumps(case) for case in runs)
        text = head[:-1] + ', "cases": [\n' + lines + "\n]}\n"
        (DATA / f"{kind}.json").write_text(text)
        print(kind, len(runs), len(text))


if __name__ == "__main__":
    main()
