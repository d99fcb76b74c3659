"""Scenes as pictures: emoji glyphs of Noto Color Emoji over painted backgrounds."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from backgrounds import paint_background
from scenes import Scene
from vocabulary import BACKGROUNDS, OBJECTS

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
STRIKE = 109            # the one size of the font's bitmaps
SIZE_STEP = 4           # glyphs are cached at multiples of this many pixels


@lru_cache(maxsize=None)
def _glyph(obj: int) -> Image.Image:
    font = ImageFont.truetype(FONT, STRIKE)
    image = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(image).text((10, 10), OBJECTS[obj].glyph, font=font, embedded_color=True)
    image = image.crop(image.getbbox())
    if not OBJECTS[obj].mirrored:
        return image
    arch = Image.new("RGBA", (2 * image.width, image.height))
    arch.paste(image, (0, 0))
    arch.paste(ImageOps.mirror(image), (image.width, 0))
    return arch


@lru_cache(maxsize=None)
def _sprite(obj: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour times alpha, and 1 - alpha, of the glyph with its longer side at size pixels."""
    glyph = _glyph(obj)
    scale = size / max(glyph.size)
    shape = [max(1, round(side * scale)) for side in glyph.size]
    pixels = np.asarray(glyph.convert("RGBa").resize(shape, Image.LANCZOS), np.float32)
    return pixels[..., :3], 1 - pixels[..., 3:] / 255


class Renderer:
    """Draws scenes of one size. Backgrounds come from a pool painted once."""

    def __init__(self, height: int, width: int, variants: int = 32, seed: int = 0):
        self.height, self.width = height, width
        rng = np.random.default_rng([seed, height, width])
        self.pool = {}
        for background in BACKGROUNDS:
            for time in ("day", "night") if background.has_times else ("day",):
                self.pool[background.name, time] = [
                    paint_background(rng, background.name, time, height, width) for _ in range(variants)]

    def __call__(self, rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, list[tuple[int, ...]]]:
        """The picture as uint8 [h, w, 3], and each object's box (top, left, bottom, right)."""
        choices = self.pool[BACKGROUNDS[scene.background].name, scene.time]
        picture = choices[rng.integers(len(choices))]
        picture = (picture[:, ::-1] if rng.random() < 0.5 else picture).copy()
        boxes = []
        for item in scene.placed:
            size = item.size * min(self.height, self.width)
            colour, clear = _sprite(item.object, max(SIZE_STEP, round(size / SIZE_STEP) * SIZE_STEP))
            top = round(item.y * self.height - colour.shape[0] / 2)
            left = round(item.x * self.width - colour.shape[1] / 2)
            top0, left0 = max(top, 0), max(left, 0)
            bottom, right = min(top + colour.shape[0], self.height), min(left + colour.shape[1], self.width)
            cut = np.s_[top0 - top:bottom - top, left0 - left:right - left]
            under = picture[top0:bottom, left0:right]
            picture[top0:bottom, left0:right] = np.clip(colour[cut] + under * clear[cut], 0, 255)
            boxes.append((top0, left0, bottom, right))
        return picture, boxes
