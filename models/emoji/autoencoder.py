"""Trains the AutoencoderKL: pictures to 8x8 times fewer latents and back."""

import torch
import torch.nn.functional as F
from torch import nn

from checkpoints import load_networks
from data import Pictures, SceneMaker
from fast_layers import speed_up
from networks import LATENT_NOISE, PATCH, make_autoencoder
from optimiser import Optimisers, schedule
from plans import Plan
from stages import from_workers, half

EDGES = 1.0           # how much differences between neighbours count beside the pixels themselves
APART = 0.35          # the share of the steps in which encoder and decoder learn apart, of principal components
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
        latents = latents.contiguous(memory_format=torch.channels_last)
        return self.vae.decoder(self.vae.post_quant_conv(latents)).float()

    @torch.no_grad()
    def exported(self) -> nn.Module:
        """The AutoencoderKL with the evening out inside its quant_conv."""
        convolution, means = self.vae.quant_conv, self.evened.num_features
        spread = (self.evened.running_var + self.evened.eps).sqrt()
        convolution.weight[:means] /= spread[:, None, None, None]
        convolution.bias[:means] = (convolution.bias[:means] - self.evened.running_mean) / spread
        return self.vae.eval()


class PatchLatents:
    """Principal components of 8x8 patches with deviation 1: what the two halves first learn to agree on."""

    def __init__(self, pixels: torch.Tensor, channels: int):
        patches = F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
        values, vectors = torch.linalg.eigh(torch.cov(patches.T))
        weight = (vectors / values.clamp_min(1e-6).sqrt()).flip(1)[:, :channels].T
        self.weight, self.bias = weight.reshape(channels, 3, PATCH, PATCH), -(weight @ patches.mean(0))

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return F.conv2d(pixels, self.weight, self.bias, stride=PATCH)


def _unlike(made: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    across, down = (lambda p: p[..., 1:] - p[..., :-1]), (lambda p: p[..., 1:, :] - p[..., :-1, :])
    return F.mse_loss(made, pixels) + F.l1_loss(made, pixels) + EDGES * (F.l1_loss(across(made), across(pixels)) +
                                              F.l1_loss(down(made), down(pixels)))


class AutoencoderStage:
    name = "autoencoder"

    def __init__(self, plan: Plan, pictures: Pictures, device: torch.device, workers: int, rate: float = 5e-3):
        self.plan, self.pictures, self.device, self.workers = plan, pictures, device, workers
        self.steps, self.maker = plan.autoencoder_steps, SceneMaker(plan.variants)
        self.model = Autoencoder(plan).to(device, memory_format=torch.channels_last)
        speed_up(self.model.vae, device)
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.optimisers = Optimisers(named, muon_rate=rate, adam_rate=rate / 2)
        scenes = self.maker((10,), 2 * plan.autoencoder_batch, (2 * plan.cut,) * 2)
        self.patches = PatchLatents(pictures(scenes), plan.latent_channels)

    def _scenes(self, step: int):
        """Whole pictures, and cut from pictures twice as large."""
        side, large = self.plan.cut, step % 2
        count = self.plan.autoencoder_batch
        return self.maker((11, step), count, (side * (1 + large),) * 2)

    def batches(self, start: int):
        return from_workers(self._scenes, start, self.workers)

    def _cut(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        side, room = self.plan.cut, pixels.shape[2] - self.plan.cut
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
            encoded = self.model.encode(pixels)
            apart = step < APART * self.steps
            latents = self.patches(pixels).float() if apart else encoded
            loss = F.mse_loss(encoded, latents)
            latents = latents + LATENT_NOISE * torch.randn(latents.shape, device=self.device, generator=noise)
            loss = loss + _unlike(self.model.decode(latents), pixels)
            few = max(1, len(pixels) // SHRUNK)    # so that small latents of a picture are those of a small picture
            loss = loss + _unlike(self.model.decode(F.avg_pool2d(latents[:few], 2)), F.avg_pool2d(pixels[:few], 2)) / 4
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimisers.step(schedule(step, self.steps))
        return loss.detach()

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "optimisers": self.optimisers.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        load_networks(state, {"model": self.model}, self.optimisers)

    @torch.no_grad()
    def finished(self) -> str:
        """On held-out scenes at twice the training's size."""
        batch = SceneMaker(self.plan.variants, held_out=True)((77,), 16, (2 * self.plan.cut,) * 2)
        pixels = self.pictures(batch)
        self.model.eval()
        made = torch.cat([self.model.decode(self.model.encode(p)) for p in pixels.split(4)]).clamp(-1, 1)
        self.model.train()
        each = 10 * torch.log10(4 / (made - pixels).square().mean((1, 2, 3)))
        return f"decoded latents {each.mean():.2f} dB on unseen scenes ({each.min():.2f} to {each.max():.2f})"
