"""Scenes as pictures, whole batches at once on any device: sprites resampled by products of matrices."""

from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from backgrounds import paint_background
from scenes import Scene
from sprites import SIDE, Sprites
from vocabulary import BACKGROUNDS

SETTINGS = tuple((b, time) for b in range(len(BACKGROUNDS)) for time in BACKGROUNDS[b].times)
OBJECT_TINTS = {"day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.90, 0.84), "night": (0.74, 0.78, 0.94)}
SHADOW = 0.42
AT_ONCE = 64 * 256 * 256      # pixels that are composed at once, to bound memory


def scene_rows(scene: Scene, rng: np.random.Generator, sprites: dict, variants: int, most: int):
    """What the renderer needs: int [2 + most] backdrop, flip, sprites (-1: none); float [most, 8] of each item."""
    setting = SETTINGS.index((scene.background, scene.time))
    chosen = np.full(2 + most, -1, np.int64)
    chosen[:2] = setting * variants + rng.integers(variants), rng.integers(2)
    items = np.zeros((most, 8), np.float32)
    tint = OBJECT_TINTS["day" if BACKGROUNDS[scene.background].name == "room" else scene.time]
    for slot, item in enumerate(scene.placed):
        chosen[2 + slot] = sprites[item.object, item.colour]
        items[slot] = (item.x, item.y, item.width, item.height, item.stands, *tint)
    return chosen, items


def _paint(arguments) -> np.ndarray:
    seed, setting, variant, height, width = arguments
    background, time = SETTINGS[setting]
    rng = np.random.default_rng([seed, setting, variant, height, width])
    return paint_background(rng, BACKGROUNDS[background].name, time, height, width)


def paint_pool(seed: int, variants: int, height: int, width: int, workers: int) -> torch.Tensor:
    """uint8 [settings * variants, 3, height, width]"""
    asked = [(seed, s, v, height, width) for s in range(len(SETTINGS)) for v in range(variants)]
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            painted = list(pool.map(_paint, asked, chunksize=4))
    else:
        painted = [_paint(a) for a in asked]
    return torch.from_numpy(np.stack(painted)).permute(0, 3, 1, 2).contiguous()


def _cubic(x: torch.Tensor) -> torch.Tensor:
    """Catmull and Rom's kernel."""
    x = x.abs()
    return torch.where(x < 1, (1.5 * x - 2.5) * x * x + 1, torch.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))


def _resampling(centre, size, source, pixels: int) -> torch.Tensor:
    """[n, pixels, SIDE]: output pixels from a sprite's rows; centre and size in output pixels, source in rows."""
    out = torch.arange(pixels, device=centre.device) + 0.5
    per = source / size
    at = (out - (centre - size / 2)[:, None]) * per[:, None] - 0.5
    reach = per.clamp_min(1.0)[:, None, None]
    rows = torch.arange(SIDE, device=centre.device)
    return _cubic((at[:, :, None] - rows) / reach) / reach


class Renderer:
    """Draws scenes of one size. Backgrounds come from a pool painted once."""

    def __init__(self, sprites: Sprites, height: int, width: int, variants: int, seed: int = 0, workers: int = 1):
        self.sprites, self.height, self.width, self.variants = sprites, height, width, variants
        self.device = sprites.pixels.device
        self.dtype, self.product = (torch.float16,) * 2 if self.device.type == "cuda" else (torch.float32, torch.bfloat16)
        self.shapes = sprites.shapes.to(self.device)
        self.pool = paint_pool(seed, variants, height, width, workers).to(self.device)

    def _shadow(self, picture, centre_x, foot, width, strength):
        x = torch.arange(self.width, device=self.device) + 0.5
        y = torch.arange(self.height, device=self.device) + 0.5
        across = torch.exp(-(((x - centre_x[:, None]) / (0.40 * width[:, None])) ** 4))
        down = torch.exp(-(((y - foot[:, None]) / (0.075 * width[:, None])) ** 2))
        dark = (strength[:, None] * down)[:, :, None] * across[:, None]
        return picture * (1 - dark[:, None]).to(self.dtype)

    def _compose(self, chosen: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        picture = self.pool[chosen[:, 0]].to(self.dtype) / 255
        picture = torch.where(chosen[:, 1].bool()[:, None, None, None], picture.flip(3), picture)
        shorter = min(self.height, self.width)
        for slot in range(items.shape[1]):
            here = (chosen[:, 2 + slot] >= 0).nonzero()[:, 0]
            if not len(here):
                continue
            number, (x, y, width, height, stands, *_) = chosen[here, 2 + slot], items[here, slot].T
            shape, under = self.shapes[number], picture[here]
            x, y, width, height = x * self.width, y * self.height, width * shorter, height * shorter
            under = self._shadow(under, x, y + height / 2 - 0.03 * width, width, SHADOW * stands)
            down = _resampling(y, height, shape[:, 0], self.height)
            across = _resampling(x, width, shape[:, 1], self.width)
            sprite = self.sprites.pixels[number].to(self.product)
            drawn = down.to(self.product)[:, None] @ sprite @ across.to(self.product).mT[:, None]
            drawn = drawn.to(self.dtype)
            tint = items[here, slot, 5:].to(self.dtype)[:, :, None, None]
            picture[here] = (drawn[:, :3] * tint + under * (1 - drawn[:, 3:])).clamp(0, 1)
        return picture.float() * 2 - 1

    @torch.no_grad()
    def __call__(self, chosen: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """[n, 3, height, width] in [-1, 1]"""
        step = max(1, AT_ONCE // (self.height * self.width))
        chosen, items = chosen.to(self.device), items.to(self.device)
        return torch.cat([self._compose(c, i) for c, i in zip(chosen.split(step), items.split(step))])
