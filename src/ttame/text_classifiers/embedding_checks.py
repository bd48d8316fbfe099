"""Whether a model may be called with word embeddings, and with padding behind them.

Both are needed for every explanation: methods change embeddings, and batches are padded. A decoder
that reads its answer at the last token finds that token by its number. Called with embeddings it
reads padding instead, and its maps would look plausible.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError, TtameError
from ttame.memory_limit import ran_out_of_memory
from ttame.networks.network_trace import first_line, logits_of
from ttame.signal_handlers import raised_by_signal_handler
from ttame.text_classifiers.given_texts import GivenText
from ttame.text_classifiers.token_network import TokenNetwork
from ttame.text_classifiers.token_signal import CARRIED, is_real, with_embedding
from ttame.text_classifiers.tokenising import TokenBatch, Tokenising

ENCODERS = (
    "an encoder such as BERT, RoBERTa, DistilBERT, ELECTRA, DeBERTa or ModernBERT, not a decoder"
)
"""What passes."""

_PROBE = "a text of a few words, and then some more of them"


def probes_of(tokenising: Tokenising) -> list[GivenText]:
    """A text that fits, also into a model of few tokens, and one that is shorter if one can be."""
    words, tokenizer = _PROBE.split(), tokenising.tokenizer
    while len(words) > 1:
        if len(tokenizer(" ".join(words), verbose=False)["input_ids"]) <= tokenising.most:
            break
        words.pop()
    return [GivenText(" ".join(words)), GivenText(words[0])]


@torch.no_grad()
def refuse_another_way_in(
    network: TokenNetwork, name: str, tokens: TokenBatch, signal: Tensor
) -> None:
    """Refuse a model that answers otherwise to embeddings than to numbers, or to padding.

    Args:
        network: frozen.
        name: the name of the model, for messages.
        tokens: of :func:`probes_of`.
        signal: of these, (2, C, 1, T) as the network takes it.

    Raises:
        ClassifierError: it does, or it fails.
    """
    model = network.model
    ids = tokens.ids[:1].to(signal.device)
    types = {"token_type_ids": tokens.types[:1].to(signal.device)}
    more = _known_arguments(model, types)
    expected = _answered(
        lambda: model(input_ids=ids, attention_mask=torch.ones_like(ids), **more),
        name,
        "token numbers",
    )
    length = int(is_real(signal)[1].sum())
    together = _answered(lambda: network(signal), name, "word embeddings", 2)
    alone = _answered(lambda: network(signal[1:, ..., :length]), name, "word embeddings")
    if not _is_same(together[:1], expected):
        raise ClassifierError(
            f"{name} gives another answer to word embeddings than to token numbers",
            allowed=ENCODERS,
        )
    if not _is_same(together[1:], alone) or not _leaves_padding_alone(network, signal, together):
        raise ClassifierError(
            f"{name} answers differently when padding stands behind a text", allowed=ENCODERS
        )


def _leaves_padding_alone(network: TokenNetwork, signal: Tensor, together: Tensor) -> bool:
    """Whether other embeddings as padding change nothing, where rounding hides small differences.

    In batches of one shape, rounding is the same.
    """
    if together.dtype in (torch.float32, torch.float64):
        return True
    other = with_embedding(signal, ~is_real(signal), signal[0, :-CARRIED, 0, 1])
    again = logits_of(network(other), 2, type(network.model).__name__)
    return bool((again - together).abs().max() <= 1e-3 * together.abs().max())


def _is_same(came: Tensor, expected: Tensor) -> bool:
    """Whether two answers differ by rounding only."""
    exact = came.dtype in (torch.float32, torch.float64)
    absolute, relative = (1e-4, 1e-3) if exact else (5e-2, 5e-2)
    largest = float(expected.float().abs().max())
    return bool((came - expected).float().abs().max() <= absolute + relative * largest)


def _answered(call: Callable[[], Any], name: str, what: str, texts: int = 1) -> Tensor:
    """(texts, C), or one line that says why not."""
    try:
        return logits_of(call(), texts, name)
    except TtameError:
        raise
    except Exception as problem:  # the model is the user's code and may raise anything
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        raise ClassifierError(
            f"{name} fails when it is called with {what} ({first_line(problem)})", allowed=ENCODERS
        ) from problem


def _known_arguments(model: nn.Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    arguments = inspect.signature(model.forward).parameters
    return {name: value for name, value in given.items() if name in arguments}
