"""libpcpp beside diffusers, OpenVINO and stable-diffusion.cpp: seconds a step, memory, where time goes.

    python3 benchmarks/compare_with_peers.py --generate build/release/examples/generate \\
        --cache DIR --json peers.jsonl
    python3 benchmarks/compare_with_peers.py --generate build/cuda/examples/generate \\
        --device cuda --cache DIR --json peers.jsonl

Same weights, threads, size, latents and embeddings; each run is a process of its own, and the peers
take turns. On a CPU libpcpp draws as one rank of all threads, and by PCPP as as many ranks as
threads; on a GPU as one rank with CUDA graphs and without, beside diffusers. A run counts only if its
latents agree with those of the first peer. Runs that the JSON file already holds are not repeated, so
a comparison can be stopped, continued and made in parts. See benchmarks/README.md for what is needed,
what is the same and what is not.
"""

import argparse
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from peers import card
from peers.devices import DEVICES, MODELS, WITHOUT_REFERENCE, Line, counted
from peers.operators import operator_seconds
from peers.tables import cost_table, operator_table, read_lines, step_seconds
from safetensors.numpy import load_file, save_file

PARTS = Path(__file__).resolve().parent / "peers"
GUIDANCE = 5.0
# Names of oneDNN and OpenVINO, with those of libpcpp and of MKL.
ISAS = {
    "avx2": ("avx2", "AVX2"),
    "avx512_core": ("avx512", "AVX512"),
    "avx512_core_bf16": ("avx512", "AVX512_E3"),
}


@dataclass(frozen=True)
class Case:
    """What all peers do."""

    device: str
    model: str
    size: int  # pixels, square
    dtype: str
    threads: int | None  # on a CPU
    steps: int
    isa: str | None  # likewise

    def text(self) -> str:
        where = "on a GPU" if self.isa is None else f"{self.isa} instructions"
        return f"{self.model} {self.size}x{self.size} {self.dtype}, {where}"

    def environment(self) -> dict[str, str]:
        """Which instructions all but stable-diffusion.cpp may use, each asked in its own words."""
        if self.isa is None:
            return card.environment()
        if self.isa == "all":
            return dict(os.environ)
        level, mkl = ISAS[self.isa]
        return os.environ | {
            "PCPP_VECTOR_LEVEL": level, "MKL_ENABLE_INSTRUCTIONS": mkl,
            "ONEDNN_MAX_CPU_ISA": self.isa.upper(), "OV_CPU_MAX_ISA": self.isa.upper(),
        }  # fmt: skip

    def latents_of(self, peer: str, folder: Path) -> Path:
        """Where its final latents are kept, in the folder of the model."""
        words = [self.size, self.dtype, self.isa or self.device, self.steps, peer]
        return folder / "latents" / f"{'-'.join(map(str, words))}.safetensors"


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


def shares(case: Case, peer: str) -> list:
    """How `generate` shares the threads."""
    if case.threads is None:
        return []
    if peer == "pcpp":
        return ["--ranks", case.threads, "--threads", 1]
    return ["--threads", case.threads]


def our_command(case: Case, options: argparse.Namespace, peer: str, files: dict[str, Path]) -> list:
    trace = ["--trace", files["trace"]] if case.device == "cpu" else []
    return [
        options.generate, "--model", options.cache / case.model,
        *DEVICES[case.device].ours[peer], *shares(case, peer), "--dtype", case.dtype,
        "--steps", case.steps, "--width", case.size, "--height", case.size,
        "--guidance-scale", GUIDANCE, "--scheduler", "ddim", "--latents", files["latents"],
        "--prompt-embeds", files["embeds"], "--output", "none", "--report", files["result"],
        "--save-latents", files["save"], *trace,
    ]  # fmt: skip


def peer_command(
    case: Case, options: argparse.Namespace, peer: str, files: dict[str, Path]
) -> list:
    command = [
        sys.executable, PARTS / "process.py", "--peer", peer, "--model", options.cache / case.model,
        "--size", case.size, "--device", case.device, "--dtype", case.dtype, "--steps", case.steps,
        "--guidance-scale", GUIDANCE,
    ]  # fmt: skip
    if case.threads is not None:
        command += ["--threads", case.threads]
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


def read_result(case: Case, peer: str, files: dict[str, Path]) -> Line:
    """Raises ValueError where the run was not what is to be measured."""
    result = json.loads(files["result"].read_text())
    if peer not in DEVICES[case.device].ours:
        return result
    steps = result["ranks"][0]["steps"]
    seconds = [(step["compute_ms"] + step["wait_ms"]) / 1000 for step in steps]
    line = {"device": case.device, "peer": peer, "step_seconds": seconds}
    if case.device == "cpu":
        times = operator_seconds(files["trace"])
        return line | {"peak_bytes": result["peak_bytes"], "operator_seconds": times}
    graphs = [step["graphs"] for step in steps]
    if peer == "libpcpp" and 0 in counted(line | {"step_seconds": graphs}):
        raise ValueError(f"steps that count were launched without CUDA graphs: {graphs} by step")
    return line | {"peak_bytes": None}


def relative_error(place: Path, reference: Path) -> float:
    actual, expected = (load_file(file)["latents"] for file in (place, reference))
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def run_process(case: Case, options: argparse.Namespace, peer: str, files: dict[str, Path]) -> Line:
    """Its figures. Raises ValueError where there are none."""
    command_of = our_command if peer in DEVICES[case.device].ours else peer_command
    command = [str(word) for word in command_of(case, options, peer, files)]
    with card.MemoryWatch() if case.device == "cuda" else nullcontext() as watch:
        done = subprocess.run(command, capture_output=True, text=True, env=case.environment())
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"status {done.returncode}: {last}")
    result = read_result(case, peer, files)
    return result if watch is None else result | {"peak_bytes": watch.peak_bytes}


def run_peer(case: Case, options: argparse.Namespace, peer: str, scratch: Path) -> Line:
    """The figures of a run that counts. Raises ValueError where it does not."""
    latents, embeds = write_inputs(case, scratch)
    place, first = (case.latents_of(name, options.cache / case.model)
                    for name in [peer, options.peers[0]])  # fmt: skip
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    files = {"latents": latents, "embeds": embeds, "result": scratch / "result.json",
             "trace": scratch / "trace.json", "save": place}  # fmt: skip
    result = run_process(case, options, peer, files) | {"relative_error": None}
    if peer in WITHOUT_REFERENCE:
        return result
    if not first.exists():
        raise ValueError(f"{options.peers[0]} has left no latents to agree with: not counted")
    result["relative_error"] = error = relative_error(place, first)
    if not error <= DEVICES[case.device].largest_error[case.dtype]:
        first = options.peers[0]
        raise ValueError(f"its latents are {error:.1e} from those of {first}: not counted")
    return result


def compare(case: Case, options: argparse.Namespace, lines: list[Line]) -> bool:
    """Makes the runs that `lines` lacks, and adds them there and to the file; whether all ended.

    The first peer draws anew where its latents are no longer there.
    """
    complete, here = True, processor(case.device)
    for repeat in range(options.repeat):
        for peer in options.peers:
            key = asdict(case) | {"peer": peer, "repeat": repeat, "processor": here}
            if peer in DEVICES[case.device].ours:
                key["version"] = build_of(options.generate)
            is_held = any(key.items() <= line.items() for line in lines)
            kept = case.latents_of(peer, options.cache / case.model)
            if is_held and (peer != options.peers[0] or kept.exists()):
                continue
            try:
                with tempfile.TemporaryDirectory() as scratch:
                    line = key | run_peer(case, options, peer, Path(scratch))
            except ValueError as error:
                print(f"{case.text()}, {peer}: {error}", file=sys.stderr)
                complete = False
                continue
            peak = "" if line["peak_bytes"] is None else f", {line['peak_bytes'] / 1e9:.2f} GB"
            print(f"{case.text()}, {peer}: {step_seconds(line):.3f} s a step{peak}",
                  file=sys.stderr, flush=True)  # fmt: skip
            if is_held:
                continue
            lines.append(line)
            with options.json.open("a") as file:
                file.write(json.dumps(line) + "\n")
    return complete


@functools.cache
def processor(device: str) -> str:
    if device == "cuda":
        return card.query("name") or "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def add_options(parser: argparse.ArgumentParser) -> None:
    def add_list(name: str, kind: type, help: str) -> None:
        parser.add_argument(name, type=lambda text: [kind(word) for word in text.split(",")],
                            help=help)  # fmt: skip

    parser.add_argument("--device", choices=DEVICES, default="cpu", help="whose peers are compared")
    add_list("--peers", str, "the first gives the latents that the others must agree with")
    add_list("--models", str, "random weights of these shapes")
    add_list("--sizes", int, "pixels, square")
    add_list("--dtypes", str, "what the networks compute in")
    parser.add_argument("--generate", type=Path, help="libpcpp's program")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the models, 22 GB")
    parser.add_argument("--json", type=Path, required=True, help="one line for each run")
    parser.add_argument("--isa", choices=["all", *ISAS],
                        help="the most that libpcpp, diffusers and OpenVINO may use")  # fmt: skip
    parser.add_argument("--threads", type=int, help="of each process on a CPU (default: 1)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each peer")
    parser.add_argument("--steps", type=int, help="of a run; not all of them are counted")


def unknown_word(options: argparse.Namespace) -> str:
    """What is wrong with the words of a list; empty where nothing is."""
    device = DEVICES[options.device]
    everywhere = {"peers": [peer for each in DEVICES.values() for peer in each.peers],
                  "dtypes": ["float32", "float16", "bfloat16"]}  # fmt: skip
    for name, known in [("peers", device.peers), ("models", list(MODELS)),
                        ("dtypes", list(device.largest_error))]:  # fmt: skip
        for word in getattr(options, name):
            if word in known:
                continue
            rule = f"is not for --device {options.device}"
            if word not in everywhere.get(name, []):
                rule = "is not known"
            return f"--{name}: '{word}' {rule}: take some of {', '.join(known)}"
    return ""


def fill_in(options: argparse.Namespace) -> None:
    """What was not given, by the device."""
    device = DEVICES[options.device]
    usual = {"peers": device.usual, "models": device.models, "sizes": device.sizes,
             "dtypes": device.usual_dtypes, "steps": device.steps}  # fmt: skip
    if options.device == "cpu":
        usual |= {"threads": 1, "isa": "all"}
    for name, value in usual.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def problem(options: argparse.Namespace) -> str:
    """What is wrong with the command line; empty where nothing is."""
    device = DEVICES[options.device]
    for name in ["threads", "isa"]:
        if options.device != "cpu" and getattr(options, name) is not None:
            return f"--{name} is for --device cpu: leave it out"
    if wrong := unknown_word(options):
        return wrong
    if options.steps < device.least_steps:
        return f"--steps {options.steps}: at least {device.least_steps} are needed"
    if options.peers[0] in WITHOUT_REFERENCE:
        return f"--peers: {options.peers[0]} cannot come first, its latents are others"
    has_program = options.generate and options.generate.is_file()
    if set(device.ours) & set(options.peers) and not has_program:
        return "libpcpp is among the peers: give --generate, its program"
    return ""


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="libpcpp and its peers on a CPU or a GPU.")
    add_options(parser)
    options = parser.parse_args()
    fill_in(options)
    if wrong := problem(options):
        parser.error(wrong)
    try:
        options.json.open("a").close()
    except OSError as error:
        parser.error(f"--json: {error}")
    if options.threads == 1:
        options.peers = [peer for peer in options.peers if peer != "pcpp"]
    return options


def has_files(model: str, options: argparse.Namespace) -> bool:
    """Makes what its peers read, where it is not there."""
    command = [sys.executable, PARTS / "models.py", "--folder", options.cache / model,
               "--model", model, "--peers", ",".join(options.peers)]  # fmt: skip
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return True
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    print(f"{model}: the files that its peers read cannot be made: {last}", file=sys.stderr)
    return False


def main() -> int:
    options = parse_options()
    lines = read_lines(options.json)
    complete = True
    for model in options.models:
        if not has_files(model, options):
            complete = False
            continue
        for size in options.sizes:
            for dtype in options.dtypes:
                case = Case(options.device, model, size, dtype, options.threads, options.steps,
                            options.isa)  # fmt: skip
                complete = compare(case, options, lines) and complete
    if options.generate:
        ours, build = DEVICES[options.device].ours, build_of(options.generate)
        lines = [line for line in lines if line["peer"] not in ours or line["version"] == build]
    here = processor(options.device)
    print(cost_table(lines, options.device, here))
    if options.device == "cpu":
        print("\n" + operator_table(lines, here))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
