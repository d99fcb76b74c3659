"""Trains the autoencoder's decoder further, on what the trained U-Net makes of noised pictures.

A U-Net of few weights leaves outlines soft. The decoder meets its guesses at the end of drawing beside the pictures
that they were made from, and learns to draw them sharp.
"""

import torch
from torch import nn

from autoencoder import Autoencoder, cut_out, pictures_to_cut, places_to_cut, unlike
from checkpoints import trained
from data import Pictures, SceneMaker, box_weights
from denoiser import Denoiser
from fast_layers import speed_up
from networks import LATENT_NOISE, PATCH
from noising import Noising
from optimiser import Optimisers, schedule
from plans import Plan
from stages import OneNetwork, from_workers, half
from tokenizer import quick_tokens

GUESSED_FROM = (40, 440)     # timesteps whose guesses it learns from
GUIDANCE = 2.0
EXACT = 4                    # one square in so many is decoded from its own latents


class DecoderStage(OneNetwork):
    name = "decoder"

    def __init__(self, plan: Plan, work: str, pictures: Pictures, device: torch.device, workers: int):
        self.plan, self.pictures, self.device, self.workers = plan, pictures, device, workers
        self.steps, self.maker = plan.decoder_steps, SceneMaker(plan.variants)
        self.model = Autoencoder(plan).to(device, memory_format=torch.channels_last)
        self.model.load_state_dict(trained(work, "autoencoder"))
        speed_up(self.model.vae, device)
        self.denoiser = Denoiser(plan).to(device).eval()
        self.denoiser.load_state_dict(trained(work, "denoiser"))
        self.denoiser.speed_up(device)
        self.denoiser.to(torch.bfloat16)
        self.noising, self.nothing = Noising(device), quick_tokens("").to(device)
        named = [(n, p) for n, p in self.model.named_parameters() if n.startswith(("vae.decoder", "vae.post_quant"))]
        self.optimisers = Optimisers(named, muon_rate=2e-3, adam_rate=1e-3)

    def _scenes(self, step: int):
        sizes = (*self.plan.small, *self.plan.large[:2])
        return self.maker((12, step), pictures_to_cut(self.plan), sizes[step % len(sizes)])

    def batches(self, start: int):
        return from_workers(self._scenes, start, self.workers)

    @torch.no_grad()
    def guess(self, latents: torch.Tensor, tokens: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The U-Net's, with guidance, of these latents under noise."""
        low, high = GUESSED_FROM
        at = torch.randint(low, high, (len(latents),), generator=generator, device=self.device)
        noise = torch.randn(latents.shape, generator=generator, device=self.device)
        noisy = self.noising.noised(latents, noise, at)
        return self.noising.clean(noisy, self.denoiser.guided(noisy, at, tokens, self.nothing, GUIDANCE), at)

    def step(self, step: int, batch) -> torch.Tensor:
        pixels, generator = self.pictures(batch), torch.Generator(self.device).manual_seed(3 * 10**7 + step)
        latents = self.model.encode(pixels)
        guessed = self.guess(latents, batch.tokens.to(self.device), generator)
        noisy = latents + LATENT_NOISE * torch.randn(latents.shape, device=self.device, generator=generator)
        places = places_to_cut(batch, self.plan.cut, torch.Generator().manual_seed(step))
        objects = cut_out(box_weights(batch, PATCH).to(self.device), places, self.plan.cut, 1)
        pixels = cut_out(pixels, places, self.plan.cut, PATCH)
        exact = torch.arange(len(places), device=self.device)[:, None, None, None] % EXACT == 0
        met = torch.where(exact, cut_out(noisy, places, self.plan.cut, 1), cut_out(guessed, places, self.plan.cut, 1))
        with half(self.device):
            loss = unlike(self.model.decode(met), pixels, objects)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimisers.step(schedule(step, self.steps))
        return loss.detach()

    @torch.no_grad()
    def finished(self) -> str:
        """On held-out scenes."""
        batch = SceneMaker(self.plan.variants, held_out=True)((78,), 16, self.plan.large[0])
        pixels = self.pictures(batch)
        exact = self.model.encode(pixels)
        guessed = self.guess(exact, batch.tokens.to(self.device), torch.Generator(self.device).manual_seed(1))
        of_exact, of_guessed = (self.model.decoded_db(x, pixels).mean() for x in (exact, guessed))
        return f"on unseen scenes {of_guessed:.2f} dB from the U-Net's guesses, {of_exact:.2f} dB from exact latents"
