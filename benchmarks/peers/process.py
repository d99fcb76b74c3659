"""One peer draws a few steps in this process and writes what they cost: see ../compare_with_peers.py.

The result is a JSON file with `step_seconds`, `peak_bytes` (VmHWM: the most resident memory since the
process began; null on a GPU, whose memory is watched from outside) and `version`; `--save` receives
the final latents, except of stable-diffusion.cpp.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

Array = np.ndarray
Latents = Any  # an array of NumPy's or a tensor on any device
Predict = Callable[[Latents, int], Latents]  # both branches', the unconditional first


def peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("/proc/self/status has no VmHWM")


class HostClock:
    """Times what lies between its marks."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def mark(self) -> None:
        self.marks.append(time.perf_counter())

    def seconds(self) -> list[float]:
        return [after - before for before, after in zip(self.marks, self.marks[1:])]


class DeviceClock:
    """The same on a GPU, by events in its stream, for which the host need not wait: as libpcpp's."""

    def __init__(self) -> None:
        self.marks: list[Any] = []

    def mark(self) -> None:
        import torch

        self.marks.append(torch.cuda.Event(enable_timing=True))
        self.marks[-1].record()

    def seconds(self) -> list[float]:
        self.marks[-1].synchronize()
        return [before.elapsed_time(after) / 1000
                for before, after in zip(self.marks, self.marks[1:])]  # fmt: skip


def write_result(options: argparse.Namespace, step_seconds: list[float], version: str) -> None:
    peak = peak_bytes() if options.device == "cpu" else None
    result = {"step_seconds": step_seconds, "peak_bytes": peak, "version": version}
    options.result.write_text(json.dumps(result))


def conditions(options: argparse.Namespace) -> list[Array]:
    """The unconditional half before the conditional: text and, for SDXL, pooled text and time ids."""
    embeds = load_file(options.embeds)
    both = [np.concatenate([embeds["negative_prompt_embeds"], embeds["prompt_embeds"]])]
    if "pooled_prompt_embeds" in embeds:
        pooled = [embeds["negative_pooled_prompt_embeds"], embeds["pooled_prompt_embeds"]]
        size = [options.size] * 2
        both += [np.concatenate(pooled), np.array([size + [0, 0] + size] * 2, dtype=np.float32)]
    return both


def timesteps(steps: int) -> list[int]:
    stride = 1000 // steps
    return list(range((steps - 1) * stride + 1, 0, -stride))


def denoise(
    options: argparse.Namespace, latents: Latents, predict: Predict, clock: HostClock | DeviceClock
) -> Latents:
    """DDIM (arXiv 2010.02502, equation 12, eta 0) with the schedule of Stable Diffusion 1.5, where
    the latents are."""
    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2).tolist()
    stride = 1000 // options.steps
    clock.mark()
    for timestep in timesteps(options.steps):
        both = predict(latents, timestep)
        noise = both[:1] + options.guidance_scale * (both[1:] - both[:1])
        now, after = alphas[timestep], alphas[max(timestep - stride, 0)]
        clean = (latents - (1 - now) ** 0.5 * noise) / now**0.5
        latents = after**0.5 * clean + (1 - after) ** 0.5 * noise
        clock.mark()
    return latents


def sinusoids(values: Array, width: int) -> Array:
    """Of Stable Diffusion's timesteps and time ids: cosines, then sines; [n] to [n, width]."""
    frequencies = np.exp(-np.log(10000) * np.arange(width // 2) / (width // 2))
    angles = np.outer(values, frequencies)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def recorded(function: Callable[..., Any], *inputs: Any) -> Callable[..., Any]:
    """function(*inputs) as a CUDA graph. What is returned takes other values for them, launches it and
    returns the same output each time."""
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):  # libraries choose kernels and take memory
            function(*inputs)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function(*inputs)

    def launch(*values: Any) -> Any:
        for place, value in zip(inputs, values):
            place.copy_(value)
        graph.replay()
        return output

    return launch


def run_diffusers(options: argparse.Namespace, way: str = "eager") -> None:
    """As its users run it; "compiled" as its documentation has it for speed; "graphed" eager, but that
    its U-Net is one CUDA graph: what the card takes where the host takes nothing."""
    import diffusers
    import torch

    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False  # float32 means that; of products it is off by itself
    unet = diffusers.UNet2DConditionModel.from_pretrained(options.model / "unet", dtype=dtype)
    unet = unet.eval().to(device)
    if way == "compiled":
        unet.to(memory_format=torch.channels_last)
        unet = torch.compile(unet, mode="max-autotune", fullgraph=True)
    text, *added = (torch.from_numpy(array).to(device, dtype) for array in conditions(options))
    keywords = dict(zip(["text_embeds", "time_ids"], added)) or None
    times = {number: torch.tensor(number, device=device) for number in timesteps(options.steps)}

    def forward(both: Latents, time: Latents) -> Latents:
        return unet(both, time, encoder_hidden_states=text, added_cond_kwargs=keywords,
                    return_dict=False)[0]  # fmt: skip

    def predict(sample: Latents, timestep: int) -> Latents:
        return network(sample.to(dtype).repeat(2, 1, 1, 1), times[timestep]).float()

    clock = HostClock() if device.type == "cpu" else DeviceClock()
    with torch.no_grad() if way == "compiled" else torch.inference_mode():
        latents = torch.from_numpy(load_file(options.latents)["latents"]).to(device)
        network = forward
        if way == "graphed":
            network = recorded(forward, latents.to(dtype).repeat(2, 1, 1, 1),
                               next(iter(times.values())).clone())  # fmt: skip
        latents = denoise(options, latents, predict, clock)
    version = f"{diffusers.__version__}, torch {torch.__version__}"
    write_result(options, clock.seconds(), version)
    save_file({"latents": latents.cpu().numpy()}, options.save)


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
        both = np.concatenate([sample] * 2)
        return compiled([both, sinusoids([timestep] * 2, 320), *inputs])[0]

    clock = HostClock()
    latents = denoise(options, load_file(options.latents)["latents"], predict, clock)
    write_result(options, clock.seconds(), openvino.__version__)
    save_file({"latents": latents}, options.save)


def run_stable_diffusion_cpp(options: argparse.Namespace, direct: bool = False) -> None:
    """The whole program, up to the end of its last step; it then ends the process."""
    import stable_diffusion_cpp

    weights = {"float32": "f32", "bfloat16": "bf16"}[options.dtype]
    second = options.model / "text_encoder_2" / "model.safetensors"
    model = stable_diffusion_cpp.StableDiffusion(
        model_path=str(options.model / "stable-diffusion.cpp"), n_threads=options.threads,
        clip_g_path=str(second) if second.exists() else "", wtype=weights,
        diffusion_conv_direct=direct, vae_decode_only=True)  # fmt: skip
    clock = HostClock()

    def on_step(step: int, steps: int, seconds: float) -> None:
        if steps != options.steps:
            return  # the loading of files reports its progress the same way
        clock.mark()
        if step == steps:
            write_result(options, clock.seconds(), stable_diffusion_cpp.__version__)
            os._exit(0)

    model.generate_image(
        prompt="a fox", negative_prompt="a dog", width=options.size, height=options.size,
        cfg_scale=options.guidance_scale, sample_method="euler", sample_steps=options.steps,
        seed=1, progress_callback=on_step)  # fmt: skip
    raise SystemExit("stable-diffusion.cpp told of no last step")


PEERS = {
    "diffusers": run_diffusers,
    "diffusers-compiled": partial(run_diffusers, way="compiled"),
    "diffusers-graphed": partial(run_diffusers, way="graphed"),
    "openvino": run_openvino,
    "stable-diffusion.cpp": run_stable_diffusion_cpp,
    "stable-diffusion.cpp-direct": partial(run_stable_diffusion_cpp, direct=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="One peer in a process of its own.")
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--model", type=Path, required=True, help="its folder")
    parser.add_argument("--size", type=int, required=True, help="pixels, square")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], required=True)
    parser.add_argument("--threads", type=int, help="on a CPU")
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
