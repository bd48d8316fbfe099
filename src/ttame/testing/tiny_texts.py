"""Tiny text classifiers, which need no files: any architecture, and a vocabulary of some words."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ttame.text_classifiers.text_classifier import TextClassifier

WORDS = (
    "a an the it is was this that of and but not never no film movie story plot actor actors "
    "music ending scene scenes good fine great brilliant lovely moving funny bad dull poor awful "
    "boring weak sad very quite rather really so . , ! ? un ##like ##ly ##ing ##ed like love hate"
)
"""The vocabulary, besides special tokens; two signs stand before a piece of a word."""

SPECIAL_TOKENS = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"max_position_embeddings": 34, "type_vocab_size": 1},
    "distilbert": {"dim": 16, "hidden_dim": 32, "n_layers": 3, "n_heads": 2},
    "electra": {"embedding_size": 8},
    "albert": {"embedding_size": 8, "inner_group_num": 1, "num_hidden_groups": 1},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
    },
    "xlm-roberta": {"max_position_embeddings": 34, "type_vocab_size": 1},
    "modernbert": {
        "local_attention": 8,
        "global_attn_every_n_layers": 2,
        "cls_token_id": 0,
        "sep_token_id": 2,
        "bos_token_id": 0,
        "eos_token_id": 2,
    },
    "mpnet": {"max_position_embeddings": 34},
}
"""Architecture, as transformers calls it, to what is special about a tiny one."""


def tiny_tokenizer(max_length: int = 32) -> Any:
    """A fast tokenizer of transformers that knows :data:`WORDS`, written as BERT's.

    Args:
        max_length: tokens, special ones included.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate((*SPECIAL_TOKENS, *WORDS.split()))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 0), ("[SEP]", 2)],
    )
    names = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **dict(zip(names, SPECIAL_TOKENS, strict=True)),
    )


def tiny_text_model(architecture: str = "bert", classes: int = 2, **options: Any) -> nn.Module:
    """A sequence classifier of transformers with three small blocks and random weights.

    Args:
        architecture: one of :data:`ARCHITECTURES`.
        classes: C.
        **options: options of its configuration.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    settings: dict[str, Any] = {
        "vocab_size": len(SPECIAL_TOKENS) + len(WORDS.split()),
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
        "num_labels": classes,
        "pad_token_id": 1,
        "initializer_range": 0.2,
    }
    settings |= ARCHITECTURES[architecture] | options
    if architecture == "distilbert":
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
            del settings[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.for_model(architecture, **settings)
        model: nn.Module = AutoModelForSequenceClassification.from_config(config)
    return model.eval()


def tiny_text_classifier(architecture: str = "bert", classes: int = 2) -> TextClassifier:
    """A text classifier with random weights, always the same.

    Args:
        architecture: one of :data:`ARCHITECTURES`.
        classes: C.

    Example:
        >>> tiny_text_classifier(classes=3)
        <TextClassifier tiny BERT: 3 classes, up to 32 tokens>
    """
    names = ("negative", "positive") if classes == 2 else None
    return TextClassifier(
        tiny_text_model(architecture, classes),
        tiny_tokenizer(),
        class_names=names,
        name=f"tiny {architecture.upper()}",
    )
