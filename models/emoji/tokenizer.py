"""A small CLIP byte-pair vocabulary: every caption word is one token, and any other text still has tokens."""

import json
import os
from functools import lru_cache

import torch

from scenes import LONGEST_CAPTION, all_words, words_of

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
TOKENS = LONGEST_CAPTION + 2


def byte_symbols() -> list[str]:
    """CLIP's printable stand-ins for the 256 bytes, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i:i + 2]) == pair:
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, the most frequent pair first, until every word is one symbol."""
    spelled = [list(word[:-1]) + [word[-1] + END_OF_WORD] for word in words]
    merges = []
    while any(len(symbols) > 1 for symbols in spelled):
        counts: dict[tuple[str, str], int] = {}
        for symbols in spelled:
            for pair in zip(symbols, symbols[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        spelled = [_merge(symbols, best) for symbols in spelled]
    return merges


@lru_cache(maxsize=None)
def entries() -> tuple[str, ...]:
    """The vocabulary, by token id."""
    merges = learn_merges([word for word in all_words() if len(word) > 1])
    symbols = byte_symbols()
    return (*symbols, *(s + END_OF_WORD for s in symbols), *("".join(pair) for pair in merges), START, END)


@lru_cache(maxsize=None)
def _ids() -> dict[str, int]:
    return {entry: i for i, entry in enumerate(entries())}


def quick_tokens(caption: str) -> torch.Tensor:
    """[TOKENS] ids of a caption made of known words, as CLIPTokenizer makes them."""
    ids = [_ids()[START], *(_ids()[word + END_OF_WORD] for word in words_of(caption))]
    return torch.tensor(ids + [_ids()[END]] * (TOKENS - len(ids)))


def write_tokenizer(folder: str) -> None:
    """vocab.json, merges.txt and their configs, as CLIP checkpoints hold them."""
    os.makedirs(folder, exist_ok=True)
    merges = learn_merges([word for word in all_words() if len(word) > 1])
    contents = {
        "vocab.json": json.dumps(_ids(), ensure_ascii=False),
        "merges.txt": "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges),
        "special_tokens_map.json": json.dumps(
            {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}, indent=2) + "\n",
        "tokenizer_config.json": json.dumps(
            {"add_prefix_space": False, "bos_token": START, "do_lower_case": True, "eos_token": END,
             "errors": "replace", "model_max_length": TOKENS, "pad_token": END,
             "tokenizer_class": "CLIPTokenizer", "unk_token": END}, indent=2) + "\n",
    }
    for name, text in contents.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)
