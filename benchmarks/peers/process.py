"""One peer draws a few steps in this process and writes what they cost: see ../compare_with_peers.py.

The result is a JSON file with `step_seconds`, `peak_bytes` (VmHWM: the most resident memory since the
process began) and `version`; `--save` receives the final latents, except of stable-diffusion.cpp.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

Array = np.ndarray
Predict = Callable[[Array, int], Array]


def peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("/proc/self/status has no VmHWM")


def write_result(place: Path, step_seconds: list[float], version: str) -> None:
    result = {"step_seconds": step_seconds, "peak_bytes": peak_bytes(), "version": version}
    place.write_text(json.dumps(result))


def conditions(options: argparse.Namespace) -> list[Array]:
    """The unconditional half before the conditional: text and, for SDXL, pooled text and time ids."""
    embeds = load_file(options.embeds)
    both = [np.concatenate([embeds["negative_prompt_embeds"], embeds["prompt_embeds"]])]
    if "pooled_prompt_embeds" in embeds:
        pooled = [embeds["negative_pooled_prompt_embeds"], embeds["pooled_prompt_embeds"]]
        size = [options.size] * 2
        both += [np.concatenate(pooled), np.array([size + [0, 0] + size] * 2, dtype=np.float32)]
    return both


def denoise(options: argparse.Namespace, predict: Predict, version: str) -> None:
    """DDIM (arXiv 2010.02502, equation 12, eta 0) with the schedule of Stable Diffusion 1.5."""
    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    stride = 1000 // options.steps
    latents = load_file(options.latents)["latents"]
    seconds = []
    for timestep in range((options.steps - 1) * stride + 1, 0, -stride):
        begin = time.perf_counter()
        negative, positive = np.split(predict(np.concatenate([latents] * 2), timestep), 2)
        noise = negative + options.guidance_scale * (positive - negative)
        now, after = alphas[timestep], alphas[max(timestep - stride, 0)]
        clean = (latents - np.sqrt(1 - now) * noise) / np.sqrt(now)
        latents = np.sqrt(after) * clean + np.sqrt(1 - after) * noise
        latents = latents.astype(np.float32)
        seconds.append(time.perf_counter() - begin)
    write_result(options.result, seconds, version)
    save_file({"latents": latents}, options.save)


def sinusoids(values: Array, width: int) -> Array:
    """Of Stable Diffusion's timesteps and time ids: cosines, then sines; [n] to [n, width]."""
    frequencies = np.exp(-np.log(10000) * np.arange(width // 2) / (width // 2))
    angles = np.outer(values, frequencies)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def run_diffusers(options: argparse.Namespace) -> None:
    import diffusers
    import torch

    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    unet = diffusers.UNet2DConditionModel.from_pretrained(options.model / "unet", dtype=dtype).eval()
    text, *added = (torch.from_numpy(array).to(dtype) for array in conditions(options))
    keywords = dict(zip(["text_embeds", "time_ids"], added)) or None

    def predict(sample: Array, timestep: int) -> Array:
        noise = unet(torch.from_numpy(sample).to(dtype), timestep, encoder_hidden_states=text,
                     added_cond_kwargs=keywords, return_dict=False)[0]  # fmt: skip
        return noise.float().numpy()

    with torch.inference_mode():
        denoise(options, predict, f"{diffusers.__version__}, torch {torch.__version__}")


def run_openvino(options: argparse.Namespace) -> None:
    import openvino

    core = openvino.Core()
    model = core.read_model(options.model / "openvino" / "unet.xml")
    inputs = conditions(options)
    if len(inputs) == 3:
        inputs[2] = sinusoids(inputs[2].flatten(), 256).reshape(2, -1)
    side = options.size // 8
    shapes = [(2, 4, side, side), (2, 320), *(array.shape for array in inputs)]
    model.reshape({index: openvino.PartialShape(shape) for index, shape in enumerate(shapes)})
    precision = {"float32": "f32", "bfloat16": "bf16"}[options.dtype]
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": options.threads, "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1,
    })  # fmt: skip
    del model

    def predict(sample: Array, timestep: int) -> Array:
        return compiled([sample, sinusoids([timestep] * 2, 320), *inputs])[0]

    denoise(options, predict, openvino.__version__)


def run_stable_diffusion_cpp(options: argparse.Namespace, direct: bool = False) -> None:
    """The whole program, up to the end of its last step; it then ends the process."""
    import stable_diffusion_cpp

    weights = {"float32": "f32", "bfloat16": "bf16"}[options.dtype]
    second = options.model / "text_encoder_2" / "model.safetensors"
    model = stable_diffusion_cpp.StableDiffusion(
        model_path=str(options.model / "stable-diffusion.cpp"), n_threads=options.threads,
        clip_g_path=str(second) if second.exists() else "", wtype=weights,
        diffusion_conv_direct=direct, vae_decode_only=True)  # fmt: skip
    marks: list[float] = []

    def on_step(step: int, steps: int, seconds: float) -> None:
        if steps != options.steps:
            return  # the loading of files reports its progress the same way
        marks.append(time.perf_counter())
        if step == steps:
            seconds_of = [after - before for before, after in zip(marks, marks[1:])]
            write_result(options.result, seconds_of, stable_diffusion_cpp.__version__)
            os._exit(0)

    model.generate_image(
        prompt="a fox", negative_prompt="a dog", width=options.size, height=options.size,
        cfg_scale=options.guidance_scale, sample_method="euler", sample_steps=options.steps,
        seed=1, progress_callback=on_step)  # fmt: skip
    raise SystemExit("stable-diffusion.cpp told of no last step")


PEERS = {
    "diffusers": run_diffusers,
    "openvino": run_openvino,
    "stable-diffusion.cpp": run_stable_diffusion_cpp,
    "stable-diffusion.cpp-direct": partial(run_stable_diffusion_cpp, direct=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="One peer in a process of its own.")
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--model", type=Path, required=True, help="its folder")
    parser.add_argument("--size", type=int, required=True, help="pixels, square")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--guidance-scale", type=float, required=True)
    parser.add_argument("--latents", type=Path, required=True, help="the initial noise")
    parser.add_argument("--embeds", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--save", type=Path, required=True)
    options = parser.parse_args()
    PEERS[options.peer](options)


if __name__ == "__main__":
    main()
