"""Makes the embeddings of prompts with words of textual inversion, and without the text encoders' last
layers, that the C++ tests compare with.

    python3 tests/reference/text_make.py [--output tests/data/text]

Needs what models_make.py needs, whose models it reads. It writes for sd15 and sdxl

- FAMILY_glow.safetensors, FAMILY_mist.safetensors: textual inversions of three vectors and of one, as
  diffusers reads them for "<glow>" and "mist";
- FAMILY.safetensors: CASE.prompt_embeds and CASE.negative_prompt_embeds [1, n, c], for sdxl
  CASE.pooled_prompt_embeds and CASE.negative_pooled_prompt_embeds [1, c], of the cases

  - words: diffusers' of WORDS and WORDS_NEGATIVE;
  - weighted: of WEIGHTED and NEGATIVE by weighted_make.py's rules, the words at their weights;
  - skip: diffusers' of PLAIN and NEGATIVE with clip_skip 1, both as its positive prompts (of negative
    ones it leaves out no layer).

Before it writes it checks that words, weights and layers each move the embeddings by more than 5 %.
"""

import argparse
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from models_make import distance, load_model, normal
from safetensors.torch import save_file
from torch import Tensor
from weighted_make import Encoder, Section

PLAIN, NEGATIVE = "a red fox under the rainbow", "blurry"
# Between the vectors of "<glow>" diffusers puts spaces, which are none to the tokenizer.
WORDS = "a <glow> fox, MIST and<glow>: snow"
WORDS_NEGATIVE = "mist"
# "a (embedding:<glow>:1.5) fox, embedding:mist, red"
WEIGHTED: Section = [
    ("a", 1), ("<glow> <glow>_1 <glow>_2", 1.5), ("fox,", 1), ("mist", 1), (",", 1), ("red", 1),
]  # fmt: skip
Tensors = dict[str, Tensor]


def text_encoders(pipeline: DiffusionPipeline) -> list[str]:
    return ["", "_2"] if hasattr(pipeline, "text_encoder_2") else [""]


def inversion(pipeline: DiffusionPipeline, vectors: int, seed: int) -> Tensors:
    """Vectors about as long as those of the vocabulary."""
    suffixes = text_encoders(pipeline)
    names = ["emb_params"] if len(suffixes) == 1 else ["clip_l", "clip_g"]
    tensors = {}
    for index, (name, suffix) in enumerate(zip(names, suffixes)):
        width = getattr(pipeline, "text_encoder" + suffix).config.hidden_size
        shape = (vectors, width) if vectors > 1 or len(suffixes) == 2 else (width,)
        tensors[name] = normal(seed + index, *shape)
    return tensors


def add_word(pipeline: DiffusionPipeline, word: str, tensors: Tensors) -> None:
    for suffix, vectors in zip(text_encoders(pipeline), tensors.values()):
        text_encoder = getattr(pipeline, "text_encoder" + suffix)
        pipeline.load_textual_inversion(
            {word: vectors if vectors.dim() == 2 else vectors[None]},
            token=word,
            text_encoder=text_encoder,
            tokenizer=getattr(pipeline, "tokenizer" + suffix),
        )


def encoded(pipeline: DiffusionPipeline, prompt: str, prefix: str, clip_skip: int | None) -> Tensors:
    values = pipeline.encode_prompt(
        prompt,
        device="cpu",
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
        clip_skip=clip_skip,
    )
    tensors = {prefix + "prompt_embeds": values[0]}
    if len(text_encoders(pipeline)) == 2:
        tensors[prefix + "pooled_prompt_embeds"] = values[2]
    return tensors


def weighted(pipeline: DiffusionPipeline, section: Section, prefix: str) -> Tensors:
    suffixes = text_encoders(pipeline)
    states = [Encoder(pipeline, suffix).section(section) for suffix in suffixes]
    tensors = {prefix + "prompt_embeds": torch.cat([text for text, _ in states], dim=2)}
    if len(suffixes) == 2:
        tensors[prefix + "pooled_prompt_embeds"] = states[1][1]
    return tensors


def references(pipeline: DiffusionPipeline, words: dict[str, Tensors]) -> Tensors:
    for suffix in text_encoders(pipeline):
        encoder = getattr(pipeline, "text_encoder" + suffix)
        if not hasattr(encoder, "text_model"):  # diffusers asks for it, since transformers 5 in vain
            object.__setattr__(encoder, "text_model", encoder)
    plain = encoded(pipeline, PLAIN, "", None)
    skip = encoded(pipeline, PLAIN, "", 1)
    assert distance(skip["prompt_embeds"], plain["prompt_embeds"]) > 0.05
    without = encoded(pipeline, WORDS, "", None)
    for suffix in text_encoders(pipeline):
        # Where a config has diffusers' old name for the end, transformers pools at the added words.
        encoder, tokenizer = (getattr(pipeline, name + suffix) for name in ["text_encoder", "tokenizer"])
        encoder.config.eos_token_id = tokenizer.eos_token_id
    for word, tensors in words.items():
        add_word(pipeline, word, tensors)
    cases = {
        "words": encoded(pipeline, WORDS, "", None) | encoded(pipeline, WORDS_NEGATIVE, "negative_", None),
        "weighted": weighted(pipeline, WEIGHTED, "") | weighted(pipeline, [(NEGATIVE, 1)], "negative_"),
        "skip": skip | encoded(pipeline, NEGATIVE, "negative_", 1),
    }
    assert distance(cases["words"]["prompt_embeds"], without["prompt_embeds"]) > 0.05
    return {f"{case}.{name}": tensor for case, all in cases.items() for name, tensor in all.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("tests/data/models"))
    parser.add_argument("--output", type=Path, default=Path("tests/data/text"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for family in ["sd15", "sdxl"]:
        pipeline = load_model(family, arguments.models / family)
        words = {"<glow>": inversion(pipeline, 3, 10), "mist": inversion(pipeline, 1, 20)}
        for word, tensors in words.items():
            name = f"{family}_{word.strip('<>')}.safetensors"
            save_file({key: tensor.half() for key, tensor in tensors.items()}, arguments.output / name)
        exact = {word: {k: t.half().float() for k, t in all.items()} for word, all in words.items()}
        tensors = references(pipeline, exact)
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            arguments.output / f"{family}.safetensors",
        )


if __name__ == "__main__":
    main()
