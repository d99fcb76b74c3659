"""The JSON lines of bench_denoise, as its tables and figures read them."""

import json
import sys
from pathlib import Path

Line = dict[str, object]
# What two lines that differ in the link alone have the same.
COMBINATION = ["method", "partial", "pool", "ranks", "size", "guidance", "bands", "sync_steps",
               "group_norm", "row_format", "device", "transport", "dtype", "threads",
               "in_turn"]  # fmt: skip


def read_lines(files: list[Path]) -> list[Line]:
    """The lines of all combinations; those that tell of the environment are left out. Ranks of lines
    that say nothing of turns computed at once. Ends the program where there is another file or none."""
    lines: list[Line] = []
    for file in files:
        try:
            lines += [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            sys.exit(f"{file}: {error}: the JSON lines of bench_denoise are wanted")
    return [{"in_turn": False} | line for line in lines if "method" in line]


def method_of(line: Line) -> str:
    """The method and what of its settings is not the default."""
    name = str(line["method"])
    if line["partial"] is not None:
        name += f" {line['partial']}"
    if line.get("pool"):
        name += f" pool {line['pool']}"
    if line.get("row_format", "exact") != "exact":
        name += f" {line['row_format']}"
    if line.get("group_norm", "corrected") != "corrected":
        name += f", {line['group_norm']} statistics"
    if line.get("bands"):
        name += f", bands {','.join(map(str, line['bands']))}"
    if line["guidance"] == "split":
        name += ", split"
    if line.get("in_turn"):
        name += ", in turn"
    return name
