"""The objects' pictures: an atlas made once from Noto Emoji's drawings, and its sprites in every colour.

The drawings are those in the folder svg of Noto Emoji 2.051 (Debian trixie's source package
fonts-noto-color-emoji). Making the atlas needs Pillow and PyPI's resvg-py; reading it needs Pillow alone.
"""

import argparse
import io
import os

import numpy as np
import torch
from PIL import Image, ImageOps

from vocabulary import COLOURS, OBJECTS

ATLAS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sprites.webp")
SIDE = 320         # longer side of a sprite, in pixels
COLUMNS = 14


def _drawing(folder: str, glyph: str, mirrored_half: bool) -> Image.Image:
    """Cut to what is drawn, longer side SIDE."""
    import resvg_py
    png = resvg_py.svg_to_bytes(svg_path=os.path.join(folder, f"emoji_u{glyph}.svg"), width=4 * SIDE)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())
    if mirrored_half:
        arch = Image.new("RGBA", (2 * image.width, image.height))
        arch.paste(image, (0, 0))
        arch.paste(ImageOps.mirror(image), (image.width, 0))
        image = arch
    scale = SIDE / max(image.size)
    shape = [max(1, round(side * scale)) for side in image.size]
    return image.convert("RGBa").resize(shape, Image.LANCZOS).convert("RGBA")


def make_atlas(folder: str) -> None:
    rows = -(-len(OBJECTS) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * SIDE, rows * SIDE))
    for i, obj in enumerate(OBJECTS):
        atlas.paste(_drawing(folder, obj.glyph, obj.mirrored_half), (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    atlas.save(ATLAS, lossless=True, quality=100, method=6)


def _read_atlas() -> list[np.ndarray]:
    """Each object's sprite as float32 [h, w, 4] in [0, 1], alpha last and not multiplied in."""
    atlas = np.asarray(Image.open(ATLAS).convert("RGBA"))
    sprites = []
    for i in range(len(OBJECTS)):
        y, x = i // COLUMNS * SIDE, i % COLUMNS * SIDE
        cell = atlas[y:y + SIDE, x:x + SIDE]
        high, wide = (int(np.flatnonzero(cell[..., 3].any(axis)).max()) + 1 for axis in (1, 0))
        sprites.append(cell[:high, :wide].astype(np.float32) / 255)
    return sprites


_TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                    [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]], np.float32)
_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                    [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]], np.float32)


def _oklch(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lightness, chroma and hue in radians of sRGB colours (Björn Ottosson, 2020: Oklab)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return lab[..., 0], np.hypot(lab[..., 1], lab[..., 2]), np.arctan2(lab[..., 2], lab[..., 1])


def _rgb(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray) -> np.ndarray:
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1)
    linear = ((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def recoloured(sprite: np.ndarray) -> dict[str, np.ndarray]:
    """The sprite in every colour: the parts of its main hue become that colour, with the same shading."""
    inside = sprite[..., 3] > 0
    own = sprite[inside]
    light, chroma, hue = _oklch(own[:, :3])
    weight = own[:, 3] * chroma * (chroma > 0.04)
    bins = np.bincount(((hue + np.pi) / (2 * np.pi) * 36).astype(int) % 36, weight, 36)
    main = ((bins + np.roll(bins, 1) + np.roll(bins, -1)).argmax() + 0.5) / 36 * 2 * np.pi - np.pi
    away = np.abs((hue - main + np.pi) % (2 * np.pi) - np.pi)
    share = ((0.9 - away) / 0.25).clip(0, 1) * ((chroma - 0.02) / 0.04).clip(0, 1)
    own_light, own_chroma = ((v * weight * share).sum() / (weight * share).sum() for v in (light, chroma))
    made = {}
    for colour, (new_light, new_chroma, new_hue) in COLOURS.items():
        stretch = np.where(light > own_light, (1 - new_light) / (1 - own_light), new_light / own_light)
        new = _rgb((new_light + (light - own_light) * np.minimum(stretch, 1.2)).clip(0, 1),
                   chroma * (new_chroma / own_chroma), np.deg2rad(new_hue))
        made[colour] = sprite.copy()
        made[colour][inside, :3] = (own[:, :3] + share[:, None] * (new - own[:, :3])).clip(0, 1)
    return made


class Sprites:
    """Every object in its own colour and, where it has them, in others."""

    def __init__(self, device: torch.device):
        drawn = _read_atlas()
        self.index = {}      # (object, colour or None) -> number of the sprite
        made = []
        for obj, sprite in enumerate(drawn):
            for colour, pixels in {None: sprite, **(recoloured(sprite) if OBJECTS[obj].colours else {})}.items():
                self.index[obj, colour] = len(made)
                made.append(pixels)
        self.shapes = torch.tensor([s.shape[:2] for s in made])                      # [n, 2] height, width
        pixels = np.zeros((len(made), 4, SIDE, SIDE), np.float16)
        for target, sprite in zip(pixels, made):
            premultiplied = np.concatenate([sprite[..., :3] * sprite[..., 3:], sprite[..., 3:]], -1)
            target[:, :sprite.shape[0], :sprite.shape[1]] = premultiplied.transpose(2, 0, 1)
        self.pixels = torch.from_numpy(pixels).to(device)      # [n, 4, SIDE, SIDE] colour times alpha, alpha


def aspects() -> list[float]:
    """Width over height of each object."""
    return [s.shape[1] / s.shape[0] for s in _read_atlas()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--svg", required=True, help="Noto Emoji's folder svg")
    make_atlas(parser.parse_args().svg)
