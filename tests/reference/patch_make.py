"""Makes the reference data that the C++ tests of the patch methods compare with.

    python3 tests/reference/patch_make.py [--output tests/data/patch]

Needs torch, diffusers and safetensors. Everything is drawn from fixed seeds and computed in float64
on one thread, then stored in float32, so running it again gives the same files (another machine may
round a last digit differently). It writes:

- unet/, scheduler/: a tiny U-Net like Stable Diffusion 1.5's and a DDIM scheduler, in diffusers
  layout; the weights are float16 and are used unrounded;
- inputs_HxW.safetensors: `latents` [1, 4, H, W] (standard normal), `prompt_embeds` and
  `negative_prompt_embeds` [1, tokens, channels];
- NAME.safetensors for each case: `step_000`, `step_001`, ...: the latents after each step;
- index.json: each case's settings, band rows and files, and what was measured: the relative L2
  distances of the final latents from one device's and of float32 from float64, and the smallest
  corrected GroupNorm variance relative to (own rows / all rows) x the band's own.

Before it writes anything it checks that one device's latents are plain diffusers' own, that naive
is one independent picture per band, that synchronous steps equal one device's, that every case
differs from every other, and that no corrected variance comes near a guard: 0.5 of the ratio above
(libpcpp's), or 0 (the published code's).
"""

import argparse
import dataclasses
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel, logging
from patch_reference import PatchSettings, PatchUNet, cut_rows, denoise
from safetensors.torch import save_file
from torch import Tensor

STEPS = 8
GUIDANCE = 5.0
SYNC_STEPS = 2
TOKENS = 7

UNET_CONFIG: dict[str, Any] = {
    "sample_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 1,
    "block_out_channels": (8, 16, 20),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 2,  # in this family of configs: the number of heads
    "norm_num_groups": 4,
    "cross_attention_dim": 16,
}

UNIT_ROWS = 4  # 2 ** downsamplings: bands are cut at multiples of it

SCHEDULER_CONFIG: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One reference picture. `partial` is written as it would be typed."""

    name: str
    method: str
    ranks: int
    partial: str = "0.3"
    group_norm: str = "corrected"
    height: int = 32
    width: int = 12

    def settings(self) -> PatchSettings:
        partial = Fraction(self.partial)
        return PatchSettings(self.method, self.ranks, partial, SYNC_STEPS, self.group_norm)


CASES = (
    Case("single", "single", 1),
    Case("naive_2", "naive", 2),
    Case("distrifusion_2", "distrifusion", 2),
    Case("distrifusion_4", "distrifusion", 4),
    Case("pcpp_030_2", "pcpp", 2),
    Case("pcpp_030_4", "pcpp", 4),
    Case("pcpp_050_3", "pcpp", 3, partial="0.5"),
    Case("pcpp_030_2_stale", "pcpp", 2, group_norm="stale"),
    Case("pcpp_030_2_local", "pcpp", 2, group_norm="local"),
    Case("pcpp_030_2_synchronous", "pcpp", 2, group_norm="synchronous"),
    Case("pcpp_030_3_ragged", "pcpp", 3, height=30),
    # 0.29 of a band's 100 tokens is 29; in floating point 0.29 * 100 is below 29. 25 columns
    # halve to 13 and 7.
    Case("pcpp_029_2_whole", "pcpp", 2, partial="0.29", height=8, width=25),
)


def make_unet(seed: int = 3) -> UNet2DConditionModel:
    """The tiny U-Net: every weight drawn in the order of its name, scaled by its fan-in, rounded to
    float16, and held in float64."""
    unet = UNet2DConditionModel(**UNET_CONFIG).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(unet.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        if weight.ndim >= 2:
            value = noise / weight[0].numel() ** 0.5
        elif "norm" in name and name.endswith("weight"):
            value = 1 + 0.1 * noise
        else:
            value = 0.1 * noise
        weight.copy_(value.half())
    return unet


def make_inputs(height: int, width: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1000 * height + width)
    text = (1, TOKENS, UNET_CONFIG["cross_attention_dim"])
    return {
        "latents": torch.randn((1, 4, height, width), generator=generator),
        "prompt_embeds": torch.randn(text, generator=generator),
        "negative_prompt_embeds": torch.randn(text, generator=generator),
    }


def draw(unet: UNet2DConditionModel, case: Case, dtype: torch.dtype) -> tuple[list[Tensor], float]:
    """The latents after each step in `dtype`, and the smallest corrected variance's ratio."""
    inputs = {name: value.to(dtype) for name, value in make_inputs(case.height, case.width).items()}
    patches = PatchUNet(unet, case.settings(), case.height, case.width)
    patches.unet.to(dtype)
    embeds = (inputs["prompt_embeds"], inputs["negative_prompt_embeds"])
    scheduler = DDIMScheduler(**SCHEDULER_CONFIG)
    latents = denoise(patches, scheduler, inputs["latents"], embeds, STEPS, GUIDANCE)
    return latents, patches.state.smallest_variance_ratio


def draw_independently(
    unet: UNet2DConditionModel, height: int, width: int, ranks: int
) -> list[Tensor]:
    """Plain diffusers on each band by itself, the latents after each step put together. With one
    rank: plain diffusers."""
    inputs = {name: value.double() for name, value in make_inputs(height, width).items()}
    bands = cut_rows(height, UNIT_ROWS, ranks)

    def predict(sample: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        parts = [unet(sample[:, :, a:b], timestep, text).sample for a, b in bands]
        return torch.cat(parts, 2)

    embeds = (inputs["prompt_embeds"], inputs["negative_prompt_embeds"])
    scheduler = DDIMScheduler(**SCHEDULER_CONFIG)
    return denoise(predict, scheduler, inputs["latents"], embeds, STEPS, GUIDANCE)


def distance(value: Tensor, reference: Tensor) -> float:
    """Relative L2."""
    return float((value.double() - reference.double()).norm() / reference.double().norm())


def _short(value: float, digits: int = 2) -> float:
    """Few digits, so that the index does not depend on the machine's rounding."""
    return float(f"{value:.{digits}g}") if value > 1e-12 else 0.0


def check(unet: UNet2DConditionModel, drawn: dict[str, list[Tensor]]) -> None:
    """Refuses data that would not test what it is meant to; see the module's text."""
    by_name = {case.name: case for case in CASES}
    for name, ranks in (("single", 1), ("naive_2", 2)):
        expected = draw_independently(unet, by_name[name].height, by_name[name].width, ranks)
        worst = max(map(distance, drawn[name], expected))
        assert worst < 1e-9, f"{name} is {worst} from diffusers"
    for name, latents in drawn.items():
        case = by_name[name]
        if case.method == "naive":
            continue
        single = draw_independently(unet, case.height, case.width, 1)
        worst = max(map(distance, latents[:SYNC_STEPS], single[:SYNC_STEPS]))
        assert worst < 1e-9, f"{name}'s synchronous steps are {worst} from one device"
    for name, latents in drawn.items():
        for other, theirs in drawn.items():
            if name < other and latents[-1].shape == theirs[-1].shape:
                apart = distance(latents[-1], theirs[-1])
                assert apart > 1e-3, f"{name} and {other} are only {apart} apart"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--output", type=Path, default=root / "data" / "patch")
    output: Path = parser.parse_args().output
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    unet = make_unet()
    drawn: dict[str, list[Tensor]] = {}
    index: list[dict[str, Any]] = []
    for case in CASES:
        drawn[case.name], ratio = draw(unet, case, torch.float64)
        in_float32 = draw(unet, case, torch.float32)[0]
        assert ratio > 0.55, f"{case.name}: a corrected variance is near the guard: {ratio}"
        single = draw_independently(unet, case.height, case.width, 1)
        entry = {
            **dataclasses.asdict(case),
            "partial": float(case.partial),
            "band_rows": [b - a for a, b in cut_rows(case.height, UNIT_ROWS, case.ranks)],
            "inputs": f"inputs_{case.height}x{case.width}.safetensors",
            "steps": f"{case.name}.safetensors",
            "distance_from_single": _short(distance(drawn[case.name][-1], single[-1])),
            "distance_of_float32": _short(max(map(distance, in_float32, drawn[case.name])), 1),
            "smallest_variance_ratio": _short(ratio) if math.isfinite(ratio) else None,
        }
        index.append(entry)
        print(entry)
    check(unet, drawn)
    write(output, unet, drawn, index)


def write(
    output: Path,
    unet: UNet2DConditionModel,
    drawn: dict[str, list[Tensor]],
    index: list[dict[str, Any]],
) -> None:
    output.mkdir(parents=True, exist_ok=True)
    unet.half().save_pretrained(output / "unet")
    DDIMScheduler(**SCHEDULER_CONFIG).save_pretrained(output / "scheduler")
    for height, width in sorted({(case.height, case.width) for case in CASES}):
        save_file(make_inputs(height, width), output / f"inputs_{height}x{width}.safetensors")
    for name, latents in drawn.items():
        tensors = {f"step_{i:03d}": x.float().contiguous() for i, x in enumerate(latents)}
        save_file(tensors, output / f"{name}.safetensors")
    shared = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "sync_steps": SYNC_STEPS}
    text = json.dumps({**shared, "guidance": "batched", "cases": index}, indent=1)
    (output / "index.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
