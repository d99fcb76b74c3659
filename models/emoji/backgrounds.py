"""Painted backgrounds. Soft and simple: what matters is that each is told from the others at a glance."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SKY = {"day": ((96, 170, 235), (190, 225, 250)), "night": ((10, 14, 48), (44, 52, 104))}
NIGHT_TINT = np.array((0.38, 0.42, 0.62), np.float32)


def _gradient(height: int, width: int, top, bottom) -> np.ndarray:
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    row = np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t
    return np.broadcast_to(row, (height, width, 3)).copy()


def _vary(rng: np.random.Generator, colour, by: int = 12) -> tuple[int, ...]:
    return tuple(int(v) for v in np.clip(np.asarray(colour) + rng.integers(-by, by + 1, 3), 0, 255))


def _curve(rng: np.random.Generator, width: int, height: int, level: float, swing: float) -> list[tuple[float, float]]:
    """A rolling line from the left to the right edge; level and swing as shares of the height."""
    x = np.linspace(0, 1, 33)
    y = level + swing * (np.sin(2 * np.pi * (x * rng.uniform(0.5, 1.5) + rng.random()))
                         + 0.5 * np.sin(2 * np.pi * (x * rng.uniform(1.5, 3) + rng.random())))
    return [(float(a * width), float(b * height)) for a, b in zip(x, y)]


def _land(draw: ImageDraw.ImageDraw, line, width: int, height: int, colour) -> None:
    draw.polygon(line + [(width, height), (0, height)], fill=colour)


def _specks(rng: np.random.Generator, draw: ImageDraw.ImageDraw, count: int, box, radius: float, colours) -> None:
    left, top, right, bottom = box
    for _ in range(count):
        x, y, r = rng.uniform(left, right), rng.uniform(top, bottom), radius * rng.uniform(0.6, 1.4)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colours[rng.integers(len(colours))])


def _beach(rng, draw, w, h):
    _land(draw, _curve(rng, w, h, 0.45, 0.0), w, h, _vary(rng, (40, 140, 200)))
    _land(draw, _curve(rng, w, h, 0.62, 0.012), w, h, (225, 240, 245))
    _land(draw, _curve(rng, w, h, 0.645, 0.012), w, h, _vary(rng, (240, 215, 155)))


def _snow(rng, draw, w, h):
    _land(draw, _curve(rng, w, h, 0.45, 0.06), w, h, _vary(rng, (190, 208, 228)))
    _land(draw, _curve(rng, w, h, 0.60, 0.03), w, h, _vary(rng, (240, 245, 252), 5))
    _specks(rng, draw, 30, (0, 0, w, h), min(w, h) / 110, ((255, 255, 255),))


def _meadow(rng, draw, w, h):
    _land(draw, _curve(rng, w, h, 0.50, 0.04), w, h, _vary(rng, (130, 195, 95)))
    _land(draw, _curve(rng, w, h, 0.62, 0.03), w, h, _vary(rng, (95, 175, 70)))
    _specks(rng, draw, 18, (0, 0.72 * h, w, h), min(w, h) / 80, ((250, 235, 90), (250, 250, 250), (240, 150, 190)))


def _desert(rng, draw, w, h):
    _land(draw, _curve(rng, w, h, 0.50, 0.05), w, h, _vary(rng, (225, 160, 90)))
    _land(draw, _curve(rng, w, h, 0.64, 0.05), w, h, _vary(rng, (235, 180, 105)))


def _city(rng, draw, w, h):
    x = -rng.uniform(0, 0.1) * w
    while x < w:
        wide, top = rng.uniform(0.12, 0.2) * w, rng.uniform(0.2, 0.5) * h
        draw.rectangle((x, top, x + wide, h), fill=_vary(rng, (125, 130, 150), 20))
        pane = 0.022 * min(w, h)
        for wy in np.arange(top + 1.5 * pane, 0.68 * h, 3 * pane):
            for wx in np.arange(x + 1.2 * pane, x + wide - 1.5 * pane, 2.6 * pane):
                draw.rectangle((wx, wy, wx + pane, wy + 1.4 * pane), fill=(250, 230, 150))
        x += wide + rng.uniform(0, 0.02) * w
    draw.rectangle((0, 0.72 * h, w, h), fill=_vary(rng, (92, 94, 102), 6))
    draw.rectangle((0, 0.72 * h, w, 0.75 * h), fill=(170, 170, 175))


def _forest(rng, draw, w, h):
    draw.rectangle((0, 0.1 * h, w, h), fill=_vary(rng, (58, 110, 70)))
    for x in np.arange(-0.05, 1.05, 0.12) + rng.uniform(-0.04, 0.04):
        half, top = rng.uniform(0.07, 0.1), rng.uniform(-0.05, 0.15)
        draw.rectangle(((x - 0.015) * w, 0.4 * h, (x + 0.015) * w, 0.75 * h), fill=(92, 66, 44))
        draw.polygon([(x * w, top * h), ((x - half) * w, 0.6 * h), ((x + half) * w, 0.6 * h)],
                     fill=_vary(rng, (34, 92, 52)))
    _land(draw, _curve(rng, w, h, 0.70, 0.015), w, h, _vary(rng, (74, 98, 48)))


def _sea(rng, draw, w, h):
    _land(draw, _curve(rng, w, h, 0.42, 0.0), w, h, _vary(rng, (30, 110, 190)))
    for level in (0.52, 0.64, 0.78, 0.92):
        shade = 20 + 60 * (level - 0.42)
        _land(draw, _curve(rng, w, h, level, 0.012), w, h, _vary(rng, (30 + shade / 3, 100 - shade, 190 - shade), 5))


def _space(rng, draw, w, h):
    draw.rectangle((0, 0, w, h), fill=_vary(rng, (16, 10, 36), 6))
    for _ in range(2):
        r, x, y = rng.uniform(0.05, 0.12) * min(w, h), rng.uniform(0, w), rng.uniform(0, h)
        colour = _vary(rng, ((150, 90, 160), (200, 130, 80))[rng.integers(2)], 25)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    _specks(rng, draw, 60, (0, 0, w, h), min(w, h) / 160, ((255, 255, 255), (200, 210, 255)))


PAINTERS = {"beach": _beach, "snow": _snow, "meadow": _meadow, "desert": _desert,
            "city": _city, "forest": _forest, "sea": _sea, "space": _space}


def _clouds_or_stars(rng, draw, time: str, w: int, h: int) -> None:
    if time == "night":
        _specks(rng, draw, 25, (0, 0, w, 0.45 * h), min(w, h) / 170, ((220, 225, 255),))
        return
    for _ in range(rng.integers(0, 3)):
        x, y, r = rng.uniform(0, w), rng.uniform(0.06, 0.25) * h, rng.uniform(0.03, 0.06) * min(w, h)
        for dx, scale in ((-1.3, 0.75), (0, 1), (1.3, 0.8)):
            draw.ellipse((x + dx * r - 1.4 * scale * r, y - scale * r, x + dx * r + 1.4 * scale * r, y + scale * r),
                         fill=(245, 250, 255))


def paint_background(rng: np.random.Generator, name: str, time: str, height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3]."""
    sky = Image.fromarray(_gradient(height, width, *SKY["day"]).astype(np.uint8))
    if name != "space":
        _clouds_or_stars(rng, ImageDraw.Draw(sky), "day" if time == "day" else "none", width, height)
    PAINTERS[name](rng, ImageDraw.Draw(sky), width, height)
    if time == "night":
        return _at_night(rng, name, sky, height, width)
    return np.asarray(sky.filter(ImageFilter.GaussianBlur(min(height, width) / 400)))


def _at_night(rng, name: str, day: Image.Image, height: int, width: int) -> np.ndarray:
    """The same land under a dark sky; the windows of a city stay lit."""
    pixels = np.asarray(day, np.float32)
    lit = (np.abs(pixels - (250, 230, 150)).sum(-1, keepdims=True) < 6) & (name == "city")
    is_sky = (pixels[..., 2:] - pixels[..., :1] > 40) & (np.arange(height)[:, None, None] < 0.42 * height)
    dark = Image.fromarray(_gradient(height, width, *SKY["night"]).astype(np.uint8))
    _clouds_or_stars(rng, ImageDraw.Draw(dark), "night", width, height)
    night = np.where(is_sky & (name != "forest"), np.asarray(dark, np.float32), pixels * NIGHT_TINT)
    night = np.where(lit, pixels, night).clip(0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(night).filter(ImageFilter.GaussianBlur(min(height, width) / 400)))
