"""Models of published shapes with small random weights, in diffusers' layout, and inputs for them.

    python3 benchmarks/peers/models.py --folder DIR/sd15 --model sd15 --peers libpcpp,openvino

Makes what the peers need and is not there yet: `unet`, `scheduler`; for stable-diffusion.cpp and
bench_denoise text encoders, tokenizers and a VAE; for OpenVINO the U-Net in its own format
(`openvino/unet.xml`). All weights are float16, as they are published. Needs torch, diffusers and
transformers; for OpenVINO, openvino.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

TOKENIZER = Path(__file__).resolve().parents[2] / "models" / "emoji-scenes" / "tokenizer"

UNETS = {
    "sd15": {"sample_size": 64, "cross_attention_dim": 768},
    "sdxl": {
        "sample_size": 128,
        "cross_attention_dim": 2048,
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
CLIP_L = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "projection_dim": 768, "hidden_act": "quick_gelu",
}  # fmt: skip
CLIP_G = {
    "vocab_size": 49408, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
    "num_attention_heads": 20, "projection_dim": 1280, "hidden_act": "gelu",
}  # fmt: skip
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}


def make(folder: Path, write: Callable[[Path], None]) -> None:
    """`write` fills `folder`, which appears whole or not at all, unless it is there."""
    if folder.exists():
        return
    print(f"making {folder}", flush=True)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    partial.rename(folder)


def random_half(build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    try:
        return build().half().eval()
    finally:
        torch.set_default_dtype(torch.float32)


def write_tokenizer(folder: Path) -> None:
    """The bundled model's, for as many tokens as CLIP takes."""
    shutil.copytree(TOKENIZER, folder, dirs_exist_ok=True)
    place = folder / "tokenizer_config.json"
    config = json.loads(place.read_text()) | {"model_max_length": 77}
    place.write_text(json.dumps(config, indent=1) + "\n")


def write_text_encoder(folder: Path, kind: type, config: dict[str, object]) -> None:
    """Under the names of published checkpoints, which transformers 5 shortens."""
    end = json.loads((TOKENIZER / "vocab.json").read_text())["<|endoftext|>"]
    model = random_half(lambda: kind(CLIPTextConfig(**config, eos_token_id=end)))
    model.config.save_pretrained(folder)
    weights = {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": weight
        for name, weight in model.state_dict().items()
        if not name.endswith("position_ids")
    }
    save_file(weights, folder / "model.safetensors")


def make_network(folder: Path, model: str) -> None:
    make(folder / "unet", lambda place: random_half(
        lambda: UNet2DConditionModel(**UNETS[model])).save_pretrained(place))  # fmt: skip
    make(folder / "scheduler", lambda place: DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
        set_alpha_to_one=False, steps_offset=1).save_pretrained(place))  # fmt: skip


def write_links(folder: Path) -> None:
    """For stable-diffusion.cpp, which mistakes a second text encoder in a folder of diffusers' layout."""
    for part in ["unet", "vae", "text_encoder"]:
        (folder / part).symlink_to(Path("..") / part)


def make_surroundings(folder: Path, model: str) -> None:
    """What turns a prompt into embeddings and latents into a picture."""
    parts = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "scheduler": "DDIMScheduler",
             "text_encoder": "CLIPTextModel", "tokenizer": "CLIPTokenizer"}  # fmt: skip
    make(folder / "vae", lambda place: random_half(
        lambda: AutoencoderKL(**VAE)).save_pretrained(place))  # fmt: skip
    make(folder / "text_encoder", lambda place: write_text_encoder(place, CLIPTextModel, CLIP_L))
    make(folder / "tokenizer", write_tokenizer)
    if model == "sdxl":
        parts |= {"text_encoder_2": "CLIPTextModelWithProjection", "tokenizer_2": "CLIPTokenizer"}
        make(folder / "text_encoder_2",
             lambda place: write_text_encoder(place, CLIPTextModelWithProjection, CLIP_G))  # fmt: skip
        make(folder / "tokenizer_2", write_tokenizer)
    make(folder / "stable-diffusion.cpp", write_links)
    kind = "StableDiffusionXLPipeline" if model == "sdxl" else "StableDiffusionPipeline"
    index = {"_class_name": kind} | {
        part: ["transformers" if "t" == part[0] else "diffusers", name]
        for part, name in parts.items()
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")


class Positional(torch.nn.Module):
    """The U-Net with tensors alone as arguments, for tracing.

    The sinusoids of the timestep and of SDXL's time ids are arguments too: OpenVINO would keep their
    frequencies in float16 with the weights, an error of 1e-3 in the picture.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet
        unet.get_time_embed = lambda sample, timestep: timestep
        unet.add_time_proj = torch.nn.Identity()

    def forward(self, sample: Tensor, time: Tensor, text: Tensor, *added: Tensor) -> Tensor:
        conditions = dict(zip(["text_embeds", "time_ids"], added)) or None
        return self.unet(sample, time, encoder_hidden_states=text, added_cond_kwargs=conditions,
                         return_dict=False)[0]  # fmt: skip


@torch.inference_mode()
def write_openvino(folder: Path, place: Path) -> None:
    """The weights stay in float16, which holds them without loss; all is computed in float32."""
    import openvino
    from openvino.frontend.pytorch import patch_model

    unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float16).eval()
    width = unet.config.cross_attention_dim
    inputs = [torch.zeros(2, 4, 16, 16), torch.zeros(2, 320), torch.zeros(2, 77, width)]
    if unet.config.addition_embed_type == "text_time":
        inputs += [torch.zeros(2, 1280), torch.zeros(2, 6 * 256)]
    shapes = [list(tensor.shape) for tensor in inputs]
    shapes[0][2:] = [-1, -1]
    model = Positional(unet)
    getattr(patch_model, "__make_16bit_traceable")(model)
    traced = openvino.convert_model(model, example_input=tuple(inputs), input=shapes)
    openvino.save_model(traced, place / "unet.xml", compress_to_fp16=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Random models of published shapes.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", choices=UNETS, required=True)
    parser.add_argument("--peers", default="libpcpp", help="for whom, separated by commas")
    options = parser.parse_args()
    peers = options.peers.split(",")
    options.folder.mkdir(parents=True, exist_ok=True)
    make_network(options.folder, options.model)
    if any(peer.startswith(("stable-diffusion.cpp", "bench_denoise")) for peer in peers):
        make_surroundings(options.folder, options.model)
    if "openvino" in peers:
        make(options.folder / "openvino", lambda place: write_openvino(options.folder, place))


if __name__ == "__main__":
    main()
