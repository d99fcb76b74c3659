"""A detector of the objects and the background, trained on rendered scenes alone. It measures the model.

Half of its training scenes hold an object in shuffled pieces that it must not report; without them it goes by
colour and texture, and finds objects that nobody else would.
"""

import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from checkpoints import load_checkpoint, save_checkpoint
from data import draw_batch
from optimiser import Optimisers, schedule
from vocabulary import BACKGROUNDS, OBJECTS

CELL = 16            # pixels of a 256-pixel picture under one cell of the heat map
BATCH = 24
FOUND = 0.5          # an object is found where its score reaches this


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU())


class Classifier(nn.Module):
    """Pictures [n, 3, 256, 256] in [-1, 1] to a heat map of objects [n, 40, 16, 16] and background logits [n, 8]."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.AvgPool2d(2), _block(3, 32, 2), _block(32, 64, 1), _block(64, 96, 2), _block(96, 96, 1),
            _block(96, 160, 2), _block(160, 160, 1), _block(160, 160, 1))
        self.objects = nn.Conv2d(160, len(OBJECTS), 1)
        self.background = nn.Linear(160, len(BACKGROUNDS))
        nn.init.constant_(self.objects.bias, -4.0)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(pixels)
        return self.objects(features), self.background(features.mean((2, 3)))

    @torch.no_grad()
    def look(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of each object [n, 40], the highest of its heat map, and the background's number [n]."""
        heat, background = self(pixels)
        return heat.flatten(2).max(2).values.float().sigmoid(), background.argmax(1)


def heat_targets(scenes, boxes, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """1 in the middle of each object; and where to look: a ring around the middle counts neither way."""
    cells = size // CELL
    target = torch.zeros(len(scenes), len(OBJECTS), cells, cells)
    counts = torch.ones_like(target)
    for i, (scene, picture_boxes) in enumerate(zip(scenes, boxes)):
        for item, (top, left, bottom, right) in zip(scene.placed, picture_boxes):
            counts[i, item.object, top // CELL:-(-bottom // CELL), left // CELL:-(-right // CELL)] = 0
            y, x = (top + bottom) / 2 / CELL, (left + right) / 2 / CELL
            middle = (i, item.object, slice(max(0, round(y - 1)), round(y + 1)),
                      slice(max(0, round(x - 1)), round(x + 1)))
            target[middle], counts[middle] = 1, 1
    return target, counts


def scramble(pixels: torch.Tensor, boxes, rng: np.random.Generator) -> list[int | None]:
    """Cuts one object of about half of the pictures into tiles and shuffles them, in place: the right colours and
    textures in the wrong shape are not the object. Returns the number of the object, or None, for each picture."""
    ruined: list[int | None] = []
    for picture, picture_boxes in zip(pixels, boxes):
        if rng.random() < 0.5:
            ruined.append(None)
            continue
        ruined.append(int(rng.integers(len(picture_boxes))))
        top, left, bottom, right = picture_boxes[ruined[-1]]
        tiles = int(rng.integers(2, 5))
        tall, wide = (bottom - top) // tiles, (right - left) // tiles
        inside = picture[:, top:top + tall * tiles, left:left + wide * tiles]
        cut = inside.unfold(1, tall, tall).unfold(2, wide, wide).flatten(1, 2).clone()      # [3, tiles², tall, wide]
        order = np.roll(rng.permutation(tiles * tiles), 1) if tiles > 2 else np.roll(np.arange(4), rng.integers(1, 4))
        for place, tile in enumerate(order):
            y, x = place // tiles * tall, place % tiles * wide
            inside[:, y:y + tall, x:x + wide] = cut[:, int(tile)]
    return ruined


def disturbed(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Noise, blur and shifts of contrast, so that a picture need not be rendered to be read."""
    n = len(pixels)
    per = lambda: torch.rand(n, 1, 1, 1, generator=generator)
    blurred = F.interpolate(F.avg_pool2d(pixels, 3, 2, 1), scale_factor=2.0, mode="bilinear")
    pixels = torch.lerp(pixels, blurred, per() * (per() < 0.5).float())
    pixels = pixels * (0.8 + 0.4 * per()) + 0.3 * (per() - 0.5)
    return pixels + 0.15 * per() * torch.randn(pixels.shape, generator=generator)


def loss_of(model: Classifier, step: int) -> torch.Tensor:
    scenes, pixels, boxes = draw_batch((31, step), BATCH, 256, 256)
    target, counts = heat_targets(scenes, boxes, 256)
    for i, ruined in enumerate(scramble(pixels, boxes, np.random.default_rng([32, step]))):
        if ruined is not None:
            target[i, scenes[i].placed[ruined].object], counts[i, scenes[i].placed[ruined].object] = 0, 1
    pixels = disturbed(pixels, torch.Generator().manual_seed(step)).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        heat, background = model(pixels)
    heat = heat.float()
    hard = (torch.sigmoid(heat.detach()) - target).abs().square()      # focal weights
    objects = (F.binary_cross_entropy_with_logits(heat, target, reduction="none") * hard * counts).sum() / target.sum()
    return objects + 0.3 * F.cross_entropy(background.float(), torch.tensor([s.background for s in scenes]))


@torch.no_grad()
def accuracy(model: Classifier, pictures: int = 400, seed: int = 88) -> dict[str, float]:
    """On held-out scenes over backgrounds that training never saw."""
    model.eval()
    all_found = extra = named = found_named = right_background = fooled = scrambled = 0
    for i in range(pictures // 20):
        scenes, pixels, boxes = draw_batch((seed, i), 20, 256, 256, held_out=True, pool_seed=seed)
        scores, background = model.look(pixels)
        for scene, score, ground in zip(scenes, scores, background):
            there = {item.object for item in scene.placed}
            found = {int(o) for o in (score >= FOUND).nonzero()}
            all_found += there <= found
            extra += bool(found - there)
            named, found_named = named + len(there), found_named + len(there & found)
            right_background += int(ground) == scene.background
        ruined = scramble(pixels, boxes, np.random.default_rng([seed, i]))
        for scene, score, number in zip(scenes, model.look(pixels)[0], ruined):
            if number is not None:
                scrambled += 1
                fooled += bool(score[scene.placed[number].object] >= FOUND)
    model.train()
    return {"every object found": all_found / pictures, "objects found": found_named / named,
            "an object too many": extra / pictures, "background right": right_background / pictures,
            "objects in shuffled pieces found": fooled / scrambled}


def train(work: str, steps: int) -> None:
    torch.manual_seed(6)
    model = Classifier().to(memory_format=torch.channels_last)
    optimisers = Optimisers(list(model.named_parameters()))
    path = os.path.join(work, "classifier.pt")
    start, state = load_checkpoint(path)
    if state is not None:
        model.load_state_dict(state["model"])
        optimisers.load_state_dict(state["optimisers"])
    began = time.time()
    for step in range(start, steps):
        loss = loss_of(model, step)
        loss.backward()
        optimisers.step(schedule(step, steps))
        if step % 50 == 0:
            print(f"classifier {step}/{steps} loss {loss.item():.4f} {time.time() - began:.0f} s", flush=True)
        if step % 200 == 199 or step + 1 == steps:
            save_checkpoint(path, step + 1, {"model": model.state_dict(), "optimisers": optimisers.state_dict()})
    print(accuracy(model), flush=True)


def load_classifier(work: str) -> Classifier:
    model = Classifier()
    _, state = load_checkpoint(os.path.join(work, "classifier.pt"))
    if state is None:
        raise SystemExit("no classifier.pt in the work folder: run classifier.py first")
    model.load_state_dict(state["model"])
    return model.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--steps", type=int, default=500)
    arguments = parser.parse_args()
    train(arguments.work, arguments.steps)
