"""Makes the tables of names by which the C++ tests write the tiny models as single files.

    python3 tests/reference/single_file_make.py [--output tests/data/single_file]

Needs what models_make.py needs, whose models it reads. It writes for each family

- FAMILY.json: a list of [name in the single file, component, name in diffusers, how], where how tells
  what diffusers has of the single file's tensor: "same"; "squeezed", a 1x1 convolution there and a
  matrix here; "rows 0 of 3", "rows 1 of 3", "rows 2 of 3"; "transposed"; or "passed over", without
  component and name. Names of text encoders begin with text_model, as in models that transformers
  saved before its release 5, whose position_ids sd15 has, too.

Before it writes it proves the names: the single file that they describe, made of the model's tensors,
goes through diffusers' own converters, which must give back the model's tensors, all of them and no
others, bit by bit.

A file of Stable Diffusion 2.x has 24 layers in its text encoder and a projection after them, and the
model ends with layer 22. diffusers leaves out layer 23, by that number, and the projection. The tiny
sd21 has layers 0 and 1; layer 23 and the projection are added to its file and passed over. That they
are all that diffusers leaves out, by the very names, is checked.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from diffusers.loaders.single_file_utils import (
    SD_2_TEXT_ENCODER_KEYS_TO_IGNORE,
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from models_make import FAMILIES, load_model
from torch import Tensor

Entry = tuple[str, str, str, str]
Tensors = dict[str, Tensor]

UNET, VAE = "model.diffusion_model.", "first_stage_model."
TEXT_ENCODERS = {
    "sd15": {"text_encoder": "cond_stage_model.transformer."},
    "sd21": {"text_encoder": "cond_stage_model.model."},
    "sdxl": {
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
}
POSITION_IDS = "text_model.embeddings.position_ids"
LEFTOVERS = {
    "sd15": ["alphas_cumprod", "betas", "model_ema.decay", "model_ema.diffusion_modeltime_embed0weight",
             "first_stage_model.loss.logvar", "cond_stage_model.transformer.logit_scale",
             f"cond_stage_model.transformer.{POSITION_IDS}"],
    "sd21": ["alphas_cumprod", "betas", "model_ema.decay", "model_ema.num_updates",
             "cond_stage_model.model.logit_scale", *SD_2_TEXT_ENCODER_KEYS_TO_IGNORE],
    "sdxl": ["denoiser.sigmas", "conditioner.embedders.1.model.logit_scale"],
}  # fmt: skip

UNET_OUTSIDE = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
UNET_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP_OUTSIDE = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def unet_module(module: str, layers: int, has_transformer: bool) -> str:
    """`has_transformer`: whether the layers of its block do."""
    if module in UNET_OUTSIDE:
        return UNET_OUTSIDE[module]
    parts = module.split(".")
    if parts[0] == "mid_block":
        rest = ".".join(parts[3:])
        if parts[1] == "attentions":
            return f"middle_block.1.{rest}"
        return f"middle_block.{2 * int(parts[2])}.{UNET_RESNET[rest]}"
    side, block, kind, layer, rest = parts[0], int(parts[1]), parts[2], int(parts[3]), ".".join(parts[4:])
    down = side == "down_blocks"
    number = (layers + 1) * block + layer + down
    numbered = f"{'input' if down else 'output'}_blocks.{number}"
    if kind == "resnets":
        return f"{numbered}.0.{UNET_RESNET[rest]}"
    if kind == "attentions":
        return f"{numbered}.1.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{number + layers}.0.op"
    return f"output_blocks.{number + layers}.{1 + has_transformer}.conv"


def unet_entries(pipeline: DiffusionPipeline) -> list[Entry]:
    entries = []
    names = list(pipeline.unet.state_dict())
    for name in names:
        module, parameter = name.rsplit(".", 1)
        block = ".".join(name.split(".")[:2])
        has_transformer = any(other.startswith(f"{block}.attentions.") for other in names)
        single = unet_module(module, pipeline.unet.config.layers_per_block, has_transformer)
        entries.append((f"{UNET}{single}.{parameter}", "unet", name, "same"))
    return entries


def vae_module(module: str, levels: int) -> str:
    parts = module.split(".")
    if len(parts) == 1:
        return module
    half, rest = parts[0], ".".join(parts[4:]).replace("conv_shortcut", "nin_shortcut")
    if len(parts) == 2:
        return f"{half}.{parts[1].replace('conv_norm_out', 'norm_out')}"
    if parts[1] == "mid_block":
        if parts[2] == "attentions":
            return f"{half}.mid.attn_1.{VAE_ATTENTION[rest]}"
        return f"{half}.mid.block_{int(parts[3]) + 1}.{rest}"
    side, level = ("down", int(parts[2])) if half == "encoder" else ("up", levels - 1 - int(parts[2]))
    if parts[3].endswith("samplers"):
        return f"{half}.{side}.{level}.{side}sample.conv"
    layer, rest = parts[4], ".".join(parts[5:]).replace("conv_shortcut", "nin_shortcut")
    return f"{half}.{side}.{level}.block.{layer}.{rest}"


def vae_entries(pipeline: DiffusionPipeline) -> list[Entry]:
    entries = []
    levels = len(pipeline.vae.config.block_out_channels)
    for name, tensor in pipeline.vae.state_dict().items():
        module, parameter = name.rsplit(".", 1)
        how = "squeezed" if ".attentions." in name and tensor.dim() == 2 else "same"
        entries.append((f"{VAE}{vae_module(module, levels)}.{parameter}", "vae", name, how))
    return entries


def open_clip_name(name: str) -> tuple[str, str]:
    """The name and what is to be had of its tensor."""
    if name == "text_projection.weight":
        return "text_projection", "transposed"
    name = name.removeprefix("text_model.")
    if name in OPEN_CLIP_OUTSIDE:
        return OPEN_CLIP_OUTSIDE[name], "same"
    _, _, layer, *rest, parameter = name.split(".")
    module = ".".join(rest)
    block = f"transformer.resblocks.{layer}"
    if module in OPEN_CLIP_LAYER:
        return f"{block}.{OPEN_CLIP_LAYER[module]}.{parameter}", "same"
    third = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].index(module)
    return f"{block}.attn.in_proj_{parameter}", f"rows {third} of 3"


def text_entries(component: str, prefix: str, names: list[str]) -> list[Entry]:
    if ".model." not in prefix:
        return [(prefix + name, component, name, "same") for name in names]
    named = [(name, *open_clip_name(name)) for name in names]
    return [(prefix + single, component, name, how) for name, single, how in named]


def text_tensors(pipeline: DiffusionPipeline, component: str) -> Tensors:
    """As the C++ tests' models name them; transformers 5 leaves out text_model where it can."""
    tensors = getattr(pipeline, component).state_dict()
    outer = ("text_model.", "text_projection.")
    return {name if name.startswith(outer) else "text_model." + name: value for name, value in tensors.items()}


def single_file(entries: list[Entry], model: dict[str, Tensors]) -> Tensors:
    """What the entries describe."""
    tensors: Tensors = {}
    thirds: dict[str, Tensors] = {}
    for single, component, name, how in entries:
        if how == "passed over":
            tensors[single] = torch.full((24, 24), 7.0)
            continue
        tensor = model[component][name]
        if how.startswith("rows"):
            thirds.setdefault(single, {})[how] = tensor
            continue
        assert single not in tensors, single
        if how == "squeezed":
            tensor = tensor[:, :, None, None]
        tensors[single] = tensor.T if how == "transposed" else tensor
    for single, parts in thirds.items():
        assert len(parts) == 3
        tensors[single] = torch.cat([parts[how] for how in sorted(parts)])
    return tensors


def prove(component: str, converted: Tensors, expected: Tensors) -> None:
    assert converted.keys() == expected.keys(), (component, converted.keys() ^ expected.keys())
    for name, tensor in expected.items():
        other = converted[name]
        assert other.dtype == tensor.dtype and torch.equal(other, tensor), (component, name)


def prove_family(family: str, pipeline: DiffusionPipeline, tensors: Tensors, model: dict[str, Tensors]) -> None:
    """Each converter gets the whole file, as it does in diffusers."""
    prove("unet", convert_ldm_unet_checkpoint(dict(tensors), pipeline.unet.config), model["unet"])
    prove("vae", convert_ldm_vae_checkpoint(dict(tensors), pipeline.vae.config), model["vae"])
    for component, prefix in TEXT_ENCODERS[family].items():
        encoder = getattr(pipeline, component)
        if ".model." in prefix:
            converted = convert_open_clip_checkpoint(encoder, dict(tensors), prefix)
        else:
            converted = convert_ldm_clip_checkpoint(dict(tensors))
            # The converter hands on all that has the prefix, and loading takes what the model has.
            for name in ["logit_scale", POSITION_IDS]:
                converted.pop(name, None)
        prove(component, converted, model[component])


def prove_unread_layer() -> None:
    """That diffusers leaves out, of Stable Diffusion 2.x, layer 23 and the projection, all of both."""
    modules = [*OPEN_CLIP_LAYER, "self_attn.q_proj"]
    names = [f"text_model.encoder.layers.23.{module}.{end}" for module in modules for end in ["weight", "bias"]]
    prefix = TEXT_ENCODERS["sd21"]["text_encoder"]
    singles = {prefix + open_clip_name(name)[0] for name in [*names, "text_projection.weight"]}
    assert singles == set(SD_2_TEXT_ENCODER_KEYS_TO_IGNORE)


def write_family(family: str, models: Path, output: Path) -> None:
    pipeline = load_model(family, models / family)
    model = {"unet": pipeline.unet.state_dict(), "vae": pipeline.vae.state_dict()}
    model |= {component: text_tensors(pipeline, component) for component in TEXT_ENCODERS[family]}
    entries = unet_entries(pipeline) + vae_entries(pipeline)
    for component, prefix in TEXT_ENCODERS[family].items():
        entries += text_entries(component, prefix, list(model[component]))
    entries += [(name, "", "", "passed over") for name in LEFTOVERS[family]]
    prove_family(family, pipeline, single_file(entries, model), model)
    lines = [json.dumps(entry, separators=(",", ":")) for entry in sorted(entries)]
    (output / f"{family}.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the tables of names of the C++ tests' single files.")
    data = Path(__file__).resolve().parents[1] / "data"
    parser.add_argument("--output", type=Path, default=data / "single_file")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    prove_unread_layer()
    for family in FAMILIES:
        write_family(family, data / "models", output)


if __name__ == "__main__":
    main()
