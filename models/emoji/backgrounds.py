"""Painted backgrounds in the flat style of the objects: a sky, land in layers, and lights that night leaves on."""

import numpy as np
from PIL import Image, ImageDraw

FINER = 2      # painted this much larger, then scaled down

SKIES = {"day": ((88, 166, 236), (205, 234, 250)), "sunset": ((92, 84, 160), (255, 176, 112)),
         "night": ((8, 12, 44), (48, 58, 112))}
TINTS = {"day": (1.0, 1.0, 1.0), "sunset": (0.92, 0.72, 0.66), "night": (0.38, 0.43, 0.64)}
LIT = (255, 226, 140)


class _Canvas:
    """A layer [height, width] with transparency; lengths are shares of the width or of the height."""

    def __init__(self, rng: np.random.Generator, height: int, width: int):
        self.rng, self.h, self.w = rng, height * FINER, width * FINER
        self.unit = min(self.h, self.w)
        self.image = Image.new("RGBA", (self.w, self.h))
        self.draw = ImageDraw.Draw(self.image)

    def vary(self, colour, by: int = 9) -> tuple[int, ...]:
        return tuple(int(v) for v in np.clip(np.asarray(colour) + self.rng.integers(-by, by + 1, 3), 0, 255))

    def curve(self, level: float, swing: float, waves: float = 1.0) -> list[tuple[float, float]]:
        """A rolling line from the left to the right edge."""
        x, r = np.linspace(0, 1, 65), self.rng
        bends = waves * self.w / self.unit
        y = level + swing * (np.sin(2 * np.pi * (x * bends * r.uniform(0.6, 1.2) + r.random()))
                             + 0.5 * np.sin(2 * np.pi * (x * bends * r.uniform(1.4, 2.4) + r.random())))
        return [(float(a * self.w), float(b * self.h)) for a, b in zip(x, y)]

    def fill(self, line: list[tuple[float, float]], colour, lower=None, to: float = 1.0) -> None:
        """All below the line, running from one colour to another at the bottom."""
        bottom = to * self.h
        mask = Image.new("L", (self.w, self.h))
        ImageDraw.Draw(mask).polygon([*line, (self.w, bottom), (0, bottom)], fill=255)
        top = min(y for _, y in line)
        t = ((np.arange(self.h) - top) / max(bottom - top, 1)).clip(0, 1)[:, None, None]
        lower = tuple(int(0.82 * v) for v in colour) if lower is None else lower
        rows = np.asarray(colour) * (1 - t) + np.asarray(lower) * t
        shade = Image.fromarray(np.broadcast_to(rows, (self.h, self.w, 3)).astype(np.uint8))
        self.image.paste(shade, (0, 0), mask)

    def box(self, left: float, top: float, right: float, bottom: float, colour) -> None:
        self.draw.rectangle((left * self.w, top * self.h, right * self.w, bottom * self.h), fill=colour)

    def dot(self, x: float, y: float, radius: float, colour, flat: float = 1.0) -> None:
        """At shares of width and height; the radius is a share of the shorter side."""
        r, x, y = radius * self.unit, x * self.w, y * self.h
        self.draw.ellipse((x - r, y - flat * r, x + r, y + flat * r), fill=colour)

    def dots(self, count: int, top: float, bottom: float, radius: float, colours, flat: float = 1.0) -> None:
        for _ in range(int(count * self.w * self.h / self.unit**2)):
            self.dot(self.rng.random(), self.rng.uniform(top, bottom), radius * self.rng.uniform(0.6, 1.4),
                     colours[int(self.rng.integers(len(colours)))], flat)


def _sky(canvas: _Canvas, time: str, clouds: bool = True) -> None:
    top, bottom = SKIES[time]
    canvas.fill([(0, 0), (canvas.w, 0)], top, bottom, 0.66)
    canvas.box(0, 0.66, 1, 1, bottom)
    if time == "night":
        canvas.dots(34, 0.0, 0.5, 0.0035, ((255, 255, 255), (196, 208, 255)))
    elif clouds:
        white = (255, 255, 255) if time == "day" else (250, 190, 170)
        for _ in range(int(canvas.rng.integers(0, 4))):
            x, y, r = canvas.rng.random(), canvas.rng.uniform(0.05, 0.28), canvas.rng.uniform(0.025, 0.05)
            for dx, scale in ((-1.4, 0.7), (-0.5, 1.0), (0.6, 0.85), (1.5, 0.6)):
                canvas.dot(x + dx * r * canvas.unit / canvas.w, y - (scale - 0.7) * r, scale * r, white, 0.62)


def _beach(c, lit):
    c.fill(c.curve(0.44, 0.0), c.vary((36, 142, 204)), (70, 190, 222))
    c.fill(c.curve(0.645, 0.008), (236, 248, 250))
    c.fill(c.curve(0.665, 0.008), c.vary((244, 219, 160)), (228, 194, 128))
    c.dots(14, 0.7, 1.0, 0.005, ((222, 186, 124), (250, 232, 184)), 0.6)


def _snow(c, lit):
    c.fill(c.curve(0.44, 0.05), c.vary((176, 198, 226)), (206, 220, 238))
    c.fill(c.curve(0.56, 0.03), c.vary((214, 226, 242), 5), (232, 240, 250))
    c.fill(c.curve(0.66, 0.02), (246, 250, 255), (222, 232, 246))
    c.dots(32, 0.0, 1.0, 0.006, ((255, 255, 255),))


def _meadow(c, lit):
    c.fill(c.curve(0.50, 0.035), c.vary((142, 204, 104)))
    c.fill(c.curve(0.60, 0.025), c.vary((112, 188, 80)), (74, 150, 56))
    c.dots(26, 0.7, 1.0, 0.007, ((255, 238, 96), (255, 255, 255), (246, 152, 196), (64, 138, 50)))


def _desert(c, lit):
    c.fill(c.curve(0.48, 0.05), c.vary((232, 168, 96)), (206, 138, 72))
    c.fill(c.curve(0.58, 0.04, 0.7), c.vary((240, 186, 112)), (214, 152, 84))
    c.fill(c.curve(0.70, 0.03, 0.7), c.vary((246, 202, 132)), (222, 164, 94))


def _city(c, lit):
    for base, low, high, wide in ((150, 0.16, 0.38, 0.14), (116, 0.30, 0.52, 0.18)):
        x, share = -c.rng.uniform(0, 0.1), c.unit / c.w
        while x < 1:
            width, top = c.rng.uniform(0.7, 1.2) * wide * share, c.rng.uniform(low, high)
            c.box(x, top, x + width, 0.8, c.vary((base, base + 6, base + 26), 14))
            pane, tall = 0.018 * share, 0.026 * c.unit / c.h
            for wy in np.arange(top + 1.2 * tall, 0.66, 2.4 * tall):
                for wx in np.arange(x + pane, x + width - 1.8 * pane, 2.3 * pane):
                    if c.rng.random() < 0.6:
                        lit.box(wx, wy, wx + pane, wy + tall, LIT)
            x += width + 0.006
    c.box(0, 0.70, 1, 0.745, (176, 178, 186))
    c.fill([(0, 0.745 * c.h), (c.w, 0.745 * c.h)], c.vary((98, 100, 110), 5), (80, 82, 92))
    for x in np.arange(0.04, 1, 0.17):
        c.box(x, 0.868, x + 0.08, 0.88, (232, 226, 200))


def _forest(c, lit):
    c.fill(c.curve(0.16, 0.02), c.vary((86, 150, 96)), (58, 116, 74))
    for depth, (green, size, foot) in enumerate((((58, 124, 72), 0.30, 0.62), ((38, 98, 58), 0.40, 0.70))):
        step = 0.13 * c.unit / c.w
        for x in np.arange(-0.05 - depth * step / 2, 1.08, step):
            x += c.rng.uniform(-0.3, 0.3) * step
            high, half = size * c.rng.uniform(0.85, 1.2), 0.5 * step * c.rng.uniform(0.9, 1.2)
            c.box(x - 0.09 * half, foot - 0.1, x + 0.09 * half, foot + 0.02, (96, 70, 48))
            colour = c.vary(green)
            for k, share in enumerate((1.0, 0.8, 0.56)):
                base = foot - 0.05 - k * 0.27 * high
                c.draw.polygon([(x * c.w, (base - 0.42 * high) * c.h), ((x - half * share) * c.w, base * c.h),
                                ((x + half * share) * c.w, base * c.h)], fill=colour)
    c.fill(c.curve(0.69, 0.012), c.vary((96, 124, 62)), (62, 88, 42))
    c.dots(16, 0.76, 1.0, 0.006, ((128, 152, 78), (150, 118, 70)), 0.6)


def _sea(c, lit):
    c.fill(c.curve(0.42, 0.0), c.vary((70, 164, 222)), (46, 128, 200))
    for level in (0.50, 0.60, 0.72, 0.86):
        depth = (level - 0.42) / 0.5
        colour = np.array((52, 140, 210)) * (1 - depth) + np.array((14, 72, 150)) * depth
        c.fill(c.curve(level, 0.010, 2.5), c.vary(colour, 5), tuple(int(v * 0.9) for v in colour))
    c.dots(12, 0.46, 0.98, 0.012, ((196, 230, 248),), 0.14)


def _mountains(c, lit):
    for level, colour, count in ((0.24, (134, 152, 184), 4), (0.36, (98, 116, 148), 3)):
        for i in range(-1, int(count * c.w / c.unit) + 2):
            step = 1.0 / (count * c.w / c.unit)
            x, top = (i + c.rng.uniform(0.2, 0.8)) * step, level + c.rng.uniform(-0.07, 0.09)
            half, foot = step * c.rng.uniform(0.75, 1.0), 0.66
            shade = c.vary(colour)
            point = lambda u, v: ((x + u * half) * c.w, (top + v * (foot - top)) * c.h)
            c.draw.polygon([point(0, 0), point(-1, 1), point(1, 1)], fill=shade)
            c.draw.polygon([point(0, 0), point(0.12, 1), point(1, 1)], fill=tuple(int(0.86 * v) for v in shade))
            c.draw.polygon([point(0, 0), point(-0.26, 0.26), point(-0.1, 0.2), point(0.02, 0.3), point(0.13, 0.19),
                            point(0.26, 0.26)], fill=(246, 249, 255))
    c.fill(c.curve(0.61, 0.02), c.vary((118, 170, 92)), (92, 144, 70))
    c.fill(c.curve(0.72, 0.015), c.vary((104, 160, 78)), (74, 124, 56))


def _room(c, lit):
    wall = c.vary(((238, 214, 182), (196, 216, 226), (222, 202, 220), (208, 222, 196))[int(c.rng.integers(4))], 6)
    c.box(0, 0, 1, 1, wall)
    x, wide, tall = c.rng.uniform(0.1, 0.5), 0.34 * c.unit / c.w, 0.34 * c.unit / c.h
    frame = 0.018 * c.unit
    c.box(x, 0.1, x + wide, 0.1 + tall, (250, 248, 244))
    for i in (0, 1):      # panes: what is behind them shows
        left = x * c.w + frame + i * (wide * c.w - frame) / 2
        c.draw.rectangle((left, 0.1 * c.h + frame, left + (wide * c.w - 3 * frame) / 2, (0.1 + tall) * c.h - frame),
                         fill=(0, 0, 0, 0))
    c.box(0, 0.66, 1, 0.69, (250, 248, 244))
    floor = c.vary((190, 138, 92), 8)
    c.fill([(0, 0.69 * c.h), (c.w, 0.69 * c.h)], floor)
    for y in (0.76, 0.84, 0.93):
        c.box(0, y, 1, y + 0.004, tuple(int(0.85 * v) for v in floor))


def _clouds(c, lit):
    for level, white, swell in ((0.58, (226, 236, 248), 0.07), (0.72, (240, 246, 253), 0.085), (0.88, (255, 255, 255), 0.10)):
        for x in np.arange(-0.02, 1.06, 0.085 * c.unit / c.w):
            c.dot(x, level + c.rng.uniform(-0.02, 0.03), swell * c.rng.uniform(0.75, 1.25), white, 0.8)
        c.box(0, level + 0.02, 1, 1, white)


def _underwater(c, lit):
    c.fill([(0, 0), (c.w, 0)], c.vary((70, 190, 220)), (10, 70, 130))
    for _ in range(3):
        x, lean, wide = c.rng.random(), c.rng.uniform(-0.2, 0.2), c.rng.uniform(0.03, 0.08)
        ray = Image.new("RGBA", c.image.size)
        ImageDraw.Draw(ray).polygon([(x * c.w, 0), ((x + wide) * c.w, 0), ((x + lean + 2.5 * wide) * c.w, c.h),
                                     ((x + lean) * c.w, c.h)], fill=(200, 240, 250, 26))
        c.image.alpha_composite(ray)
    c.fill(c.curve(0.88, 0.02), c.vary((206, 188, 138)), (150, 140, 110))
    for _ in range(int(5 * c.w / c.unit)):
        x, high, colour = c.rng.random(), c.rng.uniform(0.08, 0.2), c.vary(((40, 140, 90), (226, 100, 120))[int(c.rng.integers(2))])
        for k in np.linspace(0, 1, 14):
            c.dot(x + 0.012 * np.sin(5 * k), 0.95 - k * high, 0.014 * (1.15 - k), colour)
    c.dots(10, 0.05, 0.8, 0.007, ((190, 232, 246),))


def _space(c, lit):
    c.fill([(0, 0), (c.w, 0)], c.vary((20, 12, 46), 6), (44, 24, 76))
    c.dots(70, 0, 1, 0.0035, ((255, 255, 255), (204, 214, 255), (255, 236, 200)))
    for _ in range(2):
        x, y, r = c.rng.random(), c.rng.choice([c.rng.uniform(0.03, 0.16), c.rng.uniform(0.86, 0.97)]), c.rng.uniform(0.04, 0.09)
        colour = c.vary(((158, 96, 170), (210, 138, 86), (84, 150, 190))[int(c.rng.integers(3))], 16)
        c.dot(x, y, r, tuple(int(0.78 * v) for v in colour))
        c.dot(x - 0.12 * r, y - 0.12 * r, 0.86 * r, colour)


PAINTERS = {"beach": _beach, "snow": _snow, "meadow": _meadow, "desert": _desert, "city": _city, "forest": _forest,
            "sea": _sea, "mountains": _mountains, "room": _room, "clouds": _clouds, "underwater": _underwater,
            "space": _space}


def paint_background(rng: np.random.Generator, name: str, time: str, height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3]."""
    sky, land, lit = (_Canvas(rng, height, width) for _ in range(3))
    _sky(sky, time, clouds=name != "clouds")
    PAINTERS[name](land, lit)
    pixels = np.asarray(land.image, np.float32)
    tint = np.array(TINTS["day" if name in ("space", "underwater") else time], np.float32)
    if name == "room":
        tint = tint ** 0.35      # by lamplight
    tinted = Image.fromarray(np.concatenate([pixels[..., :3] * tint, pixels[..., 3:]], -1).astype(np.uint8), "RGBA")
    for layer in (tinted, *([lit.image] if time != "day" else [_as_glass(lit.image)])):
        sky.image.alpha_composite(layer)
    return np.asarray(sky.image.convert("RGB").resize((width, height), Image.BOX))


def _as_glass(lights: Image.Image) -> Image.Image:
    """Windows by day."""
    glass = Image.new("RGBA", lights.size, (182, 208, 228, 255))
    glass.putalpha(lights.getchannel("A"))
    return glass
