"""Saving and resuming: a file is whole or not there."""

import os

import torch


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
    """The state of a stage that has been trained before."""
    _, state = load_checkpoint(os.path.join(work, f"{stage}.pt"))
    if state is None:
        raise SystemExit(f"no {stage}.pt in {work}: run train.py first")
    return state["stage"]
