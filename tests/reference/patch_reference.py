"""What a U-Net split over N ranks computes, emulated in one process on diffusers' U-Net.

The picture is cut into horizontal bands of rows, one a rank. Nearly every layer works on one row or
one token at a time, so it gives the same numbers whether it sees a band or the whole picture. Only
three kinds of site look further: convolutions with a kernel above 1, GroupNorm and self-attention.
This module keeps whole tensors and replaces those three by layers that compute each band by itself,
from the rows which the band's rank may read:

- its own rows, always of this step;
- other bands' rows, of this step in a synchronous step and of exactly the previous step in a steady
  one (each site keeps its previous whole input; that is all the state there is);
- nothing of others for the method `naive`.

Cross-attention needs no change: its keys and values come from the text.

Methods: `single` (one band), `naive`, `distrifusion` (self-attention reads all bands) and `pcpp`
(self-attention reads the adjacent bands' nearest tokens, a share `partial` of each).

GroupNorm in a steady step, moments being the mean and the mean of squares of a group over a band,
and "over all" their mean weighted by the bands' rows:

- `corrected`: own fresh + (stale over all - own stale);
- `stale`: over all, own fresh, the others' stale;
- `local`: own only;
- `synchronous`: over all, fresh.
"""

import copy
import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Band = tuple[int, int]  # first row (or token) and one past the last


@dataclasses.dataclass(frozen=True)
class PatchSettings:
    """How one picture is split. `partial` matters to pcpp only and is exact ("0.3" is 3/10)."""

    method: str = "single"
    ranks: int = 1
    partial: Fraction = Fraction(3, 10)
    sync_steps: int = 2
    group_norm: str = "corrected"
    # True: multiply the variance by n/(n-1), n the elements of a group in the own band, as the
    # published code of both methods does (except where it normalises by its own moments only).
    # PyTorch's GroupNorm, and so the reference, divides by n.
    bessel: bool = False

    def __post_init__(self) -> None:
        assert self.method in ("single", "naive", "distrifusion", "pcpp"), self.method
        assert self.group_norm in ("corrected", "stale", "local", "synchronous"), self.group_norm
        assert self.ranks >= 1 and (self.method != "single" or self.ranks == 1), self.ranks
        assert 0 <= self.partial <= 1, self.partial
        assert self.method == "naive" or self.sync_steps >= 1, "nothing to be stale yet"


def cut_rows(height: int, unit: int, ranks: int) -> list[Band]:
    """Bands of latent rows: whole units dealt evenly, the first ranks get one more each where it
    does not divide; the last band ends at `height` and may end in a part of a unit."""
    units = math.ceil(height / unit)
    assert units >= ranks, f"{height} rows are {units} units of {unit}, too few for {ranks} ranks"
    share, extra = divmod(units, ranks)
    ends = [unit * (share * (rank + 1) + min(rank + 1, extra)) for rank in range(ranks)]
    ends[-1] = height
    return list(zip([0, *ends[:-1]], ends, strict=True))


def keys_interval(own: Band, above: int, below: int, partial: Fraction, tokens: int) -> Band:
    """The tokens whose keys a band reads under pcpp, in exact arithmetic. `own` is the band's
    interval of the picture's `tokens`; `above` and `below` are the adjacent bands' token counts
    (0 at the picture's edge)."""
    first = math.floor(own[0] - partial * above)
    last = math.floor(own[1] + partial * below)
    return max(0, first), min(tokens, last)


class StepState:
    """What the replaced layers share: the split, and which step it is."""

    def __init__(self, settings: PatchSettings, height: int, width: int, levels: int) -> None:
        self.settings = settings
        self.height = height
        self.width = width
        self.levels = levels
        self.bands = cut_rows(height, 2 ** (levels - 1), settings.ranks)
        self.step = 0
        # The smallest value seen of corrected variance / (own rows / all rows * own variance). The
        # true variance over all bands is never below 1; see the guard in BandGroupNorm.
        self.smallest_variance_ratio = math.inf

    @property
    def synchronous(self) -> bool:
        return self.settings.method != "naive" and self.step < self.settings.sync_steps

    def bands_at(self, height: int) -> list[Band]:
        """The bands of the level that has `height` rows."""
        for level in range(self.levels):
            if math.ceil(self.height / 2**level) == height:
                return [(a >> level, math.ceil(b / 2**level)) for a, b in self.bands]
        raise ValueError(f"no level has {height} rows")

    def token_bands(self, tokens: int) -> list[Band]:
        """The same in tokens, for the level that has `tokens` of them."""
        for level in range(self.levels):
            height, width = (math.ceil(n / 2**level) for n in (self.height, self.width))
            if height * width == tokens:
                return [(a * width, b * width) for a, b in self.bands_at(height)]
        raise ValueError(f"no level has {tokens} tokens")


class BandConv2d(nn.Module):
    """A convolution that reads one halo row above and below each band."""

    def __init__(self, conv: nn.Conv2d, state: StepState, always_fresh: bool) -> None:
        super().__init__()
        assert conv.kernel_size == (3, 3) and conv.padding == (1, 1) and conv.groups == 1
        self.conv, self.state, self.always_fresh = conv, state, always_fresh
        self.previous: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        fresh = self.always_fresh or self.state.synchronous or self.previous is None
        neighbours = x if fresh else self.previous
        if self.state.settings.method == "naive":
            neighbours = torch.zeros_like(x)
        edged = F.pad(neighbours, (0, 0, 1, 1))  # row r of the picture is row r + 1 here
        parts = []
        for a, b in self.state.bands_at(x.shape[2]):
            rows = torch.cat([edged[:, :, a : a + 1], x[:, :, a:b], edged[:, :, b + 1 : b + 2]], 2)
            parts.append(
                F.conv2d(rows, self.conv.weight, self.conv.bias, self.conv.stride, padding=(0, 1))
            )
        self.previous = x.clone()
        return torch.cat(parts, 2)


class BandGroupNorm(nn.Module):
    """A GroupNorm that estimates the picture's moments on each band."""

    def __init__(self, norm: nn.GroupNorm, state: StepState) -> None:
        super().__init__()
        self.norm, self.state = norm, state
        self.previous: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        bands = self.state.bands_at(x.shape[2])
        grouped = x.unflatten(1, (self.norm.num_groups, -1))  # [n, groups, c / groups, h, w]
        parts = [grouped[:, :, :, a:b] for a, b in bands]
        own = torch.stack([_moments(part) for part in parts])  # [bands, 2, n, groups, 1, 1, 1]
        share = own.new_tensor([(b - a) / x.shape[2] for a, b in bands])
        outputs = []
        for band, part in enumerate(parts):
            mean, mean_of_squares = self._estimate(band, own, share)
            variance = mean_of_squares - mean**2
            own_variance = own[band][1] - own[band][0] ** 2
            if self._mode() == "corrected":
                variance = self._guard(variance, own_variance, float(share[band]))
            if self.state.settings.bessel and self._mode() != "local":
                count = part[0, 0].numel()
                variance = variance * (count / (count - 1))
            outputs.append((part - mean) / torch.sqrt(variance + self.norm.eps))
        self.previous = own
        y = torch.cat(outputs, 3).flatten(1, 2)
        return y * self.norm.weight[:, None, None] + self.norm.bias[:, None, None]

    def _mode(self) -> str:
        if self.state.settings.method == "naive":
            return "local"
        if self.state.synchronous or self.previous is None:
            return "synchronous"
        return self.state.settings.group_norm

    def _estimate(self, band: int, own: Tensor, share: Tensor) -> Tensor:
        """The moments that `band` normalises by: [2, n, groups, 1, 1, 1]."""
        mode = self._mode()
        if mode == "local":
            return own[band]
        if mode == "synchronous":
            return torch.tensordot(share, own, 1)
        assert self.previous is not None
        if mode == "corrected":
            over_all = torch.tensordot(share, self.previous, 1)
            return own[band] + (over_all - self.previous[band])
        known = self.previous.clone()
        known[band] = own[band]
        return torch.tensordot(share, known, 1)

    def _guard(self, variance: Tensor, own_variance: Tensor, share: float) -> Tensor:
        """The own variance where the corrected one is implausibly small. Over all bands the
        variance is at least `share` times the own; half of that is the bound."""
        ratio = (variance / (share * own_variance).clamp_min(1e-30)).min()
        self.state.smallest_variance_ratio = min(self.state.smallest_variance_ratio, float(ratio))
        return torch.where(variance < 0.5 * share * own_variance, own_variance, variance)


def _moments(part: Tensor) -> Tensor:
    dims = (2, 3, 4)
    return torch.stack([part.mean(dims, keepdim=True), (part * part).mean(dims, keepdim=True)])


class BandSelfAttention:
    """An attention processor for self-attention: each band's queries on the keys it may read."""

    def __init__(self, state: StepState) -> None:
        self.state = state
        self.previous: tuple[Tensor, Tensor] | None = None

    def __call__(self, attn: nn.Module, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        assert attn.norm_q is None and attn.group_norm is None and not attn.residual_connection
        query, key, value = (
            project(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )  # [n, heads, tokens, c / heads]
        fresh = self.state.synchronous or self.previous is None
        old_key, old_value = (key, value) if fresh else self.previous
        parts = []
        for (a, b), (first, last) in self._reads(hidden_states.shape[1]):
            keys, values = (
                torch.cat([old[:, :, first:a], new[:, :, a:b], old[:, :, b:last]], 2)
                for old, new in ((old_key, key), (old_value, value))
            )
            parts.append(F.scaled_dot_product_attention(query[:, :, a:b], keys, values))
        self.previous = (key, value)
        joined = torch.cat(parts, 2).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](joined))

    def _reads(self, tokens: int) -> list[tuple[Band, Band]]:
        """For each band its own tokens and the interval of tokens whose keys it reads."""
        settings, bands = self.state.settings, self.state.token_bands(tokens)
        if settings.method == "naive":
            return [(own, own) for own in bands]
        if settings.method != "pcpp" or self.state.synchronous:
            return [(own, (0, tokens)) for own in bands]
        sizes = [0, *(b - a for a, b in bands), 0]
        return [
            (own, keys_interval(own, sizes[rank], sizes[rank + 2], settings.partial, tokens))
            for rank, own in enumerate(bands)
        ]


class PatchUNet:
    """A copy of a diffusers UNet2DConditionModel that computes one picture as N ranks would. One
    object serves one picture: its sites remember the previous step."""

    def __init__(self, unet: nn.Module, settings: PatchSettings, height: int, width: int) -> None:
        levels = len(unet.config.block_out_channels)
        self.state = StepState(settings, height, width, levels)
        self.unet = copy.deepcopy(unet)
        for parent in list(self.unet.modules()):
            for name, child in list(parent.named_children()):
                self._replace(parent, name, child)

    def _replace(self, parent: nn.Module, name: str, child: nn.Module) -> None:
        if isinstance(child, nn.Conv2d) and child.kernel_size != (1, 1):
            setattr(parent, name, BandConv2d(child, self.state, always_fresh=name == "conv_in"))
        elif isinstance(child, nn.GroupNorm):
            setattr(parent, name, BandGroupNorm(child, self.state))
        elif name == "attn1":
            child.set_processor(BandSelfAttention(self.state))

    def __call__(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
        """The noise prediction of the next step."""
        noise = self.unet(sample, timestep, encoder_hidden_states=text).sample
        self.state.step += 1
        return noise


def denoise(
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    scheduler: Any,
    latents: Tensor,
    embeds: tuple[Tensor, Tensor],
    steps: int,
    guidance: float,
) -> list[Tensor]:
    """The latents after each scheduler step, both branches in one batch. `predict` is a PatchUNet
    or another function of (sample, timestep, text); `embeds` are the prompt's and the negative
    ones."""
    text = torch.cat([embeds[1], embeds[0]])
    scheduler.set_timesteps(steps)
    latents = latents * scheduler.init_noise_sigma
    after_each = []
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            sample = scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
            negative, positive = predict(sample, timestep, text).chunk(2)
            noise = negative + guidance * (positive - negative)
            latents = scheduler.step(noise, timestep, latents).prev_sample
            after_each.append(latents)
    return after_each
