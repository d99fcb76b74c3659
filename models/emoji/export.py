"""Writes the trained networks as a diffusers folder in float16."""

import argparse
import os
import shutil

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from checkpoints import load_checkpoint
from latents import load_latents
from networks import make_autoencoder, make_scheduler, make_text_encoder, make_unet
from tokenizer import load_tokenizer, write_tokenizer

LARGEST_BYTES = 30_000_000


def trained_autoencoder(work: str) -> AutoencoderKL:
    vae = make_autoencoder(load_latents(work).scaling_factor)
    path = os.path.join(work, "autoencoder.pt")
    if os.path.exists(path):
        vae.load_state_dict(torch.load(path))
    return vae.eval()


def _part(state: dict, prefix: str) -> dict:
    return {name[len(prefix):]: value for name, value in state.items() if name.startswith(prefix)}


def trained_pipeline(work: str) -> StableDiffusionPipeline:
    """The averaged weights of the last checkpoint, in float32."""
    tokenizer = load_tokenizer(work)
    unet: UNet2DConditionModel = make_unet()
    text = make_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    _, state = load_checkpoint(os.path.join(work, "denoiser.pt"))
    if state is not None:
        unet.load_state_dict(_part(state["average"], "unet."))
        text.load_state_dict(_part(state["average"], "text."))
    return StableDiffusionPipeline(
        vae=trained_autoencoder(work), text_encoder=text.eval(), tokenizer=tokenizer, unet=unet.eval(),
        scheduler=make_scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False)


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


def export(work: str, folder: str) -> int:
    """Replaces the folder's networks when all is written; returns its bytes. The card stays."""
    pipeline = trained_pipeline(work)
    _contiguous(pipeline)
    fresh = folder.rstrip("/") + ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    pipeline.save_pretrained(fresh)
    shutil.rmtree(os.path.join(fresh, "tokenizer"))
    write_tokenizer(os.path.join(fresh, "tokenizer"))
    _name_as_stable_diffusion(os.path.join(fresh, "text_encoder", "model.safetensors"))
    for at, _, names in os.walk(fresh):
        for name in names:
            os.chmod(os.path.join(at, name), 0o644)
    size = _folder_bytes(fresh)
    if size > LARGEST_BYTES:
        raise SystemExit(f"{size} bytes, more than {LARGEST_BYTES}")
    card = os.path.join(folder, "README.md")
    if os.path.exists(card):
        shutil.copy(card, fresh)
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
    arguments = parser.parse_args()
    print(export(arguments.work, arguments.out), "bytes")
