"""Writes the trained networks as a diffusers folder in float16."""

import argparse
import json
import os
import shutil

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from autoencoder import Autoencoder
from checkpoints import trained
from denoiser import Denoiser
from networks import make_scheduler
from plans import FULL, TOY, Plan
from tokenizer import write_tokenizer

LARGEST_BYTES = 30_000_000
BESIDE = ("README.md", "sheet.webp")      # the card and its pictures
GUIDANCE = {"denoiser": 3.0, "student": 1.0}


def trained_pipeline(plan: Plan, work: str, stage: str) -> StableDiffusionPipeline:
    """The averaged weights of a stage's last checkpoint, in float32."""
    autoencoder, denoiser = Autoencoder(plan), Denoiser(plan)
    sharper = os.path.exists(os.path.join(work, "decoder.pt"))
    autoencoder.load_state_dict(trained(work, "decoder" if sharper else "autoencoder"))
    denoiser.load_state_dict(trained(work, stage))
    write_tokenizer(os.path.join(work, "tokenizer"))
    return StableDiffusionPipeline(
        vae=autoencoder.vae.eval(), text_encoder=denoiser.text.eval(), unet=denoiser.unet.eval(),
        tokenizer=CLIPTokenizer.from_pretrained(os.path.join(work, "tokenizer")), scheduler=make_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def _contiguous(pipeline: StableDiffusionPipeline) -> None:
    for network in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        network.to(dtype=torch.float16)
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()


def _folder_bytes(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def _name_as_stable_diffusion(path: str) -> None:
    """Text encoder weights under text_model., as every Stable Diffusion checkpoint has them."""
    prefix = "text_model."
    weights = {name if name.startswith(prefix) else prefix + name: value for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def _suggest_guidance(index: str, scale: float) -> None:
    """For libpcpp; diffusers passes over what begins with an underscore."""
    with open(index, encoding="utf-8") as file:
        settings = json.load(file)
    with open(index, "w", encoding="utf-8") as file:
        json.dump(dict(sorted({**settings, "_guidance_scale": scale}.items())), file, indent=2)
        file.write("\n")


def _check_place(folder: str, work: str) -> None:
    """All of the folder is replaced: it must be a model's, and hold no checkpoints."""
    place, kept = os.path.realpath(folder), os.path.realpath(work)
    if kept == place or kept.startswith(place + os.sep):
        raise SystemExit(f"--out {folder} holds --work {work} and would be replaced: name another folder")
    if os.path.isdir(place) and os.listdir(place) and not os.path.exists(os.path.join(place, "model_index.json")):
        raise SystemExit(f"--out {folder} holds something else than a model: name another folder")


def export(plan: Plan, work: str, stage: str, folder: str) -> int:
    """Replaces the folder's networks when all is written; returns its bytes. The card stays."""
    _check_place(folder, work)
    pipeline = trained_pipeline(plan, work, stage)
    _contiguous(pipeline)
    fresh = folder.rstrip("/") + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.save_pretrained(fresh)
    shutil.rmtree(os.path.join(fresh, "tokenizer"))
    write_tokenizer(os.path.join(fresh, "tokenizer"))
    _name_as_stable_diffusion(os.path.join(fresh, "text_encoder", "model.safetensors"))
    _suggest_guidance(os.path.join(fresh, "model_index.json"), GUIDANCE[stage])
    for at, _, names in os.walk(fresh):
        for name in names:
            os.chmod(os.path.join(at, name), 0o644)
    size = _folder_bytes(fresh)
    if size > LARGEST_BYTES:
        raise SystemExit(f"{size} bytes, more than {LARGEST_BYTES}")
    for name in BESIDE:
        if os.path.exists(os.path.join(folder, name)):
            shutil.copy(os.path.join(folder, name), fresh)
    old = folder.rstrip("/") + ".old"
    shutil.rmtree(old, ignore_errors=True)
    if os.path.exists(folder):
        os.rename(folder, old)
    os.rename(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)
    return size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", required=True, help="the folder to replace")
    parser.add_argument("--stage", default="denoiser", choices=("denoiser", "student"), help="whose U-Net")
    parser.add_argument("--toy", action="store_true", help="as with train.py --toy")
    arguments = parser.parse_args()
    print(export(TOY if arguments.toy else FULL, arguments.work, arguments.stage, arguments.out), "bytes")
