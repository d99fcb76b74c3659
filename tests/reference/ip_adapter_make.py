"""Makes tiny image encoders and IP-Adapters for the tiny models, and diffusers' pictures with them, that the
C++ tests compare with.

    python3 tests/reference/ip_adapter_make.py [--output tests/data/ip_adapter]

Needs what models_make.py and control_make.py need, whose models it reads. It writes

- ENCODER/: transformers' CLIPVisionModelWithProjection with float16 weights;
- ADAPTER.safetensors: with the names that IP-Adapters were published with, proven by diffusers, which
  loads them;
- ENCODER_seen.safetensors: image_I [1, 3, h, w], bytes; pixels_I, what CLIPImageProcessor makes of them;
  of all of these image_embeds and penultimate, and for each of the encoder's adapters ADAPTER.tokens;
- FAMILY_NAME.safetensors for each run, whose noise is all drawn from a seed: step_I, the latents
  after its first and last step, image_prompt_I [1, 3, h, w], the bytes of the I-th adapter's image, and
  control_0 and image where it has them. Images are as high or as wide as the encoder wants them, so
  that no filter is part of what is compared;
- index.json: adapters and runs.

Before it writes it checks that each image and each scale moves the result by more than 5 %.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from control_make import with_nets
from diffusers import ControlNetModel, DiffusionPipeline, UNet2DConditionModel
from models_make import PROMPTS, distance, load_model, normal
from PIL import Image
from safetensors.torch import save_file
from seeded_make import SCHEDULERS, bytes_of, draw_image, image_pipeline
from tiny_models import fill
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

ENCODERS: dict[str, dict[str, Any]] = {
    "vision": {
        "seed": 81, "hidden_size": 16, "intermediate_size": 32, "projection_dim": 12, "num_hidden_layers": 3,
        "num_attention_heads": 2, "image_size": 21, "patch_size": 7, "hidden_act": "gelu",
    },
    # No whole number of patches, another norm's epsilon and activation.
    "vision_2": {
        "seed": 82, "hidden_size": 24, "intermediate_size": 40, "projection_dim": 20, "num_hidden_layers": 2,
        "num_attention_heads": 3, "image_size": 22, "patch_size": 5, "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-3,
    },
}  # fmt: skip
ADAPTERS: dict[str, dict[str, Any]] = {
    "sd15_plain": {"family": "sd15", "encoder": "vision", "seed": 91, "tokens": 4},
    "sd15_plus": {"family": "sd15", "encoder": "vision", "seed": 92, "tokens": 6, "width": 8, "heads": 1},
    "sdxl_plain": {"family": "sdxl", "encoder": "vision_2", "seed": 93, "tokens": 4},
    "sdxl_plus": {"family": "sdxl", "encoder": "vision_2", "seed": 94, "tokens": 3, "width": 8, "heads": 2},
}
DEPTH = 4  # of resamplers, fixed in diffusers
PLAIN_RUN = {"strength": 1.0, "images": 0, "images_per_prompt": 1}
RUNS: list[dict[str, Any]] = [
    {**PLAIN_RUN, "family": "sd15", "name": "pair", "scheduler": "ddim", "steps": 5, "height": 64, "width": 48,
     "prompts": [PROMPTS[0]], "guidance_scale": 4.0, "seed": 900, "images_per_prompt": 2,
     "image_prompts": [{"adapter": "sd15_plain", "scale": 0.8, "size": [21, 28]}]},
    {**PLAIN_RUN, "family": "sd15", "name": "both", "scheduler": "euler", "steps": 4, "height": 48, "width": 48,
     "prompts": [PROMPTS[2]], "guidance_scale": 3.0, "seed": 910,
     "image_prompts": [{"adapter": "sd15_plus", "scale": 1.2, "size": [31, 21]},
                       {"adapter": "sd15_plain", "scale": 0.5, "size": [21, 21]}]},
    {**PLAIN_RUN, "family": "sd15", "name": "controlled", "scheduler": "ddim", "steps": 4, "height": 48, "width": 64,
     "prompts": [PROMPTS[0]], "guidance_scale": 6.0, "seed": 921,
     "image_prompts": [{"adapter": "sd15_plain", "scale": 1.6, "size": [21, 21]}],
     "controls": [{"net": "sd15", "images": 1, "scale": 0.5, "begin": 0.0, "end": 1.0}]},
    {**PLAIN_RUN, "family": "sdxl", "name": "resampled", "scheduler": "euler", "steps": 4, "height": 48, "width": 64,
     "prompts": [PROMPTS[0]], "guidance_scale": 5.0, "seed": 930,
     "image_prompts": [{"adapter": "sdxl_plus", "scale": 0.9, "size": [22, 30]}]},
    {**PLAIN_RUN, "family": "sdxl", "name": "image", "scheduler": "euler", "steps": 6, "strength": 0.7,
     "height": 64, "width": 48, "images": 1, "prompts": [PROMPTS[2]], "guidance_scale": 5.0, "seed": 940,
     "image_prompts": [{"adapter": "sdxl_plain", "scale": -0.6, "size": [22, 22]}]},
]  # fmt: skip
SEEN_SIZES = [(34, 26), (44, 15), (12, 17)]


def write_encoder(name: str, output: Path) -> None:
    options = {key: value for key, value in ENCODERS[name].items() if key != "seed"}
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**options))
    fill(encoder, ENCODERS[name]["seed"], {"q_proj.weight": 2, "k_proj.weight": 2, "patch_embedding": 0.1})
    encoder.half().save_pretrained(output / name)


def load_encoder(name: str, output: Path) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection.from_pretrained(output / name, dtype=torch.float32).eval()


def projection_shapes(options: dict[str, Any], text: int) -> dict[str, tuple[int, ...]]:
    encoder, tokens = ENCODERS[options["encoder"]], options["tokens"]
    if "width" not in options:
        seen = encoder["projection_dim"]
        return {"proj.weight": (tokens * text, seen), "proj.bias": (tokens * text,),
                "norm.weight": (text,), "norm.bias": (text,)}  # fmt: skip
    width, inner = options["width"], 64 * options["heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, tokens, width), "proj_in.weight": (width, encoder["hidden_size"]), "proj_in.bias": (width,),
        "proj_out.weight": (text, width), "proj_out.bias": (text,),
        "norm_out.weight": (text,), "norm_out.bias": (text,),
    }  # fmt: skip
    for i in range(DEPTH):
        for norm in ["0.norm1", "0.norm2", "1.0"]:
            shapes |= {f"layers.{i}.{norm}.weight": (width,), f"layers.{i}.{norm}.bias": (width,)}
        shapes |= {
            f"layers.{i}.0.to_q.weight": (inner, width), f"layers.{i}.0.to_kv.weight": (2 * inner, width),
            f"layers.{i}.0.to_out.weight": (width, inner),
            f"layers.{i}.1.1.weight": (4 * width, width), f"layers.{i}.1.3.weight": (width, 4 * width),
        }  # fmt: skip
    return shapes


def attention_shapes(unet: UNet2DConditionModel) -> dict[str, tuple[int, ...]]:
    """Numbered as IP-Adapter's own code does: by the places of all of the U-Net's attentions."""
    shapes = {}
    for number, name in enumerate(unet.attn_processors):
        if "attn2" not in name:
            continue
        query = unet.get_submodule(name.removesuffix(".processor")).to_q
        for part in ["to_k_ip", "to_v_ip"]:
            shapes[f"{number}.{part}.weight"] = (query.out_features, unet.config.cross_attention_dim)
    return shapes


def draw_weight(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    noise = normal(seed, *shape)
    if len(shape) == 1:
        is_norm = name.endswith("weight")
        return 1 + 0.2 * noise if is_norm else 0.1 * noise
    gain = 2.0 if "to_k" in name or "to_q" in name else 1.0
    return noise if name == "latents" else gain * noise / shape[-1] ** 0.5


def write_adapter(name: str, models: Path, output: Path) -> None:
    options = ADAPTERS[name]
    unet = load_model(options["family"], models / options["family"]).unet
    shapes = {
        f"image_proj.{key}": shape for key, shape in projection_shapes(options, unet.config.cross_attention_dim).items()
    } | {f"ip_adapter.{key}": shape for key, shape in attention_shapes(unet).items()}
    tensors = {
        key: draw_weight(key.split(".", 1)[1], shape, 1000 * options["seed"] + place).half()
        for place, (key, shape) in enumerate(shapes.items())
    }
    save_file(tensors, output / f"{name}.safetensors")


def with_adapters(pipeline: DiffusionPipeline, run: dict[str, Any], output: Path) -> None:
    names = [prompt["adapter"] for prompt in run["image_prompts"]]
    pipeline.register_modules(image_encoder=load_encoder(ADAPTERS[names[0]]["encoder"], output))
    pipeline.load_ip_adapter(
        str(output), subfolder="", weight_name=[f"{name}.safetensors" for name in names], image_encoder_folder=None
    )
    pipeline.unet.eval()


def draw(pipeline: DiffusionPipeline, run: dict[str, Any], pictures: dict[str, list[Image.Image]]) -> list[Tensor]:
    """The latents after each step."""
    steps: list[Tensor] = []

    def keep(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
        steps.append(values["latents"].clone())
        return values

    pipeline.set_ip_adapter_scale([prompt["scale"] for prompt in run["image_prompts"]])
    begins: dict[str, Any] = {"height": run["height"], "width": run["width"]}
    if pictures["init"]:
        begins = {"image": pictures["init"], "strength": run["strength"]}
    if pictures["control"]:
        begins |= {"image": pictures["control"], "controlnet_conditioning_scale": run["controls"][0]["scale"]}
    pipeline(
        prompt=run["prompts"], **begins, ip_adapter_image=list(pictures["prompt"]),
        num_inference_steps=run["steps"], guidance_scale=run["guidance_scale"],
        num_images_per_prompt=run["images_per_prompt"],
        generator=torch.Generator().manual_seed(run["seed"]), output_type="latent", callback_on_step_end=keep,
    )  # fmt: skip
    assert len(steps) == int(run["steps"] * run["strength"])
    return steps


def check_effects(pipeline: DiffusionPipeline, run: dict[str, Any], pictures: dict[str, Any], last: Tensor) -> None:
    for place, prompt in enumerate(run["image_prompts"]):
        picture = pictures["prompt"][place]
        pictures["prompt"][place] = draw_image(1, *prompt["size"])
        moved = distance(draw(pipeline, run, pictures)[-1], last)
        pictures["prompt"][place] = picture
        scale, prompt["scale"] = prompt["scale"], 0.0
        plain = distance(draw(pipeline, run, pictures)[-1], last)
        prompt["scale"] = scale
        print(run["family"], run["name"], prompt["adapter"], f"{moved:.3f} {plain:.3f}")
        assert moved > 0.05 and plain > 0.05


def write_run(run: dict[str, Any], data: Path, output: Path) -> dict[str, Any]:
    pipeline = load_model(run["family"], data / "models" / run["family"])
    pipeline.scheduler = SCHEDULERS[run["scheduler"]].from_config(pipeline.scheduler.config)
    sizes = (run["height"], run["width"])
    pictures = {
        "prompt": [draw_image(run["seed"] + 10 * i, *each["size"]) for i, each in enumerate(run["image_prompts"])],
        "init": [draw_image(run["seed"] + 5, *sizes) for _ in range(run["images"])],
        "control": [draw_image(run["seed"] + 6, *sizes) for _ in run.get("controls", [])],
    }
    if pictures["control"]:
        net = ControlNetModel.from_pretrained(data / "control" / run["controls"][0]["net"]).eval()
        pipeline = with_nets(pipeline, {**run, "masks": 0}, [net])
    if pictures["init"]:
        pipeline = image_pipeline(pipeline, False)
    with_adapters(pipeline, run, output)
    steps = draw(pipeline, run, pictures)
    check_effects(pipeline, run, pictures, steps[-1])
    tensors = {"step_000": steps[0], f"step_{len(steps) - 1:03}": steps[-1]}
    tensors |= {f"image_prompt_{i}": bytes_of([image]).half() for i, image in enumerate(pictures["prompt"])}
    if pictures["init"]:
        tensors |= {"image": bytes_of(pictures["init"]).half()}
    if pictures["control"]:
        tensors |= {"control_0": bytes_of(pictures["control"]).half()}
    name = f"{run['family']}_{run['name']}.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, output / name)
    return {**run, "negative_prompts": None, "file": name}


def write_seen(name: str, data: Path, output: Path) -> None:
    encoder, side = load_encoder(name, output), ENCODERS[name]["image_size"]
    processor = CLIPImageProcessor(size=side, crop_size=side)
    images = [draw_image(950 + 10 * i, *size) for i, size in enumerate(SEEN_SIZES)]
    pixels = [processor(image, return_tensors="pt").pixel_values for image in images]
    seen = encoder(torch.cat(pixels), output_hidden_states=True)
    tensors = {"image_embeds": seen.image_embeds, "penultimate": seen.hidden_states[-2]}
    for i, image in enumerate(images):
        tensors |= {f"image_{i}": bytes_of([image]).half(), f"pixels_{i}": pixels[i]}
    for adapter, options in ADAPTERS.items():
        if options["encoder"] != name:
            continue
        pipeline = load_model(options["family"], data / "models" / options["family"])
        with_adapters(pipeline, {"image_prompts": [{"adapter": adapter}]}, output)
        read = tensors["penultimate" if "width" in options else "image_embeds"]
        tokens = pipeline.unet.encoder_hid_proj([read[:, None]])[0]
        assert distance(tokens.flip(0), tokens) > 0.05
        tensors[f"{adapter}.tokens"] = tokens.flatten(1, 2) if tokens.dim() == 4 else tokens
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, output / f"{name}_seen.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the C++ tests' references with IP-Adapters.")
    data = Path(__file__).resolve().parents[1] / "data"
    parser.add_argument("--output", type=Path, default=data / "ip_adapter")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for name in ENCODERS:
        write_encoder(name, output)
    for name in ADAPTERS:
        write_adapter(name, data / "models", output)
    for name in ENCODERS:
        write_seen(name, data, output)
    runs = [write_run(run, data, output) for run in RUNS]
    adapters = {name: {key: options[key] for key in ["family", "encoder"]} for name, options in ADAPTERS.items()}
    index = {"adapters": adapters, "runs": runs}
    (output / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
