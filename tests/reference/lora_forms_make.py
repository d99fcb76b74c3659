"""Makes LoRAs in the forms of LyCORIS and DoRA, and the weights that LyCORIS and PEFT make with them,
that the C++ tests compare with.

    python3 tests/reference/lora_forms_make.py [--output tests/data/lora_forms]

It writes

- lycoris.safetensors: for each case and kind of layer a LoRA under kohya's names, as LyCORIS saves it;
- peft.safetensors: DoRAs under diffusers' names, with their settings as diffusers saves these;
- weights.safetensors: the layers' weights, `linear` and `conv`, and those with each LoRA, by its
  module: what the layer with it makes of every unit vector.
"""

import argparse
import json
from pathlib import Path

import torch
from lycoris.modules.base import LycorisBaseModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

RANK, ALPHA, OUTPUTS, INPUTS = 2, 3.0, 30, {"linear": 12, "conv": 6}
# LyCORIS makes both of LoKr's factors products where each has an extent of more than twice the rank.
LOKR = {"factor": 5}
TUCKER = {"use_tucker": True}
ON_OUTPUTS, ON_INPUTS = ({"weight_decompose": True, "wd_on_out": out} for out in (True, False))
CASES = {
    "locon_tucker": (LoConModule, TUCKER),
    "loha": (LohaModule, {}),
    "loha_tucker": (LohaModule, TUCKER),
    "lokr": (LokrModule, LOKR),
    "lokr_both": (LokrModule, LOKR | {"decompose_both": True}),
    "lokr_full": (LokrModule, LOKR | {"full_matrix": True}),
    "lokr_tucker": (LokrModule, LOKR | TUCKER),
    "dora": (LoConModule, ON_OUTPUTS),
    "dora_on_inputs": (LoConModule, ON_INPUTS),
    "loha_dora": (LohaModule, ON_OUTPUTS),
    "lokr_dora": (LokrModule, LOKR | ON_INPUTS),
    "tucker_dora": (LoConModule, TUCKER | ON_OUTPUTS),
}  # fmt: skip


def layer(kind: str) -> nn.Linear | nn.Conv2d:
    if kind == "linear":
        return nn.Linear(INPUTS[kind], OUTPUTS, bias=False)
    return nn.Conv2d(INPUTS[kind], OUTPUTS, 3, bias=False)


def layers() -> dict[str, nn.Linear | nn.Conv2d]:
    generator = torch.Generator().manual_seed(600)
    made = {kind: layer(kind) for kind in INPUTS}
    for each in made.values():
        weight = torch.randn(each.weight.shape, generator=generator)
        each.weight.data.copy_(weight / weight[0].numel() ** 0.5)
    return made


def draw(parameters: dict[str, Tensor], seed: int) -> None:
    """Magnitudes near those that the weights have, all else normal."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(parameters.items()):
        if "dora_scale" in name or "magnitude" in name:
            tensor.mul_(0.5 + torch.rand(tensor.shape, generator=generator))
        else:
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))


def effective_weight(module: nn.Module, shape: torch.Size) -> Tensor:
    units = torch.eye(shape[1:].numel()).view(-1, *shape[1:])
    return module(units).flatten(1).T.reshape(shape)


def write_lycoris(output: Path) -> dict[str, Tensor]:
    tensors, weights = {}, {}
    for number, (case, (form, settings)) in enumerate(CASES.items()):
        for kind, original in layers().items():
            if kind == "linear" and "use_tucker" in settings:
                continue
            module = f"{case}_{kind}"
            lora: LycorisBaseModule = form(module, original, lora_dim=RANK, alpha=ALPHA, **settings)
            draw(dict(lora.named_parameters()), 610 + number)
            lora.apply_to()
            weights[module] = effective_weight(original, original.weight.shape)
            for part, tensor in lora.custom_state_dict().items():
                tensors[f"lora_unet_{module}.{part}"] = tensor.detach().clone().contiguous()
    save_file(tensors, output / "lycoris.safetensors")
    return weights


def write_peft(output: Path) -> dict[str, Tensor]:
    made = {f"peft_dora_{kind}": original for kind, original in layers().items()}
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, use_dora=True, target_modules=sorted(made))
    model = get_peft_model(nn.ModuleDict(made), config).eval()
    draw({name: tensor for name, tensor in model.named_parameters() if "lora_" in name}, 640)
    modules = {name: model.base_model.model[name] for name in made}
    weights = {name: effective_weight(module, module.weight.shape) for name, module in modules.items()}
    state = get_peft_model_state_dict(model)
    tensors = {name.replace("base_model.model", "unet"): tensor for name, tensor in state.items()}
    settings = {"unet.lora_alpha": ALPHA, "unet.r": RANK, "unet.use_dora": True}
    metadata = {"lora_adapter_metadata": json.dumps(settings)}
    save_file(tensors, output / "peft.safetensors", metadata)
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the C++ tests' LoRAs of LyCORIS' forms.")
    data = Path(__file__).resolve().parents[1] / "data"
    parser.add_argument("--output", type=Path, default=data / "lora_forms")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    weights = {kind: original.weight for kind, original in layers().items()}
    weights |= write_lycoris(output) | write_peft(output)
    for name, weight in weights.items():
        change = weight - weights[name.rsplit("_", 1)[-1]]
        assert name in INPUTS or change.norm() > 0.1 * weight.norm()
    save_file({name: weight.contiguous() for name, weight in weights.items()}, output / "weights.safetensors")


if __name__ == "__main__":
    main()
