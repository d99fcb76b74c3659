"""What a scene can hold: objects, backgrounds, times of day, and the combinations kept for measuring."""

import hashlib
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Object:
    glyph: str                # the emoji that draws it
    names: tuple[str, ...]    # what people call it; the first is the canonical name
    in_sky: bool = False      # hangs in the upper part of a scene
    mirrored: bool = False    # the glyph and its mirror image side by side: half a rainbow becomes an arch
    scale: float = 1.0        # its longer side, relative to that of other objects


OBJECTS = (
    Object("\U0001F98A", ("fox",)),
    Object("\U0001F408", ("cat", "kitty")),
    Object("\U0001F415", ("dog", "puppy")),
    Object("\U0001F43C", ("panda", "panda bear")),
    Object("\U0001F430", ("rabbit", "bunny")),
    Object("\U0001F981", ("lion",)),
    Object("\U0001F418", ("elephant",)),
    Object("\U0001F427", ("penguin",)),
    Object("\U0001F989", ("owl",)),
    Object("\U0001F422", ("turtle", "tortoise")),
    Object("\U0001F438", ("frog",)),
    Object("\U0001F437", ("pig", "piglet")),
    Object("\U0001F98B", ("butterfly",), True),
    Object("\U0001F41F", ("fish",)),
    Object("\U0001F34E", ("apple", "red apple")),
    Object("\U0001F34C", ("banana",)),
    Object("\U0001F353", ("strawberry",)),
    Object("\U0001F355", ("pizza", "slice of pizza")),
    Object("\U0001F382", ("cake", "birthday cake")),
    Object("\U0001F344", ("mushroom", "red mushroom")),
    Object("\U0001F383", ("pumpkin",)),
    Object("\U0001F697", ("car", "red car")),
    Object("\U0001F68C", ("bus",)),
    Object("\U0001F6B2", ("bicycle", "bike")),
    Object("\u26F5", ("sailboat", "boat")),
    Object("\U0001F680", ("rocket",), True),
    Object("\U0001F388", ("balloon", "red balloon"), True),
    Object("\U0001F333", ("tree", "green tree")),
    Object("\U0001F335", ("cactus",)),
    Object("\U0001F33B", ("sunflower",)),
    Object("\U0001F339", ("rose", "red rose")),
    Object("\U0001F308", ("rainbow",), True, mirrored=True, scale=1.4),
    Object("\u2B50", ("star", "yellow star"), True),
    Object("\U0001F3E0", ("house", "little house")),
    Object("\u26BD", ("football", "soccer ball", "ball")),
    Object("\U0001F381", ("gift", "present")),
    Object("\u2602", ("umbrella",)),
    Object("\U0001F916", ("robot",)),
    Object("\u26C4", ("snowman",)),
    Object("\U0001F47B", ("ghost",)),
)

NAMES = tuple(o.names[0] for o in OBJECTS)


@dataclass(frozen=True)
class Background:
    name: str
    phrases: tuple[str, ...]
    has_times: bool = True    # a space scene has no day


BACKGROUNDS = (
    Background("beach", ("on a beach", "on the beach", "at the beach")),
    Background("snow", ("in the snow", "on snow", "in a snowy field")),
    Background("meadow", ("in a meadow", "on a meadow", "on green grass")),
    Background("desert", ("in the desert", "in a desert")),
    Background("city", ("in the city", "in a city", "in front of a city")),
    Background("forest", ("in a forest", "in the forest", "in the woods")),
    Background("sea", ("on the sea", "at sea", "on the ocean")),
    Background("space", ("in space", "in outer space"), False),
)

TIMES = {
    "day": ("", "", "", " by day", " on a sunny day"),
    "night": (" at night", " at night", " by night"),
}

OPENINGS = ("",) * 6 + ("a picture of ", "a drawing of ", "a scene with ")


def _share(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


HELD_OUT_PAIRS = frozenset(
    frozenset(pair) for pair in combinations(range(len(OBJECTS)), 2)
    if _share(f"pair {NAMES[pair[0]]} {NAMES[pair[1]]}") < 0.1)
"""Objects that no training scene shows together."""

HELD_OUT_PLACES = frozenset(
    (o, b) for o in range(len(OBJECTS)) for b in range(len(BACKGROUNDS))
    if _share(f"place {NAMES[o]} {BACKGROUNDS[b].name}") < 0.1)
"""Objects that no training scene shows alone on this background."""


def is_held_out(objects: list[int], background: int) -> bool:
    """Whether a scene of these objects is kept away from training."""
    if len(objects) == 1:
        return (objects[0], background) in HELD_OUT_PLACES
    return any(frozenset(pair) in HELD_OUT_PAIRS for pair in combinations(objects, 2))
