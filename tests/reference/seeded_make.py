"""Makes diffusers' pictures of the tiny models whose noise is all drawn from a seed, by one generator,
that the C++ tests compare with: those that begin with other pictures, those of which masks keep a
part, those whose steps add noise, those of which a part of the steps has guidance, and those whose
guidance is rescaled.

    python3 tests/reference/seeded_make.py [--output tests/data/seeded]

Needs what models_make.py needs, whose models it reads. It writes for each run

- FAMILY_NAME.safetensors: step_I, the latents after the run's first and last step. Where the noise
  that it begins with is given: latents. Where it begins with pictures: image [n, 3, h, w], their
  bytes, and posterior [n, 8, h / 8, w / 8], what the VAE's encoder makes of them; where masks keep a
  part, mask [n, 3, h, w], their bytes, in place of that. Of a U-Net that
  differs from the family's: its first convolution, conv_in.weight [c, 9, 3, 3], for inpainting, or
  time_embedding.cond_proj.weight [c, 8], which reads the guidance scale. (Steps without guidance are
  steps of scale 1, as diffusers' pipelines run both branches in all or none;)
- resized.safetensors: image [1, 3, 37, 29], and smaller and larger, which Pillow's bicubic filter
  makes of it;
- index.json: the runs.

Before it writes it checks that each picture moves the result by more than 10 %, or 5 % where a mask
keeps only a part of it, and so does each mask, a guidance scale that a U-Net is told, guidance in
all steps and guidance that is not rescaled.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)
from models_make import PROMPTS, distance, load_model, normal
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

SCHEDULERS = {
    "ddim": DDIMScheduler, "euler": EulerDiscreteScheduler, "dpmpp_2m": DPMSolverMultistepScheduler,
    "euler_ancestral": EulerAncestralDiscreteScheduler, "dpmpp_2m_sde": DPMSolverMultistepScheduler,
    "lcm": LCMScheduler,
}  # fmt: skip
GUIDANCE_WIDTH = 8
RUNS: list[dict[str, Any]] = [
    {"family": "sd15", "name": "image", "scheduler": "ddim", "steps": 10, "strength": 0.58, "height": 96, "width": 64,
     "images": 1, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 4.0, "seed": 600},
    {"family": "sd21", "name": "image", "scheduler": "dpmpp_2m", "steps": 12, "strength": 0.35,
     "height": 64, "width": 96, "images": 2, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 1.0, "seed": 601},
    {"family": "sdxl", "name": "image", "scheduler": "euler", "steps": 9, "strength": 0.45, "height": 80, "width": 80,
     "images": 1, "prompts": [PROMPTS[2]], "guidance_scale": 5.0, "seed": 602},
    {"family": "sd15", "name": "lcm", "scheduler": "lcm", "steps": 4, "strength": 1.0, "height": 96,
     "width": 64, "images": 0, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 1.0, "seed": 603},
    {"family": "sd21", "name": "image_lcm", "scheduler": "lcm", "steps": 8, "strength": 0.5, "height": 64,
     "width": 64, "images": 1, "prompts": [PROMPTS[0]], "guidance_scale": 2.0, "seed": 604},
    {"family": "sdxl", "name": "ancestral", "scheduler": "euler_ancestral", "steps": 7, "strength": 1.0,
     "height": 80, "width": 96, "images": 0, "prompts": [PROMPTS[2]], "guidance_scale": 5.0, "seed": 605},
    {"family": "sd21", "name": "image_ancestral", "scheduler": "euler_ancestral", "steps": 8, "strength": 0.5,
     "height": 64, "width": 64, "images": 1, "prompts": [PROMPTS[0]], "guidance_scale": 2.0, "seed": 606},
    {"family": "sd15", "name": "sde", "scheduler": "dpmpp_2m_sde", "steps": 8, "strength": 1.0, "height": 64,
     "width": 48, "images": 0, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 4.0, "seed": 608},
    {"family": "sdxl", "name": "image_sde", "scheduler": "dpmpp_2m_sde", "steps": 8, "strength": 0.6, "height": 48,
     "width": 64, "images": 1, "prompts": [PROMPTS[2]], "guidance_scale": 5.0, "seed": 609},
    {"family": "sd15", "name": "latents_lcm", "scheduler": "lcm", "steps": 4, "strength": 1.0, "height": 64,
     "width": 64, "images": 0, "prompts": [PROMPTS[0], PROMPTS[2]], "images_per_prompt": 2, "latents": True,
     "guidance_scale": 1.0, "seed": 607},
    {"family": "sd15", "name": "mask", "scheduler": "ddim", "steps": 8, "strength": 0.8, "height": 48, "width": 64,
     "images": 1, "masks": 1, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 4.0, "seed": 610},
    {"family": "sd21", "name": "mask", "scheduler": "dpmpp_2m", "steps": 6, "strength": 1.0, "height": 64, "width": 48,
     "images": 2, "masks": 2, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 1.0, "seed": 611},
    {"family": "sdxl", "name": "mask_ancestral", "scheduler": "euler_ancestral", "steps": 6, "strength": 0.7,
     "height": 64, "width": 48, "images": 1, "masks": 1, "prompts": [PROMPTS[2]], "guidance_scale": 5.0, "seed": 612},
    {"family": "sd21", "name": "mask_lcm", "scheduler": "lcm", "steps": 4, "strength": 1.0, "height": 64,
     "width": 64, "images": 1, "masks": 1, "prompts": [PROMPTS[0]], "guidance_scale": 2.0, "seed": 613},
    {"family": "sd15", "name": "inpainting", "scheduler": "ddim", "steps": 6, "strength": 1.0, "height": 64,
     "width": 64, "images": 1, "masks": 2, "prompts": [PROMPTS[0], PROMPTS[2]], "unet": "inpainting",
     "guidance_scale": 4.0, "seed": 614},
    {"family": "sdxl", "name": "inpainting_ancestral", "scheduler": "euler_ancestral", "steps": 6, "strength": 0.7,
     "height": 64, "width": 48, "images": 2, "masks": 2, "prompts": [PROMPTS[0], PROMPTS[2]], "unet": "inpainting",
     "guidance_scale": 5.0, "seed": 615},
    {"family": "sd21", "name": "inpainting_pair", "scheduler": "euler", "steps": 4, "strength": 0.8, "height": 48,
     "width": 64, "images": 1, "masks": 1, "prompts": [PROMPTS[0]], "images_per_prompt": 2, "unet": "inpainting",
     "guidance_scale": 2.0, "seed": 616},
    {"family": "sd15", "name": "told_lcm", "scheduler": "lcm", "steps": 3, "strength": 1.0, "height": 48, "width": 64,
     "images": 0, "prompts": [PROMPTS[0], PROMPTS[2]], "unet": "told", "guidance_scale": 3.5, "seed": 617},
    {"family": "sdxl", "name": "told", "scheduler": "euler", "steps": 4, "strength": 1.0, "height": 48, "width": 48,
     "images": 0, "prompts": [PROMPTS[2]], "unet": "told", "guidance_scale": 0.5, "seed": 618},
    {"family": "sd15", "name": "guided_amid", "scheduler": "dpmpp_2m", "steps": 8, "strength": 1.0, "height": 64,
     "width": 48, "images": 0, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 6.0, "guidance": [0.25, 0.7],
     "seed": 619},
    {"family": "sdxl", "name": "guided_first", "scheduler": "euler", "steps": 10, "strength": 0.7, "height": 48,
     "width": 64, "images": 1, "prompts": [PROMPTS[2]], "guidance_scale": 5.0, "guidance": [0.0, 0.43], "seed": 620},
    {"family": "sd21", "name": "rescaled", "scheduler": "ddim", "steps": 6, "strength": 1.0, "height": 64, "width": 48,
     "images": 0, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 6.0, "rescale": 0.7, "seed": 621},
    {"family": "sdxl", "name": "rescaled", "scheduler": "dpmpp_2m", "steps": 6, "strength": 1.0, "height": 48,
     "width": 64, "images": 0, "prompts": [PROMPTS[2]], "guidance_scale": 5.0, "rescale": 1.0, "seed": 622},
]  # fmt: skip


def draw_image(seed: int, height: int, width: int) -> Image.Image:
    coarse = normal(seed, 1, 3, height // 16 + 1, width // 16 + 1)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]
    rough = 0.1 * normal(seed + 1, 3, height, width)
    values = ((smooth + rough) * 60 + 128).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).numpy())


def bytes_of(images: list[Image.Image]) -> Tensor:
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]).float()


def image_pipeline(pipeline: DiffusionPipeline, masked: bool) -> DiffusionPipeline:
    parts = pipeline.components
    if "text_encoder_2" in parts:
        kind = StableDiffusionXLInpaintPipeline if masked else StableDiffusionXLImg2ImgPipeline
        made = kind(**parts, add_watermarker=False)
    else:
        kind = StableDiffusionInpaintPipeline if masked else StableDiffusionImg2ImgPipeline
        made = kind(**parts, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def changed_unet(unet: UNet2DConditionModel, kind: str, seed: int) -> UNet2DConditionModel:
    """One that reads a mask and a masked picture's latents besides (inpainting), or the guidance scale (told)."""
    weights = unet.state_dict()
    channels = weights["conv_in.weight"].shape[0]
    if kind == "inpainting":
        more = normal(seed, channels, 5, 3, 3) * weights["conv_in.weight"].std()
        weights["conv_in.weight"] = torch.cat([weights["conv_in.weight"], more], 1)
        options = {"in_channels": 9}
    else:
        weights["time_embedding.cond_proj.weight"] = normal(seed, channels, GUIDANCE_WIDTH)
        options = {"time_cond_proj_dim": GUIDANCE_WIDTH}
    made = UNet2DConditionModel.from_config({**unet.config, **options}).eval()
    made.load_state_dict(weights)
    return made


def given_latents(run: dict[str, Any]) -> dict[str, Tensor]:
    if not run.get("latents"):
        return {}
    count = len(run["prompts"]) * run["images_per_prompt"]
    return {"latents": normal(run["seed"] + 5, count, 4, run["height"] // 8, run["width"] // 8)}


def guidance_scale(run: dict[str, Any], step: int) -> float:
    begin, end = run.get("guidance", (0.0, 1.0))
    steps = int(run["steps"] * run["strength"])
    # Above 1, so that both branches run in all steps; of float32 it is 1.
    return run["guidance_scale"] if begin <= step / steps and (step + 1) / steps <= end else 1 + 1e-9


def draw(
    pipeline: DiffusionPipeline, run: dict[str, Any], images: list[Image.Image], masks: list[Image.Image]
) -> list[Tensor]:
    """The latents after each step."""
    steps: list[Tensor] = []

    def keep(pipeline: Any, step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
        steps.append(values["latents"].clone())
        if "guidance" in run:
            pipeline._guidance_scale = guidance_scale(run, step + 1)
        return values

    begins = {} if images and not masks else {"height": run["height"], "width": run["width"]}
    if images:
        begins |= {"image": images, "strength": run["strength"]}
    if masks:
        begins |= {"mask_image": masks}
    if "rescale" in run:
        begins |= {"guidance_rescale": run["rescale"]}
    pipeline(
        prompt=run["prompts"], **begins,
        num_images_per_prompt=run.get("images_per_prompt", 1), **given_latents(run),
        num_inference_steps=run["steps"],
        guidance_scale=guidance_scale(run, 0) if "guidance" in run else run["guidance_scale"],
        generator=torch.Generator().manual_seed(run["seed"]), output_type="latent",
        callback_on_step_end=keep,
    )  # fmt: skip
    assert len(steps) == int(run["steps"] * run["strength"])
    return steps


def write_run(run: dict[str, Any], models: Path, output: Path) -> dict[str, Any]:
    pipeline = load_model(run["family"], models / run["family"])
    options = {"algorithm_type": "sde-dpmsolver++"} if run["scheduler"] == "dpmpp_2m_sde" else {}
    pipeline.scheduler = SCHEDULERS[run["scheduler"]].from_config(pipeline.scheduler.config, **options)
    if run["images"]:
        pipeline = image_pipeline(pipeline, "masks" in run)
    if "unet" in run:
        pipeline.register_modules(unet=changed_unet(pipeline.unet, run["unet"], run["seed"] + 3))
    sizes = (run["height"], run["width"])
    images = [draw_image(run["seed"] + 10 * i, *sizes) for i in range(run["images"])]
    masks = [draw_image(run["seed"] + 10 * i + 4, *sizes) for i in range(run.get("masks", 0))]
    steps = draw(pipeline, run, images, masks)
    if run.get("unet") == "told":
        assert distance(draw(pipeline, {**run, "guidance_scale": 7.0}, images, masks)[-1], steps[-1]) > 0.05
    if "guidance" in run:
        assert distance(draw(pipeline, {**run, "guidance": (0.0, 1.0)}, images, masks)[-1], steps[-1]) > 0.05
    if "rescale" in run:
        assert distance(draw(pipeline, {**run, "rescale": 0.0}, images, masks)[-1], steps[-1]) > 0.05
    for pictures in (images, masks):
        for i, picture in enumerate(pictures):
            pictures[i] = draw_image(1, *sizes)
            assert distance(draw(pipeline, run, images, masks)[-1], steps[-1]) > (0.05 if masks else 0.1)
            pictures[i] = picture
    tensors = given_latents(run) | {"step_000": steps[0], f"step_{len(steps) - 1:03}": steps[-1]}
    if images:
        tensors |= {"image": bytes_of(images)}
    if masks:
        tensors |= {"mask": bytes_of(masks)}
    elif images:
        pixels = tensors["image"] / 255 * 2 - 1
        tensors |= {"posterior": pipeline.vae.encode(pixels).latent_dist.parameters}
    if "unet" in run:
        name = "conv_in.weight" if run["unet"] == "inpainting" else "time_embedding.cond_proj.weight"
        tensors |= {name: pipeline.unet.state_dict()[name]}
    name = f"{run['family']}_{run['name']}.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, output / name)
    return {**run, "negative_prompts": None, "file": name}


def write_resized(path: Path) -> None:
    image = draw_image(700, 37, 29)
    small, large = image.resize((12, 16), Image.Resampling.BICUBIC), image.resize((40, 48), Image.Resampling.BICUBIC)
    save_file({"image": bytes_of([image]), "smaller": bytes_of([small]), "larger": bytes_of([large])}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the C++ tests' references whose noise is drawn from seeds.")
    data = Path(__file__).resolve().parents[1] / "data"
    parser.add_argument("--output", type=Path, default=data / "seeded")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    write_resized(output / "resized.safetensors")
    runs = [write_run(run, data / "models", output) for run in RUNS]
    (output / "index.json").write_text(json.dumps({"runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
