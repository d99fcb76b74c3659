"""Trains everything, stage by stage. One command, safe to stop and start again: it goes on where it was.

On a GPU where there is one, else on the CPU, without the largest pictures; in bfloat16 either way.
"""

import argparse
import dataclasses
import os

import torch

from autoencoder import AutoencoderStage
from classifier import ClassifierStage
from data import Pictures
from decoder import DecoderStage
from denoiser import DenoiserStage
from plans import FULL, ON_CPU, TOY
from stages import Clock, keep_memory, pick_device, run_stage
from student import StudentStage


def _setting(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if type(getattr(FULL, name, None)) is not int or not number.isdigit() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of plans.py and its value, like pixels=524288")
    return name, int(number)


def main(arguments) -> None:
    keep_memory()
    os.makedirs(arguments.work, exist_ok=True)
    device, clock = pick_device(), Clock(arguments.minutes, arguments.stop_at)
    plan = TOY if arguments.toy else FULL if device.type == "cuda" else ON_CPU
    plan = dataclasses.replace(plan, **dict(arguments.set or ()))
    workers = os.cpu_count() - 1 if arguments.workers is None else arguments.workers
    pictures = Pictures(device, plan.variants, max(1, workers))
    print(f"training on {torch.cuda.get_device_name() if device.type == 'cuda' else 'the CPU'}", flush=True)
    makers = {
        "autoencoder": lambda: AutoencoderStage(plan, pictures, device, min(workers, 4)),
        "classifier": lambda: ClassifierStage(plan, pictures, device, min(workers, 4)),
        "denoiser": lambda: DenoiserStage(plan, arguments.work, pictures, device, min(workers, 8)),
        "decoder": lambda: DecoderStage(plan, arguments.work, pictures, device, min(workers, 4)),
        "student": lambda: StudentStage(plan, arguments.work, pictures, device, min(workers, 8)),
    }
    for name in arguments.stages or ("autoencoder", "classifier", "denoiser", "decoder"):
        if not run_stage(makers[name](), arguments.work, clock, arguments.report):
            break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, help="folder for checkpoints")
    parser.add_argument("--stages", nargs="+", choices=("autoencoder", "classifier", "denoiser", "decoder", "student"),
                        help="only these, in this order; student must be asked for")
    parser.add_argument("--minutes", type=float, help="stop after so long, with a checkpoint")
    parser.add_argument("--stop-at", type=int, help="stop before this step of a stage, with a checkpoint")
    parser.add_argument("--set", nargs="+", type=_setting, metavar="NAME=N", help="other numbers of plans.py: "
                        "denoiser_steps=5000 pixels=524288. Steps may change on the way, before the learning rate "
                        "falls: after half of a stage, after 65 %% of the denoiser's; or after the last, to go on")
    parser.add_argument("--workers", type=int, help="processes that make scenes and paint backgrounds")
    parser.add_argument("--report", type=int, default=25, help="steps between two lines")
    parser.add_argument("--toy", action="store_true", help="tiny networks and pictures, to see that everything runs")
    main(parser.parse_args())
