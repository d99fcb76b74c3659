"""Holds the predictions of `plan`, with a profile measured just before, against bench_denoise.

For each model, size and dtype: every method and arrangement on one and two ranks of one thread, its
predicted and its measured step, and what `auto` would have cost beside the best that was tried.

    python3 benchmarks/plan_accuracy.py --build build/release
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

PARTIALS = "0.1,0.3,1"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", default="build/release", help="the build's folder")
    parser.add_argument("--model", default="models/emoji-scenes", help="a model's folder")
    parser.add_argument("--sizes", default="256x256,512x512,256x512")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--before", default="", help="words before each command, such as taskset's")
    parser.add_argument("--json", help="write the rows to this file")
    return parser.parse_args()


def run(before, program, *words):
    command = before.split() + [str(program), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")


def predicted(options, common, folder):
    file = folder / "plan.json"
    run(options.before, pathlib.Path(options.build) / "examples/plan", *common, "--devices", "2",
        "--methods", "distrifusion,pcpp", "--json", str(file))
    return json.loads(file.read_text())["runs"]


def measured(options, common, folder):
    file = folder / "bench.jsonl"
    run(options.before, pathlib.Path(options.build) / "benchmarks/bench_denoise", *common,
        "--methods", "single,distrifusion,pcpp", "--ranks", "2", "--guidance", "batched,split",
        "--steps", str(options.steps), "--repeat", str(options.repeat), "--json", str(file))
    return [json.loads(line) for line in file.read_text().splitlines()[1:]]


def key(entry):
    return entry["method"], entry["partial"], entry["ranks"], entry["guidance"]


def rows_of(options, size, dtype, folder):
    common = ["--model", options.model, "--size", size, "--dtype", dtype, "--threads", "1",
              "--partial", PARTIALS]
    steps = {key(entry): entry["step_ms"] for entry in predicted(options, common, folder)
             if not entry["balanced"]}
    rows = []
    for entry in measured(options, common, folder):
        step = entry["step_ms"]["median"]
        rows.append({"size": size, "dtype": dtype, "method": entry["method"],
                     "partial": entry["partial"], "ranks": entry["ranks"],
                     "guidance": entry["guidance"], "predicted_ms": steps[key(entry)],
                     "measured_ms": step, "error": steps[key(entry)] / step - 1})
    return rows


def choices(rows):
    """What `auto` takes for each method, beside the best of the same."""
    found = []
    for method, partial in sorted({(r["method"], r["partial"]) for r in rows if r["ranks"] > 1},
                                  key=str):
        tried = [r for r in rows if (r["method"], r["partial"]) in
                 [("single", None), (method, partial)]]
        chosen = min(tried, key=lambda r: r["predicted_ms"])
        best = min(tried, key=lambda r: r["measured_ms"])
        found.append({"size": rows[0]["size"], "dtype": rows[0]["dtype"], "method": method,
                      "partial": partial, "chosen": name(chosen), "best": name(best),
                      "loss": chosen["measured_ms"] / best["measured_ms"] - 1})
    return found


def name(row):
    partial = "" if row["partial"] is None else f" {row['partial']}"
    guidance = f" {row['guidance']}" if row["ranks"] > 1 else ""
    return f"{row['method']}{partial}{guidance}"


def main():
    options = arguments()
    rows, autos = [], []
    print("| size | dtype | arrangement | ranks | predicted ms | measured ms | error % |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in options.sizes.split(","):
        for dtype in options.dtypes.split(","):
            with tempfile.TemporaryDirectory() as folder:
                some = rows_of(options, size, dtype, pathlib.Path(folder))
            for row in some:
                print(f"| {size} | {dtype} | {name(row)} | {row['ranks']} | {row['predicted_ms']:.2f} "
                      f"| {row['measured_ms']:.2f} | {100 * row['error']:+.1f} |", flush=True)
            rows += some
            autos += choices(some)
    print("\n| size | dtype | request | auto takes | best tried | slower % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for auto in autos:
        print(f"| {auto['size']} | {auto['dtype']} | {auto['method']} {auto['partial'] or ''} "
              f"| {auto['chosen']} | {auto['best']} | {100 * auto['loss']:.1f} |")
    print(f"\nlargest error {100 * max(abs(row['error']) for row in rows):.1f} %, "
          f"auto slower than the best by {100 * max(auto['loss'] for auto in autos):.1f} % at most")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"rows": rows, "auto": autos}, indent=1))


if __name__ == "__main__":
    main()
