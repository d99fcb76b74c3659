"""Batches of rendered scenes, the same for the same seed and step."""

from dataclasses import dataclass

import numpy as np
import torch

from render import Renderer, scene_rows
from scenes import FEW, MOST_OBJECTS, SIDES, Scene, sample_scene
from sprites import Sprites, aspects
from tokenizer import quick_tokens
from vocabulary import COLOURS, OBJECTS


def most_objects(size: tuple[int, int]) -> int:
    """In a picture of this height and width in pixels."""
    shorter = min(size)
    return 1 if shorter < 160 else 2 if shorter < 224 else FEW if shorter < 320 else MOST_OBJECTS


@dataclass
class SceneBatch:
    """Scenes of one size, not yet drawn: what a worker process sends."""
    size: tuple[int, int]    # height, width
    chosen: torch.Tensor     # int64 [n, 7]: see render.scene_rows
    items: torch.Tensor      # float32 [n, 5, 8]
    objects: torch.Tensor    # int64 [n, 5]: numbers of the objects, -1 where there are fewer
    backgrounds: torch.Tensor   # int64 [n]
    tokens: torch.Tensor     # int64 [n, TOKENS]
    scenes: list[Scene] | None = None    # kept on request


class SceneMaker:
    """Makes scenes from seeds; cheap to send to worker processes."""

    def __init__(self, variants: int, held_out: bool = False):
        self.variants, self.held_out, self.aspects = variants, held_out, aspects()
        colours = [(None, *COLOURS) if obj.colours else (None,) for obj in OBJECTS]
        self.sprites = {key: i for i, key in enumerate((o, c) for o, own in enumerate(colours) for c in own)}

    def __call__(self, seed: tuple[int, ...], count: int, size: tuple[int, int], keep: bool = False) -> SceneBatch:
        rng = np.random.default_rng(list(seed))
        scenes = [sample_scene(rng, size, self.aspects, most_objects(size), self.held_out) for _ in range(count)]
        rows = [scene_rows(s, rng, self.sprites, self.variants, MOST_OBJECTS) for s in scenes]
        objects = [[i.object for i in s.placed] + [-1] * (MOST_OBJECTS - len(s.placed)) for s in scenes]
        return SceneBatch(size, torch.from_numpy(np.stack([r[0] for r in rows])),
                          torch.from_numpy(np.stack([r[1] for r in rows])), torch.tensor(objects),
                          torch.tensor([s.background for s in scenes]),
                          torch.stack([quick_tokens(s.caption) for s in scenes]), scenes if keep else None)


SMALL = 128      # pixels: objects of shorter sides count by so much more


def box_weights(batch: SceneBatch, cell: int) -> torch.Tensor:
    """[n, 1, h / cell, w / cell]: what a cell counts that touches an object's box, 1 and for small objects more, as
    they have few cells; 0 elsewhere."""
    (high, wide), shorter = batch.size, min(batch.size)
    x, y, width, height = batch.items[..., :4].unbind(-1)

    def touched(middle, extent, pixels):      # [n, objects, cells]
        low = torch.arange(pixels // cell, device=middle.device) * cell
        return ((middle * pixels + extent * shorter / 2)[..., None] > low) & \
               ((middle * pixels - extent * shorter / 2)[..., None] < low + cell)

    boxes = touched(y, height, high)[..., :, None] & touched(x, width, wide)[..., None, :]
    side = (torch.maximum(width, height) * shorter).clamp_min(1)
    weights = (SMALL / side).clamp_min(1) * (batch.objects >= 0).to(side.device)
    return (boxes * weights[..., None, None]).amax(1, keepdim=True)


PART = 32        # pixels: side of an object's parts
FIRST_PARTS = {side: sum((smaller // PART) ** 2 for smaller in SIDES if smaller < side) for side in SIDES}
PARTS = sum((side // PART) ** 2 for side in SIDES)


@dataclass
class Cells:
    """What covers each cell of a grid over a batch's pictures."""
    objects: torch.Tensor    # int64 [n, h, w]: 0 where there is none, else the object's number plus 1
    parts: torch.Tensor      # int64 [n, h, w]: which PART of the object, and in what size


def covered(batch: SceneBatch, high: int, wide: int) -> Cells:
    """By the middles of cells of a grid of this many rows and columns; of several objects, the nearest."""
    shorter = min(batch.size)
    x, y, width, height = batch.items[..., :4].unbind(-1)
    width, height = width * shorter, height * shorter
    side = torch.maximum(width, height)
    across = (torch.arange(wide) + 0.5) * batch.size[1] / wide - (x * batch.size[1])[..., None]
    up = (y * batch.size[0] + height / 2)[..., None] - (torch.arange(high) + 0.5) * batch.size[0] / high
    inside = ((up >= 0) & (up <= height[..., None]))[..., :, None] & \
        (across.abs() <= width[..., None] / 2)[..., None, :]
    along = (side / PART).round().long()
    column = ((across + side[..., None] / 2) / PART).long()[..., None, :]
    row = (up / PART).long()[..., :, None]
    first = sum(torch.where(along == pixels // PART, number, 0) for pixels, number in FIRST_PARTS.items())
    parts = first[..., None, None] + row * along[..., None, None] + column
    cells = Cells(*(torch.zeros(len(x), high, wide, dtype=torch.long) for _ in range(2)))
    for slot in range(x.shape[1]):
        here = inside[:, slot] & (batch.objects[:, slot] >= 0)[:, None, None]
        cells.objects = torch.where(here, batch.objects[:, slot, None, None] + 1, cells.objects)
        cells.parts = torch.where(here, parts[:, slot], cells.parts)
    return cells


class Pictures:
    """Renderers by size, made when first asked for."""

    def __init__(self, device: torch.device, variants: int, workers: int = 1, seed: int = 0):
        self.sprites, self.variants, self.workers, self.seed = Sprites(device), variants, workers, seed
        self.renderers: dict[tuple[int, int], Renderer] = {}

    def __call__(self, batch: SceneBatch) -> torch.Tensor:
        if batch.size not in self.renderers:
            self.renderers[batch.size] = Renderer(self.sprites, *batch.size, self.variants, self.seed, self.workers)
        return self.renderers[batch.size](batch.chosen, batch.items)
