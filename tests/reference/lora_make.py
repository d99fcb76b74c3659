"""Makes LoRA files for the tiny models, and diffusers' pictures with them, that the C++ tests compare
with.

    python3 tests/reference/lora_make.py [--output tests/data/lora]

Needs what models_make.py needs, whose models it reads, and peft. It writes for each family

- FAMILY.safetensors: the LoRA, of attention, feed-forwards, convolutions, embeddings and text
  encoders; sd15's as diffusers saves it, with its settings, sd21's as it did before PEFT, sdxl's
  under the names of kohya's scripts;
- FAMILY_run.safetensors: latents (standard normal) and step_I, the latents after the first and the
  last step, with the LoRA at the scale that index.json names;
- index.json: the runs, and names of a U-Net's modules as kohya's scripts write them for SDXL, by
  diffusers' names, which diffusers reads them as.

Before it writes it checks that the LoRA moves the result by more than 10 %, and the text encoders'
part of it by more than 2 %.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from models_make import FAMILIES, PROMPTS, distance, load_model, normal, run_pipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

RANK, OTHER_RANK, ALPHA, SCALE = 4, 2, 6.0, 0.8  # the other in feed-forwards
RUN: dict[str, Any] = {
    "steps": 6, "height": 96, "width": 64, "guidance_scale": 4.0, "prompts": [PROMPTS[0]],
    "negative_prompts": None,
}  # fmt: skip
Matrices = dict[str, tuple[Tensor, Tensor]]  # down and up by the weight's module

UNET_ENDS = [
    "attn1.to_q", "attn1.to_out.0", "attn2.to_k", "attn2.to_v", "ff.net.0.proj", "ff.net.2",
    "proj_in", "proj_out", "conv1", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv",
    "upsamplers.0.conv",
]  # fmt: skip
OUTER = ["conv_in", "conv_out", "time_embedding.linear_1"]
TEXT_ENDS = ["q_proj", "out_proj", "mlp.fc1"]


def is_changed(name: str, is_text: bool) -> bool:
    if is_text:
        return name.endswith(tuple(TEXT_ENDS))
    return name in OUTER or name.endswith(tuple(UNET_ENDS))


def changed(model: nn.Module, is_text: bool) -> list[str]:
    return sorted(name for name, _ in model.named_modules() if is_changed(name, is_text))


def draw(model: nn.Module, seed: int, is_text: bool) -> Matrices:
    generator = torch.Generator().manual_seed(seed)
    matrices: Matrices = {}
    for name in changed(model, is_text):
        weight = model.get_submodule(name).weight
        rank = OTHER_RANK if ".ff." in name else RANK
        down = torch.randn(rank, *weight.shape[1:], generator=generator)
        up = torch.randn(weight.shape[0], rank, *[1] * (weight.dim() - 2), generator=generator)
        down *= 0.25 / weight[0].numel() ** 0.5
        matrices[name] = (down, up)
    return matrices


def kohya(prefix: str, matrices: Matrices) -> dict[str, Tensor]:
    tensors = {}
    for name, (down, up) in matrices.items():
        module = prefix + name.replace(".", "_")
        tensors[f"{module}.lora_down.weight"] = down
        tensors[f"{module}.lora_up.weight"] = up
        tensors[f"{module}.alpha"] = torch.tensor(ALPHA)
    return tensors


def old_diffusers(prefix: str, end: str, matrices: Matrices) -> dict[str, Tensor]:
    tensors = {}
    for name, (down, up) in matrices.items():
        tensors[f"{prefix}{name}{end}.down.weight"] = down
        tensors[f"{prefix}{name}{end}.up.weight"] = up
    return tensors


OUTSIDE = {
    "conv_in": "input_blocks.0.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip


def first_stable_diffusion(name: str) -> str:
    """A module of a U-Net of SDXL's form under its name there."""
    inner = {"conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
    if name in OUTSIDE:
        return OUTSIDE[name]
    parts = name.split(".")
    rest = ".".join(inner.get(part, part) for part in parts[(4 if parts[0] != "mid_block" else 3) :])
    if parts[0] == "mid_block":
        place = 1 if parts[1] == "attentions" else 2 * int(parts[2])
        return f"middle_block.{place}.{rest}"
    block, kind, layer = int(parts[1]), parts[2], int(parts[3])
    if parts[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{3 * block + 3}.0.op"
        return f"input_blocks.{3 * block + layer + 1}.{int(kind == 'attentions')}.{rest}"
    if kind == "upsamplers":
        return f"output_blocks.{3 * block + 2}.2.conv"
    return f"output_blocks.{3 * block + layer}.{int(kind == 'attentions')}.{rest}"


def save_as_diffusers(pipeline: DiffusionPipeline, path: Path) -> None:
    """By PEFT's adapters and diffusers' own writer."""
    layers, settings = {}, {}
    for component, seed in [("unet", 500), ("text_encoder", 501)]:
        model = getattr(pipeline, component)
        matrices = draw(model, seed, component != "unet")
        ranks = {name: OTHER_RANK for name in matrices if ".ff." in name}
        config = LoraConfig(
            r=RANK, rank_pattern=ranks, lora_alpha=ALPHA, target_modules=sorted(matrices)
        )
        model.add_adapter(config, adapter_name="made")
        for name, (down, up) in matrices.items():
            module = model.get_submodule(name)
            module.lora_A["made"].weight.data.copy_(down)
            module.lora_B["made"].weight.data.copy_(up)
        layers[f"{component}_lora_layers"] = get_peft_model_state_dict(model, adapter_name="made")
        settings[f"{component}_lora_adapter_metadata"] = {
            **config.to_dict(), "target_modules": sorted(matrices), "base_model_name_or_path": None,
        }  # fmt: skip
    pipeline.save_lora_weights(path.parent, weight_name=path.name, **layers, **settings)


def named_as_kohya(unet: UNet2DConditionModel) -> dict[str, str]:
    """What diffusers takes the names of SDXL's modules for."""
    modules = {name: first_stable_diffusion(name) for name in changed(unet, is_text=False)} | OUTSIDE
    keys = {name: "lora_unet_" + module.replace(".", "_") for name, module in modules.items()}
    state = {}
    for number, key in enumerate(keys.values()):
        state[f"{key}.lora_down.weight"] = torch.full((1, 1), float(number))
        state[f"{key}.lora_up.weight"] = torch.zeros(1, 1)
    mapped = _maybe_map_sgm_blocks_to_diffusers(state, unet.config)
    read, _ = _convert_non_diffusers_lora_to_diffusers(mapped)
    names = list(keys)
    for key, tensor in read.items():
        if ".up." in key:
            continue
        module = key.removeprefix("unet.").replace("_lora.down.weight", "").replace(".lora.down.weight", "")
        module = module.replace(".processor", "").replace("to_out", "to_out.0")
        assert module == names[int(tensor.item())], (key, names[int(tensor.item())])
    return {key: name for name, key in keys.items()}


def save_old(pipeline: DiffusionPipeline, path: Path) -> None:
    unet = draw(pipeline.unet, 510, is_text=False)
    text = draw(pipeline.text_encoder, 511, is_text=True)
    tensors = old_diffusers("unet.", ".lora", unet)
    tensors |= old_diffusers("text_encoder.", ".lora_linear_layer", text)
    save_file(tensors, path)


def save_as_kohya(pipeline: DiffusionPipeline, path: Path) -> None:
    tensors = kohya("lora_unet_", draw(pipeline.unet, 520, is_text=False))
    for component, prefix in [("text_encoder", "lora_te1_"), ("text_encoder_2", "lora_te2_")]:
        matrices = draw(getattr(pipeline, component), 521, is_text=True)
        named = {f"text_model.{name.removeprefix('text_model.')}": pair for name, pair in matrices.items()}
        tensors |= kohya(prefix, named)
    save_file({name: tensor.half() for name, tensor in tensors.items()}, path)


SAVE = {"sd15": save_as_diffusers, "sd21": save_old, "sdxl": save_as_kohya}


def draw_steps(pipeline: DiffusionPipeline, latents: Tensor) -> list[Tensor]:
    return run_pipeline(pipeline, RUN, latents, {})


def write_family(family: str, models: Path, output: Path) -> dict[str, Any]:
    path = output / f"{family}.safetensors"
    pipeline = load_model(family, models / family)
    SAVE[family](pipeline, path)
    pipeline = load_model(family, models / family)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    latents = normal(520, 1, 4, RUN["height"] // 8, RUN["width"] // 8)
    without = draw_steps(pipeline, latents)
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="whole")
    pipeline.set_adapters(["whole"], [SCALE])
    for component in sorted(pipeline.components.keys() & {"unet", "text_encoder", "text_encoder_2"}):
        model = getattr(pipeline, component)
        read = {name for name, module in model.named_modules() if hasattr(module, "lora_A")}
        assert read == set(changed(model, is_text=component != "unet"))
    steps = draw_steps(pipeline, latents)
    pipeline.delete_adapters("whole")
    is_unet = lambda name: name.startswith(("unet.", "lora_unet_"))
    unet_alone = {name: tensor for name, tensor in load_file(path).items() if is_unet(name)}
    pipeline.load_lora_weights(unet_alone, adapter_name="unet")
    pipeline.set_adapters(["unet"], [SCALE])
    textless = draw_steps(pipeline, latents)
    assert distance(steps[-1], without[-1]) > 0.1 and distance(textless[-1], steps[-1]) > 0.02
    tensors = {"latents": latents, "step_000": steps[0], f"step_{len(steps) - 1:03}": steps[-1]}
    name = f"{family}_run.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, output / name)
    return {"family": family, "lora": path.name, "scale": SCALE, "scheduler": "ddim", **RUN, "file": name}


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the C++ tests' LoRA files and references.")
    data = Path(__file__).resolve().parents[1] / "data"
    parser.add_argument("--output", type=Path, default=data / "lora")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    runs = [write_family(family, data / "models", output) for family in FAMILIES]
    names = named_as_kohya(load_model("sd21", data / "models" / "sd21").unet)
    index = {"runs": runs, "sdxl_names": names}
    (output / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
