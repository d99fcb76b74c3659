"""Trains the U-Net and the text encoder together, on latents of the trained autoencoder."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from autoencoder import Autoencoder
from checkpoints import load_networks, trained
from data import PARTS, Cells, Pictures, SceneBatch, SceneMaker, box_weights, covered
from fast_layers import speed_up
from networks import LATENT_NOISE, PATCH, make_text_encoder, make_unet
from noising import Noising
from optimiser import Optimisers, schedule
from plans import Plan, Size
from stages import from_workers, half
from tokenizer import quick_tokens
from vocabulary import OBJECTS

DROP_CAPTION = 0.1
OBJECT_WEIGHT = 3.0      # how much more a latent inside an object counts
NOISE_MIDDLE, NOISE_SPREAD, NOISE_EVENLY = 0.9, 1.3, 0.2     # of the timesteps' logits; a share
EMA = 0.997
CHUNK = 12               # steps on latents of one size, made at once
PASSES = 6               # how often each of them is taken, with new noise
ENCODED_AT_ONCE = 64 * 256 * 256
TOLD = 0.2               # how much it counts that the U-Net's middle can tell which part of which object is where


class Denoiser(nn.Module):
    """Tokens, noise and time to what the scheduler asks for.

    For training, `told` says of each cell after the first block of the way up which object it shows and what part of
    it: what its features should be about, learnt much sooner from labels than from pixels (the idea of arXiv
    2410.06940, with the scene's own labels in place of another network's features). It is not exported.
    """

    def __init__(self, plan: Plan):
        super().__init__()
        self.unet, self.text = make_unet(plan), make_text_encoder(plan)
        self.told = nn.Linear(plan.unet_channels[-1], 1 + len(OBJECTS) + PARTS)
        self.unet.up_blocks[0].register_forward_hook(self._keep)
        self.features: torch.Tensor | None = None

    def _keep(self, block, arguments, made) -> None:
        self.features = made

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        states = self.text(tokens).last_hidden_state
        noisy = noisy.to(self.unet.dtype, memory_format=torch.channels_last)
        return self.unet(noisy, timesteps, states).sample.float()

    def speed_up(self, device: torch.device) -> None:
        speed_up(self.unet.to(memory_format=torch.channels_last), device)
        self.text.set_attn_implementation("eager" if device.type == "cpu" else "sdpa")

    def guided(self, noisy, timesteps, tokens, nothing, scale) -> torch.Tensor:
        """Classifier-free guidance, at one scale or one for each sample; `nothing`: an empty caption's tokens."""
        told, untold = self(torch.cat([noisy, noisy]), torch.cat([timesteps, timesteps]),
                            torch.cat([tokens, nothing.expand_as(tokens)])).chunk(2)
        return untold + scale * (told - untold)

    def error_in_telling(self, cells: Cells, object_weight: float) -> torch.Tensor:
        """Of the last forward's features."""
        told = self.told(self.features.permute(0, 2, 3, 1)).float()
        shown = (cells.objects > 0).float()
        weight = 1 + object_weight * shown
        of_kinds, of_parts = (
            nn.functional.cross_entropy(logits.permute(0, 3, 1, 2), right, reduction="none")
            for logits, right in ((told[..., :-PARTS], cells.objects), (told[..., -PARTS:], cells.parts)))
        return ((of_kinds + of_parts * shown) * weight).sum() / weight.sum()


def stratified_timesteps(count: int, size: Size, generator: torch.Generator) -> torch.Tensor:
    """Most where shapes come out of the noise (logit-normal, as in arXiv 2403.03206, section 3.1), the later the
    larger the picture; the rest evenly."""
    device = generator.device
    u = (torch.randperm(count, generator=generator, device=device) +
         torch.rand(count, generator=generator, device=device)) / count
    middle = NOISE_MIDDLE + 0.25 * math.log(size[0] * size[1] / 256**2)
    most = torch.sigmoid(middle + NOISE_SPREAD * torch.special.ndtri(u))
    evenly = torch.rand(count, generator=generator, device=device) < NOISE_EVENLY
    return (torch.where(evenly, u, most) * 1000).long().clamp_max(999)


class Chunks:
    """Latents of one size for CHUNK steps, from scenes that worker processes make ahead."""

    def __init__(self, plan: Plan, pictures: Pictures, autoencoder: Autoencoder, steps: int, workers: int, seed: int,
                 sizes_from: float = 0.0):
        self.plan, self.pictures, self.autoencoder, self.seed = plan, pictures, autoencoder, seed
        self.steps, self.workers, self.maker, self.sizes_from = steps, workers, SceneMaker(plan.variants), sizes_from

    def batch(self, size: Size) -> int:
        return max(1, self.plan.pixels // (size[0] * size[1]))

    def size(self, step: int) -> Size:
        """Tiny pictures at first, large ones at the end; or from the given share of that way on."""
        rng = np.random.default_rng([5, self.seed, step // CHUNK])
        progress = self.sizes_from + (1 - self.sizes_from) * step / self.steps
        tiny = np.interp(progress, (0.0, 0.25, 0.5), (0.7, 0.3, 0.05))
        large = np.interp(progress, (0.0, 0.5, 0.8, 1.0), (0.02, 0.1, 0.35, 0.6))
        drawn = rng.random()
        sizes = self.plan.tiny if drawn < tiny else self.plan.large if drawn < tiny + large else self.plan.small
        return sizes[int(rng.integers(len(sizes)))]

    def _scenes(self, first_step: int) -> SceneBatch:
        size = self.size(first_step)
        return self.maker((self.seed, first_step), self.batch(size) * CHUNK // PASSES, size)

    @torch.no_grad()
    def _encode(self, scenes: SceneBatch) -> torch.Tensor:
        at_once = max(1, ENCODED_AT_ONCE // (scenes.size[0] * scenes.size[1]))
        parts = []
        for first in range(0, len(scenes.tokens), at_once):
            cut = slice(first, first + at_once)
            pixels = self.pictures(SceneBatch(scenes.size, scenes.chosen[cut], scenes.items[cut], scenes.objects[cut],
                                              scenes.backgrounds[cut], scenes.tokens[cut]))
            parts.append(self.autoencoder.encode(pixels))
        return torch.cat(parts)

    def __call__(self, start: int):
        """(latents, tokens, weights of objects, cells) of each step from `start` on."""
        device, first = self.pictures.sprites.pixels.device, start // CHUNK * CHUNK
        coarse = PATCH * 2 ** max(0, len(self.plan.unet_channels) - 2)
        for scenes, latents in self._encoded(first):
            weights = box_weights(scenes, PATCH).to(device)
            cells = covered(scenes, scenes.size[0] // coarse, scenes.size[1] // coarse)
            objects, parts = cells.objects.to(device), cells.parts.to(device)
            tokens, count = scenes.tokens.to(device), self.batch(scenes.size)
            order = torch.Generator().manual_seed(self.seed * 10**6 + first)
            shuffled = torch.cat([torch.randperm(len(tokens), generator=order) for _ in range(PASSES)]).to(device)
            for step in range(max(start, first), first + CHUNK):
                rows = shuffled[(step - first) * count:(step - first + 1) * count]
                yield latents[rows], tokens[rows], weights[rows], Cells(objects[rows], parts[rows])
            first += CHUNK

    def _encoded(self, first: int):
        """Scenes with their latents; on a CPU a thread draws and encodes the next ones meanwhile."""
        made = from_workers(self._scenes, first, self.workers, CHUNK)
        if self.pictures.sprites.pixels.device.type != "cpu":
            yield from ((scenes, self._encode(scenes)) for scenes in made)
            return
        with ThreadPoolExecutor(1) as ahead:
            def begin():
                return ahead.submit(lambda: (scenes := next(made), self._encode(scenes)))
            coming = begin()
            while True:
                ready, coming = coming.result(), begin()
                yield ready


class DenoiserStage:
    name = "denoiser"

    def __init__(self, plan: Plan, work: str, pictures: Pictures, device: torch.device, workers: int,
                 muon_rate: float = 2.5e-3, adam_rate: float = 1e-3):
        self.plan, self.device, self.steps = plan, device, plan.denoiser_steps
        autoencoder = Autoencoder(plan).to(device, memory_format=torch.channels_last)
        autoencoder.load_state_dict(trained(work, "autoencoder"))
        self.chunks = Chunks(plan, pictures, autoencoder.eval(), self.steps, workers, seed=21)
        self.noising = Noising(device)
        self.model, self.average, self.worker = (Denoiser(plan).to(device) for _ in range(3))
        for m in (self.model, self.average, self.worker):
            m.speed_up(device)
        self.worker.to(torch.bfloat16)
        self._hand_out()
        text = [p for p in self.model.text.parameters() if p.requires_grad]
        others = [*self.model.unet.named_parameters(), *(("told", p) for p in self.model.told.parameters())]
        self.optimisers = Optimisers(others, text, muon_rate, adam_rate)
        self.nothing, self.samples = quick_tokens("").to(device), 0

    def batches(self, start: int):
        return self.chunks(start)

    @torch.no_grad()
    def _hand_out(self) -> None:
        """The weights to the copy in bfloat16 that meets the pictures."""
        torch._foreach_copy_(list(self.worker.parameters()), list(self.model.parameters()))

    def _collect(self) -> None:
        for p, working in zip(self.model.parameters(), self.worker.parameters()):
            p.grad, working.grad = None if working.grad is None else working.grad.float(), None

    def error(self, model: Denoiser, batch, generator, drop: float, object_weight: float) -> torch.Tensor:
        latents, tokens, objects, *_ = batch
        size = (latents.shape[2] * PATCH, latents.shape[3] * PATCH)
        timesteps = stratified_timesteps(len(latents), size, generator)
        latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator, device=self.device)
        noise = torch.randn(latents.shape, generator=generator, device=self.device)
        noisy, target = self.noising.noised(latents, noise, timesteps), self.noising.v(latents, noise, timesteps)
        dropped = torch.rand(len(tokens), 1, generator=generator, device=self.device) < drop
        made = model(noisy, timesteps, torch.where(dropped, self.nothing, tokens))
        weight = 1 + object_weight * objects
        return ((made - target).square().mean(1, keepdim=True) * weight).sum() / weight.sum()

    def step(self, step: int, batch) -> torch.Tensor:
        generator = torch.Generator(self.device).manual_seed(10**7 + step)
        loss = self.error(self.worker, batch, generator, DROP_CAPTION, OBJECT_WEIGHT)
        told = self.worker.error_in_telling(batch[3], OBJECT_WEIGHT)
        (loss + TOLD * told).backward()
        self._collect()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimisers.step(schedule(step, self.steps, decay_from=0.65))
        self._hand_out()
        self._follow(step)
        self.samples += len(batch[0])
        return torch.stack([loss, told]).detach()

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        keep = min(EMA, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - keep)

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "average": self.average.state_dict(),
                "optimisers": self.optimisers.state_dict(), "samples": self.samples}

    def load_state_dict(self, state: dict) -> None:
        load_networks(state, {"model": self.model, "average": self.average}, self.optimisers)
        self._hand_out()
        self.samples = state["samples"]

    @torch.no_grad()
    def finished(self) -> str:
        with half(self.device):
            return self._swapped()

    def _swapped(self) -> str:
        """Is the error inside the objects' boxes lower with the right caption? Never seen combinations."""
        size = self.plan.small[0]
        scenes = SceneMaker(self.plan.variants, held_out=True)((901,), 8 * 16, size)
        latents, weights = self.chunks._encode(scenes), box_weights(scenes, PATCH).to(self.device)
        tokens, right, wrong, wins = scenes.tokens.to(self.device), 0.0, 0.0, 0
        for i in range(16):
            rows = slice(8 * i, 8 * i + 8)
            one, other = (float(self.error(self.average, (latents[rows], t, weights[rows]),
                                           torch.Generator(self.device).manual_seed(i), 0.0, 1e3))
                          for t in (tokens[rows], tokens[rows].roll(1, 0)))
            right, wrong, wins = right + one / 16, wrong + other / 16, wins + (one < other)
        return (f"{self.samples} samples; error in objects with the right caption {right:.4f}, with another "
                f"{wrong:.4f}, lower in {wins} of 16 batches")
