"""Scenes and their captions: which objects stand where, on what, at what time."""

from dataclasses import dataclass

import numpy as np

from vocabulary import BACKGROUNDS, OBJECTS, OPENINGS, TIMES, is_held_out


@dataclass(frozen=True)
class Placed:
    object: int
    x: float       # centre, as a share of the width
    y: float       # centre, as a share of the height
    size: float    # longer side, as a share of the shorter side of the picture


@dataclass(frozen=True)
class Scene:
    placed: tuple[Placed, ...]
    background: int
    time: str
    caption: str


# Longer side of an object by the number of objects: a range of shares of the picture's shorter side.
LARGE_SIZES = {1: (0.45, 0.80), 2: (0.40, 0.48), 3: (0.30, 0.34)}   # for small pictures
SMALL_SIZES = {1: (0.34, 0.58), 2: (0.32, 0.44), 3: (0.27, 0.33)}   # for 256 pixels and more


LONGEST_CAPTION = 18    # words and commas: what fits between the start and the end token


def _noun(rng: np.random.Generator, obj: int) -> str:
    names = OBJECTS[obj].names
    name = names[0] if len(names) == 1 or rng.random() < 0.6 else names[rng.integers(1, len(names))]
    return ("an " if name[0] in "aeiou" else "a ") + name


def _row(rng: np.random.Generator, objects: list[int], sizes: tuple[float, float], floats: bool,
         top: bool = False, bottom: bool = False) -> list[Placed]:
    """Objects side by side in the order in which the caption names them."""
    xs = {1: (0.5,), 2: (0.27, 0.73), 3: (0.18, 0.5, 0.82)}[len(objects)]
    jitter = {1: 0.16, 2: 0.03, 3: 0.015}[len(objects)]
    placed = []
    for obj, x in zip(objects, xs):
        size = min(rng.uniform(*sizes) * OBJECTS[obj].scale, 0.9)
        in_sky = top or (OBJECTS[obj].in_sky and not bottom)
        if floats and not top and not bottom:
            y = rng.uniform(0.40, 0.60)
        elif in_sky:
            y = max(rng.uniform(0.24, 0.34), size / 2 + 0.02)
        else:
            y = rng.uniform(0.88, 0.95) - size / 2
        x = min(max(x + rng.uniform(-jitter, jitter), size / 2), 1 - size / 2)
        placed.append(Placed(obj, x, y, size))
    return placed


def _listed(nouns: list[str], rng: np.random.Generator) -> str:
    if len(nouns) == 1:
        return nouns[0]
    if len(nouns) == 2:
        return nouns[0] + (" and ", " and ", " next to ", " with ")[rng.integers(4)] + nouns[1]
    return f"{nouns[0]}, {nouns[1]} and {nouns[2]}"


def _stacked(rng: np.random.Generator, objects: list[int],
             sizes: tuple[float, float]) -> tuple[list[Placed], str]:
    """The first object or two below the last one, said with "under" or with "above"."""
    low, high = objects[:-1], objects[-1]
    below = _row(rng, low, sizes, False, bottom=True)
    above = _row(rng, [high], sizes, False, top=True)
    low_text = _listed([_noun(rng, o) for o in low], rng)
    high_text = _noun(rng, high)
    if rng.random() < 0.5:
        text = f"{low_text} {('under', 'below')[rng.integers(2)]} {high_text}"
    else:
        text = f"{high_text} {('above', 'over')[rng.integers(2)]} {low_text}"
    return below + above, text


def _stack_sizes(sizes: tuple[float, float]) -> tuple[float, float]:
    return min(sizes[0], 0.40), min(sizes[1], 0.43)


def sample_scene(rng: np.random.Generator, counts: dict[int, float], sizes: dict[int, tuple[float, float]],
                 held_out: bool = False) -> Scene:
    """A random scene; counts gives the share of scenes with one, two and three objects."""
    while True:
        scene = _any_scene(rng, counts, sizes, held_out)
        if len(scene.caption.replace(",", " ,").split()) <= LONGEST_CAPTION:
            return scene


def _any_scene(rng: np.random.Generator, counts: dict[int, float], sizes: dict[int, tuple[float, float]],
               held_out: bool) -> Scene:
    number = int(rng.choice(list(counts), p=list(counts.values())))
    while True:
        objects = [int(o) for o in rng.choice(len(OBJECTS), number, replace=False)]
        background = int(rng.integers(len(BACKGROUNDS)))
        if is_held_out(objects, background) == held_out:
            break
    where = BACKGROUNDS[background]
    time = "night" if where.has_times and rng.random() < 0.35 else "day"
    stacks = number > 1 and rng.random() < (0.75 if OBJECTS[objects[-1]].in_sky else 0.2)
    if stacks:
        placed, text = _stacked(rng, objects, _stack_sizes(sizes[number]))
    else:
        placed = _row(rng, objects, sizes[number], where.name == "space")
        text = _listed([_noun(rng, o) for o in objects], rng)
    caption = OPENINGS[rng.integers(len(OPENINGS))] + text
    caption += " " + where.phrases[rng.integers(len(where.phrases))]
    if where.has_times:
        caption += TIMES[time][rng.integers(len(TIMES[time]))]
    return Scene(tuple(placed), background, time, caption)


def all_words() -> list[str]:
    """Every word a caption can hold, for the tokenizer."""
    words = {"a", "an", "and", "next", "to", "with", "under", "below", "above", "over", ","}
    texts = [n for o in OBJECTS for n in o.names] + [p for b in BACKGROUNDS for p in b.phrases]
    texts += list(OPENINGS) + [t for time in TIMES.values() for t in time]
    for text in texts:
        words.update(text.split())
    return sorted(words)
