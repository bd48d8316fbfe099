"""A package like that of MiniLM-L6, with a tiny BERT, and made-up reviews for it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from ttame.text_classifiers.minilm_reviews import untrained_network

WORDS = [
    "a",
    "film",
    "of",
    "the",
    "plot",
    "good",
    "fine",
    "moving",
    "bad",
    "dull",
    "poor",
    ".",
    "and",
    "it",
    "is",
]
SIZES = {
    "vocab_size": len(WORDS) + 5,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 512,
}


def write_package(folder: Path) -> Path:
    """``config.json``, ``model.safetensors`` and ``tokenizer.json``, as in the package."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(0)
    network = untrained_network(**SIZES)
    names = {name: value for name, value in network.state_dict().items() if "bert." in name}
    (folder / "config.json").write_text(json.dumps(SIZES))
    save_file({n.removeprefix("bert."): v for n, v in names.items()}, folder / "model.safetensors")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_reviews(folder: Path, part: str, count: int, *, rationales: bool = True) -> None:
    """Reviews whose tenth word says what they think."""
    with gzip.open(folder / f"{part}.jsonl.gz", "wt") as file:
        for number in range(count):
            label, word = (("pos", "fine"), ("neg", "dull"))[number % 2]
            words = ["it", "is", "a", "film", "of", "the", "plot", ".", "it", word, "."]
            line = {"id": f"{part}{number}", "label": label, "tokens": " ".join(words)}
            if rationales:
                line["rationales"] = [[9, 10]]
            print(json.dumps(line), file=file)
