"""Scenes and their captions: which objects stand where, how large and in what colour, on what, at what time."""

import math
import re
from dataclasses import dataclass, replace

import numpy as np

from plans import Size
from vocabulary import (BACKGROUNDS, COLOURS, NUMBERS, OBJECTS, OPENINGS, SIZE_WORDS, SIZES, TIMES, Background,
                        is_held_out, plural, singular)


@dataclass(frozen=True)
class Placed:
    object: int
    colour: str | None
    x: float       # centre, as a share of the width
    y: float       # centre, as a share of the height
    width: float   # as a share of the shorter side of the picture
    height: float
    stands: bool   # on the ground, with a shadow


@dataclass(frozen=True)
class Place:
    """Something that the caption says of where objects are: `left` or `above` of two, `left` or `right` of one."""
    kind: str
    first: int
    second: int | None = None


@dataclass(frozen=True)
class Scene:
    placed: tuple[Placed, ...]     # the farthest first
    background: int
    time: str
    caption: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Group:
    """What one noun of a caption stands for."""
    object: int
    count: int
    colour: str | None
    size: str | None


LONGEST_CAPTION = 24    # words and commas: what fits between the start and the end token
MOST_OBJECTS = 5

# Height or width, the longer, by the number of objects side by side: shares of the picture's shorter side.
ROW_SIZES = {1: 0.45, 2: 0.36, 3: 0.29, 4: 0.24, 5: 0.20}
FEW = 3
# In pixels. Caption and picture size alone say how large an object is, one of a few sizes, and where it stands: in a
# square of GRID's cells, on its floor. These are the cells of the U-Net's coarsest level, so a network of few weights
# meets each part of a drawing again as the same one, and need not choose between sizes and places while all is noise.
SIDES = (64, 128, 256)
GRID = 64
GROUND, LOW, SKY, AFLOAT = 0.84, 0.92, 0.26, 0.50     # of feet, and of middles: shares of the height


def _nearest_side(pixels: float) -> int:
    return min(SIDES, key=lambda side: abs(math.log(side / pixels)))


def _on_grid(share: float, pixels: int, low: float) -> float:
    """The nearest line of the grid, from the given share on."""
    line = min(max(round(share * pixels / GRID), math.ceil(low * pixels / GRID)), pixels // GRID)
    return line * GRID / pixels


def _one_of(rng: np.random.Generator, choices):
    return choices[int(rng.integers(len(choices)))]


def words_of(text: str) -> list[str]:
    """As CLIP's tokenizer splits them."""
    return re.findall(r"[a-z]+|[^\sa-z]+", text)


# --- captions ---

def _article(noun: str) -> str:
    an = noun[0] in "aeio" or noun.startswith("um") or noun.startswith("ug")
    return ("an " if an else "a ") + noun


def _noun(rng: np.random.Generator, group: Group) -> str:
    names = OBJECTS[group.object].names
    name = names[0] if len(names) == 1 or rng.random() < 0.65 else names[int(rng.integers(1, len(names)))]
    noun = singular(name) if group.count == 1 else plural(name)
    if group.colour:
        noun = f"{group.colour} {noun}"
    if group.size:
        noun = f"{_one_of(rng, SIZE_WORDS[group.size])} {noun}"
    return _article(noun) if group.count == 1 else f"{NUMBERS[group.count]} {noun}"


def _listed(nouns: list[str], rng: np.random.Generator) -> str:
    if len(nouns) == 1:
        return nouns[0]
    if len(nouns) == 2:
        return nouns[0] + _one_of(rng, (" and ", " and ", " next to ", " beside ", " with ")) + nouns[1]
    return f"{nouns[0]}, {nouns[1]} and {nouns[2]}"


def _where(rng: np.random.Generator, background: Background, time: str) -> str:
    times = TIMES[time] if len(background.times) > 1 else ("",)
    return _one_of(rng, background.phrases) + _one_of(rng, times)


def _caption(rng: np.random.Generator, text: str, where: str) -> str:
    if rng.random() < 0.12:
        return f"{where}, {text}"
    return f"{_one_of(rng, OPENINGS)}{text} {where}"


# --- where things stand ---

class _Layout:
    """Puts rows of objects into a picture of the given height and width in pixels."""

    def __init__(self, size: Size, aspects: list[float], most: int):
        self.aspects, self.close = aspects, most <= FEW
        self.size, self.shorter = size, min(size)
        self.high, self.wide = (side / self.shorter for side in size)

    def _side(self, group: Group, number: int) -> int:
        """Of one of so many objects side by side, in pixels. Close up it is as large as in larger pictures."""
        if self.close:
            within = [side for side in SIDES if side <= self.shorter]
            return {"small": within[0], "big": within[-1], None: within[min(1, len(within) - 1)]}[group.size]
        share = ROW_SIZES[number] * min(self.wide, 1.25) * OBJECTS[group.object].scale
        return _nearest_side(max(share * self.shorter, SIDES[1]) * (SIZES[group.size] if group.size else 1))

    def _sides(self, groups: list[Group], tallest: float) -> list[int]:
        """Of each object of a row, that fit."""
        number = sum(g.count for g in groups)
        if self.close and number == 1:
            tallest = 1.0
        sides = [self._side(group, number) for group in groups]
        while True:
            across = sum(side * g.count for g, side in zip(groups, sides))
            if (across <= self.size[1] and max(sides) <= tallest * self.size[0]) or max(sides) == SIDES[0]:
                return [side for g, side in zip(groups, sides) for _ in range(g.count)]
            largest = max(sides)
            sides = [SIDES[SIDES.index(side) - 1] if side == largest else side for side in sides]

    def _across(self, sides: list[int], at: str | None) -> list[float]:
        """Middles from left to right, as shares of the width: evenly apart, or all at one side."""
        free = (self.size[1] - sum(sides)) // GRID
        before = [{"left": 0, "right": free, None: free * (i + 1) // (len(sides) + 1)}[at] for i in range(len(sides))]
        return [(GRID * gaps + sum(sides[:i]) + side / 2) / self.size[1]
                for i, (gaps, side) in enumerate(zip(before, sides))]

    def row(self, groups: list[Group], level: str, side: str | None = None) -> list[Placed]:
        """Side by side in the given order. Levels: own (ground, or sky for what belongs there), low, high, floating."""
        sides = self._sides(groups, 0.50 if level in ("low", "high") else 0.80)
        middles = iter(zip(self._across(sides, side), sides))
        placed = []
        for group in groups:
            obj = OBJECTS[group.object]
            in_sky = level == "high" or (level == "own" and obj.in_sky)
            for _ in range(group.count):
                x, pixels = next(middles)
                aspect = self.aspects[group.object]
                width, height = (pixels / self.shorter * min(ratio, 1) for ratio in (aspect, 1 / aspect))
                half = height / 2 / self.high
                if level == "floating":
                    y = AFLOAT
                elif in_sky:
                    y = max(SKY, half + 0.03)
                else:
                    y = (LOW if level == "low" else GROUND) - half
                foot = _on_grid(y + half, self.size[0], 2 * half)
                placed.append(Placed(group.object, group.colour, x, foot - half, width, height,
                                     level != "floating" and not in_sky))
        return placed


# --- scenes ---

def _pick_groups(rng: np.random.Generator, most: int, held_out: bool) -> tuple[list[Group], int]:
    number = int(rng.choice([1, 2, 3], p=[0.34, 0.42, 0.24] if most > FEW else [0.55, 0.37, 0.08]))
    number = min(number, most)
    while True:
        objects = [int(o) for o in rng.choice(len(OBJECTS), number, replace=False)]
        background = int(rng.integers(len(BACKGROUNDS)))
        if is_held_out(objects, background) == held_out:
            break
    groups, left = [], most - number
    for obj in objects:
        count = 1 + (int(rng.integers(0, min(left, 3) + 1)) if left and rng.random() < 0.35 else 0)
        left -= count - 1
        colour = _one_of(rng, list(COLOURS)) if OBJECTS[obj].colours and rng.random() < 0.6 else None
        groups.append(Group(obj, count, colour, _one_of(rng, list(SIZES)) if rng.random() < 0.3 else None))
    return groups, background


def _alone(rng, layout: _Layout, groups: list[Group], level: str):
    noun, side = _noun(rng, groups[0]), None
    if rng.random() < 0.25:
        side = _one_of(rng, ("left", "right"))
        noun += _one_of(rng, (f" on the {side}", f" on the {side} side"))
    places = [Place(side, groups[0].object)] if side else []
    return layout.row(groups, level, side), noun, places


def _beside(rng, layout: _Layout, groups: list[Group], level: str):
    """Named from left to right, or with words that say so."""
    nouns = [_noun(rng, g) for g in groups]
    places = []
    if len(groups) == 2 and rng.random() < 0.5:
        if rng.random() < 0.5:
            text = nouns[0] + _one_of(rng, (" to the left of ", " left of ")) + nouns[1]
        else:
            text = nouns[1] + _one_of(rng, (" to the right of ", " right of ")) + nouns[0]
        places = [Place("left", groups[0].object, groups[1].object)]
    elif len(groups) == 3 and rng.random() < 0.35:
        text = f"{nouns[1]} between {nouns[0]} and {nouns[2]}"
        places = [Place("left", groups[i].object, groups[i + 1].object) for i in (0, 1)]
    else:
        text = _listed(nouns, rng)
    return layout.row(groups, level), text, places


def _stacked(rng, layout: _Layout, groups: list[Group], level: str):
    """The last group above the others."""
    low, high = groups[:-1], groups[-1]
    below, above = layout.row(low, "low"), layout.row([high], "high")
    if level == "floating":
        below = [replace(item, stands=False) for item in below]
    low_text, high_text = _listed([_noun(rng, g) for g in low], rng), _noun(rng, high)
    if rng.random() < 0.5:
        text = low_text + _one_of(rng, (" under ", " below ", " beneath ")) + high_text
    else:
        text = high_text + _one_of(rng, (" above ", " over ")) + low_text
    return above + below, text, [Place("above", high.object, g.object) for g in low]


def _any_scene(rng: np.random.Generator, size: Size, aspects: list[float], most: int, held_out: bool) -> Scene:
    groups, number = _pick_groups(rng, most, held_out)
    background = BACKGROUNDS[number]
    layout = _Layout(size, aspects, most)
    level = "floating" if background.floats else "own"
    if len(groups) == 1:
        placed, text, places = _alone(rng, layout, groups, level)
    elif rng.random() < (0.7 if OBJECTS[groups[-1].object].in_sky else 0.25):
        placed, text, places = _stacked(rng, layout, groups, level)
    else:
        placed, text, places = _beside(rng, layout, groups, level)
    time = _one_of(rng, background.times)
    placed.sort(key=lambda item: item.y + item.height / 2)
    return Scene(tuple(placed), number, time, _caption(rng, text, _where(rng, background, time)), tuple(places))


def sample_scene(rng: np.random.Generator, size: Size, aspects: list[float], most: int = MOST_OBJECTS,
                 held_out: bool = False) -> Scene:
    """A random scene for a picture of this height and width in pixels, with at most this many objects."""
    while True:
        scene = _any_scene(rng, size, aspects, most, held_out)
        if len(words_of(scene.caption)) <= LONGEST_CAPTION:
            return scene


def all_words() -> list[str]:
    """Every word a caption can hold, for the tokenizer."""
    texts = ["a an and next to beside with the left right of between under below beneath above over on side , ' -"]
    texts += [form(n) for o in OBJECTS for n in o.names for form in (singular, plural)]
    texts += [p for b in BACKGROUNDS for p in b.phrases] + [*OPENINGS, *NUMBERS, *COLOURS]
    texts += [w for words in SIZE_WORDS.values() for w in words] + [t for time in TIMES.values() for t in time]
    return sorted({word for text in texts for word in words_of(text)})
