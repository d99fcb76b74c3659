"""The four networks and the scheduler, with configs that Stable Diffusion checkpoints use."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from latents import CHANNELS

TOKENS = 20
TEXT_WIDTH = 192
LOG_VARIANCE = -12.0     # of the encoder's latents, fixed: as good as exact


def make_autoencoder(scaling_factor: float, seed: int = 2) -> AutoencoderKL:
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=CHANNELS, sample_size=256,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 96, 96), layers_per_block=1, norm_num_groups=32, scaling_factor=scaling_factor)
    nn.init.zeros_(vae.quant_conv.weight[CHANNELS:])
    nn.init.constant_(vae.quant_conv.bias[CHANNELS:], LOG_VARIANCE)
    return vae


def make_unet(seed: int = 3) -> UNet2DConditionModel:
    """Attention from half the latent's resolution down; heads of 64 channels."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=32, in_channels=CHANNELS, out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 192), layers_per_block=1, attention_head_dim=(1, 2, 3),
        cross_attention_dim=TEXT_WIDTH, use_linear_projection=True)
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def make_text_encoder(vocabulary: int, start: int, end: int, seed: int = 4) -> CLIPTextModel:
    """Starts out handing through its token embeddings, which stay as they are; trained otherwise, its outputs
    grow alike within a few hundred steps and no object is ever told from another."""
    torch.manual_seed(seed)
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=TEXT_WIDTH, intermediate_size=512, num_hidden_layers=2,
        num_attention_heads=3, max_position_embeddings=TOKENS, hidden_act="quick_gelu", projection_dim=TEXT_WIDTH,
        bos_token_id=start, eos_token_id=end, pad_token_id=end))
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
