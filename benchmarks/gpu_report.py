"""A page of what scripts/gpu measured: the tables of its results, with the commands that made them.

    python3 benchmarks/gpu_report.py FOLDER --commands build/gpu/commands --fact "card=NVIDIA H200"

Writes FOLDER/README.md. A stage without results is said to have none.
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from peers.devices import DEVICES
from peers.operators import OPERATORS, operator_seconds
from peers.tables import cost_table, read_lines

from lines import Line, method_of
from lines import read_lines as read_bench_lines


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in [columns, ["---"] * len(columns), *rows]
    )


def tests(folder: Path) -> str:
    """How each part of a program ended the last time that it ran."""
    text = (folder / "tests.txt").read_text()
    found = re.findall(r"^== (.+), (part .+): (.+), (\d+) s$", text, flags=re.MULTILINE)
    last = {(program, part): [result, seconds] for program, part, result, seconds in found}
    table = markdown(
        ["program", "", "result", "seconds"], [[*key, *cells] for key, cells in last.items()]
    )
    return (
        table
        + "\n\nOne with skipped tests passed the others; [tests.txt](tests.txt) names them."
    )


def sanitizer(folder: Path) -> str:
    """What the last summary of each run says, and how it ended where that was not well."""
    text = (folder / "sanitizer.txt").read_text()
    rows = []
    for run in re.split(r"^== (?=\w+: )", text, flags=re.MULTILINE)[1:]:
        tool, program = re.match(r"(\w+): (\S+)", run).groups()
        said = re.findall(r"SUMMARY: (.*)", run)[-1:] or ["no summary"]
        said += re.findall(r"^== (ended with .*)", run, flags=re.MULTILINE)
        rows.append([tool, program.split("/")[-1], ", ".join(said)])
    return markdown(["tool", "program", "summary"], rows)


def kernels(folder: Path) -> str:
    return (folder / "kernels.md").read_text().strip()


def peers(folder: Path) -> str:
    lines = [line for line in read_lines(folder / "peers.jsonl") if line["device"] == "cuda"]
    tables = [
        cost_table(lines, "cuda", name) for name in sorted({line["processor"] for line in lines})
    ]
    versions = sorted(
        {line["version"] for line in lines if line["peer"] not in DEVICES["cuda"].ours}
    )
    note = (
        f"Milliseconds a step and memory of the card. diffusers {'; '.join(versions)}."
        if versions
        else ""
    )
    return "\n\n".join([*tables, note]).strip()


def band_rows(lines: list[Line]) -> list[list[str]]:
    """One device once for each size: it is measured again beside each method."""
    rows, seen = [], set()
    for line in sorted(lines, key=lambda line: int(line["size"].split("x")[0])):
        key = (line["size"], method_of(line), line["ranks"])
        if key in seen:
            continue
        seen.add(key)
        step, sent = line["step_ms"], sum(line["bytes_per_step"].values())
        rows.append([line["size"], method_of(line), str(line["ranks"]),
                     f"{step['median']:.1f} ({step['p10']:.1f} to {step['p90']:.1f})",
                     f"{line['speedup']:.2f}", f"{line['stale_bytes'] / 1e9:.2f}",
                     f"{sent / 1e6:.1f}"])  # fmt: skip
    return rows


def bands(folder: Path) -> str:
    columns = ["size", "method", "ranks", "ms of the slowest band (p10 to p90)", "speed-up",
               "stale GB a rank", "MB a step"]  # fmt: skip
    table = markdown(columns, band_rows(read_bench_lines([folder / "bands.jsonl"])))
    return table + (
        "\n\nThe ranks of a steady step computed one after the other, each with the card to itself: "
        "a step of as many cards, were their transfers free. Stale GB are of the rank that has most, "
        "MB of all ranks together. The weights are random: the lines' figures of quality say nothing."
    )


def traces(folder: Path) -> str:
    """Where rank 0's time goes, as compare_with_peers has it on a CPU."""
    rows = []
    for place in sorted(folder.glob("trace-*.json.gz")):
        times = operator_seconds(place)
        rows.append(
            [f"[{place.name}]({place.name})", *(f"{1000 * times[name]:.1f}" for name in OPERATORS)]
        )
    if not rows:
        raise FileNotFoundError
    table = markdown(["trace", *(f"{name}, ms" for name in OPERATORS)], rows)
    return (
        table
        + "\n\nOf a step of rank 0, launched singly and with events around each span: it takes longer "
        "than one of graphs."
    )


SECTIONS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "tests": ("Tests", tests),
    "sanitizer": ("Sanitizers, of this library's kernels", sanitizer),
    "kernels": ("Kernels", kernels),
    "peers": ("One device beside its peers", peers),
    "bands": ("What a band costs", bands),
    "traces": ("Where time goes", traces),
}


def section(folder: Path, commands: Path, stage: str) -> str:
    title, text_of = SECTIONS[stage]
    try:
        text = text_of(folder)
    except FileNotFoundError:
        text = ""
    place = commands / stage
    made_by = f"\n\n```sh\n{place.read_text().strip()}\n```" if place.exists() else ""
    return f"## {title}\n\n{text or 'Not made.'}{made_by}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="A page of what scripts/gpu measured.")
    parser.add_argument("folder", type=Path, help="with the results")
    parser.add_argument(
        "--commands", type=Path, required=True, help="folder with those of each stage"
    )
    parser.add_argument("--fact", action="append", default=[], help="NAME=VALUE, of the machine")
    options = parser.parse_args()
    facts = markdown(["", ""], [fact.split("=", 1) for fact in options.fact])
    sections = [section(options.folder, options.commands, stage) for stage in SECTIONS]
    page = f"# Measured on a GPU\n\nMade by `scripts/gpu`.\n\n{facts}\n\n" + "\n".join(sections)
    (options.folder / "README.md").write_text(page)


if __name__ == "__main__":
    main()
