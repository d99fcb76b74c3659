"""Saving and resuming: a file is whole or not there. As a command: packs a work folder's checkpoints for a journey.

Packed are the weights alone, in float16: enough for later stages, for export.py and for evaluate.py. A stage that goes
on from a packed checkpoint starts its optimiser and its averages anew.
"""

import argparse
import os

import torch

WEIGHTS = {"autoencoder": "model", "classifier": "model", "denoiser": "average", "decoder": "model",
           "student": "average"}


def save_checkpoint(path: str, step: int, state: dict) -> None:
    torch.save({"step": step, "state": state}, path + ".new")
    os.replace(path + ".new", path)


def load_checkpoint(path: str) -> tuple[int, dict | None]:
    """The step to go on from, and the state to go on with, on the CPU."""
    if not os.path.exists(path):
        return 0, None
    saved = torch.load(path, weights_only=True, map_location="cpu")
    return saved["step"], saved["state"]


def trained(work: str, stage: str) -> dict:
    """The weights of a stage that has been trained before."""
    _, state = load_checkpoint(os.path.join(work, f"{stage}.pt"))
    if state is None:
        raise SystemExit(f"no {stage}.pt in {work}: run train.py first")
    return state["stage"][WEIGHTS[stage]]


def load_networks(state: dict, networks: dict[str, torch.nn.Module], optimisers) -> None:
    """Of a whole checkpoint, or of a packed one."""
    packed = next(iter(state[name] for name in reversed(networks) if name in state))
    for name, network in networks.items():
        network.load_state_dict(state.get(name, packed))
    if "optimisers" in state:
        optimisers.load_state_dict(state["optimisers"])


def pack(work: str, out: str) -> None:
    os.makedirs(out, exist_ok=True)
    held = [stage for stage in WEIGHTS if os.path.exists(os.path.join(out, f"{stage}.pt"))]
    if held:
        raise SystemExit(f"--out {out} has checkpoints already ({', '.join(held)}): name an empty folder")
    for stage, weights in WEIGHTS.items():
        step, state = load_checkpoint(os.path.join(work, f"{stage}.pt"))
        if state is None:
            continue
        halved = {name: t.half() if t.is_floating_point() else t for name, t in state["stage"][weights].items()}
        kept = {key: value for key, value in state["stage"].items() if isinstance(value, int)}
        save_checkpoint(os.path.join(out, f"{stage}.pt"), step,
                        {"stage": {weights: halved, **kept}, "seconds": state["seconds"]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--out", required=True, help="a folder, which can be a work folder elsewhere")
    arguments = parser.parse_args()
    pack(arguments.work, arguments.out)
