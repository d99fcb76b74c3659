"""What a scene can hold: objects, colours, sizes, backgrounds, times of day; the combinations kept for measuring."""

import hashlib
import re
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Object:
    glyph: str                # code points of the emoji that draws it
    names: tuple[str, ...]    # what people call it; the first is the canonical name
    scale: float = 1.0        # its longer side, relative to that of other objects
    in_sky: bool = False      # hangs in the upper part of a scene
    colours: bool = False     # can be asked for in a colour

    @property
    def mirrored_half(self) -> bool:
        """The glyph is half of the object: with its mirror image beside it, half a rainbow becomes an arch."""
        return self.names[0] == "rainbow"


def _object(line: str) -> Object:
    """`code points | names by comma, irregular plurals after a slash | scale and flags`"""
    glyph, names, *rest = (part.strip() for part in line.split("|"))
    words = rest[0].split() if rest else []
    scale = next((float(w) for w in words if w[0].isdigit()), 1.0)
    return Object(glyph, tuple(n.strip() for n in names.split(",")), scale,
                  "sky" in words, "colours" in words)


OBJECTS = tuple(_object(line) for line in """
1f408 | cat, kitty | 0.95
1f415 | dog, puppy
1f407 | rabbit, bunny | 0.85
1f401 | mouse/mice | 0.7
1f98a | fox | 0.95
1f99d | raccoon | 0.95
1f43b | bear | 1.1
1f43c | panda, panda bear
1f428 | koala
1f405 | tiger | 1.15
1f406 | leopard | 1.15
1f981 | lion | 1.1
1f40e | horse | 1.2
1f984 | unicorn | 1.1
1f993 | zebra | 1.1
1f98c | deer/deer, stag | 1.1
1f404 | cow | 1.2
1f416 | pig
1f411 | sheep/sheep
1f410 | goat
1f42a | camel | 1.2
1f999 | llama | 1.1
1f992 | giraffe | 1.3
1f418 | elephant | 1.3
1f98f | rhino, rhinoceros | 1.2
1f99b | hippo, hippopotamus | 1.2
1f998 | kangaroo | 1.1
1f412 | monkey
1f98d | gorilla | 1.1
1f994 | hedgehog | 0.85
1f43f | squirrel, chipmunk | 0.85
1f987 | bat | 0.85 sky
1f413 | rooster
1f425 | chick, baby chick | 0.7
1f986 | duck | 0.85
1f9a2 | swan
1f985 | eagle
1f989 | owl
1f54a | dove | 0.85 sky
1f99a | peacock
1f99c | parrot
1f9a9 | flamingo | 1.1
1f427 | penguin
1f438 | frog | 0.85 colours
1f40a | crocodile, alligator | 1.2
1f422 | turtle, tortoise | 0.85
1f40d | snake | colours
1f409 | dragon | 1.2 colours
1f995 | dinosaur | 1.3 colours
1f996 | tyrannosaurus/tyrannosauruses, t-rex/t-rexes | 1.2 colours
1f433 | whale | 1.25
1f42c | dolphin | 1.1
1f988 | shark | 1.2
1f41f | fish/fish | 0.85 colours
1f420 | tropical fish/tropical fish | 0.85
1f421 | pufferfish/pufferfish, blowfish/blowfish | 0.85
1f419 | octopus/octopuses | colours
1f980 | crab | 0.85 colours
1f99e | lobster
1f40c | snail | 0.75
1f98b | butterfly | 0.85 sky colours
1f41d | bee | 0.7 sky
1f41e | ladybug, ladybird | 0.65 colours
1f41b | caterpillar | 0.7
1f333 | tree | 1.35
1f332 | pine tree, fir tree | 1.35
1f334 | palm tree, palm | 1.35
1f384 | christmas tree | 1.3
1f335 | cactus/cactuses | 1.1
1f33b | sunflower
1f339 | rose | colours
1f337 | tulip | colours
1f33c | daisy | 0.85
1f338 | cherry blossom | 0.8
1f340 | clover, four-leaf clover | 0.75
1f344 | mushroom, toadstool | 0.85 colours
1f341 | maple leaf/maple leaves | 0.75
1fab4 | potted plant, plant in a pot
1f34e | apple | 0.75 colours
1f350 | pear | 0.75
1f34a | orange, tangerine | 0.75
1f34b | lemon | 0.75
1f34c | banana | 0.85
1f349 | slice of watermelon, watermelon | 0.85
1f347 | bunch of grapes | 0.85 colours
1f353 | strawberry | 0.75
1f352 | pair of cherries | 0.75
1f351 | peach | 0.75
1f34d | pineapple
1f345 | tomato/tomatoes | 0.75
1f955 | carrot | 0.85
1f33d | ear of corn, corn cob
1f966 | broccoli/broccoli | 0.8
1f35e | loaf of bread/loaves of bread
1f950 | croissant | 0.85
1f9c0 | piece of cheese | 0.85
1f355 | pizza, slice of pizza
1f354 | hamburger, burger
1f32d | hot dog
1f35f | box of fries, portion of french fries
1f382 | cake, birthday cake | 1.05
1f9c1 | cupcake | 0.85
1f369 | doughnut, donut | 0.85
1f366 | ice cream, ice cream cone
1f36a | cookie | 0.75
1f36d | lollipop | 0.85
1fad6 | teapot
2615 | cup of coffee, coffee cup | 0.85
1f95a | egg | 0.7
1f697 | car | 1.1 colours
1f695 | taxi, cab | 1.1
1f68c | bus/buses | 1.2 colours
1f692 | fire engine, fire truck | 1.2
1f691 | ambulance | 1.2
1f693 | police car | 1.1
1f69a | truck, lorry | 1.2
1f69c | tractor | 1.2 colours
1f6b2 | bicycle, bike | 1.1 colours
1f3cd | motorcycle, motorbike | 1.1 colours
1f6f5 | scooter, motor scooter | colours
1f682 | steam train, steam engine | 1.25
1f681 | helicopter | 1.1 sky colours
2708 | airplane, plane | 1.1 sky
1f680 | rocket | 1.1 sky
1f6f8 | flying saucer, ufo | sky
1f6a2 | ship, cruise ship | 1.25
26f5 | sailboat, sailing boat | 1.15
1f6f6 | canoe
1f6f9 | skateboard | 0.85
1fa82 | parachute | sky
2600 | sun | sky
1f319 | crescent moon | 0.9 sky
1f315 | full moon | 0.9 sky
2b50 | star | 0.75 sky colours
2601 | cloud | 1.1 sky
1f308 | rainbow | 1.4 sky
1f388 | balloon | 0.95 sky colours
1fa81 | kite | sky
26a1 | lightning bolt, flash of lightning | 0.8 sky
2744 | snowflake | 0.75 sky
2602 | umbrella | colours
1fa90 | planet, planet with a ring | 1.1 sky
1f3e0 | house | 1.3
1f3f0 | castle | 1.35
26fa | tent | 1.15
26ea | church | 1.3
1f3a1 | ferris wheel | 1.3
1f3a0 | carousel horse | 1.1
26f2 | fountain | 1.1
1f3ed | factory | 1.3
26bd | football, soccer ball | 0.75
1f3c0 | basketball | 0.75
1f3be | tennis racket | 0.85
1f381 | gift, present | 0.9
1f916 | robot | 1.0
26c4 | snowman/snowmen | 1.05
1f47b | ghost
1f47d | alien
1f383 | pumpkin | 0.95
1f9f8 | teddy bear, teddy | colours
1f3b8 | guitar | 1.05 colours
1f941 | drum | colours
1f3bb | violin
1f4d5 | book | 0.8 colours
1f451 | crown | 0.85
1f511 | key | 0.8 colours
1f3ee | lantern
1f56f | candle | 0.85
1f4a1 | light bulb | 0.8
23f0 | alarm clock, clock | 0.85
1fa91 | chair | 1.1
1f52d | telescope
1f4f7 | camera | 0.85
1f4fa | television, tv
260e | telephone, phone | 0.85 colours
1f3a9 | top hat, hat | 0.85
1f97e | boot, hiking boot | 0.85
1f392 | backpack, school bag | colours
1f3c6 | trophy, golden cup
2764 | heart | 0.85 colours
1f48e | diamond, gem | 0.8 colours
2693 | anchor
1f514 | bell
1f4eb | mailbox/mailboxes
1f41a | seashell, shell | 0.8
""".strip().splitlines())

NAMES = tuple(o.names[0].split("/")[0] for o in OBJECTS)


def singular(name: str) -> str:
    return name.split("/")[0]


def plural(name: str) -> str:
    """Of the word before "of", "with" or "in" where there is one."""
    if "/" in name:
        return name.split("/")[1]
    head, rest = re.fullmatch(r"(.*?)( (?:of|with|in) .*)?", name).groups()
    if head.endswith(("s", "x", "ch", "sh")):
        return head + "es" + (rest or "")
    if head.endswith("y") and head[-2] not in "aeiou":
        return head[:-1] + "ies" + (rest or "")
    return head + "s" + (rest or "")


COLOURS = {    # OKLCH lightness, chroma and hue in degrees that an object's own colour becomes
    "red": (0.60, 0.21, 27), "orange": (0.74, 0.17, 58), "yellow": (0.87, 0.17, 95), "green": (0.66, 0.18, 142),
    "blue": (0.60, 0.16, 250), "purple": (0.55, 0.19, 305), "pink": (0.76, 0.14, 355),
}

SIZES = {"small": 0.5, "big": 2.0}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
NUMBERS = ("", "one", "two", "three", "four")


@dataclass(frozen=True)
class Background:
    name: str
    phrases: tuple[str, ...]
    times: tuple[str, ...] = ("day", "sunset", "night")
    floats: bool = False      # nothing stands on a ground


BACKGROUNDS = (
    Background("beach", ("on a beach", "on the beach", "at the beach")),
    Background("snow", ("in the snow", "on snow", "in a snowy field")),
    Background("meadow", ("in a meadow", "on a meadow", "on green grass")),
    Background("desert", ("in the desert", "in a desert", "among sand dunes")),
    Background("city", ("in the city", "in a city", "on a city street")),
    Background("forest", ("in a forest", "in the forest", "in the woods")),
    Background("sea", ("on the sea", "at sea", "on the ocean")),
    Background("mountains", ("in the mountains", "in front of mountains")),
    Background("room", ("in a room", "in the living room", "indoors"), ("day", "night")),
    Background("clouds", ("above the clouds", "in the clouds", "in the sky"), floats=True),
    Background("underwater", ("under water", "underwater", "at the bottom of the sea"), ("day",), True),
    Background("space", ("in space", "in outer space"), ("day",), True),
)

TIMES = {
    "day": ("", "", "", " by day", " on a sunny day"),
    "sunset": (" at sunset", " in the evening", " at dusk"),
    "night": (" at night", " at night", " by night"),
}

OPENINGS = ("",) * 8 + ("a picture of ", "a drawing of ", "a scene with ", "an image of ")


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
