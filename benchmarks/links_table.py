"""From bench_denoise's JSON lines: the bandwidth at which each method stops hiding its traffic.

    python3 benchmarks/links_table.py links.jsonl [more.jsonl ...]

Prints a Markdown table with a row for each method, ranks and size that was measured over memory and
over emulated links. A link hides the traffic if the median step takes at most 5 % longer than over
memory; the bandwidth is that of the slowest link that does, moved towards the next slower one by
linear interpolation of the step's time over the inverse of the bandwidth, in which exposed transfers
are a straight line.
"""

import argparse
from pathlib import Path

from lines import COMBINATION, Line, method_of, read_lines

TOLERANCE = 1.05


def series_of(lines: list[Line]) -> list[tuple[Line, list[Line]]]:
    """Each line over memory with those that differ from it in the link alone, fastest link first."""
    series = []
    lines = [line for line in lines if line["method"] != "single"]
    for memory in (line for line in lines if line["link"] is None):
        links = [line for line in lines if line["link"] is not None
                 and all(line.get(name) == memory.get(name) for name in COMBINATION)]  # fmt: skip
        links.sort(key=lambda line: -line["link_bytes_per_second"])
        for shared in [False, True]:
            group = [line for line in links if line["link_shared"] == shared]
            if group:
                series.append((memory, group))
    return series


def median_ms(line: Line) -> float:
    return line["step_ms"]["median"]


def hiding_bandwidth(memory: Line, links: list[Line]) -> str:
    """In GB/s a lane: a number, or a bound where the list of links ends too early."""
    limit = TOLERANCE * median_ms(memory)
    hiding = [place for place, line in enumerate(links) if median_ms(line) <= limit]
    if not hiding:
        return f"above {links[0]['link_bytes_per_second'] / 1e9:g}"
    fast = links[hiding[-1]]
    if fast is links[-1]:
        return f"below {fast['link_bytes_per_second'] / 1e9:g}"
    slow = links[hiding[-1] + 1]
    share = (limit - median_ms(fast)) / (median_ms(slow) - median_ms(fast))
    inverse = [1e9 / line["link_bytes_per_second"] for line in (fast, slow)]
    return f"{1 / (inverse[0] + share * (inverse[1] - inverse[0])):.3g}"


def row(memory: Line, links: list[Line]) -> str:
    megabytes = sum(memory["bytes_per_step"].values()) / 1e6
    lanes = "one for all" if links[0]["link_shared"] else "two a rank"
    return (f"| {method_of(memory)} | {memory['ranks']} | {memory['size']} | {memory.get('dtype')} | {lanes} "
            f"| {median_ms(memory):.1f} | {megabytes:.2f} | {hiding_bandwidth(memory, links)} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Where each method stops hiding its traffic.")
    parser.add_argument("files", type=Path, nargs="+", help="JSON lines of bench_denoise")
    series = series_of(read_lines(parser.parse_args().files))
    if not series:
        raise SystemExit("no method was measured both over memory (--link none) and over a link")
    print("| method | ranks | size | dtype | lanes | step ms over memory | MB a step "
          "| hides it down to, GB/s (emulated) |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for memory, links in series:
        print(row(memory, links))


if __name__ == "__main__":
    main()
