"""A detector of the objects and the background, trained on rendered scenes alone. It measures the model.

Half of its training scenes hold an object in shuffled pieces that it must not report; without them it goes by
colour and texture, and finds objects that nobody else would.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from data import Pictures, SceneBatch, SceneMaker
from optimiser import Optimisers, schedule
from plans import Plan
from stages import OneNetwork, from_workers, half
from vocabulary import BACKGROUNDS, OBJECTS

CELL = 8             # pixels of a picture under one cell of the heat map
FOUND = 0.6          # an object is found where its score reaches this: few that were not drawn do
APART = 5            # cells: two of a kind are counted apart from here on
BEND = 4             # pixels: standard deviation of how far parts of a training picture are pulled, at most


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


@dataclass
class Seen:
    """What the detector sees in n pictures of h x w cells."""
    scores: torch.Tensor       # [n, objects]: the highest of each heat map
    where: torch.Tensor        # [n, objects, 2]: where that is, as shares of width and height
    counts: torch.Tensor       # [n, objects]: how many of a kind
    backgrounds: torch.Tensor  # [n]
    features: torch.Tensor     # [n, channels]: means over the picture


class Classifier(nn.Module):
    """Pictures [n, 3, h, w] in [-1, 1], the shorter side plan.picture, to heat maps of objects and background logits."""

    def __init__(self, plan: Plan):
        super().__init__()
        self.side = plan.picture
        a, b, c, d = plan.classifier_channels
        self.body = nn.Sequential(
            _block(3, a, 2), _block(a, b, 2), _Residual(b, 1), _block(b, c, 2), _Residual(c, 1), _Residual(c, 2),
            _block(c, d, 1), _Residual(d, 2), _Residual(d, 4))
        self.objects = nn.Conv2d(d, len(OBJECTS), 1)
        self.background = nn.Linear(d, len(BACKGROUNDS))
        nn.init.constant_(self.objects.bias, -5.0)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.body(pixels)
        mean = features.mean((2, 3))
        return self.objects(features), self.background(mean), mean

    @torch.no_grad()
    def look(self, pixels: torch.Tensor) -> Seen:
        """At pictures of any size: scaled to the size that it was trained on, and larger ones at their own size too,
        as scaled down the smallest objects have few pixels. An object counts that either look finds."""
        scale = self.side / min(pixels.shape[2:])
        scaled = pixels if scale == 1 else F.interpolate(pixels, scale_factor=scale, mode="bilinear", antialias=True)
        heat, background, features = self(scaled)
        if scale < 1:
            heat = torch.maximum(heat, F.adaptive_max_pool2d(self(pixels)[0], heat.shape[2:]))
        heat = heat.float().sigmoid()
        scores, at = heat.flatten(2).max(2)
        rows, columns = heat.shape[2:]
        where = torch.stack([(at % columns + 0.5) / columns, (at // columns + 0.5) / rows], -1)
        peaks = (heat == F.max_pool2d(heat, APART, 1, APART // 2)) & (heat >= FOUND)
        return Seen(scores, where, peaks.sum((2, 3)), background.argmax(1), features.float())


def _corners(batch: SceneBatch, picture: int, slot: int) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of an object's box."""
    (high, wide), shorter = batch.size, min(batch.size)
    x, y, width, height = batch.items[picture, slot, :4].tolist()
    return (max(0, round(y * high - height * shorter / 2)), max(0, round(x * wide - width * shorter / 2)),
            min(high, round(y * high + height * shorter / 2)), min(wide, round(x * wide + width * shorter / 2)))


def heat_targets(batch: SceneBatch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """1 in the middle of each object; and where to look: a ring around the middle counts neither way."""
    (high, wide), shorter = batch.size, min(batch.size)
    x, y, width, height = batch.items.to(device)[..., :4].unbind(-1)
    objects = batch.objects.to(device)

    def near(middle, reach, pixels):      # [n, slots, cells]: closer to the middle than this many pixels
        cells = (torch.arange(pixels // CELL, device=device) + 0.5) * CELL
        return ((cells - middle[..., None] * pixels).abs() < reach[..., None]).float()

    cell = torch.full_like(x, CELL)
    boxes = near(y, height * shorter / 2 + CELL / 2, high)[..., None] * \
        near(x, width * shorter / 2 + CELL / 2, wide)[..., None, :]
    middles = near(y, cell, high)[..., None] * near(x, cell, wide)[..., None, :]
    target = torch.zeros(len(objects), len(OBJECTS), high // CELL, wide // CELL, device=device)
    counts = torch.ones_like(target)
    for slot in range(objects.shape[1]):
        picture = (objects[:, slot] >= 0).nonzero()[:, 0]
        where = (picture, objects[picture, slot])
        counts[where] = counts[where] * (1 - boxes[picture, slot])
        target[where] = torch.maximum(target[where], middles[picture, slot])
    return target, torch.maximum(counts, target)


def scramble(pixels: torch.Tensor, batch: SceneBatch, rng: np.random.Generator) -> list[int | None]:
    """Cuts one object of about half of the pictures into tiles and shuffles them, in place: the right colours and
    textures in the wrong shape are not the object. Returns the number of the object, or None, for each picture."""
    ruined: list[int | None] = []
    for i, picture in enumerate(pixels):
        alone = [slot for slot, obj in enumerate(batch.objects[i].tolist())
                 if obj >= 0 and (batch.objects[i] == obj).sum() == 1]
        if not alone or rng.random() < 0.5:
            ruined.append(None)
            continue
        slot = alone[int(rng.integers(len(alone)))]
        ruined.append(int(batch.objects[i, slot]))
        top, left, bottom, right = _corners(batch, i, slot)
        tiles = int(rng.integers(2, 5))
        tall, wide = max(1, (bottom - top) // tiles), max(1, (right - left) // tiles)
        inside = picture[:, top:top + tall * tiles, left:left + wide * tiles]
        cut = inside.unfold(1, tall, tall).unfold(2, wide, wide).flatten(1, 2).clone()      # [3, tiles², tall, wide]
        order = np.roll(rng.permutation(tiles * tiles), 1) if tiles > 2 else np.roll(np.arange(4), rng.integers(1, 4))
        shuffled = cut[:, torch.from_numpy(order[:cut.shape[1]] % cut.shape[1]).to(cut.device)]
        rows = shuffled.unflatten(1, (-1, inside.shape[2] // wide)).permute(0, 1, 3, 2, 4)
        inside.copy_(rows.reshape(inside.shape))
    return ruined


def bent(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each picture's parts pulled about smoothly."""
    n, (high, wide), device = len(pixels), pixels.shape[2:], pixels.device
    pulls = torch.randn(n, 2, 6, 6, generator=generator, device=device)
    pulls *= 2 * BEND / min(high, wide) * torch.rand(n, 1, 1, 1, generator=generator, device=device)
    pulls = F.interpolate(pulls, (high, wide), mode="bicubic").permute(0, 2, 3, 1)
    still = F.affine_grid(torch.eye(2, 3, device=device).expand(n, 2, 3), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, still + pulls, mode="bilinear", padding_mode="border", align_corners=False)


def disturbed(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Bends, blur, noise, and shifts of contrast and colour, so that a picture need not be rendered to be read."""
    n, device = len(pixels), pixels.device
    per = lambda channels=1: torch.rand(n, channels, 1, 1, generator=generator, device=device)
    pixels = bent(pixels, generator)
    smaller = 1 / (1.5 + float(torch.rand((), generator=generator, device=device)))
    blurred = F.interpolate(pixels, scale_factor=smaller, mode="bilinear", antialias=True)
    blurred = F.interpolate(blurred, pixels.shape[2:], mode="bilinear")
    pixels = torch.lerp(pixels, blurred, per() * (per() < 0.7).float())
    pixels = pixels * (0.8 + 0.4 * per()) + 0.3 * (per() - 0.5) + 0.1 * (per(3) - 0.5)
    return pixels + 0.15 * per() * torch.randn(pixels.shape, generator=generator, device=device)


class ClassifierStage(OneNetwork):
    name = "classifier"

    def __init__(self, plan: Plan, pictures: Pictures, device: torch.device, workers: int):
        self.plan, self.pictures, self.device, self.workers = plan, pictures, device, workers
        self.steps, self.maker = plan.classifier_steps, SceneMaker(plan.variants)
        torch.manual_seed(6)
        self.model = Classifier(plan).to(device, memory_format=torch.channels_last)
        self.optimisers = Optimisers(list(self.model.named_parameters()))

    def _scenes(self, step: int):
        """Whole pictures of both kinds: with few large objects, and with many."""
        return self.maker((31, step), self.plan.classifier_batch, (self.plan.picture * (1 + step % 2),) * 2)

    def batches(self, start: int):
        return from_workers(self._scenes, start, self.workers)

    def step(self, step: int, batch) -> torch.Tensor:
        batch = _scaled(batch, self.plan.picture)
        pixels, (target, counts) = self.pictures(batch), heat_targets(batch, self.device)
        for i, obj in enumerate(scramble(pixels, batch, np.random.default_rng([32, step]))):
            if obj is not None:
                target[i, obj], counts[i, obj] = 0, 1
        pixels = disturbed(pixels, torch.Generator(self.device).manual_seed(step))
        with half(self.device):
            heat, background, _ = self.model(pixels.contiguous(memory_format=torch.channels_last))
        heat = heat.float()
        hard = (torch.sigmoid(heat.detach()) - target).abs().square() * counts      # focal weights
        objects = (F.binary_cross_entropy_with_logits(heat, target, reduction="none") * hard).sum() / target.sum().clamp_min(1)
        loss = objects + 0.3 * F.cross_entropy(background.float(), batch.backgrounds.to(self.device))
        loss.backward()
        self.optimisers.step(schedule(step, self.steps))
        return loss.detach()

    def finished(self) -> str:
        return str(accuracy(self.model, self.pictures, self.plan.picture))


def _scaled(batch: SceneBatch, side: int) -> SceneBatch:
    return SceneBatch((side, side), batch.chosen, batch.items, batch.objects, batch.backgrounds, batch.tokens)


@torch.no_grad()
def accuracy(model: Classifier, pictures: Pictures, side: int, count: int = 400, seed: int = 88) -> dict[str, float]:
    """On held-out scenes."""
    model.eval()
    maker, rng = SceneMaker(pictures.variants, held_out=True), np.random.default_rng(seed)
    all_found = extra = named = found_named = right_background = fooled = scrambled = 0
    for i in range(count // 20):
        batch = maker((seed, i), 20, (2 * side, 2 * side))
        pixels = pictures(batch)
        seen = model.look(pixels)
        for objects, score, ground, right in zip(batch.objects, seen.scores, seen.backgrounds, batch.backgrounds):
            there = {int(o) for o in objects if o >= 0}
            found = {int(o) for o in (score >= FOUND).nonzero()}
            all_found += there <= found
            extra += bool(found - there)
            named, found_named = named + len(there), found_named + len(there & found)
            right_background += int(ground) == int(right)
        ruined = scramble(pixels, batch, rng)
        for score, obj in zip(model.look(pixels).scores, ruined):
            if obj is not None:
                scrambled += 1
                fooled += bool(score[obj] >= FOUND)
    model.train()
    shares = {"every object found": all_found / count, "objects found": found_named / named,
              "an object too many": extra / count, "background right": right_background / count,
              "objects in shuffled pieces found": fooled / max(scrambled, 1)}
    return {name: round(value, 3) for name, value in shares.items()}
