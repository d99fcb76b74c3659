"""Draws pictures from captions that training never saw and counts those in which everything named is found.

The pictures are drawn by torch, or by the C++ program `generate` in each of the given ways of sharing the work.
Pictures that are there already are not drawn again, so it may be stopped and started.
"""

import argparse
import functools
import glob
import hashlib
import json
import os
import subprocess

import numpy as np
import torch
from PIL import Image

from checkpoints import trained
from classifier import FOUND, Classifier, Seen
from data import Pictures, SceneMaker
from plans import FULL, TOY
from scenes import Scene
from stages import half, pick_device

SEED = 2024
BATCH = 10
SYNC_STEPS = 4      # generate's own
SHARED = {"pcpp": ["--method", "pcpp"], "distrifusion": ["--method", "distrifusion"],
          "pooled": ["--method", "pcpp", "--pool", "16", "--row-format", "int4", "--group-norm", "stale"]}
WAYS = {"single": ["--method", "single"],
        **{f"{name}-{ranks}": [*options, "--ranks", str(ranks)]
           for ranks in (2, 4, 8) for name, options in SHARED.items()}}


@functools.cache
def digest_of(model: str) -> str:
    """Of its weights, configs and vocabulary."""
    digest = hashlib.sha256()
    for name in sorted(glob.glob(os.path.join(model, "*", "*"))):
        with open(name, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()[:8]


def picture_paths(arguments, way: str, captions: list[str]) -> list[str]:
    """Of their own for each model, setting and caption. After a change of the program their folder must go."""
    drawn = f"{way}-{arguments.size}-{arguments.steps}-{arguments.guidance}-{digest_of(arguments.model)}"
    if arguments.sync_steps != SYNC_STEPS and way not in ("single", "torch"):
        drawn += f"-sync-{arguments.sync_steps}"
    folder = os.path.join(arguments.work, "pictures", drawn)
    os.makedirs(folder, exist_ok=True)
    names = [f"{i:03}-{hashlib.sha256(caption.encode()).hexdigest()[:8]}.png" for i, caption in enumerate(captions)]
    return [os.path.join(folder, name) for name in names]


def held_out(variants: int, count: int, size: int, seed: int):
    """Each names a pair of objects, or for one object a background, that no training caption held together."""
    return SceneMaker(variants, held_out=True)((seed,), count, (size, size), keep=True)


def draw_by_torch(arguments, captions: list[str], paths: list[str]) -> None:
    """Picture i starts from the noise of seed i."""
    from diffusers import StableDiffusionPipeline
    device = pick_device()
    pipeline = StableDiffusionPipeline.from_pretrained(
        arguments.model, safety_checker=None, torch_dtype=torch.float32).to(device)
    pipeline.set_progress_bar_config(disable=True)
    for first in range(0, len(captions), BATCH):
        asked = range(first, min(first + BATCH, len(captions)))
        if all(os.path.exists(paths[i]) for i in asked):
            continue
        with half(device):
            made = pipeline([captions[i] for i in asked], height=arguments.size, width=arguments.size,
                            num_inference_steps=arguments.steps, guidance_scale=arguments.guidance,
                            generator=[torch.Generator().manual_seed(i) for i in asked]).images
        for i, picture in zip(asked, made):
            picture.save(paths[i] + ".new", format="PNG")
            os.replace(paths[i] + ".new", paths[i])


def draw_by_program(arguments, way: str, captions: list[str], paths: list[str]) -> None:
    """A batch of pictures a run; each batch has a seed of its own."""
    for first in range(0, len(captions), BATCH):
        wanted = paths[first:first + BATCH]
        if all(map(os.path.exists, wanted)):
            continue
        stem = os.path.join(os.path.dirname(wanted[0]), "batch.png")
        command = [arguments.generate, "--model", arguments.model, "--width", str(arguments.size), "--height",
                   str(arguments.size), "--steps", str(arguments.steps), "--guidance-scale", str(arguments.guidance),
                   "--seed", str(first), "--dtype", "bfloat16", "--output", stem, *WAYS[way]]
        for caption in captions[first:first + BATCH]:
            command += ["--prompt", caption]
        if way != "single":
            command += ["--threads", "1", "--sync-steps", str(arguments.sync_steps)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        for i, path in enumerate(wanted, 1):
            os.replace(stem if len(wanted) == 1 else stem.replace(".png", f"-{i}.png"), path)


def look_at(classifier: Classifier, pictures: list[torch.Tensor]) -> Seen:
    seen = [classifier.look(p) for p in pictures]
    return Seen(*(torch.cat([getattr(s, name) for s in seen]).cpu()
                  for name in ("scores", "where", "counts", "backgrounds", "features")))


def place_holds(place, where: torch.Tensor) -> bool:
    """`where` holds x and y of each object, as shares of the picture."""
    x, y = where[place.first].tolist()
    if place.second is None:
        return x < 0.5 if place.kind == "left" else x > 0.5
    other_x, other_y = where[place.second].tolist()
    return x < other_x if place.kind == "left" else y < other_y


def feature_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Fréchet's, between Gaussians of the classifier's features (as FID, arXiv 1706.08500, with Inception's)."""
    one, other = one.double(), other.double()
    a, b = torch.cov(one.T), torch.cov(other.T)
    values, vectors = torch.linalg.eigh(a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp_min(0).sqrt().sum()
    return float((one.mean(0) - other.mean(0)).square().sum() + a.trace() + b.trace() - 2 * cross)


def measure(scenes: list[Scene], seen: Seen, renders: torch.Tensor) -> dict:
    rows, named, named_found = [], 0, 0
    for i, scene in enumerate(scenes):
        kinds = {item.object for item in scene.placed}
        found = {int(o) for o in (seen.scores[i] >= FOUND).nonzero()}
        counted = all(int(seen.counts[i, o]) == sum(p.object == o for p in scene.placed) for o in kinds)
        holds = all(kinds <= found and place_holds(p, seen.where[i]) for p in scene.places) if scene.places else None
        rows.append((kinds <= found, bool(found - kinds), int(seen.backgrounds[i]) == scene.background, counted, holds,
                     len(kinds)))
        named, named_found = named + len(kinds), named_found + len(kinds & found)
    share = lambda column, of=rows: round(sum(bool(r[column]) for r in of) / max(len(of), 1), 3)
    placed = [r for r in rows if r[4] is not None]
    result = {"pictures": len(rows), "every named object found": share(0), "background right": share(2),
              "place right": share(4, placed), "captions with a place": len(placed), "counts right": share(3),
              "an object too many": share(1), "named objects found": round(named_found / named, 3)}
    for number in (1, 2, 3):
        result[f"every object found, {number} named"] = share(0, [r for r in rows if r[5] == number])
    return {**result, "feature distance": round(feature_distance(seen.features, renders), 3)}


def contact_sheet(paths: list[str], target: str, columns: int = 8, most: int = 48, side: int = 256) -> None:
    pictures = [np.asarray(Image.open(p).convert("RGB").resize((side, side), Image.LANCZOS)) for p in paths[:most]]
    rows = [np.concatenate(pictures[i:i + columns], 1) for i in range(0, len(pictures) - columns + 1, columns)]
    if rows:
        Image.fromarray(np.concatenate(rows, 0)).save(target)


def measured_before(work: str, asked: dict) -> dict:
    """What an earlier run measured of the same, in other ways of sharing."""
    place = os.path.join(work, "evaluation.json")
    if not os.path.exists(place):
        return {}
    with open(place) as file:
        before = {"sync_steps": SYNC_STEPS, **json.load(file)}
    return before if asked.items() <= before.items() else {}


def main(arguments) -> None:
    plan, device = TOY if arguments.toy else FULL, pick_device()
    classifier = Classifier(plan).to(device)
    classifier.load_state_dict(trained(arguments.work, "classifier"))
    classifier.eval()
    renderer = Pictures(device, plan.variants, os.cpu_count(), seed=SEED)      # backgrounds that training never saw
    batch = held_out(plan.variants, arguments.pictures, arguments.size, SEED)
    captions = [scene.caption for scene in batch.scenes]
    fresh = held_out(plan.variants, arguments.pictures, arguments.size, SEED + 1)
    renders = look_at(classifier, list(renderer(fresh).split(BATCH))).features
    asked = {"model": digest_of(arguments.model), "pictures": arguments.pictures, "steps": arguments.steps,
             "guidance": arguments.guidance, "size": arguments.size, "sync_steps": arguments.sync_steps}
    result = {**asked, **measured_before(arguments.work, asked),
              "renders": measure(batch.scenes, look_at(classifier, list(renderer(batch).split(BATCH))), renders)}
    for way in (arguments.ways or ["single"]) if arguments.generate else ["torch"]:
        paths = picture_paths(arguments, way, captions)
        if way == "torch":
            draw_by_torch(arguments, captions, paths)
        else:
            draw_by_program(arguments, way, captions, paths)
        loaded = (torch.from_numpy(np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths[i:i + BATCH]]))
                  .permute(0, 3, 1, 2).float().div(127.5).sub(1).to(device) for i in range(0, len(paths), BATCH))
        result[way] = measure(batch.scenes, look_at(classifier, loaded), renders)
        contact_sheet(paths, os.path.join(arguments.work, f"sheet-{way}.png"))
    with open(os.path.join(arguments.work, "captions.txt"), "w") as file:
        file.writelines(f"{caption}\n" for caption in captions)
    with open(os.path.join(arguments.work, "evaluation.json"), "w") as file:
        json.dump(result, file, indent=2)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--model", default=os.path.join(os.path.dirname(__file__), "..", "emoji-scenes"))
    parser.add_argument("--generate", help="the program that draws; without it torch does")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="with --generate: how the ranks share the work")
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--sync-steps", type=int, default=SYNC_STEPS, help="of the shared ways")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--toy", action="store_true", help="as with train.py --toy")
    main(parser.parse_args())
