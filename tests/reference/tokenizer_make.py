"""Makes tests/data/tokenizer: token ids of awkward prompts by transformers' CLIPTokenizer.

    python3 tests/reference/tokenizer_make.py [--table bpe_simple_vocab_16e6.txt.gz]

The vocabulary (vocab.json, merges.txt) is CLIP's own table cut to its first 4000 merges, which is a
whole byte-pair vocabulary by itself. It is made anew where --table names CLIP's table, which the
PyPI package open_clip_torch carries (MIT licence); else the files that are there are used. So is
src/io/families/clip_merges.txt, the whole table, which is part of the library.

configs.json    what tokenizer_config.json and special_tokens_map.json say in folders of SD 1.5,
                SD 2.x and the two tokenizers of SDXL
expected.json   the prompts; for each config the padding id and each prompt's ids before the padding
clip.json       the same of the whole table
"""

import argparse
import gzip
import json
import shutil
import tempfile
from pathlib import Path

from transformers import CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "tokenizer"
WHOLE = ROOT / "src" / "io" / "families" / "clip_merges.txt"
MERGES = 4000
WHOLE_MERGES = 49152 - 256 - 2
START, END = "<|startoftext|>", "<|endoftext|>"

PROMPTS = [
    "",
    " ",
    "\t\n\r \u000b\u000c",
    "a photo of a cat",
    "A PHOTO of a Cat, 4K, Trending on ArtStation",
    "  leading, trailing and   inner   spaces  ",
    "tab\tnewline\nreturn\rform\ffeed\u000bvertical",
    "no\u00a0break\u2003em\u3000ideographic\u2028line\u2029paragraph\u0085next\u1680ogham\u202fnarrow",
    "zero\u200bwidth\u200cnon\u200djoiner\ufeffmark\u2060word",
    "control\u0000nul\u0001\u001b\u001c\u001f\u007f\u009f",
    "caf\u00e9 na\u00efve fa\u00e7ade \u00fcber \u0160koda \u0141\u00f3d\u017a",
    "cafe\u0301 nai\u0308ve s\u0323\u0307 s\u0307\u0323 o\u0302\u0301",
    "\u212b \u2126 \u00c5 \u1e9b\u0323 \u0344 \u0958",
    "\u1100\u1161\u11a8 \uac01 \u1100\u1161 \ud55c\uad6d\uc5b4",
    "\u0130stanbul I\u0131 \u00df \u1e9e STRASSE",
    "\u03a3\u0391\u03a3 \u03bf\u03b4\u03cc\u03c2 \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3",
    "\u01c4 \u01c5 \u01c6 \u1f88 \u1fbc \u1e9e \u2168 \u24b6 \ua64a \u10a0 \u13a0",
    "\u4e00\u53ea\u732b\u5750\u5728\u5f69\u8679\u4e0b\u9762\u3002",
    "\u732b\u304c\u8679\u306e\u4e0b\u306b\u3044\u308b\u3001\u30ab\u30bf\u30ab\u30ca\u3068\uff76\uff85",
    "\ud558\ub298\uc744 \ub098\ub294 \uace0\uc591\uc774",
    "\u043a\u043e\u0442 \u041f\u041e\u0414 \u0420\u0430\u0434\u0443\u0433\u043e\u0439",
    "\u0642\u0637\u0629 \u062a\u062d\u062a \u0642\u0648\u0633 \u0661\u0662\u0663",
    "\u05d7\u05ea\u05d5\u05dc \u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u092c\u093f\u0932\u094d\u0932\u0940 \u0967\u0968",
    "\u0e41\u0e21\u0e27\u0e43\u0e15\u0e49\u0e23\u0e38\u0e49\u0e07",
    "\U0001f98a under a \U0001f308",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea \u2764\ufe0f 3\ufe0f\u20e3",
    "\U0001f600\U0001f600\U0001f600!!!\U0001f600",
    "\U0001d4d0\U0001d4ea \uff26\uff35\uff2c\uff2c \ufb01\ufb02 \u00bd \u00b2 \u2460 \u216b",
    "\U00010400\U00010428 \U0001e900 \U00020000",
    "\U000f0000 \ue000 \uffff \ufffd",
    "it's can't we're I've I'm they'll he'd",
    "IT'S CAN'T WE'RE I'VE I'M THEY'LL HE'D",
    "it\u2019s can\u2019t \u02bcs \u00b4t `re",
    "'s't're've'm'll'd ''s 'x' '''",
    "rock'n'roll o'clock 'sup 'tis dogs' 'S",
    "0 1 12 123 2024 3.14 1,000 v2.0 4k 50mm f/1.8",
    "\u0661\u0662 \u09ea \u2167 \u00be \u4e09 \u3007 \u1372",
    "snake_case __init__ _ a_b_c __",
    "kebab-case - -- \u2013 \u2014 ... \u2026",
    "!",
    "hello! hello!! !hello !",
    "!!!!!!!! ! a!b",
    "?!?!;:,.()[]{}<>|/\\@#$%^&*~`\"",
    "(masterpiece:1.2), [blurry], {a|b}, <lora:x:0.8>",
    "&amp; &lt;b&gt; &quot;x&quot; &#39; &nbsp; &amp;amp;",
    "<b>bold</b> <br/> <!-- comment -->",
    "https://example.com/a?b=c&d=e#f user@example.com",
    "C:\\folder\\file.txt /usr/bin",
    "<|startoftext|>",
    "<|endoftext|>",
    "before<|endoftext|>after <|startoftext|> again",
    "<|ENDOFTEXT|> <|StartOfText|> <| endoftext|> <|endoftext| >",
    "<|endoftext|>!! <|startoftext|><|endoftext|>s",
    "!<|ENDOFTEXT|>'s <|Endoftext|>!!",
    "</w> a</w>b \u0120hello \u010a",
    "a</w>",
    "\u00a1\u00ac\u00ad\u00ae\u00ff",
    "a\u0301\u0301\u0301\u0301\u0327 \u0301 \u0301a",
    "\u0301",
    "x\u0338 =\u0338 \u2260 \u226e <\u0338",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "the " * 74 + "end",
    "the " * 75,
    "the " * 76,
    "a very long prompt, " * 40,
    "x" * 2000,
    "!" * 100,
    "\U0001f308" * 40,
    "<|endoftext|>" * 80,
    "mixed \u6df7\u5408 Mi\u0328x\u0301 \u0421\u043c\u0435\u0441\u044c \U0001f500 42'll_\u00a0!",
]


def _token(content, is_tagged=False, **fields):
    token = {"content": content, "lstrip": False, "normalized": True, "rstrip": False,
             "single_word": False, **fields}
    return {"__type": "AddedToken", **token} if is_tagged else token


def _configs(vocabulary):
    """For each kind of folder, tokenizer_config.json and special_tokens_map.json."""
    common = {"add_prefix_space": False, "do_lower_case": True, "errors": "replace",
              "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    old = {**common, "bos_token": _token(START, True), "eos_token": _token(END, True),
           "unk_token": _token(END, True), "name_or_path": "openai/clip-vit-large-patch14",
           "special_tokens_map_file": "./special_tokens_map.json"}
    new = {**common, "bos_token": START, "eos_token": END, "unk_token": END,
           "clean_up_tokenization_spaces": True}
    specials = {str(vocabulary[START]): _token(START, special=True),
                str(vocabulary[END]): _token(END, special=True)}
    exclamation = {"0": _token("!", normalized=False, special=True)}
    tokens_map = {"bos_token": _token(START), "eos_token": _token(END), "unk_token": _token(END)}
    return {
        "sd1": [{**old, "pad_token": END}, {**tokens_map, "pad_token": END}],
        "sd2": [{**old, "pad_token": "!"}, {**tokens_map, "pad_token": "!"}],
        "sdxl": [{**new, "added_tokens_decoder": specials, "pad_token": END}, None],
        "sdxl_2": [{**new, "added_tokens_decoder": {**exclamation, **specials}, "pad_token": "!"},
                   {**tokens_map, "pad_token": "!"}],
    }


def _byte_symbols():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(c) for c in printable] + [chr(0x100 + i) for i in range(len(others))]


def _vocabulary(merges):
    symbols = _byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + [line.replace(" ", "") for line in merges]
    return {token: i for i, token in enumerate(tokens + [START, END])}


def _write_merges(path, merges):
    path.write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")


def _write_vocabularies(table):
    lines = gzip.open(table).read().decode().split("\n")[1 : WHOLE_MERGES + 1]
    _write_merges(WHOLE, lines)
    _write_merges(DATA / "merges.txt", lines[:MERGES])
    (DATA / "vocab.json").write_text(json.dumps(_vocabulary(lines[:MERGES]), ensure_ascii=False)
                                     + "\n", encoding="utf-8")


def _ids(folder):
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    encoded = tokenizer(PROMPTS, padding="max_length", truncation=True,
                        max_length=tokenizer.model_max_length)
    ids = []
    for row, mask in zip(encoded.input_ids, encoded.attention_mask):
        length = sum(mask)
        assert len(row) == 77 and row[length:] == [tokenizer.pad_token_id] * (77 - length)
        ids.append(row[:length])
    # What transformers 5 saves is a single tokenizer.json; it must mean the same.
    with tempfile.TemporaryDirectory() as saved:
        tokenizer.save_pretrained(saved)
        again = CLIPTokenizer.from_pretrained(saved)
        assert again(PROMPTS, padding="max_length", truncation=True,
                     max_length=77).input_ids == encoded.input_ids
    return {"pad": tokenizer.pad_token_id, "ids": ids}


def _expected(vocabulary, merges, configs):
    """By each kind of folder."""
    expected = {}
    for name, (config, tokens_map) in configs.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "vocab.json").write_text(json.dumps(vocabulary))
            shutil.copy(merges, place / "merges.txt")
            (place / "tokenizer_config.json").write_text(json.dumps(config))
            if tokens_map:
                (place / "special_tokens_map.json").write_text(json.dumps(tokens_map))
            expected[name] = _ids(folder)
    return expected


def _write_expected(path, expected):
    lines = [f'"prompts": {json.dumps(PROMPTS)}']
    lines += [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in expected.items()]
    path.write_text("{" + ",\n".join(lines) + "}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", help="CLIP's whole table, bpe_simple_vocab_16e6.txt.gz")
    table = parser.parse_args().table
    DATA.mkdir(parents=True, exist_ok=True)
    if table:
        _write_vocabularies(table)
    vocabulary = json.loads((DATA / "vocab.json").read_text(encoding="utf-8"))
    configs = _configs(vocabulary)
    (DATA / "configs.json").write_text(json.dumps(configs, indent=1) + "\n")
    _write_expected(DATA / "expected.json", _expected(vocabulary, DATA / "merges.txt", configs))
    whole = _vocabulary(WHOLE.read_text(encoding="utf-8").splitlines()[1:])
    _write_expected(DATA / "clip.json", _expected(whole, WHOLE, _configs(whole)))
    print(f"{len(PROMPTS)} prompts, {len(configs)} configs")


if __name__ == "__main__":
    main()
