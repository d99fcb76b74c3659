"""Tiny models of the three Stable Diffusion families, as diffusers pipelines with seeded weights.

The weights are random, but scaled so that every part of the network matters: activations of order
one, attention that is not uniform, text and time that move the output. All are exact in float16.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

CORPUS = (
    "a photo of a red fox under the rainbow a painting of two cats and one green apple on the beach "
    "at night an old house with a blue door in the snow the moon over a small car in the city a "
    "drawing of the big brown bear with an umbrella low quality blurry the sun behind a mountain"
)
MERGES = 96
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_symbols() -> list[str]:
    """GPT-2's printable symbols for the bytes 0 to 255, in the order of CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def learn_merges() -> list[tuple[str, str]]:
    """The byte pairs that are most frequent in the corpus, one after the other."""
    words = [[*word[:-1], word[-1] + "</w>"] for word in CORPUS.split()]
    merges = []
    for _ in range(MERGES):
        counts: dict[tuple[str, str], int] = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(sorted(counts), key=lambda pair: counts[pair])
        merges.append(best)
        for word in words:
            at = 0
            while at + 1 < len(word):
                if (word[at], word[at + 1]) == best:
                    word[at : at + 2] = [word[at] + word[at + 1]]
                at += 1
    return merges


def write_tokenizer(folder: Path, pad: str) -> None:
    """The four files of a tokenizer folder, as the published models have them."""
    folder.mkdir(parents=True, exist_ok=True)
    symbols, merges = byte_symbols(), learn_merges()
    names = symbols + [symbol + "</w>" for symbol in symbols] + ["".join(pair) for pair in merges]
    vocabulary = {name: index for index, name in enumerate([*names, START, END])}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    special = {"bos_token": START, "eos_token": END, "pad_token": pad, "unk_token": END}
    config = {"add_prefix_space": False, "do_lower_case": True, "model_max_length": 77}
    compact = json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":"))
    (folder / "vocab.json").write_text(compact, encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, value in [
        ("special_tokens_map.json", special),
        ("tokenizer_config.json", {**special, **config, "tokenizer_class": "CLIPTokenizer"}),
    ]:
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def fill(model: nn.Module, seed: int, gains: dict[str, float]) -> None:
    """Draws every weight; `gains` multiplies those whose name contains the key."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                value = 0.1 * noise
                if "norm" in name and name.endswith("weight"):
                    value = 1 + 0.2 * noise
            elif "embedding.weight" in name:
                value = noise
            else:
                value = noise / weight[0].numel() ** 0.5
            for key, gain in gains.items():
                if key in name:
                    value = value * gain
            weight.copy_(value.half().float())
    model.eval().requires_grad_(False)


def text_config(vocabulary: int, **options: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        bos_token_id=vocabulary - 2,
        **{"eos_token_id": vocabulary - 1, "pad_token_id": 1, **options},
    )


def tiny_vae(seed: int, **options: Any) -> AutoencoderKL:
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=128,
        **{"latent_channels": 4, "scaling_factor": 0.18215, **options},
    )
    # A small first block makes the norms' epsilon count.
    small = {"decoder.conv_in": 0.02, "decoder.mid_block.resnets.0.conv2": 0.02}
    fill(vae, seed, {"to_q": 2, "to_k": 2, **small})
    return vae


TEXT_GAINS = {"q_proj.weight": 2, "k_proj.weight": 2}
UNET_GAINS = {"to_q": 1.2, "to_k": 1.2, "attn2.to_out.0.weight": 0.7, "conv2": 0.5, "ff.net.2": 0.5}


def tiny_unet(seed: int, gains: dict[str, float], **options: Any) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, norm_num_groups=4, **options
    )
    fill(unet, seed, {**UNET_GAINS, **gains})
    return unet


def scheduler_options(**options: Any) -> dict[str, Any]:
    return {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        **options,
    }


def tiny_sd15(folder: Path) -> DiffusionPipeline:
    """Four levels, heads by attention_head_dim, 1x1 projections, quick GELU, old id for the end."""
    write_tokenizer(folder / "tokenizer", END)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text = CLIPTextModel(
        text_config(
            len(tokenizer), eos_token_id=2, hidden_size=16, intermediate_size=32, projection_dim=16,
            num_hidden_layers=2, num_attention_heads=2, hidden_act="quick_gelu",
        )
    )  # fmt: skip
    fill(text, 11, TEXT_GAINS)
    unet = tiny_unet(
        12,
        # As in the VAE: the first block's norms see little, so that their epsilons count.
        {
            "conv_in": 0.02,
            "down_blocks.0.resnets.0.conv2": 0.02,
            "down_blocks.0.attentions.0.proj_in": 0.03,
        },
        block_out_channels=(8, 8, 8, 16),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
    )
    return StableDiffusionPipeline(
        vae=tiny_vae(13), text_encoder=text, tokenizer=tokenizer, unet=unet,
        scheduler=DDIMScheduler(
            **scheduler_options(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def tiny_sd21(folder: Path) -> DiffusionPipeline:
    """v-prediction, linear projections, heads by level, two layers a block, GELU, another norm_eps."""
    write_tokenizer(folder / "tokenizer", "!")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text = CLIPTextModel(
        text_config(
            len(tokenizer), hidden_size=24, intermediate_size=48, projection_dim=24,
            num_hidden_layers=2, num_attention_heads=3, hidden_act="gelu", layer_norm_eps=1e-3,
        )
    )  # fmt: skip
    fill(text, 21, TEXT_GAINS)
    unet = tiny_unet(
        23,
        {"attn2.to_out.0.weight": 1.4, "conv2": 0.7, "time_emb_proj.weight": 2},
        block_out_channels=(8, 8, 16),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=2,
        attention_head_dim=[1, 2, 4],
        cross_attention_dim=24,
        use_linear_projection=True,
        upcast_attention=True,
        norm_eps=1e-2,
    )
    return StableDiffusionPipeline(
        vae=tiny_vae(23), text_encoder=text, tokenizer=tokenizer, unet=unet,
        scheduler=DDIMScheduler(
            **scheduler_options(
                clip_sample=False, set_alpha_to_one=False, steps_offset=1,
                prediction_type="v_prediction",
            )
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def tiny_sdxl(folder: Path) -> DiffusionPipeline:
    """text_time, a level without transformers, two blocks in the next one's, two text encoders."""
    write_tokenizer(folder / "tokenizer", END)
    write_tokenizer(folder / "tokenizer_2", "!")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer_2 = CLIPTokenizer.from_pretrained(folder / "tokenizer_2")
    text = CLIPTextModel(
        text_config(
            len(tokenizer), hidden_size=16, intermediate_size=32, projection_dim=16,
            num_hidden_layers=2, num_attention_heads=2, hidden_act="quick_gelu",
        )
    )  # fmt: skip
    text_2 = CLIPTextModelWithProjection(
        text_config(
            len(tokenizer), hidden_size=24, intermediate_size=48, projection_dim=20,
            num_hidden_layers=2, num_attention_heads=3, hidden_act="gelu",
        )
    )  # fmt: skip
    fill(text, 31, TEXT_GAINS)
    fill(text_2, 32, TEXT_GAINS)
    unet = tiny_unet(
        33,
        {},
        block_out_channels=(8, 8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=[1, 2, 4],
        transformer_layers_per_block=[1, 2, 1],
        cross_attention_dim=40,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8,
    )
    return StableDiffusionXLPipeline(
        vae=tiny_vae(34, scaling_factor=0.13025, force_upcast=False),
        text_encoder=text, text_encoder_2=text_2, tokenizer=tokenizer, tokenizer_2=tokenizer_2,
        unet=unet,
        # The published file, too, keeps values of the schedulers that it was converted from.
        scheduler=EulerDiscreteScheduler.from_config(
            scheduler_options(
                timestep_spacing="leading", steps_offset=1, clip_sample=False,
                set_alpha_to_one=False, skip_prk_steps=True,
            )
        ),
        force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip


def tiny_ssd1b() -> UNet2DConditionModel:
    """The U-Net of a distilled SDXL: transformers of other depths each way, a middle without one."""
    return tiny_unet(
        43,
        {},
        block_out_channels=(8, 8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        mid_block_type="UNetMidBlock2D",
        layers_per_block=2,
        attention_head_dim=[1, 2, 4],
        transformer_layers_per_block=[1, [2, 1], [1, 2]],
        reverse_transformer_layers_per_block=[[1, 2, 3], [2, 1, 1], 1],
        cross_attention_dim=40,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=20 + 6 * 8,
    )


def tiny_bk_sdm() -> UNet2DConditionModel:
    """The U-Net of a distilled SD 1.x: a layer for each block on the way down, no middle block."""
    return tiny_unet(
        47,
        {},
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        mid_block_type=None,
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=24,
    )


FAMILIES: dict[str, Callable[[Path], DiffusionPipeline]] = {
    "sd15": tiny_sd15,
    "sd21": tiny_sd21,
    "sdxl": tiny_sdxl,
}
