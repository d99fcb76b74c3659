"""Latents by principal components: the first coefficients of each 8x8 patch, evened out in size."""

import os

import torch
import torch.nn.functional as F

from data import draw_batch

PATCH = 8
CHANNELS = 12
EVENING = 0.6      # a coefficient is divided by its standard deviation to this power


class PatchLatents:
    """pictures [n, 3, h, w] in [-1, 1] -> latents [n, 12, h / 8, w / 8], and back as well as 12 numbers can."""

    def __init__(self, state: dict[str, torch.Tensor]):
        self.mean, self.forward_matrix, self.inverse_matrix = (
            state["mean"], state["forward"], state["inverse"])
        self.scaling_factor = float(state["scaling_factor"])    # makes the latents' standard deviation 1

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        n, _, h, w = pixels.shape
        patches = F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2) - self.mean
        return (patches @ self.forward_matrix).transpose(1, 2).reshape(n, CHANNELS, h // PATCH, w // PATCH)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        h, w = latents.shape[2] * PATCH, latents.shape[3] * PATCH
        patches = latents.flatten(2).transpose(1, 2) @ self.inverse_matrix + self.mean
        return F.fold(patches.transpose(1, 2), (h, w), PATCH, stride=PATCH)


def fit_latents(seed: int = 1) -> dict[str, torch.Tensor]:
    """Principal components of patches from rendered scenes of both sizes."""
    patches = torch.cat([
        F.unfold(draw_batch((seed, size), count, size, size)[1], PATCH, stride=PATCH).transpose(1, 2).flatten(0, 1)
        for size, count in ((128, 800), (256, 400))]).double()
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    std, basis = values.flip(0)[:CHANNELS].sqrt(), vectors.flip(1)[:, :CHANNELS]
    forward = basis / std**EVENING
    spread = (std ** (1 - EVENING)).square().mean().sqrt()
    state = {"mean": mean, "forward": forward, "inverse": (basis * std**EVENING).T, "scaling_factor": 1 / spread}
    return {name: value.float().contiguous() for name, value in state.items()}


def load_latents(work: str) -> PatchLatents:
    """Fits them on first use."""
    path = os.path.join(work, "latents.pt")
    if not os.path.exists(path):
        torch.save(fit_latents(), path)
    return PatchLatents(torch.load(path))
