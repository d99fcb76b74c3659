"""libpcpp beside diffusers, OpenVINO and stable-diffusion.cpp: seconds a step, memory, where time goes.

    python3 benchmarks/compare_with_peers.py --generate build/release/examples/generate \\
        --cache DIR --json peers.jsonl

Same weights, threads, size, latents and embeddings; each run is a process of its own, and the peers
take turns. libpcpp draws as one rank of all threads, and by PCPP as as many ranks as threads. A run
counts only if its latents agree with those of the first peer. Runs that the JSON file already holds
are not repeated, so a comparison can be stopped, continued and made in parts. See
benchmarks/README.md for what is needed, what is the same and what is not.
"""

import argparse
import functools
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from peers.operators import OPERATORS, operator_seconds
from safetensors.numpy import load_file, save_file

OURS = {  # arguments of `generate` for so many threads in all
    "libpcpp": lambda threads: ["--method", "single", "--threads", threads],
    "pcpp": lambda threads: ["--method", "pcpp", "--ranks", threads, "--threads", 1, "--sync-steps", 1],
}  # fmt: skip
# Their latents are others: of stale activations, or of another prompt and noise.
WITHOUT_REFERENCE = ["pcpp", "stable-diffusion.cpp", "stable-diffusion.cpp-direct"]
PEERS = ["libpcpp", "pcpp", "diffusers", "openvino", "stable-diffusion.cpp",
         "stable-diffusion.cpp-direct"]  # fmt: skip
MODELS = {"sd15": 768, "sdxl": 2048}  # the width of a text embedding
PARTS = Path(__file__).resolve().parent / "peers"
GUIDANCE = 5.0
LARGEST_ERROR = {"float32": 1e-4, "bfloat16": 0.1}  # of the latents, relative, 2-norm
# Names of oneDNN and OpenVINO, with those of libpcpp and of MKL.
ISAS = {
    "avx2": ("avx2", "AVX2"),
    "avx512_core": ("avx512", "AVX512"),
    "avx512_core_bf16": ("avx512", "AVX512_E3"),
}

Line = dict[str, object]


@dataclass(frozen=True)
class Case:
    """What all peers do."""

    model: str
    size: int  # pixels, square
    dtype: str
    threads: int
    steps: int
    isa: str

    def text(self) -> str:
        return f"{self.model} {self.size}x{self.size} {self.dtype}, {self.isa} instructions"

    def environment(self) -> dict[str, str]:
        """Which instructions all but stable-diffusion.cpp may use, each asked in its own words."""
        if self.isa == "all":
            return dict(os.environ)
        level, mkl = ISAS[self.isa]
        return os.environ | {
            "PCPP_VECTOR_LEVEL": level, "MKL_ENABLE_INSTRUCTIONS": mkl,
            "ONEDNN_MAX_CPU_ISA": self.isa.upper(), "OV_CPU_MAX_ISA": self.isa.upper(),
        }  # fmt: skip


def write_inputs(case: Case, folder: Path) -> tuple[Path, Path]:
    """The initial noise, and the embeddings of a prompt: normal numbers, of one seed."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, dtype=np.float32)

    rows = case.size // 8
    latents, embeds = folder / "latents.safetensors", folder / "embeds.safetensors"
    save_file({"latents": normal(1, 4, rows, rows)}, latents)
    names = ["prompt_embeds", "negative_prompt_embeds"]
    tensors = {name: normal(1, 77, MODELS[case.model]) for name in names}
    if case.model == "sdxl":
        tensors |= {name.replace("prompt", "pooled_prompt"): normal(1, 1280) for name in names}
    save_file(tensors, embeds)
    return latents, embeds


def our_command(
    case: Case, options: argparse.Namespace, peer: str, files: dict[str, Path]
) -> list:
    return [
        options.generate, "--model", options.cache / case.model, *OURS[peer](case.threads),
        "--dtype", case.dtype, "--steps", case.steps,
        "--width", case.size, "--height", case.size, "--guidance-scale", GUIDANCE,
        "--scheduler", "ddim", "--latents", files["latents"], "--prompt-embeds", files["embeds"],
        "--output", "none", "--report", files["result"], "--save-latents", files["save"],
        "--trace", files["trace"],
    ]  # fmt: skip


def peer_command(
    case: Case, options: argparse.Namespace, peer: str, files: dict[str, Path]
) -> list:
    command = [
        sys.executable, PARTS / "process.py", "--peer", peer, "--model", options.cache / case.model,
        "--size", case.size, "--dtype", case.dtype, "--threads", case.threads,
        "--steps", case.steps, "--guidance-scale", GUIDANCE,
    ]  # fmt: skip
    for name in ["latents", "embeds", "result", "save"]:
        command += [f"--{name}", files[name]]
    return command


@functools.cache
def build_of(program: Path) -> str:
    """What tells one build of libpcpp from another: a digest of the program and of its library."""
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = [line for line in linked.splitlines() if "libpcpp" in line and "/" in line]
    places = [program, *(line.split()[2] for line in libraries)]
    digest = hashlib.sha256()
    for place in places:
        digest.update(Path(place).read_bytes())
    return digest.hexdigest()[:12]


def read_result(peer: str, files: dict[str, Path]) -> Line:
    result = json.loads(files["result"].read_text())
    if peer not in OURS:
        return result
    steps = result["ranks"][0]["steps"]
    seconds = [(step["compute_ms"] + step["wait_ms"]) / 1000 for step in steps]
    return {"step_seconds": seconds, "peak_bytes": result["peak_bytes"],
            "operator_seconds": operator_seconds(files["trace"])}  # fmt: skip


def relative_error(place: Path, reference: Path) -> float:
    actual, expected = (load_file(file)["latents"] for file in (place, reference))
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def run_peer(case: Case, options: argparse.Namespace, peer: str, scratch: Path) -> Line | None:
    """Its figures, or None with a line on the standard error where its process failed."""
    latents, embeds = write_inputs(case, scratch)
    kept = options.cache / case.model / "latents"
    kept.mkdir(exist_ok=True)
    names = {name: kept / f"{case.size}-{case.dtype}-{case.isa}-{case.steps}-{name}.safetensors"
             for name in PEERS}  # fmt: skip
    files = {"latents": latents, "embeds": embeds, "result": scratch / "result.json",
             "trace": scratch / "trace.json", "save": names[peer]}  # fmt: skip
    names[peer].unlink(missing_ok=True)
    command_of = our_command if peer in OURS else peer_command
    command = command_of(case, options, peer, files)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          env=case.environment())  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"{case.text()}, {peer}: status {done.returncode}: {last}", file=sys.stderr)
        return None
    result = read_result(peer, files)
    result["relative_error"] = None
    if peer in WITHOUT_REFERENCE:
        return result
    first = options.peers[0]
    if not names[first].exists():
        print(f"{case.text()}, {peer}: {first} has left no latents to agree with: not counted",
              file=sys.stderr)  # fmt: skip
        return None
    result["relative_error"] = error = relative_error(names[peer], names[first])
    if not error <= LARGEST_ERROR[case.dtype]:
        print(f"{case.text()}, {peer}: its latents are {error:.1e} from those of {first}: not "
              "counted", file=sys.stderr)  # fmt: skip
        return None
    return result


def read_lines(place: Path) -> list[Line]:
    return [json.loads(text) for text in place.read_text().splitlines()] if place.exists() else []


def compare(case: Case, options: argparse.Namespace, lines: list[Line]) -> bool:
    """Makes the runs that `lines` lacks, and adds them there and to the file; whether all ended."""
    complete = True
    for repeat in range(options.repeat):
        for peer in options.peers:
            key = asdict(case) | {"peer": peer, "repeat": repeat, "processor": processor()}
            if peer in OURS:
                key["version"] = build_of(options.generate)
            if any(key.items() <= line.items() for line in lines):
                continue
            with tempfile.TemporaryDirectory() as scratch:
                result = run_peer(case, options, peer, Path(scratch))
            if result is None:
                complete = False
                continue
            lines.append(key | result)
            with options.json.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(f"{case.text()}, {peer}: {step_seconds(lines[-1]):.3f} s a step, "
                  f"{result['peak_bytes'] / 1e9:.2f} GB", file=sys.stderr, flush=True)  # fmt: skip
    return complete


def step_seconds(line: Line) -> float:
    """The median step of a run but the first, which also prepares weights and memory; and, of ranks
    that send rows, but the last, which sends none."""
    last = -1 if line["peer"] == "pcpp" else None
    return statistics.median(line["step_seconds"][1:last])


def by_case(lines: list[Line]) -> dict[tuple, dict[str, list[Line]]]:
    cases: dict[tuple, dict[str, list[Line]]] = {}
    for line in lines:
        if line["processor"] != processor() or len(line["step_seconds"]) < 3:
            continue
        key = tuple(line[name] for name in ["model", "size", "dtype", "isa", "steps", "threads"])
        cases.setdefault(key, {peer: [] for peer in PEERS})[line["peer"]].append(line)
    return cases


def head(columns: list[str]) -> list[str]:
    columns = ["U-Net", "size", "dtype", "instructions", "steps", "threads", *columns]
    return ["| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]


def row(case: tuple, cells: list[str]) -> str:
    model, size, dtype, isa, steps, threads = case
    words = [f"{model} size", f"{size}x{size}", dtype, isa, str(steps), str(threads), *cells]
    return "| " + " | ".join(words) + " |"


def cost_table(lines: list[Line]) -> str:
    rows = head([*PEERS, "libpcpp / fastest other", "pcpp / fastest other"])
    for case, peers in by_case(lines).items():
        cells, medians = [], {}
        for peer, runs in peers.items():
            if not runs:
                cells.append("-")
                continue
            seconds = [step_seconds(run) for run in runs]
            medians[peer] = statistics.median(seconds)
            peak = max(run["peak_bytes"] for run in runs) / 1e9
            spread = f" ({min(seconds):.2f} to {max(seconds):.2f})" if len(runs) > 1 else ""
            cells.append(f"{medians[peer]:.2f}{spread}, {peak:.1f} GB")
        others = [median for peer, median in medians.items() if peer not in OURS]
        for ours in OURS:
            known = ours in medians and others
            cells.append(f"{medians[ours] / min(others):.2f}" if known else "-")
        rows.append(row(case, cells))
    return "\n".join(rows)


def operator_table(lines: list[Line]) -> str:
    rows = head(["ranks", *OPERATORS])
    for case, peers in by_case(lines).items():
        for peer in OURS:
            runs = [run["operator_seconds"] for run in peers[peer]]
            if runs:
                ranks = case[-1] if peer == "pcpp" else 1
                medians = [statistics.median(run[name] for run in runs) for name in OPERATORS]
                rows.append(row(case, [str(ranks), *(f"{median:.2f}" for median in medians)]))
    return "\n".join(rows)


@functools.cache
def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="libpcpp and its peers on a CPU.")

    def add_list(name: str, values: list, help: str) -> None:
        kind = type(values[0])
        parser.add_argument(name, type=lambda text: [kind(word) for word in text.split(",")],
                            default=values, help=help)  # fmt: skip

    add_list("--peers", PEERS, "the first gives the latents that the others must agree with")
    add_list("--models", list(MODELS), "random weights of these shapes")
    add_list("--sizes", [512, 1024], "pixels, square")
    add_list("--dtypes", list(LARGEST_ERROR), "what the networks compute in")
    parser.add_argument("--generate", type=Path, help="libpcpp's program")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the models, 22 GB")
    parser.add_argument("--json", type=Path, required=True, help="one line for each run")
    parser.add_argument("--isa", choices=["all", *ISAS], default="all",
                        help="the most that libpcpp, diffusers and OpenVINO may use")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="at least 3; the first is not counted, and of pcpp the last")
    options = parser.parse_args()
    for name, known in [("peers", PEERS), ("models", MODELS), ("dtypes", LARGEST_ERROR)]:
        for word in getattr(options, name):
            if word not in known:
                parser.error(f"--{name}: '{word}' is not one of {', '.join(known)}")
    if options.steps < 3:
        parser.error(f"--steps {options.steps}: at least 3 are needed")
    if options.peers[0] in WITHOUT_REFERENCE:
        parser.error(f"--peers: {options.peers[0]} cannot come first, its latents are others")
    if set(OURS) & set(options.peers) and not (options.generate and options.generate.is_file()):
        parser.error("libpcpp is among the peers: give --generate, its program")
    try:
        options.json.open("a").close()
    except OSError as error:
        parser.error(f"--json: {error}")
    if options.threads == 1:
        options.peers = [peer for peer in options.peers if peer != "pcpp"]
    return options


def main() -> int:
    options = parse_options()
    lines = read_lines(options.json)
    complete = True
    for model in options.models:
        subprocess.run([sys.executable, PARTS / "models.py", "--folder", options.cache / model,
                        "--model", model, "--peers", ",".join(options.peers)], check=True)  # fmt: skip
        for size in options.sizes:
            for dtype in options.dtypes:
                case = Case(model, size, dtype, options.threads, options.steps, options.isa)
                complete = compare(case, options, lines) and complete
    if options.generate:
        build = build_of(options.generate)
        lines = [line for line in lines if line["peer"] not in OURS or line["version"] == build]
    print(cost_table(lines), operator_table(lines), sep="\n\n")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
