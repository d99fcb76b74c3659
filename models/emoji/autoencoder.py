"""Trains the AutoencoderKL whose latents are principal components of patches: its decoder, and its encoder beside it."""

import torch
import torch.nn.functional as F
from torch import nn

from data import Pictures, SceneBatch, SceneMaker, box_weights
from fast_layers import speed_up
from networks import LATENT_NOISE, PATCH, make_autoencoder
from optimiser import Optimisers, schedule
from plans import Plan
from stages import OneNetwork, from_workers, half

EVENING = 0.6         # a coefficient is divided by its standard deviation to this power
OBJECT_WEIGHT = 3.0   # how much more a pixel of an object counts, times what data.box_weights says
EDGES = 1.0           # how much differences between neighbours count beside the pixels themselves
SQUARES = 4           # cut from each picture: drawing it costs more than to learn from a square
ENCODED = 4           # the encoder, which drawing does not need, learns in one of so many steps


class Autoencoder(nn.Module):
    """Latents are the first coefficients of each patch, with mean 0 and together deviation 1. They cost one product
    of matrices, so pictures are never kept; the AutoencoderKL learns to invert them, and to make them."""

    def __init__(self, plan: Plan):
        super().__init__()
        self.vae = make_autoencoder(plan)
        self.register_buffer("weight", torch.zeros(plan.latent_channels, 3, PATCH, PATCH))
        self.register_buffer("bias", torch.zeros(plan.latent_channels))

    @torch.no_grad()
    def fit(self, pictures: list[torch.Tensor]) -> None:
        """Principal components of these pictures' patches."""
        patches = torch.cat([F.unfold(p, PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1) for p in pictures])
        values, vectors = torch.linalg.eigh(torch.cov(patches.T).double())
        deviation = values.flip(0)[:len(self.bias)].clamp_min(1e-6).sqrt()
        basis = vectors.flip(1)[:, :len(self.bias)] / deviation**EVENING
        basis = (basis / (deviation ** (1 - EVENING)).square().mean().sqrt()).T.float()
        self.weight.copy_(basis.reshape(self.weight.shape))
        self.bias.copy_(-(basis @ patches.mean(0)))

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return F.conv2d(pixels.float(), self.weight, self.bias, stride=PATCH)

    def encode_by_network(self, pixels: torch.Tensor) -> torch.Tensor:
        moments = self.vae.quant_conv(self.vae.encoder(pixels.contiguous(memory_format=torch.channels_last)))
        return moments[:, :len(self.bias)].float()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        latents = latents.contiguous(memory_format=torch.channels_last)
        return self.vae.decoder(self.vae.post_quant_conv(latents)).float()

    def decoded_db(self, latents: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """PSNR of each picture."""
        made = torch.cat([self.decode(part) for part in latents.split(4)]).clamp(-1, 1)
        return 10 * torch.log10(4 / (made - pixels).square().mean((1, 2, 3)))


def pictures_to_cut(plan: Plan) -> int:
    """How many make a batch."""
    return max(1, plan.autoencoder_batch // SQUARES)


def pictures_to_fit(plan: Plan, pictures: Pictures) -> list[torch.Tensor]:
    """Small and large ones, the same at each call."""
    maker, count = SceneMaker(plan.variants), 4 * plan.autoencoder_batch
    return [pictures(maker((10, 0), count, plan.small[0])), pictures(maker((10, 1), count // 4, plan.large[0]))]


def unlike(made: torch.Tensor, pixels: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
    """`objects`: what each latent counts beside its 1 for an object that is there [n, 1, h, w]."""
    weights = (1 + OBJECT_WEIGHT * objects).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    error = made - pixels

    def mean(errors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return (errors.mean(1, keepdim=True) * weights).sum() / weights.sum()

    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    return mean(error.square() + error.abs(), weights) + EDGES * (mean(across.abs(), weights[..., 1:]) +
                                                                  mean(down.abs(), weights[..., 1:, :]))


def places_to_cut(batch: SceneBatch, side: int, generator: torch.Generator) -> list[tuple[int, int]]:
    """Rows and columns, in latents, where squares of so many pixels begin, SQUARES for each picture: all but one with
    an object's middle in them, the smaller the object the likelier."""
    high, wide = batch.size
    begins = []
    for items, there in zip(batch.items, batch.objects >= 0):
        items = items[there].to(torch.float)
        chosen = items[torch.multinomial(1 / items[:, 2:4].amax(1), SQUARES, replacement=True, generator=generator)]
        middles = torch.where(torch.arange(SQUARES)[:, None] > 0, chosen[:, [1, 0]],
                              torch.rand(SQUARES, 2, generator=generator))
        before = side * (0.25 + 0.5 * torch.rand(SQUARES, 2, generator=generator))
        corners = (middles * torch.tensor([high, wide]) - before) / PATCH
        room = torch.tensor([high - side, wide - side]) // PATCH
        begins += corners.round().long().clamp_min(0).minimum(room).tolist()
    return [(y, x) for y, x in begins]


def cut_out(maps: torch.Tensor, places: list[tuple[int, int]], side: int, cell: int) -> torch.Tensor:
    """Squares of pictures, SQUARES of each, where a latent is `cell` = PATCH wide, or of latents, where it is 1."""
    side = side // PATCH * cell
    return torch.stack([maps[i // SQUARES, :, cell * y:cell * y + side, cell * x:cell * x + side]
                        for i, (y, x) in enumerate(places)])


class AutoencoderStage(OneNetwork):
    name = "autoencoder"

    def __init__(self, plan: Plan, pictures: Pictures, device: torch.device, workers: int, rate: float = 5e-3):
        self.plan, self.pictures, self.device, self.workers = plan, pictures, device, workers
        self.steps, self.maker = plan.autoencoder_steps, SceneMaker(plan.variants)
        self.model = Autoencoder(plan).to(device, memory_format=torch.channels_last)
        speed_up(self.model.vae, device)
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        self.optimisers = Optimisers(named, muon_rate=rate, adam_rate=rate / 2)

    def _scenes(self, step: int):
        """Cut from pictures two and four times as large."""
        side = self.plan.cut * (2 + 2 * (step % 2))
        return self.maker((11, step), pictures_to_cut(self.plan), (side, side))

    def batches(self, start: int):
        if start == 0:
            self.model.fit(pictures_to_fit(self.plan, self.pictures))
        return from_workers(self._scenes, start, self.workers)

    def step(self, step: int, batch) -> torch.Tensor:
        places = places_to_cut(batch, self.plan.cut, torch.Generator().manual_seed(step))
        pixels = cut_out(self.pictures(batch), places, self.plan.cut, PATCH)
        objects = cut_out(box_weights(batch, PATCH).to(self.device), places, self.plan.cut, 1)
        latents = self.model.encode(pixels)
        noise = torch.Generator(self.device).manual_seed(step)
        noisy = latents + LATENT_NOISE * torch.randn(latents.shape, device=self.device, generator=noise)
        with half(self.device):
            loss = unlike(self.model.decode(noisy), pixels, objects)
            encoded = F.mse_loss(self.model.encode_by_network(pixels), latents) if step % ENCODED == 0 else 0
        (loss + encoded).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimisers.step(schedule(step, self.steps))
        return loss.detach()

    @torch.no_grad()
    def finished(self) -> str:
        """On held-out scenes."""
        batch = SceneMaker(self.plan.variants, held_out=True)((77,), 16, self.plan.large[0])
        pixels = self.pictures(batch)
        exact = self.model.encode(pixels)
        encoded = torch.cat([self.model.encode_by_network(part) for part in pixels.split(4)])
        each = self.model.decoded_db(exact, pixels)
        return (f"decoded latents {each.mean():.2f} dB on unseen scenes ({each.min():.2f} to {each.max():.2f}), "
                f"encoded ones {(encoded - exact).norm() / exact.norm():.3f} off")
