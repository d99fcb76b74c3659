"""Trains an AutoencoderKL whose latents are the principal components: first its decoder, then its encoder."""

import argparse
import os
import time

import torch
import torch.nn.functional as F

from checkpoints import load_checkpoint, save_checkpoint
from data import draw_batch
from fast_layers import speed_up
from latents import CHANNELS, PatchLatents, load_latents
from networks import make_autoencoder
from optimiser import Optimisers, schedule

SIZE, BATCH = 128, 8


def _edges(pixels: torch.Tensor) -> torch.Tensor:
    """Horizontal and vertical differences, so that outlines count."""
    return torch.cat([(pixels[..., 1:] - pixels[..., :-1]).flatten(1),
                      (pixels[..., 1:, :] - pixels[..., :-1, :]).flatten(1)], 1)


def decoder_loss(vae, latents: PatchLatents, pixels: torch.Tensor) -> torch.Tensor:
    made = vae.decode(latents.encode(pixels).contiguous(memory_format=torch.channels_last)).sample.float()
    return F.mse_loss(made, pixels) + 0.1 * F.l1_loss(made, pixels) + 0.3 * F.mse_loss(_edges(made), _edges(pixels))


def encoder_loss(vae, latents: PatchLatents, pixels: torch.Tensor) -> torch.Tensor:
    moments = vae.quant_conv(vae.encoder(pixels.contiguous(memory_format=torch.channels_last))).float()
    return F.mse_loss(moments[:, :CHANNELS], latents.encode(pixels))


@torch.no_grad()
def quality(vae, latents: PatchLatents, seed: int = 77) -> str:
    """On held-out scenes over backgrounds that training never saw."""
    pixels = draw_batch((seed,), 16, 256, 256, held_out=True, pool_seed=seed)[1]
    exact = latents.encode(pixels)
    made = vae.decode(exact).sample.clamp(-1, 1).float()
    encoded = vae.encode(pixels).latent_dist.mean
    return (f"decoded latents {10 * torch.log10(4 / F.mse_loss(made, pixels)):.2f} dB, "
            f"encoded latents {(encoded - exact).norm() / exact.norm():.3f} off")


def train(work: str, part: str, steps: int, rate: float = 2e-3) -> None:
    latents = load_latents(work)
    vae = make_autoencoder(latents.scaling_factor).to(memory_format=torch.channels_last)
    speed_up(vae)
    both = os.path.join(work, "autoencoder.pt")
    start, state = load_checkpoint(os.path.join(work, f"{part}.pt"))
    if state is None and os.path.exists(both):
        vae.load_state_dict(torch.load(both))       # the other part, trained before
    inner = ("decoder", "post_quant_conv") if part == "decoder" else ("encoder", "quant_conv")
    named = [(n, p) for n, p in vae.named_parameters() if n.startswith(inner)]
    optimisers = Optimisers(named, muon_rate=rate, adam_rate=rate / 2)
    if state is not None:
        vae.load_state_dict(state["model"])
        optimisers.load_state_dict(state["optimisers"])
    loss_of, began = (decoder_loss if part == "decoder" else encoder_loss), time.time()
    for step in range(start, steps):
        pixels = draw_batch((11, step), BATCH, SIZE, SIZE)[1]
        if step % 2:                                # half of them the size of the objects in large pictures
            pixels = draw_batch((12, step), BATCH // 2, 2 * SIZE, 2 * SIZE)[1]
            pixels = torch.cat([pixels[..., 64:192, :128], pixels[..., 128:, 128:]])
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(vae, latents, pixels)
        loss.backward()
        optimisers.step(schedule(step, steps))
        if step % 50 == 0:
            print(f"{part} {step}/{steps} loss {loss.item():.5f} {time.time() - began:.0f} s", flush=True)
        if step % 100 == 99 or step == steps - 1:
            save_checkpoint(os.path.join(work, f"{part}.pt"), step + 1,
                            {"model": vae.state_dict(), "optimisers": optimisers.state_dict()})
            torch.save(vae.state_dict(), both)
            print(f"{part} {step + 1}: {quality(vae, latents)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--part", choices=("decoder", "encoder"), default="decoder")
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args()
    train(arguments.work, arguments.part, arguments.steps)
