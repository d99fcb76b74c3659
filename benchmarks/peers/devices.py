"""What is compared on each kind of device, and by which rules."""

from dataclasses import dataclass

MODELS = {"sd15": 768, "sdxl": 2048}  # the width of a text embedding
# Their latents are others: of stale activations, or of another prompt and noise.
WITHOUT_REFERENCE = ["pcpp", "stable-diffusion.cpp", "stable-diffusion.cpp-direct"]

Line = dict[str, object]


@dataclass(frozen=True)
class Device:
    ours: dict[str, list]  # libpcpp's own, with arguments of `generate`
    others: list[str]
    usual: list[str]  # peers that run unless others are asked for
    models: list[str]
    sizes: list[int]
    steps: int
    warm_up: int  # steps at the start that are not counted
    counts_last: bool  # whether the last step is, of all but pcpp
    usual_dtypes: list[str]
    largest_error: dict[str, float]  # of the latents, relative, 2-norm, by dtype

    @property
    def peers(self) -> list[str]:
        return [*self.ours, *self.others]

    @property
    def least_steps(self) -> int:
        """So that one is counted, also where the last is not."""
        return self.warm_up + 2


CPU_OTHERS = ["diffusers", "openvino", "stable-diffusion.cpp", "stable-diffusion.cpp-direct"]
# With one synchronous step, steps 3 and 4 are recorded as CUDA graphs, which those from 5 on launch
# again, but for the last.
ON_CUDA = ["--method", "single", "--device", "cuda:0", "--sync-steps", 1]

DEVICES = {
    "cpu": Device(
        ours={
            "libpcpp": ["--method", "single"],
            "pcpp": ["--method", "pcpp", "--sync-steps", 1],
        },
        others=CPU_OTHERS,
        usual=["libpcpp", "pcpp", *CPU_OTHERS],
        models=["sd15", "sdxl"],
        sizes=[512, 1024],
        steps=4,
        warm_up=1,
        counts_last=True,
        usual_dtypes=["float32", "bfloat16"],
        largest_error={"float32": 1e-4, "bfloat16": 0.1},
    ),
    "cuda": Device(
        ours={
            "libpcpp": [*ON_CUDA, "--cuda-graphs", "on"],
            "libpcpp-eager": [*ON_CUDA, "--cuda-graphs", "off"],
        },
        others=["diffusers", "diffusers-graphed", "diffusers-compiled"],
        usual=["libpcpp", "libpcpp-eager", "diffusers", "diffusers-graphed"],
        models=["sdxl"],
        sizes=[1024, 2048, 3840],
        steps=12,
        warm_up=5,
        counts_last=False,
        usual_dtypes=["float16"],
        largest_error={"float16": 0.02, "bfloat16": 0.1, "float32": 1e-3},
    ),
}


def counted(line: Line) -> list[float]:
    """Seconds of the steps that count: not those at the start, which also prepare weights and memory
    and on a GPU record graphs, nor the last of ranks that send rows, which sends none, or of a GPU,
    where it is launched singly."""
    device = DEVICES[line["device"]]
    last = None if device.counts_last and line["peer"] != "pcpp" else -1
    return line["step_seconds"][device.warm_up : last]
