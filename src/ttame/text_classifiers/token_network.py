"""A network of token numbers as one of signals, (B, D + 3, 1, T)."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError
from ttame.text_classifiers.token_signal import embeddings_of, is_real, types_of


class TokenNetwork(nn.Module):
    """The user's model, borrowed, called with embeddings instead of token numbers.

    ``forward`` takes a signal (see :mod:`ttame.text_classifiers.token_signal`) and returns what the
    model returns.

    Args:
        model: a model of transformers, or a module that takes ``inputs_embeds`` and
            ``attention_mask``, and has ``get_input_embeddings()``.

    Attributes:
        model: the same.
        width: D, of the word embeddings.
        vocabulary: how many of them there are.
        token_types: how many token types the model knows; 0 for a model without them.

    Raises:
        ClassifierError: it has no word embeddings, or does not take any.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: nn.Module = model
        weight = _word_embeddings(model).weight
        self.vocabulary, self.width = int(weight.shape[0]), int(weight.shape[1])
        arguments = inspect.signature(model.forward).parameters
        for needed in ("inputs_embeds", "attention_mask"):
            if needed not in arguments:
                raise ClassifierError(
                    f"a {type(model).__name__}, whose forward does not take {needed}",
                    allowed="a model that can be called with embeddings instead of token numbers",
                )
        types = getattr(getattr(model, "config", None), "type_vocab_size", 0) or 0
        self.token_types = int(types) if "token_type_ids" in arguments else 0

    def forward(self, signal: Tensor) -> Any:
        """Call the model with what the signal holds."""
        more: dict[str, Tensor] = {}
        if self.token_types:
            more["token_type_ids"] = types_of(signal, self.token_types)
        return self.model(
            inputs_embeds=embeddings_of(signal),
            attention_mask=is_real(signal).long(),
            **more,
        )

    @torch.no_grad()
    def embedded(self, ids: Tensor) -> Tensor:
        """The (..., D) word embeddings of token numbers."""
        embeddings: Any = _word_embeddings(self.model)
        embedded = embeddings(ids)
        if not isinstance(embedded, Tensor):
            raise ClassifierError(
                f"a {type(self.model).__name__}, whose word embeddings are not one tensor",
                allowed="a model of floating-point numbers, not a quantised one",
            )
        return embedded


def _word_embeddings(model: Any) -> Any:
    found = None
    with contextlib.suppress(NotImplementedError, AttributeError):
        found = model.get_input_embeddings()
    if not isinstance(getattr(found, "weight", None), Tensor):
        raise ClassifierError(
            f"a {type(model).__name__}, which has no word embeddings",
            allowed="a text classifier of transformers, such as BertForSequenceClassification",
        )
    return found
