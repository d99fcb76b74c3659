"""The four networks and the scheduler, with configs that Stable Diffusion checkpoints use."""

import math

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from plans import Plan
from tokenizer import TOKENS, entries

PATCH = 16               # pixels a latent, each way
LATENT_NOISE = 0.10      # what the decoder learns to live with, against the latents' own deviation of about 1


# With 32, groups of few channels, a short trial of an autoencoder ended at 14.0 dB, with 4 at 17.6 dB.
VAE_GROUPS, UNET_GROUPS = 4, 16
LEVELS = PATCH.bit_length()


def make_autoencoder(plan: Plan, seed: int = 2) -> AutoencoderKL:
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=plan.latent_channels, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * LEVELS, up_block_types=("UpDecoderBlock2D",) * LEVELS,
        block_out_channels=plan.vae_channels, layers_per_block=1, norm_num_groups=VAE_GROUPS,
        scaling_factor=1.0)
    nn.init.zeros_(vae.quant_conv.weight[plan.latent_channels:])
    nn.init.constant_(vae.quant_conv.bias[plan.latent_channels:], 2 * math.log(LATENT_NOISE))
    return vae


def make_unet(plan: Plan, seed: int = 3) -> UNet2DConditionModel:
    """Attention from half the latent's resolution down; heads of 64 channels."""
    torch.manual_seed(seed)
    levels = len(plan.unet_channels)
    unet = UNet2DConditionModel(
        sample_size=plan.large[0][0] // PATCH, in_channels=plan.latent_channels, out_channels=plan.latent_channels,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * (levels - 1)),
        up_block_types=(*("CrossAttnUpBlock2D",) * (levels - 1), "UpBlock2D"),
        block_out_channels=plan.unet_channels, layers_per_block=1, norm_num_groups=UNET_GROUPS,
        attention_head_dim=tuple(max(1, c // 64) for c in plan.unet_channels),
        cross_attention_dim=plan.text_width, use_linear_projection=True)
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def make_text_encoder(plan: Plan, seed: int = 4) -> CLIPTextModel:
    """Starts out handing through its token embeddings, which stay as they are; trained otherwise, its outputs
    grow alike within a few hundred steps and no object is ever told from another."""
    torch.manual_seed(seed)
    count = len(entries())
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=count, hidden_size=plan.text_width, intermediate_size=plan.text_inner,
        num_hidden_layers=plan.text_layers, num_attention_heads=max(1, plan.text_width // 64),
        max_position_embeddings=TOKENS, hidden_act="quick_gelu", projection_dim=plan.text_width,
        bos_token_id=count - 2, eos_token_id=count - 1, pad_token_id=count - 1))
    for name, parameter in text.named_parameters():
        if "token_embedding" in name:
            nn.init.normal_(parameter)
            parameter.requires_grad_(False)
        elif "position_embedding" in name:
            nn.init.normal_(parameter, std=0.1)
        elif ".out_proj." in name or ".fc2." in name:
            nn.init.zeros_(parameter)
    return text


def make_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        clip_sample=False, set_alpha_to_one=True, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", steps_offset=1)
