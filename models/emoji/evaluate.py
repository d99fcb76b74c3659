"""Draws pictures from captions that training never saw and counts those in which every named object is found."""

import argparse
import json
import os
import time

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from classifier import FOUND, accuracy, load_classifier
from data import MANY
from scenes import SMALL_SIZES, Scene, sample_scene

SEED = 2024
BATCH = 10


def held_out_scenes(count: int) -> list[Scene]:
    """Each names a pair of objects, or for one object a background, that no training caption held together."""
    rng = np.random.default_rng(SEED)
    return [sample_scene(rng, MANY, SMALL_SIZES, held_out=True) for _ in range(count)]


def draw(pipeline: StableDiffusionPipeline, scenes: list[Scene], steps: int, guidance: float, size: int) -> np.ndarray:
    """uint8 [n, size, size, 3]; picture i starts from the noise of seed i."""
    pictures = []
    for first in range(0, len(scenes), BATCH):
        captions = [scene.caption for scene in scenes[first:first + BATCH]]
        generators = [torch.Generator().manual_seed(first + i) for i in range(len(captions))]
        with torch.autocast("cpu", torch.bfloat16):
            made = pipeline(captions, height=size, width=size, num_inference_steps=steps, guidance_scale=guidance,
                            generator=generators, output_type="np").images
        pictures.append((made * 255).round().astype(np.uint8))
        print(f"{first + len(captions)} of {len(scenes)} pictures", flush=True)
    return np.concatenate(pictures)


def count_found(classifier, scenes: list[Scene], pictures: np.ndarray) -> dict:
    """Shares of pictures and of named objects, in all and by the number of objects named."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    scores, backgrounds = (torch.cat(t) for t in zip(*(classifier.look(p) for p in pixels.split(20))))
    rows = []
    for scene, score, background in zip(scenes, scores, backgrounds):
        named = {item.object for item in scene.placed}
        found = {int(o) for o in (score >= FOUND).nonzero()}
        rows.append((len(named), named <= found, len(named & found), bool(found - named),
                     int(background) == scene.background))
    table = np.array(rows, float)
    result = {"pictures": len(rows), "every named object found": table[:, 1].mean(),
              "named objects found": table[:, 2].sum() / table[:, 0].sum(),
              "an object too many": table[:, 3].mean(), "background right": table[:, 4].mean()}
    for number in (1, 2, 3):
        of_number = table[table[:, 0] == number]
        result[f"every object found, {number} named"] = [of_number[:, 1].mean(), len(of_number)]
    return result


def contact_sheet(pictures: np.ndarray, path: str, columns: int = 8, most: int = 48) -> None:
    rows = [np.concatenate(list(pictures[i:i + columns]), 1)
            for i in range(0, min(most, len(pictures)) - columns + 1, columns)]
    Image.fromarray(np.concatenate(rows, 0)).save(path)


def main(arguments) -> None:
    classifier = load_classifier(arguments.work)
    pipeline = StableDiffusionPipeline.from_pretrained(
        arguments.model, safety_checker=None, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    scenes, began = held_out_scenes(arguments.pictures), time.time()
    pictures = draw(pipeline, scenes, arguments.steps, arguments.guidance, arguments.size)
    result = {"model": count_found(classifier, scenes, pictures), "steps": arguments.steps,
              "guidance": arguments.guidance, "size": arguments.size, "seconds": round(time.time() - began)}
    contact_sheet(pictures, os.path.join(arguments.work, "contact_sheet.png"))
    if not arguments.skip_renders:
        result["classifier on unseen rendered scenes"] = accuracy(classifier)
    with open(os.path.join(arguments.work, "evaluation.json"), "w") as file:
        json.dump(result, file, indent=2)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--model", default=os.path.join(os.path.dirname(__file__), "..", "emoji-scenes"))
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--skip-renders", action="store_true", help="leave out the classifier's own accuracy")
    main(parser.parse_args())
