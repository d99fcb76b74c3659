"""Makes tiny ControlNets for the tiny models, and diffusers' pictures with them, that the C++ tests
compare with.

    python3 tests/reference/control_make.py [--output tests/data/control]

Needs what models_make.py needs, whose models it reads. It writes

- NET/: a ControlNet in diffusers' layout with float16 weights;
- NET_names.json for some: a list of [name in a single file, name in diffusers], proven by diffusers'
  own converter, which makes the ControlNet of the single file;
- FAMILY_NAME.safetensors for each run, whose noise is all drawn from a seed: step_I, the latents
  after its first and last step, control_I [n, 3, h, w], the bytes of the I-th ControlNet's images,
  and what else seeded_make.py writes of a run, whose kinds these have;
- CASE.safetensors for some: latents, text, pixels [n, 3, 8 h, 8 w] in [0, 1], text_embeds and time_ids
  where the family has them, and output, what the U-Net predicts at TIMESTEP with the ControlNet's sums
  at SCALE;
- index.json: the runs.

Before it writes it checks that each ControlNet's pictures move the result by more than 5 %, and so
does each net itself.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    DiffusionPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetImg2ImgPipeline,
    StableDiffusionXLControlNetInpaintPipeline,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from models_make import PROMPTS, distance, load_model, normal
from PIL import Image
from safetensors.torch import save_file
from seeded_make import SCHEDULERS, bytes_of, changed_unet, draw_image
from single_file_make import unet_module
from tiny_models import UNET_GAINS, fill
from torch import Tensor

KINDS = {
    "plain": (StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline),
    "image": (StableDiffusionControlNetImg2ImgPipeline, StableDiffusionXLControlNetImg2ImgPipeline),
    "mask": (StableDiffusionControlNetInpaintPipeline, StableDiffusionXLControlNetInpaintPipeline),
}
NETS: dict[str, dict[str, Any]] = {
    "sd15": {"family": "sd15", "seed": 61},
    "sd15_bgr": {"family": "sd15", "seed": 62, "controlnet_conditioning_channel_order": "bgr"},
    "sd21": {"family": "sd21", "seed": 63},
    "sdxl": {"family": "sdxl", "seed": 64},
    # As the small ones of SDXL: without transformers.
    "sdxl_small": {
        "family": "sdxl", "seed": 65, "down_block_types": ["DownBlock2D"] * 3, "mid_block_type": "UNetMidBlock2D",
    },
}  # fmt: skip
SINGLE = ["sd15", "sd21"]
# Of U-Nets that are there alone, and of a ControlNet with transformers of no layers, as the middle ones of
# SDXL.
CASES: dict[str, dict[str, Any]] = {
    "ssd1b": {"family": "ssd1b", "seed": 66},
    "bk_sdm": {"family": "bk_sdm", "seed": 67, "mid_block_type": "UNetMidBlock2DCrossAttn"},
    "sdxl_mid": {"family": "sdxl", "seed": 68, "transformer_layers_per_block": [0, 0, 1]},
}
TIMESTEP, SCALE = 601.0, 0.7
RUNS: list[dict[str, Any]] = [
    {"family": "sd15", "name": "plain", "scheduler": "ddim", "steps": 6, "strength": 1.0, "height": 96, "width": 64,
     "images": 0, "masks": 0, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 4.0, "seed": 800,
     "controls": [{"net": "sd15", "images": 1, "scale": 0.8, "begin": 0.0, "end": 1.0}]},
    {"family": "sd15", "name": "two", "scheduler": "ddim", "steps": 6, "strength": 1.0, "height": 48, "width": 64,
     "images": 0, "masks": 0, "prompts": [PROMPTS[0], PROMPTS[2]], "guidance_scale": 1.0, "seed": 810,
     "controls": [{"net": "sd15", "images": 2, "scale": 0.5, "begin": 0.0, "end": 0.67},
                  {"net": "sd15_bgr", "images": 2, "scale": 1.2, "begin": 0.3, "end": 1.0}]},
    {"family": "sd21", "name": "ends", "scheduler": "euler", "steps": 5, "strength": 1.0, "height": 64, "width": 48,
     "images": 0, "masks": 0, "prompts": [PROMPTS[2]], "guidance_scale": 3.0, "seed": 820,
     "controls": [{"net": "sd21", "images": 1, "scale": 1.0, "begin": 0.2, "end": 0.6}]},
    {"family": "sdxl", "name": "image", "scheduler": "euler", "steps": 8, "strength": 0.5, "height": 64, "width": 48,
     "images": 1, "masks": 0, "prompts": [PROMPTS[2]], "guidance_scale": 5.0, "seed": 830,
     "controls": [{"net": "sdxl", "images": 1, "scale": 1.0, "begin": 0.0, "end": 0.5}]},
    {"family": "sdxl", "name": "small", "scheduler": "euler", "steps": 4, "strength": 1.0, "height": 48, "width": 48,
     "images": 0, "masks": 0, "prompts": [PROMPTS[0]], "guidance_scale": 5.0, "seed": 840,
     "controls": [{"net": "sdxl_small", "images": 1, "scale": 0.9, "begin": 0.0, "end": 1.0}]},
    {"family": "sd15", "name": "inpainting", "scheduler": "ddim", "steps": 5, "strength": 1.0, "height": 64,
     "width": 64, "images": 1, "masks": 1, "prompts": [PROMPTS[0]], "unet": "inpainting", "guidance_scale": 4.0,
     "seed": 850, "controls": [{"net": "sd15", "images": 1, "scale": 1.0, "begin": 0.0, "end": 1.0}]},
]  # fmt: skip
Pictures = list[Image.Image]


def make_net(options: dict[str, Any], unet: UNet2DConditionModel) -> ControlNetModel:
    """With the shapes of the family's U-Net, but for the options; all weights its own."""
    config = {key: value for key, value in unet.config.items() if not key.startswith("_")}
    known = ControlNetModel._get_init_keys(ControlNetModel)
    own = {key: value for key, value in options.items() if key not in ("family", "seed")}
    shapes = {key: value for key, value in config.items() if key in known}
    net = ControlNetModel(**{**shapes, **own}, conditioning_embedding_out_channels=(4, 8, 8, 16))
    # SiLU makes small what is small, layer by layer.
    fill(net, options["seed"], {**UNET_GAINS, "controlnet_cond_embedding": 3.0})
    return net


def single_name(name: str, layers: int) -> str:
    module, parameter = name.rsplit(".", 1)
    parts = module.split(".")
    if parts[0] == "controlnet_cond_embedding":
        number = {"conv_in": 0, "conv_out": 14}.get(parts[1], 2 + 2 * int(parts[-1]) if len(parts) == 3 else 0)
        single = f"input_hint_block.{number}"
    elif parts[0] == "controlnet_down_blocks":
        single = f"zero_convs.{parts[1]}.0"
    elif parts[0] == "controlnet_mid_block":
        single = "middle_block_out.0"
    else:
        single = unet_module(module, layers, True)
    return f"control_model.{single}.{parameter}"


def write_names(net: ControlNetModel, path: Path) -> None:
    expected = net.state_dict()
    names = [(single_name(name, net.config.layers_per_block), name) for name in expected]
    converted = convert_controlnet_checkpoint({single: expected[name] for single, name in names}, net.config)
    assert converted.keys() == expected.keys(), converted.keys() ^ expected.keys()
    assert all(torch.equal(converted[name], tensor) for name, tensor in expected.items())
    lines = ",\n".join(json.dumps(pair, separators=(",", ":")) for pair in sorted(names))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def load_unet(family: str, models: Path) -> UNet2DConditionModel:
    if (models / family / "model_index.json").exists():
        return load_model(family, models / family).unet
    return UNet2DConditionModel.from_pretrained(models / family / "unet")


def write_case(name: str, models: Path, output: Path) -> None:
    unet = load_unet(CASES[name]["family"], models).eval()
    net = ControlNetModel.from_pretrained(output / name).eval()
    rows, columns = 16, 12
    tensors = {
        "latents": normal(70, 2, 4, rows, columns),
        "text": normal(71, 2, 7, unet.config.cross_attention_dim),
        "pixels": normal(72, 2, 3, 8 * rows, 8 * columns).abs().clamp(max=1),
    }
    added = {}
    if unet.config.addition_embed_type:
        added = {"text_embeds": normal(73, 2, 20), "time_ids": normal(74, 2, 6) * 64}
    inputs = {"timestep": TIMESTEP, "encoder_hidden_states": tensors["text"], "added_cond_kwargs": added}

    def predict(pixels: Tensor, scale: float) -> Tensor:
        down, mid = net(
            tensors["latents"], **inputs, controlnet_cond=pixels, conditioning_scale=scale, return_dict=False
        )
        return unet(
            tensors["latents"], **inputs, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample

    result = predict(tensors["pixels"], SCALE)
    assert distance(predict(tensors["pixels"].flip(2), SCALE), result) > 0.05
    assert distance(predict(tensors["pixels"], 0.0), result) > 0.05
    save_file({**tensors, **added, "output": result.contiguous()}, output / f"{name}_case.safetensors")


def with_nets(pipeline: DiffusionPipeline, run: dict[str, Any], nets: list[ControlNetModel]) -> DiffusionPipeline:
    parts = pipeline.components
    kind = KINDS["mask" if run["masks"] else "image" if run["images"] else "plain"]
    control = nets if len(nets) > 1 else nets[0]
    if "text_encoder_2" in parts:
        made = kind[1](**parts, controlnet=control, add_watermarker=False)
    else:
        made = kind[0](**parts, controlnet=control, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    return made


def draw(
    pipeline: DiffusionPipeline, run: dict[str, Any], images: Pictures, masks: Pictures, controls: list[Pictures]
) -> list[Tensor]:
    """The latents after each step."""
    steps: list[Tensor] = []

    def keep(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
        steps.append(values["latents"].clone())
        return values

    def of_all(key: str) -> Any:
        values = [control[key] for control in run["controls"]]
        return values if len(values) > 1 else values[0]

    # diffusers takes those of each prompt together.
    given = [list(each) for each in zip(*controls)] if len(controls) > 1 else controls[0]
    begins = {"control_image" if images else "image": given, "height": run["height"], "width": run["width"]}
    if images:
        begins |= {"image": images, "strength": run["strength"]}
    if masks:
        begins |= {"mask_image": masks}
    pipeline(
        prompt=run["prompts"], **begins, num_inference_steps=run["steps"], guidance_scale=run["guidance_scale"],
        controlnet_conditioning_scale=of_all("scale"), control_guidance_start=of_all("begin"),
        control_guidance_end=of_all("end"), generator=torch.Generator().manual_seed(run["seed"]),
        output_type="latent", callback_on_step_end=keep,
    )  # fmt: skip
    assert len(steps) == int(run["steps"] * run["strength"])
    return steps


def check_effects(pipeline: DiffusionPipeline, run: dict[str, Any], pictures: tuple[Any, ...], last: Tensor) -> None:
    controls = pictures[2]
    for number, control in enumerate(run["controls"]):
        for i, picture in enumerate(controls[number]):
            controls[number][i] = draw_image(1, run["height"], run["width"])
            assert distance(draw(pipeline, run, *pictures)[-1], last) > 0.05
            controls[number][i] = picture
        scale, control["scale"] = control["scale"], 0.0
        assert distance(draw(pipeline, run, *pictures)[-1], last) > 0.05
        control["scale"] = scale


def write_run(run: dict[str, Any], models: Path, output: Path) -> dict[str, Any]:
    pipeline = load_model(run["family"], models / run["family"])
    pipeline.scheduler = SCHEDULERS[run["scheduler"]].from_config(pipeline.scheduler.config)
    if "unet" in run:
        pipeline.register_modules(unet=changed_unet(pipeline.unet, run["unet"], run["seed"] + 3))
    nets = [ControlNetModel.from_pretrained(output / control["net"]).eval() for control in run["controls"]]
    pipeline = with_nets(pipeline, run, nets)
    sizes = (run["height"], run["width"])
    images = [draw_image(run["seed"] + 10 * i, *sizes) for i in range(run["images"])]
    masks = [draw_image(run["seed"] + 10 * i + 4, *sizes) for i in range(run["masks"])]
    controls = [
        [draw_image(run["seed"] + 10 * i + 100 * n + 5, *sizes) for i in range(control["images"])]
        for n, control in enumerate(run["controls"])
    ]
    steps = draw(pipeline, run, images, masks, controls)
    check_effects(pipeline, run, (images, masks, controls), steps[-1])
    tensors = {"step_000": steps[0], f"step_{len(steps) - 1:03}": steps[-1]}
    tensors |= {f"control_{n}": bytes_of(control) for n, control in enumerate(controls)}
    if images:
        tensors |= {"image": bytes_of(images)}
    if masks:
        tensors |= {"mask": bytes_of(masks)}
    if "unet" in run:
        tensors |= {"conv_in.weight": pipeline.unet.state_dict()["conv_in.weight"]}
    name = f"{run['family']}_{run['name']}.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, output / name)
    return {**run, "negative_prompts": None, "file": name}


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the C++ tests' references with ControlNets.")
    data = Path(__file__).resolve().parents[1] / "data"
    parser.add_argument("--output", type=Path, default=data / "control")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for name, options in {**NETS, **CASES}.items():
        net = make_net(options, load_unet(options["family"], data / "models"))
        net.half().save_pretrained(output / name)
        if name in SINGLE:
            write_names(net, output / f"{name}_names.json")
    for name in CASES:
        write_case(name, data / "models", output)
    runs = [write_run(run, data / "models", output) for run in RUNS]
    (output / "index.json").write_text(json.dumps({"runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
