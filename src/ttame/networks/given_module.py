"""A network where one is expected."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from inspect import signature

from torch import nn

from ttame.errors import ClassifierError, kind_of

TEXT_CLASSIFIER = "ttame.text.TextClassifier(model, tokenizer)"
"""What takes networks that read tokens."""


def reads_tokens(given: object) -> bool:
    """Whether it is a network that takes numbers of tokens and no pixels, as those of texts do.

    Example:
        >>> from ttame.testing import tiny_text_classifier
        >>> reads_tokens(tiny_text_classifier().network.model), reads_tokens(nn.Linear(1, 1))
        (True, False)
    """
    taken: Collection[str] = ()
    with contextlib.suppress(TypeError, ValueError):  # Of some compiled networks nothing is known.
        taken = signature(given.forward).parameters if isinstance(given, nn.Module) else ()
    return "input_ids" in taken and "pixel_values" not in taken


def refuse_other_than_module(value: object, role: str = "network") -> None:
    """Raise unless a value is a network.

    Args:
        value: that somebody passed.
        role: what for, in messages.

    Raises:
        ClassifierError: it is something else; of what has a network inside, that one is named.

    Example:
        >>> refuse_other_than_module(nn.Linear(1, 1))
    """
    if isinstance(value, nn.Module):
        return
    inside = isinstance(getattr(value, "network", None), nn.Module)
    raise ClassifierError(
        f"{kind_of(value)} as {role}",
        allowed="a torch.nn.Module",
        remedy="classifier.network, which it explains" if inside else "",
    )
