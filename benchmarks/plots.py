"""Figures from the JSON lines of bench_denoise, as PNG and SVG.

    python3 benchmarks/plots.py --output figures [--pictures DIR] results.jsonl [more.jsonl ...]

Needs matplotlib (PyPI). Draws each figure that the lines have data for: speedup (speed-up by ranks),
quality (PSNR and FLIP against bytes a step, by partial), links (step time against an emulated link's
bandwidth), and with the pictures that bench_denoise saved a grid of them by method and ranks.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lines import Line, method_of, read_lines


def series_by(lines: list[Line], key: Callable[[Line], str]) -> dict[str, list[Line]]:
    series: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        series[key(line)].append(line)
    return series


def label(line: Line, lines: list[Line], name: str) -> str:
    """The name with what of the sizes, dtypes and threads is not the same in all lines."""
    for key, unit in [("size", ""), ("dtype", ""), ("threads", " threads")]:
        if len({other[key] for other in lines}) > 1:
            name += f", {line[key]}{unit}"
    return name


def draw_speedup(axes: Axes, lines: list[Line]) -> bool:
    lines = [line for line in lines if line["link"] is None and line["method"] != "single"]
    for name, points in series_by(lines, lambda x: label(x, lines, method_of(x))).items():
        points.sort(key=lambda x: x["ranks"])
        axes.plot([x["ranks"] for x in points], [x["speedup"] for x in points], "o-", label=name)
    ranks = sorted({line["ranks"] for line in lines})
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.set_xticks(ranks)
    axes.set_xlabel("ranks")
    axes.set_ylabel("speed-up over one device")
    return bool(lines)


def draw_quality(axes: Axes, lines: list[Line], name: str, meaning: str) -> bool:
    lines = [line for line in lines if line["link"] is None and line["method"] != "single"]

    def name_of(line: Line) -> str:
        pool = f" pool {line['pool']}" if line["pool"] else ""
        name = f"{line['method']}{pool}, {line['ranks']} ranks, {line['guidance']}"
        return label(line, lines, name)

    for series, points in series_by(lines, name_of).items():
        points.sort(key=lambda x: x["partial"] or 0)
        megabytes = [sum(x["bytes_per_step"].values()) / 1e6 for x in points]
        marker = "o-" if points[0]["method"] == "pcpp" else "D"
        axes.plot(megabytes, [x[name] for x in points], marker, fillstyle="none", label=series)
        for x, place in zip(points, megabytes):
            if x["partial"] is not None:
                axes.annotate(str(x["partial"]), (place, x[name]), fontsize="small")
    axes.set_xlabel("MB sent a step, all ranks")
    axes.set_ylabel(f"{meaning} against one device")
    return bool(lines)


def draw_links(axes: Axes, lines: list[Line]) -> bool:
    lines = [line for line in lines if line["link"] is not None]

    def name_of(line: Line) -> str:
        shared = ", shared" if line["link_shared"] else ""
        return label(line, lines, f"{method_of(line)}, {line['ranks']} ranks{shared}")

    for name, points in series_by(lines, name_of).items():
        points.sort(key=lambda x: x["link_bytes_per_second"])
        axes.plot([x["link_bytes_per_second"] / 1e9 for x in points],
                  [x["step_ms"]["median"] for x in points], "o-", label=name)  # fmt: skip
    for place, name in {(x["link_bytes_per_second"] / 1e9, x["link"]) for x in lines}:
        if name.endswith("GB/s"):
            continue  # the axis says it
        axes.annotate(name, (place, 0), xycoords=("data", "axes fraction"), rotation=90,
                      fontsize="x-small", va="bottom")  # fmt: skip
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("bandwidth of the emulated link, GB/s a lane")
    axes.set_ylabel("ms a step, median")
    return bool(lines)


def draw_pictures(lines: list[Line], folder: Path) -> Figure | None:
    """A row for each number of ranks, a column for each method, the first that of one device."""
    lines = [line for line in lines if line["picture"] is not None]
    lines = [line for line in lines if line["size"] == lines[0]["size"]]
    singles = [line for line in lines if line["method"] == "single"]
    others = [line for line in lines if line["method"] != "single"]
    columns = list(dict.fromkeys(method_of(line) for line in others))
    rows = sorted({line["ranks"] for line in others})
    if not singles or not rows:
        return None
    figure, grid = plt.subplots(
        len(rows), 1 + len(columns), squeeze=False, layout="constrained",
        figsize=(1.8 * (1 + len(columns)), 2.1 * len(rows)))  # fmt: skip
    for axes in grid.flat:
        axes.set_axis_off()
    grid[0][0].imshow(plt.imread(folder / singles[0]["picture"]), interpolation="none")
    grid[0][0].set_title("one device", fontsize="small")
    for line in others:
        axes = grid[rows.index(line["ranks"])][1 + columns.index(method_of(line))]
        axes.imshow(plt.imread(folder / line["picture"]), interpolation="none")
        axes.set_title(f"{method_of(line)}, {line['ranks']} ranks\nFLIP {line['flip']:.3f}",
                       fontsize="small")  # fmt: skip
    return figure


DRAW = {
    "speedup": draw_speedup,
    "quality-psnr": lambda axes, lines: draw_quality(axes, lines, "psnr_db", "PSNR in dB"),
    "quality-flip": lambda axes, lines: draw_quality(axes, lines, "flip", "FLIP"),
    "links": draw_links,
}


def draw_one(draw: Callable[[Axes, list[Line]], bool], lines: list[Line]) -> Figure | None:
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    if not draw(axes, lines):
        return None
    axes.legend(fontsize="small")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures from bench_denoise's JSON lines.")
    parser.add_argument("files", type=Path, nargs="+", help="JSON lines")
    parser.add_argument("--output", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--pictures", type=Path, help="the folder that bench_denoise was given")
    options = parser.parse_args()
    lines = read_lines(options.files)
    figures = {name: draw_one(draw, lines) for name, draw in DRAW.items()}
    if options.pictures:
        figures["pictures"] = draw_pictures(lines, options.pictures)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        for kind in ["png", "svg"] if figure else []:
            place = options.output / f"{name}.{kind}"
            figure.savefig(place, dpi=160)
            print(place)


if __name__ == "__main__":
    main()
