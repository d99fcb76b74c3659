"""What every training shares: the device, resuming, stopping in time."""

import ctypes
import os
import signal
import time
from typing import Iterator, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from checkpoints import load_checkpoint, load_networks, save_checkpoint

SAVE_SECONDS = 120


def pick_device() -> torch.device:
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def keep_memory() -> None:
    """glibc hands large blocks back to the system and fetches them anew: half of a CPU's time when pictures are drawn."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        most_mapped, trim_threshold, most_arenas = -4, -1, -8      # as malloc.h numbers them
        mallopt(most_mapped, 0), mallopt(trim_threshold, -1), mallopt(most_arenas, 1)


def half(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16)


class Stage(Protocol):
    name: str
    steps: int

    def batches(self, start: int) -> Iterator: ...                        # from this step on, without end
    def step(self, step: int, batch) -> torch.Tensor: ...                 # trains; its loss, or several
    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> None: ...
    def finished(self) -> str: ...                                        # how good it is


class OneNetwork:
    """What a stage saves that trains `model` with `optimisers`."""

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "optimisers": self.optimisers.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        load_networks(state, {"model": self.model}, self.optimisers)


class _Numbered(Dataset):
    def __init__(self, make, start: int, step: int):
        self.make, self.start, self.step = make, start, step

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: int):
        return self.make((self.start + index) * self.step)


def from_workers(make, start: int, workers: int, step: int = 1) -> Iterator:
    """make(start), make(start + step), ... in order, made ahead by other processes."""
    if workers == 0:
        return iter(make(i) for i in range(start, 10**9, step))
    return iter(DataLoader(_Numbered(make, start // step, step), batch_size=None, num_workers=workers,
                           prefetch_factor=2))


class Clock:
    """Says when to stop: at the deadline, before a step of the given number, or once Ctrl-C was pressed."""

    def __init__(self, minutes: float | None, stop_at: int | None = None):
        self.deadline, self.stop_at = None if minutes is None else time.time() + 60 * minutes, stop_at
        self.interrupted = False
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, *_) -> None:
        self.interrupted = True

    def is_up(self, step: int) -> bool:
        late = self.deadline is not None and time.time() > self.deadline
        return self.interrupted or late or (self.stop_at is not None and step >= self.stop_at)


def _report(stage: Stage, step: int, losses: list[torch.Tensor], seconds: float, since: float) -> None:
    left = (stage.steps - step) * since / len(losses)
    means = torch.atleast_1d(torch.stack(losses).float().mean(0)).tolist()
    print(f"{stage.name} {step}/{stage.steps} loss {' '.join(f'{mean:.4f}' for mean in means)} "
          f"{since / len(losses) * 1000:.0f} ms a step, {seconds:.0f} s so far, {left:.0f} s to go", flush=True)


def run_stage(stage: Stage, work: str, clock: Clock, report_every: int) -> bool:
    """Goes on from the last checkpoint; whether the stage is finished."""
    path = os.path.join(work, f"{stage.name}.pt")
    start, state = load_checkpoint(path)
    seconds = 0.0
    if state is not None:
        stage.load_state_dict(state["stage"])
        seconds = state["seconds"]
    if start >= stage.steps:
        return True

    def save(step: int, spent: float) -> None:
        save_checkpoint(path, step, {"stage": stage.state_dict(), "seconds": spent})

    began = saved = reported = time.time()
    losses: list[torch.Tensor] = []
    batches = stage.batches(start)
    for step in range(start, stage.steps):
        if clock.is_up(step):
            save(step, seconds + time.time() - began)
            print(f"{stage.name} stopped at step {step}", flush=True)
            return False
        losses.append(stage.step(step, next(batches)))
        if (step + 1) % report_every == 0 or step + 1 == stage.steps:
            _report(stage, step + 1, losses, seconds + time.time() - began, time.time() - reported)
            losses, reported = [], time.time()
        if time.time() - saved > SAVE_SECONDS:
            save(step + 1, seconds + time.time() - began)
            saved = time.time()
    save(stage.steps, seconds + time.time() - began)
    print(f"{stage.name} took {seconds + time.time() - began:.0f} s: {stage.finished()}", flush=True)
    return True
