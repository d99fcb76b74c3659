"""Makes an exported model's checkpoints, to train it further: the way back from export.py.

Of an exported model only the networks are left, so its optimiser starts anew, and the classifier is trained again.
"""

import argparse
import os

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from autoencoder import Autoencoder, pictures_to_fit
from checkpoints import WEIGHTS, save_checkpoint
from data import Pictures
from denoiser import Denoiser
from plans import ON_CPU, TOY, Plan
from stages import pick_device

COMPARED = 16       # pictures
ALIKE = 0.2         # least correlation of a coefficient with what the encoder learnt of it; of the finest it learns little


@torch.no_grad()
def turn_to(autoencoder: Autoencoder, learnt: torch.Tensor, shown: torch.Tensor) -> None:
    """Principal components fitted again may point the other way: turns those to what an encoder learnt of `shown`."""
    fitted, learnt = (c.transpose(0, 1).flatten(1) for c in (autoencoder.encode(shown), learnt))
    alike = torch.cosine_similarity(fitted - fitted.mean(1, True), learnt - learnt.mean(1, True))
    if alike.abs().min() < ALIKE:
        raise SystemExit(f"coefficient {int(alike.abs().argmin())} and what the model's encoder makes of it agree by "
                         f"{alike.abs().min():.2f}, less than {ALIKE}: it was not trained on these scripts' scenes")
    autoencoder.weight *= alike.sign()[:, None, None, None]
    autoencoder.bias *= alike.sign()


@torch.no_grad()
def with_linear_map(plan: Plan, vae: AutoencoderKL, pictures: Pictures) -> Autoencoder:
    autoencoder, shown = Autoencoder(plan), [p.cpu() for p in pictures_to_fit(plan, pictures)]
    autoencoder.vae.load_state_dict(vae.state_dict())
    autoencoder.fit(shown)
    some = shown[0][:COMPARED]
    turn_to(autoencoder, autoencoder.encode_by_network(some), some)
    return autoencoder


def unpack(plan: Plan, model: str, work: str, workers: int) -> None:
    there = [name for name in WEIGHTS if os.path.exists(os.path.join(work, f"{name}.pt"))]
    if there:
        raise SystemExit(f"{work} has {there[0]}.pt already: name a folder without checkpoints")
    pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None, torch_dtype=torch.float32)
    autoencoder = with_linear_map(plan, pipeline.vae, Pictures(pick_device(), plan.variants, workers))
    denoiser = Denoiser(plan)
    denoiser.unet.load_state_dict(pipeline.unet.state_dict())
    denoiser.text.load_state_dict(pipeline.text_encoder.state_dict())
    os.makedirs(work, exist_ok=True)
    for stage, network, steps, more in (("autoencoder", autoencoder, plan.autoencoder_steps, {}),
                                        ("denoiser", denoiser, plan.denoiser_steps, {"samples": 0})):
        save_checkpoint(os.path.join(work, f"{stage}.pt"), steps,
                        {"stage": {WEIGHTS[stage]: network.state_dict(), **more}, "seconds": 0.0})
    print(f"autoencoder and denoiser are in {work}, as after their last steps; go on with train.py --work {work} "
          f"--set denoiser_steps=N, N over {plan.denoiser_steps}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=os.path.join(os.path.dirname(__file__), "..", "emoji-scenes"))
    parser.add_argument("--work", required=True, help="folder for checkpoints, with none in it")
    parser.add_argument("--toy", action="store_true", help="as with train.py --toy")
    arguments = parser.parse_args()
    unpack(TOY if arguments.toy else ON_CPU, arguments.model, arguments.work, os.cpu_count())
