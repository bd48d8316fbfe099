"""The small BERT of the golden tensors, as a text classifier; its texts are made of numbers."""

from __future__ import annotations

import functools
import json
from typing import Any

import torch
from torch import Tensor

from tests.conftest import Golden
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.text_classifiers.tokenising import TokenBatch

INPUTS = ("unpadded", "padded")


@functools.cache
def chefer() -> Golden:
    return Golden("chefer_bert")


def number_tokenizer() -> Any:
    """A tokenizer of 50 tokens, of which 0 is padding, 1 the first and 2 the last of a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2} | {f"w{n}": n for n in range(3, 50)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )


@functools.cache
def golden_bert(dtype: torch.dtype = torch.float64) -> TextClassifier:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(**json.loads(chefer().metadata["bert_config"]))
    model = BertForSequenceClassification(config).to(dtype)
    model.load_state_dict(chefer().under("weights."))
    return TextClassifier(model.eval(), number_tokenizer(), name="golden BERT")


def text_of(name: str) -> str:
    """The words of an input."""
    ids, mask = (chefer()[f"input.{name}.{part}"][0] for part in ("input_ids", "attention_mask"))
    real = ids[mask.bool()].tolist()
    assert real[0] == 1
    assert real[-1] == 2
    return " ".join(f"w{number}" for number in real[1:-1])


def golden_signal(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """The input as the reference had it, padding included, (1, 35, 1, T)."""
    ids, mask = (chefer()[f"input.{name}.{part}"] for part in ("input_ids", "attention_mask"))
    roles = torch.where(mask.bool(), 0, 1)
    roles[ids == 1], roles[ids == 2] = 2, 2
    zeros = torch.zeros_like(ids)
    return golden_bert(dtype).signal(TokenBatch((), ids, roles, zeros, zeros, ()))
