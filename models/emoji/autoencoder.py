"""Trains the AutoencoderKL: pictures to 8x8 times fewer latents and back."""

import torch
import torch.nn.functional as F
from torch import nn

from data import Pictures, SceneMaker
from fast_layers import speed_up
from networks import LATENT_NOISE, PATCH, make_autoencoder
from optimiser import Optimisers, schedule
from plans import Plan
from stages import from_workers, half

EDGES = 1.0           # how much differences between neighbours count beside the pixels themselves
SHRUNK = 4            # a part of the batch, one in so many, is also decoded from latents at half the size


class Autoencoder(nn.Module):
    """Its latents have mean 0 and deviation 1, channel by channel."""

    def __init__(self, plan: Plan):
        super().__init__()
        self.vae = make_autoencoder(plan)
        self.evened = nn.BatchNorm2d(plan.latent_channels, affine=False, momentum=0.02)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        moments = self.vae.quant_conv(self.vae.encoder(pixels.contiguous(memory_format=torch.channels_last)))
        return self.evened(moments[:, :moments.shape[1] // 2].float())

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        # As post_quant_conv of an exported model, where evening out is part of it.
        spread = (self.evened.running_var + self.evened.eps).sqrt()
        raw = latents * spread[:, None, None] + self.evened.running_mean[:, None, None]
        return self.vae.decoder(self.vae.post_quant_conv(raw.contiguous(memory_format=torch.channels_last))).float()

    @torch.no_grad()
    def exported(self) -> nn.Module:
        """The AutoencoderKL with the evening out inside its two 1x1 convolutions."""
        vae, half_of = self.vae, self.evened.num_features
        spread, mean = (self.evened.running_var + self.evened.eps).sqrt(), self.evened.running_mean
        vae.quant_conv.weight[:half_of] /= spread[:, None, None, None]
        vae.quant_conv.bias[:half_of] = (vae.quant_conv.bias[:half_of] - mean) / spread
        vae.post_quant_conv.bias += vae.post_quant_conv.weight[:, :, 0, 0] @ mean
        vae.post_quant_conv.weight *= spread[None, :, None, None]
        return vae.eval()


def _unlike(made: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    across, down = (lambda p: p[..., 1:] - p[..., :-1]), (lambda p: p[..., 1:, :] - p[..., :-1, :])
    return F.l1_loss(made, pixels) + EDGES * (F.l1_loss(across(made), across(pixels)) +
                                              F.l1_loss(down(made), down(pixels)))


class AutoencoderStage:
    name = "autoencoder"

    def __init__(self, plan: Plan, pictures: Pictures, device: torch.device, workers: int, rate: float = 2e-3):
        self.plan, self.pictures, self.device, self.workers = plan, pictures, device, workers
        self.steps, self.maker = plan.autoencoder_steps, SceneMaker(plan.variants)
        self.model = Autoencoder(plan).to(device, memory_format=torch.channels_last)
        speed_up(self.model.vae, device)
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.optimisers = Optimisers(named, muon_rate=rate, adam_rate=rate / 2)

    def _scenes(self, step: int):
        """Whole pictures, and cut from pictures twice as large."""
        side, large = self.plan.picture, step % 2
        count = self.plan.autoencoder_batch
        return self.maker((11, step), count, (side * (1 + large),) * 2)

    def batches(self, start: int):
        return from_workers(self._scenes, start, self.workers)

    def _cut(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        side, room = self.plan.picture, pixels.shape[2] - self.plan.picture
        if room == 0:
            return pixels
        # The lower two thirds, where the objects are.
        y, x = (int(torch.randint(low, room // PATCH + 1, (), generator=generator)) * PATCH
                for low in (room // PATCH // 3, 0))
        return pixels[..., y:y + side, x:x + side]

    def step(self, step: int, batch) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        pixels = self._cut(self.pictures(batch), generator)
        noise = torch.Generator(self.device).manual_seed(step)
        with half(self.device):
            latents = self.model.encode(pixels)
            latents = latents + LATENT_NOISE * torch.randn(latents.shape, device=self.device, generator=noise)
            loss = _unlike(self.model.decode(latents), pixels)
            few = max(1, len(pixels) // SHRUNK)    # so that small latents of a picture are those of a small picture
            loss = loss + _unlike(self.model.decode(F.avg_pool2d(latents[:few], 2)), F.avg_pool2d(pixels[:few], 2)) / 4
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimisers.step(schedule(step, self.steps))
        return loss.detach()

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "optimisers": self.optimisers.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimisers.load_state_dict(state["optimisers"])

    @torch.no_grad()
    def finished(self) -> str:
        """On held-out scenes at twice the training's size."""
        batch = SceneMaker(self.plan.variants, held_out=True)((77,), 16, (2 * self.plan.picture,) * 2)
        pixels = self.pictures(batch)
        self.model.eval()
        made = torch.cat([self.model.decode(self.model.encode(p)) for p in pixels.split(4)]).clamp(-1, 1)
        self.model.train()
        each = 10 * torch.log10(4 / (made - pixels).square().mean((1, 2, 3)))
        return f"decoded latents {each.mean():.2f} dB on unseen scenes ({each.min():.2f} to {each.max():.2f})"
