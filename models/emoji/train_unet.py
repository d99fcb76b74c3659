"""Trains the U-Net and the text encoder together. One command, safe to stop and start again."""

import argparse
import os
import time

import numpy as np
import torch

from checkpoints import load_checkpoint, save_checkpoint
from data import box_masks, draw_batch
from fast_layers import speed_up
from latents import PATCH, load_latents
from networks import make_scheduler, make_text_encoder, make_unet
from optimiser import Optimisers, schedule
from tokenizer import load_tokenizer, tokens_of

DROP_CAPTION = 0.1
NOISE_SHIFT = 1.6        # timesteps lean towards noise
OBJECT_WEIGHT = 3.0      # how much more a latent inside an object counts
EMA = 0.998
BATCH = {128: 48, 256: 16}    # by picture size


class Denoiser(torch.nn.Module):
    """Captions, noise and time to v."""

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer
        self.unet = make_unet()
        self.text = make_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)

    def states(self, captions: list[str]) -> torch.Tensor:
        return self.text(tokens_of(self.tokenizer, captions).to(self.text.device)).last_hidden_state

    def forward(self, noisy, timesteps, captions):
        return self.unet(noisy.contiguous(memory_format=torch.channels_last), timesteps, self.states(captions)).sample


def stratified_timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    u = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    u = NOISE_SHIFT * u / (1 + (NOISE_SHIFT - 1) * u)
    return (u * 1000).long().clamp_max(999)


def picture_size(rng: np.random.Generator, progress: float) -> int:
    """Mostly small pictures at first, mostly large ones at the end."""
    large = np.interp(progress, (0.0, 0.25, 0.4, 0.55, 1.0), (0.1, 0.15, 0.75, 0.95, 1.0))
    return 256 if rng.random() < large else 128


class Batch:
    """Noisy latents of rendered scenes, what to predict for them, and where it counts."""

    def __init__(self, seed: tuple[int, ...], count: int, size: int, latents, alphas, held_out: bool = False):
        self.generator = torch.Generator().manual_seed(hash(seed + (size,)) % 2**63)
        scenes, pixels, boxes = draw_batch(seed, count, size, size, held_out)
        clean = latents.encode(pixels) * latents.scaling_factor
        noise = torch.randn(clean.shape, generator=self.generator)
        self.timesteps = stratified_timesteps(count, self.generator)
        a = alphas[self.timesteps].sqrt().view(-1, 1, 1, 1)
        s = (1 - alphas[self.timesteps]).sqrt().view(-1, 1, 1, 1)
        self.noisy, self.target = a * clean + s * noise, a * noise - s * clean
        self.captions = [scene.caption for scene in scenes]
        self.inside = box_masks(boxes, size, size, PATCH)

    def dropped_captions(self) -> list[str]:
        drop = torch.rand(len(self.captions), generator=self.generator) < DROP_CAPTION
        return ["" if d else c for c, d in zip(self.captions, drop)]

    def error(self, model: Denoiser, captions: list[str], weight: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            made = model(self.noisy, self.timesteps, captions)
        return ((made.float() - self.target).square().mean(1, keepdim=True) * weight).sum() / weight.sum()


@torch.no_grad()
def caption_swap(model: Denoiser, latents, alphas, size: int) -> str:
    """Is the error inside the objects' boxes lower with the right caption? Never seen combinations."""
    right, wrong, wins = 0.0, 0.0, 0
    for i in range(16):
        batch = Batch((901, i), 8, size, latents, alphas, held_out=True)
        swapped = batch.captions[1:] + batch.captions[:1]
        one, other = (float(batch.error(model, c, batch.inside)) for c in (batch.captions, swapped))
        right, wrong, wins = right + one / 16, wrong + other / 16, wins + (one < other)
    return f"caption swap at {size}: right {right:.4f} wrong {wrong:.4f}, lower in {wins} of 16 batches"


@torch.no_grad()
def follow(average: Denoiser, model: Denoiser, step: int) -> None:
    keep = min(EMA, (step + 1) / (step + 10))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)


class Training:
    def __init__(self, work: str, steps: int, muon_rate: float, adam_rate: float):
        self.path, self.steps = os.path.join(work, "denoiser.pt"), steps
        self.latents, self.alphas = load_latents(work), make_scheduler().alphas_cumprod
        tokenizer = load_tokenizer(work)
        self.model, self.average = Denoiser(tokenizer), Denoiser(tokenizer)
        for m in (self.model, self.average):
            speed_up(m.unet.to(memory_format=torch.channels_last))
        text = [p for p in self.model.text.parameters() if p.requires_grad]
        self.optimisers = Optimisers(list(self.model.unet.named_parameters()), text, muon_rate, adam_rate)
        self.start, state = load_checkpoint(self.path)
        self.samples = self.seconds = 0
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimisers.load_state_dict(state["optimisers"])
            self.samples, self.seconds = state["samples"], state["seconds"]

    def save(self, step: int) -> None:
        save_checkpoint(self.path, step, {
            "model": self.model.state_dict(), "average": self.average.state_dict(), "samples": self.samples,
            "optimisers": self.optimisers.state_dict(), "seconds": self.seconds})

    def step(self, step: int) -> float:
        size = picture_size(np.random.default_rng([5, step]), step / self.steps)
        batch = Batch((21, step), BATCH[size], size, self.latents, self.alphas)
        loss = batch.error(self.model, batch.dropped_captions(), 1 + OBJECT_WEIGHT * batch.inside)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimisers.step(schedule(step, self.steps))
        follow(self.average, self.model, step)
        self.samples += BATCH[size]
        return float(loss.detach())

    def run(self, save_every: int) -> None:
        losses, began = [], time.time()
        for step in range(self.start, self.steps):
            losses.append(self.step(step))
            if (step + 1) % 25 == 0:
                print(f"{step + 1}/{self.steps} loss {np.mean(losses):.4f} samples {self.samples} "
                      f"{self.seconds + time.time() - began:.0f} s", flush=True)
                losses = []
            if (step + 1) % save_every == 0 or step + 1 == self.steps:
                self.seconds, began = self.seconds + time.time() - began, time.time()
                self.save(step + 1)
            if step + 1 in (125, 250, 500) or (step + 1) % 1000 == 0:
                print(caption_swap(self.average, self.latents, self.alphas, 128), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="folder for checkpoints")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--muon-rate", type=float, default=2e-3)
    parser.add_argument("--adam-rate", type=float, default=1e-3)
    parser.add_argument("--smoke", action="store_true", help="twenty steps, to see that everything runs")
    arguments = parser.parse_args()
    steps = 20 if arguments.smoke else arguments.steps
    Training(arguments.work, steps, arguments.muon_rate, arguments.adam_rate).run(arguments.save_every)
