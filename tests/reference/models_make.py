"""Makes the tiny models, and diffusers' outputs of them, that the C++ tests compare with.

    python3 tests/reference/models_make.py [--output tests/data/models]

Needs torch, diffusers, transformers and safetensors. Everything is drawn from fixed seeds, computed
in float32 on one CPU thread from the files as written, and stored in float32, so running it again
gives the same files (another machine may round a last digit differently). It writes:

- sd15/, sd21/, sdxl/: pipelines in diffusers' layout with float16 weights (tiny_models.py). sd15
  has the names of the oldest files (text_model., position_ids, the VAE's query, key, value and
  proj_attn), the U-Net of sd21 lies in shards, and sdxl has only the variant fp16;
- ssd1b/unet: the U-Net of a distilled SDXL, alone;
- bk_sdm/unet: that of a distilled SD 1.x, likewise;
- FAMILY_text.safetensors: for each text encoder ENCODER.ids [n, tokens] (as float), ENCODER
  .hidden_I, ENCODER.last_hidden_state, ENCODER.pooled;
- FAMILY_unet.safetensors: for each case NAME.latents, NAME.text, NAME.output and, for sdxl,
  NAME.text_embeds and NAME.time_ids;
- FAMILY_vae.safetensors: latents (before the scaling is undone) and image;
- FAMILY_run_NAME.safetensors: latents (standard normal), step_000, step_001, ... (the latents after
  these steps; the last one is always there), the prompt embeddings of a run that is given them, and
  pixels: every fourth row and column of the decoded image, not clamped;
- index.json: the cases.

Before it writes references it checks that text and time move the U-Net's output by more than 5 %,
that its output is of order one, and that a run magnifies an error of its start by less than 50.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, tiny_bk_sdm, tiny_ssd1b, write_tokenizer
from torch import Tensor

PROMPTS = ["a red fox under the rainbow", "", "The moon over a small city, an umbrella & 2 cats! " * 4]
SCHEDULERS = {"ddim": DDIMScheduler, "euler": EulerDiscreteScheduler}
VARIANTS = {"sdxl": "fp16"}
TEXT_TOKENS = 24

UNET_CASES: list[dict[str, Any]] = [
    {"name": "square", "batch": 1, "rows": 16, "columns": 16, "timestep": 981.0},
    {"name": "tall", "batch": 2, "rows": 20, "columns": 12, "timestep": 500.25},
    {"name": "ragged", "batch": 1, "rows": 13, "columns": 11, "timestep": 21.0},
]

RUNS: list[dict[str, Any]] = [
    {"name": "ddim_square", "scheduler": "ddim", "steps": 20, "height": 96, "width": 96,
     "guidance_scale": 5.0, "prompts": [PROMPTS[0]], "negative_prompts": None, "keep": "all"},
    {"name": "ddim_wide", "scheduler": "ddim", "steps": 20, "height": 80, "width": 112,
     "guidance_scale": 1.0, "prompts": [PROMPTS[0], PROMPTS[2]], "negative_prompts": None,
     "keep": "ends"},
    {"name": "euler_square", "scheduler": "euler", "steps": 12, "height": 96, "width": 96,
     "guidance_scale": 5.0, "prompts": [PROMPTS[0], PROMPTS[2]], "negative_prompts": ["", "blurry"],
     "keep": "ends"},
    {"name": "euler_plain", "scheduler": "euler", "steps": 12, "height": 96, "width": 96,
     "guidance_scale": 1.0, "prompts": [PROMPTS[2]], "negative_prompts": None, "keep": "ends"},
    {"name": "euler_tall_embeds", "scheduler": "euler", "steps": 12, "height": 112, "width": 80,
     "guidance_scale": 5.0, "prompts": None, "negative_prompts": None, "keep": "all"},
]  # fmt: skip


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def distance(value: Tensor, reference: Tensor) -> float:
    return ((value - reference).norm() / reference.norm()).item()


def rename(path: Path, names: dict[str, str], extra: dict[str, Tensor]) -> None:
    """Writes a file's tensors anew under names in which each key is replaced by its value."""
    renamed = {}
    for name, tensor in load_file(path).items():
        for key, value in names.items():
            name = name.replace(key, value, 1)
        renamed[name] = tensor
    save_file({**renamed, **extra}, path, metadata={"format": "pt"})


def write_model(family: str, folder: Path) -> None:
    pipeline = FAMILIES[family](folder).to(torch.float16)
    pipeline.save_pretrained(folder, variant=VARIANTS.get(family))
    for name in ["tokenizer", "tokenizer_2"]:
        if hasattr(pipeline, name):
            shutil.rmtree(folder / name)
            write_tokenizer(folder / name, getattr(pipeline, name).pad_token)
    if family == "sd21":
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        pipeline.unet.save_pretrained(folder / "unet", max_shard_size="100KB")
    if family == "sd15":
        rename(
            folder / "text_encoder" / "model.safetensors",
            {"": "text_model."},
            {"text_model.embeddings.position_ids": torch.arange(77)[None]},
        )
        old = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
        rename(folder / "vae" / "diffusion_pytorch_model.safetensors", old, {})


def load_model(family: str, folder: Path) -> DiffusionPipeline:
    pipeline = DiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, variant=VARIANTS.get(family), safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def text_references(pipeline: DiffusionPipeline) -> dict[str, Tensor]:
    tensors = {}
    for suffix in ["", "_2"]:
        encoder = getattr(pipeline, "text_encoder" + suffix, None)
        if encoder is None:
            continue
        ids = getattr(pipeline, "tokenizer" + suffix)(
            PROMPTS, padding="max_length", max_length=TEXT_TOKENS, truncation=True,
            return_tensors="pt",
        ).input_ids  # fmt: skip
        output = encoder(ids, output_hidden_states=True)
        pooled = output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output
        name = "text_encoder" + suffix
        tensors[f"{name}.ids"] = ids.float()
        tensors[f"{name}.last_hidden_state"] = output.last_hidden_state
        tensors[f"{name}.pooled"] = pooled
        for index, state in enumerate(output.hidden_states):
            tensors[f"{name}.hidden_{index}"] = state
    return tensors


def unet_inputs(unet: UNet2DConditionModel, case: dict[str, Any], seed: int) -> dict[str, Tensor]:
    batch = case["batch"]
    inputs = {
        "latents": normal(seed, batch, 4, case["rows"], case["columns"]),
        "text": normal(seed + 1, batch, 9, unet.config.cross_attention_dim),
    }
    if unet.config.addition_embed_type:
        sizes = [8 * case["rows"], 8 * case["columns"]]
        inputs["text_embeds"] = normal(seed + 2, batch, 20)
        inputs["time_ids"] = torch.tensor([[*sizes, 0, 8, *sizes]] * batch).float()
    return inputs


def run_unet(unet: UNet2DConditionModel, inputs: dict[str, Tensor], timestep: float) -> Tensor:
    added = {name: inputs[name] for name in ["text_embeds", "time_ids"] if name in inputs}
    time = torch.tensor(timestep)
    return unet(inputs["latents"], time, inputs["text"], added_cond_kwargs=added or None).sample


def unet_references(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    tensors = {}
    for index, case in enumerate(UNET_CASES):
        inputs = unet_inputs(unet, case, 100 + 10 * index)
        output = run_unet(unet, inputs, case["timestep"])
        other_text = run_unet(unet, {**inputs, "text": inputs["text"].flip(2)}, case["timestep"])
        other_time = run_unet(unet, inputs, (case["timestep"] + 371) % 1000)
        assert distance(other_text, output) > 0.05 and distance(other_time, output) > 0.05
        assert 0.3 < output.std() < 3
        for name, tensor in {**inputs, "output": output}.items():
            tensors[f"{case['name']}.{name}"] = tensor
    return tensors


def vae_references(vae: AutoencoderKL) -> dict[str, Tensor]:
    latents = normal(200, 2, 4, 4, 3)
    return {"latents": latents, "image": vae.decode(latents / vae.config.scaling_factor).sample}


def prompt_embeds(pipeline: DiffusionPipeline) -> dict[str, Tensor]:
    prompt, negative = PROMPTS[0], "low quality"
    names = ["prompt_embeds", "negative_prompt_embeds"]
    if hasattr(pipeline, "text_encoder_2"):
        names += ["pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
        values = pipeline.encode_prompt(prompt, device="cpu", negative_prompt=negative)
    else:
        values = pipeline.encode_prompt(prompt, "cpu", 1, True, negative)
    return dict(zip(names, values))


def run_pipeline(
    pipeline: DiffusionPipeline, run: dict[str, Any], latents: Tensor, embeds: dict[str, Tensor]
) -> list[Tensor]:
    """The latents after each step."""
    steps: list[Tensor] = []

    def keep(_pipeline: Any, _step: int, _time: Any, values: dict[str, Any]) -> dict[str, Any]:
        steps.append(values["latents"].clone())
        return values

    pipeline(
        prompt=run["prompts"],
        negative_prompt=run["negative_prompts"],
        height=run["height"],
        width=run["width"],
        num_inference_steps=run["steps"],
        guidance_scale=run["guidance_scale"],
        latents=latents,
        output_type="latent",
        callback_on_step_end=keep,
        **embeds,
    )
    assert len(steps) == run["steps"]
    return steps


def run_references(pipeline: DiffusionPipeline, run: dict[str, Any], seed: int) -> dict[str, Tensor]:
    scheduler = pipeline.scheduler
    pipeline.scheduler = SCHEDULERS[run["scheduler"]].from_config(scheduler.config)
    latents = normal(seed, len(run["prompts"] or [0]), 4, run["height"] // 8, run["width"] // 8)
    embeds = {} if run["prompts"] else prompt_embeds(pipeline)
    steps = run_pipeline(pipeline, run, latents, embeds)
    moved = run_pipeline(pipeline, run, latents * (1 + 1e-4 * normal(seed + 1, *latents.shape)), embeds)
    magnified = distance(moved[-1], steps[-1]) / 1e-4
    assert magnified < 50, (run["name"], magnified)
    pipeline.scheduler = scheduler
    kept = range(run["steps"]) if run["keep"] == "all" else [0, run["steps"] - 1]
    pixels = pipeline.vae.decode(steps[-1] / pipeline.vae.config.scaling_factor).sample
    return {
        "latents": latents,
        **embeds,
        **{f"step_{index:03}": steps[index] for index in kept},
        "pixels": pixels[:, :, ::4, ::4],
    }


def write_family(family: str, output: Path, index: dict[str, list[dict[str, Any]]]) -> None:
    write_model(family, output / family)
    pipeline = load_model(family, output / family)
    text = text_references(pipeline)
    files = {
        "text": text,
        "unet": unet_references(pipeline.unet),
        "vae": vae_references(pipeline.vae),
        **{f"run_{run['name']}": run_references(pipeline, run, 300) for run in RUNS},
    }
    for name, tensors in files.items():
        packed = {key: tensor.contiguous() for key, tensor in tensors.items()}
        save_file(packed, output / f"{family}_{name}.safetensors")
    encoders = sorted({name.split(".")[0] for name in text})
    index["text"] += [
        {"family": family, "encoder": name, "prompts": PROMPTS, "file": f"{family}_text.safetensors"}
        for name in encoders
    ]
    index["unet"] += [
        {"family": family, **case, "file": f"{family}_unet.safetensors"} for case in UNET_CASES
    ]
    index["vae"].append({"family": family, "file": f"{family}_vae.safetensors"})
    for run in RUNS:
        case = {name: value for name, value in run.items() if name != "keep"}
        index["runs"].append(
            {"family": family, **case, "file": f"{family}_run_{run['name']}.safetensors"}
        )


def write_unet(name: str, unet: UNet2DConditionModel, output: Path, index: dict[str, list[dict[str, Any]]]) -> None:
    unet.to(torch.float16).save_pretrained(output / name / "unet")
    loaded = UNet2DConditionModel.from_pretrained(output / name / "unet", dtype=torch.float32)
    tensors = {key: tensor.contiguous() for key, tensor in unet_references(loaded).items()}
    save_file(tensors, output / f"{name}_unet.safetensors")
    index["unet"] += [{"family": name, **case, "file": f"{name}_unet.safetensors"} for case in UNET_CASES]


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the C++ tests' tiny models and references.")
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--output", type=Path, default=root / "data" / "models")
    output = parser.parse_args().output
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    index: dict[str, list[dict[str, Any]]] = {"text": [], "unet": [], "vae": [], "runs": []}
    for family in FAMILIES:
        shutil.rmtree(output / family, ignore_errors=True)
        write_family(family, output, index)
    for name, unet in [("ssd1b", tiny_ssd1b()), ("bk_sdm", tiny_bk_sdm())]:
        shutil.rmtree(output / name, ignore_errors=True)
        write_unet(name, unet, output, index)
    (output / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
