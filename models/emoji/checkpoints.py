"""Saving and resuming: a file is whole or not there."""

import os

import torch


def save_checkpoint(path: str, step: int, state: dict) -> None:
    torch.save({"step": step, "state": state}, path + ".new")
    os.replace(path + ".new", path)


def load_checkpoint(path: str) -> tuple[int, dict | None]:
    """The step to go on from, and the state to go on with."""
    if not os.path.exists(path):
        return 0, None
    saved = torch.load(path, weights_only=True)
    return saved["step"], saved["state"]
