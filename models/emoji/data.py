"""Batches of rendered scenes, the same for the same seed and step."""

import numpy as np
import torch

from render import Renderer
from scenes import LARGE_SIZES, SMALL_SIZES, Scene, sample_scene

SMALL_PICTURE = 192      # below this many pixels scenes hold few, large objects
FEW = {1: 0.7, 2: 0.3}
MANY = {1: 0.3, 2: 0.4, 3: 0.3}

_renderers: dict[tuple[int, int, int], Renderer] = {}


def draw_scene(rng: np.random.Generator, height: int, width: int, held_out: bool = False,
               pool_seed: int = 0) -> tuple[Scene, np.ndarray, list[tuple[int, ...]]]:
    """A random scene, its picture and the boxes of its objects."""
    key = (height, width, pool_seed)
    if key not in _renderers:
        _renderers[key] = Renderer(height, width, seed=pool_seed)
    small = min(height, width) < SMALL_PICTURE
    counts, sizes = (FEW, LARGE_SIZES) if small else (MANY, SMALL_SIZES)
    scene = sample_scene(rng, counts, sizes, held_out)
    picture, boxes = _renderers[key](rng, scene)
    return scene, picture, boxes


def draw_batch(seed: tuple[int, ...], count: int, height: int, width: int, held_out: bool = False,
               pool_seed: int = 0) -> tuple[list[Scene], torch.Tensor, list[list[tuple[int, ...]]]]:
    """Scenes, pictures [n, 3, h, w] in [-1, 1], boxes."""
    rng = np.random.default_rng(list(seed))
    drawn = [draw_scene(rng, height, width, held_out, pool_seed) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([picture for _, picture, _ in drawn]))
    pixels = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    return [scene for scene, _, _ in drawn], pixels, [boxes for _, _, boxes in drawn]


def box_masks(boxes: list[list[tuple[int, ...]]], height: int, width: int, cell: int) -> torch.Tensor:
    """[n, 1, h / cell, w / cell]: 1 where a cell touches an object's box."""
    masks = torch.zeros(len(boxes), 1, height // cell, width // cell)
    for mask, picture_boxes in zip(masks, boxes):
        for top, left, bottom, right in picture_boxes:
            mask[0, top // cell:-(-bottom // cell), left // cell:-(-right // cell)] = 1
    return masks
