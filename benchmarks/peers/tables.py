"""The tables of compare_with_peers, from its JSON lines."""

import json
import statistics
from pathlib import Path

from peers.devices import DEVICES, Line, counted
from peers.operators import OPERATORS

CASE = ["model", "size", "dtype", "isa", "steps", "threads"]
Cases = dict[tuple, dict[str, list[Line]]]


def read_lines(place: Path) -> list[Line]:
    """Lines without a device were written when there was but one kind."""
    texts = place.read_text().splitlines() if place.exists() else []
    return [{"device": "cpu"} | json.loads(text) for text in texts]


def step_seconds(line: Line) -> float:
    return statistics.median(counted(line))


def by_case(lines: list[Line], device: str, processor: str) -> Cases:
    cases: Cases = {}
    for line in lines:
        if (line["device"], line["processor"]) != (device, processor) or not counted(line):
            continue
        key = tuple(line[name] for name in CASE)
        cases.setdefault(key, {peer: [] for peer in DEVICES[device].peers})
        cases[key][line["peer"]].append(line)
    return cases


def head(columns: list[str], device: str) -> list[str]:
    shared = ["instructions", "steps", "threads"] if device == "cpu" else ["steps"]
    columns = ["U-Net", "size", "dtype", *shared, *columns]
    return ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]


def row(case: tuple, cells: list[str]) -> str:
    model, size, dtype, isa, steps, threads = case
    shared = [str(steps)] if isa is None else [isa, str(steps), str(threads)]
    words = [f"{model} size", f"{size}x{size}", dtype, *shared, *cells]
    return "| " + " | ".join(words) + " |"


def cost_cell(runs: list[Line], device: str) -> str:
    """Seconds a step on a CPU, milliseconds on a GPU; and gigabytes."""
    scale, digits = (1, 2) if device == "cpu" else (1000, 1)
    times = [scale * step_seconds(run) for run in runs]
    spread = f" ({min(times):.{digits}f} to {max(times):.{digits}f})" if len(runs) > 1 else ""
    peaks = [run["peak_bytes"] for run in runs if run["peak_bytes"] is not None]
    memory = f"{max(peaks) / 1e9:.1f} GB" if peaks else "-"
    return f"{statistics.median(times):.{digits}f}{spread}, {memory}"


def cost_table(lines: list[Line], device: str, processor: str) -> str:
    cases = by_case(lines, device, processor)
    ours = list(DEVICES[device].ours)
    peers = DEVICES[device].peers
    if device != "cpu":
        peers = [peer for peer in peers if any(runs[peer] for runs in cases.values())]
    rows = head([*peers, *(f"{name} / fastest other" for name in ours)], device)
    for case, runs in cases.items():
        cells = [cost_cell(runs[peer], device) if runs[peer] else "-" for peer in peers]
        medians = {peer: statistics.median(map(step_seconds, runs[peer]))
                   for peer in peers if runs[peer]}  # fmt: skip
        others = [median for peer, median in medians.items() if peer not in ours]
        for name in ours:
            known = name in medians and others
            cells.append(f"{medians[name] / min(others):.2f}" if known else "-")
        rows.append(row(case, cells))
    return "\n".join(rows)


def operator_table(lines: list[Line], processor: str) -> str:
    """On a CPU: runs on a GPU are not traced."""
    rows = head(["ranks", *OPERATORS], "cpu")
    for case, peers in by_case(lines, "cpu", processor).items():
        for peer in DEVICES["cpu"].ours:
            runs = [run["operator_seconds"] for run in peers[peer]]
            if runs:
                ranks = case[-1] if peer == "pcpp" else 1
                medians = [statistics.median(run[name] for run in runs) for name in OPERATORS]
                rows.append(row(case, [str(ranks), *(f"{median:.2f}" for median in medians)]))
    return "\n".join(rows)
