"""Seconds a step on one device: libpcpp's `generate` beside diffusers, same weights, threads, dtype.

    python3 benchmarks/compare_with_diffusers.py --generate build/release/examples/generate

Needs torch, diffusers and safetensors. Each model is run by both in turn, `--repeat` times, with the
same latents and prompt embeddings; each run's figure is the median of its steps but the first, and
the table shows the median over runs with the smallest and the largest. Before it times, it checks
that both draw the same latents. The SD1.5-size U-Net has random weights, written to a temporary
folder (1.7 GB).
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
GUIDANCE = 5.0


@dataclass
class Case:
    """One model at one size and dtype."""

    name: str
    folder: Path
    side: int  # pixels, square
    dtype: str
    steps: int


def write_sd15_size(folder: Path) -> Path:
    """A U-Net of Stable Diffusion 1.5's config with small random weights, and its scheduler."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768).to(torch.float16)
    unet.save_pretrained(folder / "unet")
    DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    ).save_pretrained(folder / "scheduler")  # fmt: skip
    return folder


def write_inputs(case: Case, unet: UNet2DConditionModel, folder: Path) -> dict[str, Path]:
    generator = torch.Generator().manual_seed(1)
    rows = case.side // 8
    tokens = 77 if unet.config.cross_attention_dim > 256 else 20
    text = torch.randn(2, 1, tokens, unet.config.cross_attention_dim, generator=generator)
    latents = torch.randn(1, unet.config.in_channels, rows, rows, generator=generator)
    files = {name: folder / f"{name}.safetensors" for name in ["latents", "embeds"]}
    save_file({"latents": latents}, files["latents"])
    save_file(
        {"prompt_embeds": text[0].clone(), "negative_prompt_embeds": text[1].clone()},
        files["embeds"],
    )
    return files


def run_libpcpp(
    case: Case, generate: Path, inputs: dict[str, Path], threads: int, folder: Path
) -> tuple[float, Tensor]:
    """The median milliseconds of a step, and the final latents."""
    report, saved = folder / "report.json", folder / "saved.safetensors"
    command = [
        generate, "--model", case.folder, "--method", "single", "--ranks", 1, "--threads", threads,
        "--dtype", case.dtype, "--steps", case.steps, "--width", case.side, "--height", case.side,
        "--guidance-scale", GUIDANCE, "--scheduler", "ddim", "--latents", inputs["latents"],
        "--prompt-embeds", inputs["embeds"], "--report", report, "--save-latents", saved,
    ]  # fmt: skip
    subprocess.run([str(word) for word in command], check=True, stderr=subprocess.DEVNULL)
    steps = json.loads(report.read_text())["ranks"][0]["steps"]
    times = [step["compute_ms"] + step["wait_ms"] for step in steps[1:]]
    return statistics.median(times), load_file(saved)["latents"]


@torch.inference_mode()
def run_diffusers(
    case: Case, unet: UNet2DConditionModel, inputs: dict[str, Path]
) -> tuple[float, Tensor]:
    scheduler = DDIMScheduler.from_pretrained(case.folder / "scheduler")
    scheduler.set_timesteps(case.steps)
    embeds = load_file(inputs["embeds"])
    text = torch.cat([embeds["negative_prompt_embeds"], embeds["prompt_embeds"]]).to(unet.dtype)
    latents = load_file(inputs["latents"])["latents"] * scheduler.init_noise_sigma
    times = []
    for timestep in scheduler.timesteps:
        begin = time.perf_counter()
        both = torch.cat([scheduler.scale_model_input(latents, timestep)] * 2).to(unet.dtype)
        noise = unet(both, timestep, encoder_hidden_states=text).sample.float()
        negative, positive = noise.chunk(2)
        guided = negative + GUIDANCE * (positive - negative)
        latents = scheduler.step(guided, timestep, latents).prev_sample
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times[1:]), latents


def compare(case: Case, generate: Path, threads: int, repeat: int) -> dict[str, object]:
    unet = UNet2DConditionModel.from_pretrained(case.folder / "unet", dtype=DTYPES[case.dtype])
    unet.eval()
    figures: dict[str, list[float]] = {"libpcpp": [], "diffusers": []}
    with tempfile.TemporaryDirectory() as name:
        inputs = write_inputs(case, unet, Path(name))
        for _ in range(repeat):
            ours, latents = run_libpcpp(case, generate, inputs, threads, Path(name))
            theirs, expected = run_diffusers(case, unet, inputs)
            difference = ((latents - expected).norm() / expected.norm()).item()
            limit = 1e-3 if case.dtype == "float32" else 0.1
            if not difference <= limit:
                raise SystemExit(f"{case.name} {case.dtype}: latents differ by {difference:.1e}")
            figures["libpcpp"].append(ours)
            figures["diffusers"].append(theirs)
    ratios = [a / b for a, b in zip(figures["libpcpp"], figures["diffusers"])]
    return {"case": case.name, "side": case.side, "dtype": case.dtype, "threads": threads,
            "ratio": statistics.median(ratios), **figures}  # fmt: skip


def row(result: dict[str, object]) -> str:
    def cell(values: list[float]) -> str:
        return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"

    size = f"{result['side']}x{result['side']}"
    return (
        f"| {result['case']} | {size} | {result['dtype']} | {cell(result['diffusers'])} "
        f"| {cell(result['libpcpp'])} | {result['ratio']:.2f} |"
    )


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def main() -> None:
    parser = argparse.ArgumentParser(description="libpcpp and diffusers on one device, in one run.")
    parser.add_argument("--generate", type=Path, required=True, help="the program that was built")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--side", type=int, default=256, help="pixels, for the SD1.5-size U-Net")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{processor()}, {options.threads} thread(s), torch {torch.__version__}, "
          f"diffusers {diffusers.__version__}; ms a step, both branches\n")  # fmt: skip
    print("| U-Net | size | dtype | diffusers | libpcpp | libpcpp / diffusers |")
    print("| --- | --- | --- | --- | --- | --- |")
    results = []
    with tempfile.TemporaryDirectory() as name:
        sd15 = write_sd15_size(Path(name))
        for dtype in DTYPES:
            for case in [
                Case("emoji-scenes", ROOT / "models" / "emoji-scenes", 256, dtype, 4 * options.steps),
                Case("SD1.5 size", sd15, options.side, dtype, options.steps),
            ]:
                results.append(compare(case, options.generate, options.threads, options.repeat))
                print(row(results[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
