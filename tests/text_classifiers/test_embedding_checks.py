"""Models that read padding, or that cannot be called with embeddings, are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ttame.errors import ClassifierError
from ttame.testing.tiny_texts import SPECIAL_TOKENS, WORDS, tiny_text_model, tiny_tokenizer
from ttame.text_classifiers.embedding_checks import probes_of
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.text_classifiers.tokenising import Tokenising

_SMALL = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
          "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
_DECODER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 2, "intermediate_size": 16}  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "options", "said"),
    [
        ("llama", _DECODER, "answers differently when padding stands behind a text"),
        ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "another answer to word embeddings"),
        ("bart", _SMALL, r"fails when it is called with word embeddings \(Passing"),
    ],
)
def test_decoders_are_refused(architecture: str, options: dict[str, Any], said: str) -> None:
    """A padded batch would be read at padding."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    vocabulary = len(SPECIAL_TOKENS) + len(WORDS.split())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            architecture, vocab_size=vocabulary, pad_token_id=1, bos_token_id=0, eos_token_id=2,
            initializer_range=0.5, **options
        )  # fmt: skip
        model = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ClassifierError, match=f"{said}.*; allowed: an encoder such as BERT"):
        TextClassifier(model, tiny_tokenizer())


def test_rounding_hides_no_decoder() -> None:
    """In bfloat16, numbers that differ by padding look like numbers that were rounded."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.for_model("llama", vocab_size=60, pad_token_id=1, **_DECODER)
        model = AutoModelForSequenceClassification.from_config(config).bfloat16()
    with pytest.raises(ClassifierError, match="answers differently when padding"):
        TextClassifier(model, tiny_tokenizer())
    assert TextClassifier(tiny_text_model().bfloat16(), tiny_tokenizer()).number_of_classes == 2


def test_probes_fit_and_one_is_shorter() -> None:
    tokenising = Tokenising(tiny_tokenizer(), 6)
    long, short = (len(row) for row in tokenising.batch(probes_of(tokenising)).roles)
    assert long == short == 6
    assert (tokenising.batch(probes_of(tokenising)).roles == 1).sum(dim=1).tolist() == [0, 3]
