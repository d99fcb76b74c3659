"""Makes the embeddings of prompts with weights, and of long ones, that the C++ tests compare with.

    python3 tests/reference/weighted_make.py [--output tests/data/weighted]

Needs what models_make.py needs, whose models it reads. It writes FAMILY.safetensors: prompt_embeds
and negative_prompt_embeds [2, 154, c], for sdxl pooled_prompt_embeds and
negative_pooled_prompt_embeds [2, c], of PROMPTS and NEGATIVE, which the test has too, by
transformers' text encoders. What a prompt means is written out here: its sections, and the weight of
each word. A section is encoded by itself; a weight w moves what the encoder makes of a token to
w * it + (1 - w) * what it makes of the empty text in that place (ComfyUI's rule); sections follow each
other; a prompt of one section is repeated to be as long as one of two; the pooled text is the first
section's.

Before it writes it checks that weights move the embeddings by more than 5 %.
"""

import argparse
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from models_make import distance, load_model
from safetensors.torch import save_file
from torch import Tensor

Section = list[tuple[str, float]]
TOKENS = 77
DIGITS = list("1234567890" * 8)
# "(a red fox:1.5) in ((deep)) snow" and "1 2 3 ... 9 (0:0.4)", of 80 words, of which 75 fit a section.
PROMPTS: list[list[Section]] = [
    [[("a", 1.5), ("red", 1.5), ("fox", 1.5), ("in", 1), ("deep", 1.1 * 1.1), ("snow", 1)]],
    [[(word, 1) for word in DIGITS[:75]], [(word, 1) for word in DIGITS[75:79]] + [("0", 0.4)]],
]
# "a (blurry:-0.5) fox"
NEGATIVE: list[Section] = [[("a", 1), ("blurry", -0.5), ("fox", 1)]]


class Encoder:
    def __init__(self, pipeline: DiffusionPipeline, suffix: str) -> None:
        self.tokenizer = getattr(pipeline, "tokenizer" + suffix)
        self.model = getattr(pipeline, "text_encoder" + suffix)
        self.is_xl = hasattr(pipeline, "text_encoder_2")

    def states(self, ids: list[int]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            output = self.model(torch.tensor([ids]), output_hidden_states=True)
        pooled = output.text_embeds if hasattr(output, "text_embeds") else output.pooler_output
        return (output.hidden_states[-2] if self.is_xl else output.last_hidden_state), pooled

    def section(self, words: Section) -> tuple[Tensor, Tensor]:
        ids, weights = [self.tokenizer.bos_token_id], [1.0]
        for word, weight in words:
            tokens = self.tokenizer(word, add_special_tokens=False).input_ids
            ids += tokens
            weights += [weight] * len(tokens)
        ids.append(self.tokenizer.eos_token_id)
        assert len(ids) <= TOKENS
        ids += [self.tokenizer.pad_token_id] * (TOKENS - len(ids))
        weights += [1.0] * (TOKENS - len(weights))
        text, pooled = self.states(ids)
        empty = [self.tokenizer.bos_token_id, self.tokenizer.eos_token_id]
        base, _ = self.states(empty + [self.tokenizer.pad_token_id] * (TOKENS - 2))
        by_token = torch.tensor(weights)[None, :, None]
        moved = by_token * text + (1 - by_token) * base
        assert all(weight == 1 for weight in weights) or distance(moved, text) > 0.05
        return moved, pooled

    def prompt(self, sections: list[Section]) -> tuple[Tensor, Tensor]:
        encoded = [self.section(section) for section in sections]
        text = torch.cat([text for text, _ in encoded], dim=1)
        return text.repeat(1, 2 * TOKENS // text.shape[1], 1), encoded[0][1]


def embeddings(pipeline: DiffusionPipeline) -> dict[str, Tensor]:
    suffixes = ["", "_2"] if hasattr(pipeline, "text_encoder_2") else [""]
    encoders = [Encoder(pipeline, suffix) for suffix in suffixes]
    tensors = {}
    for prefix, prompts in [("", PROMPTS), ("negative_", [NEGATIVE, NEGATIVE])]:
        by_encoder = [[encoder.prompt(prompt) for prompt in prompts] for encoder in encoders]
        tensors[prefix + "prompt_embeds"] = torch.cat(
            [torch.cat([text for text, _ in encoded]) for encoded in by_encoder], dim=2
        )
        if len(encoders) == 2:
            tensors[prefix + "pooled_prompt_embeds"] = torch.cat(
                [pooled for _, pooled in by_encoder[1]]
            )
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("tests/data/models"))
    parser.add_argument("--output", type=Path, default=Path("tests/data/weighted"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for family in ["sd15", "sdxl"]:
        tensors = embeddings(load_model(family, arguments.models / family))
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            arguments.output / f"{family}.safetensors",
        )


if __name__ == "__main__":
    main()
