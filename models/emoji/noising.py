"""Clean latents to noisy ones and back, at the scheduler's noise levels with v-prediction (arXiv 2202.00512, app. D)."""

import torch

from networks import make_scheduler


class Noising:
    """Timesteps are those of the training; -1 is the picture itself."""

    def __init__(self, device: torch.device):
        alphas = torch.cat([make_scheduler().alphas_cumprod, torch.ones(1)]).to(device)      # index -1
        self.image, self.noise, self.steps = alphas.sqrt(), (1 - alphas).sqrt(), len(alphas) - 1

    def _levels(self, at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.image[at].view(-1, 1, 1, 1), self.noise[at].view(-1, 1, 1, 1)

    def noised(self, clean, noise, at: torch.Tensor) -> torch.Tensor:
        a, s = self._levels(at)
        return a * clean + s * noise

    def v(self, clean, noise, at: torch.Tensor) -> torch.Tensor:
        """What the U-Net is to predict."""
        a, s = self._levels(at)
        return a * noise - s * clean

    def clean(self, noisy, v, at: torch.Tensor) -> torch.Tensor:
        a, s = self._levels(at)
        return a * noisy - s * v

    def jump(self, noisy, v, at: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        """DDIM's step (arXiv 2010.02502, equation 12 with sigma 0)."""
        a, s = self._levels(at)
        return self.noised(self.clean(noisy, v, at), a * v + s * noisy, to)
