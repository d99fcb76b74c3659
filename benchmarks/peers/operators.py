"""Where a rank's time goes, from the trace that `generate --trace` wrote."""

import gzip
import json
import statistics
from pathlib import Path

# By the last words of a span's name; what is left is activations, sums and LayerNorm in the blocks.
KINDS = {
    "3x3 convolutions": ["convolution", "conv", "conv1", "conv2", "conv_in", "conv_out"],
    "linear and 1x1": ["proj", "net.2", "to_q", "to_k+to_v", "to_out.0", "proj_in", "proj_out",
                       "conv_shortcut", "time_emb_proj", "linear_1", "linear_2"],
    "attention": ["attention"],
    "GroupNorm": ["moments", "normalise"],
    "waits and copies": ["wait", "exchange", "gather", "join rows"],
}  # fmt: skip
OPERATORS = [*KINDS, "rest"]
COMPUTE = 0  # the lane of a rank's thread

Event = dict[str, object]


def kind_of(name: str) -> str:
    for kind, endings in KINDS.items():
        if any(name == ending or name.endswith("." + ending) for ending in endings):
            return kind
    return "rest"


def step_totals(events: list[Event]) -> dict[str, float]:
    """Seconds of one step: each span counts less the spans within it."""
    totals = dict.fromkeys(OPERATORS, 0.0)
    around: list[Event] = []
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        while around and around[-1]["ts"] + around[-1]["dur"] <= event["ts"]:
            around.pop()
        seconds = event["dur"] / 1e6
        totals[kind_of(event["name"])] += seconds
        if around:
            totals[kind_of(around[-1]["name"])] -= seconds
        around.append(event)
    return totals


def operator_seconds(trace: Path) -> dict[str, float]:
    """Seconds of a step of rank 0, the median over all but the first; of a file that gzip may have
    made smaller."""
    opened = gzip.open(trace, "rt") if trace.suffix == ".gz" else trace.open()
    with opened as file:
        events = json.load(file)["traceEvents"]
    steps: dict[int, list[Event]] = {}
    for event in events:
        if event["ph"] == "X" and event["pid"] == 0 and event["tid"] == COMPUTE:
            steps.setdefault(event["args"]["step"], []).append(event)
    totals = [step_totals(events) for step, events in sorted(steps.items()) if step > 0]
    return {name: statistics.median(total[name] for total in totals) for name in OPERATORS}
