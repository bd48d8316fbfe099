"""Explanations of texts made by hand, without any network."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from ttame.results.text_explanation import TextExplanation
from ttame.words.tokenised_text import TokenisedText

WEIGHTS = {"great": 1.5, "bad": -1.0, "not": -0.5, "won": 1.0, "derful": 2.0}
"""What a token says for "positive"; others say nothing."""

LEFT_OUT = "\x07\u200b-\u200d\ufeff"
"""Characters that the tokenizer makes no token of."""

HOSTILE = "<script>alert('x')</script> <img src=x onerror=alert(1)> \u202egreat\x1b[31m & \"bad\""


def tokenised(
    text: str, pair: str | None = None, *, length: int = 0, read: int | None = None
) -> TokenisedText:
    """A text in BERT's manner: tokens of at most six letters, of which ``read`` are left."""
    rows: list[tuple[str, tuple[int, int] | None, bool, int]] = [("[CLS]", None, True, 0)]
    for part, whole in enumerate([text] if pair is None else [text, pair]):
        found = list(re.finditer(rf"won(?=derful)|\w{{1,6}}|[^\w\s{LEFT_OUT}]", whole))[:read]
        rows += [(each[0].lower(), each.span(), False, part) for each in found]
        rows.append(("[SEP]", None, True, 0))
    rows += [("[PAD]", None, True, 0)] * (length - len(rows))
    tokens, spans, special, parts = zip(*rows, strict=True)
    return TokenisedText.of(text, tokens, spans=spans, special=special, pair=pair, part=parts)


def explained(
    *texts: str,
    pair: str | None = None,
    read: int | None = None,
    signed: bool = True,
    method: str = "input_x_gradient",
    class_names: Sequence[str] = ("negative", "positive"),
) -> TextExplanation:
    """Texts for "positive", then "negative", with the scores of :data:`WEIGHTS`; specials say 9."""
    first = [tokenised(text, pair, read=read) for text in texts]
    length = max(len(text.tokens) for text in first)
    padded = tuple(tokenised(text, pair, read=read, length=length) for text in texts)
    scores = torch.tensor([
        [9.0 if special else WEIGHTS.get(token, 0.0) for token, special in zip(
            text.tokens, text.special, strict=True)] for text in padded
    ])  # fmt: skip
    maps = torch.stack([scores, -scores / 2], dim=1)
    return TextExplanation(
        maps=maps if signed else maps.clamp(min=0),
        classes=torch.tensor([[1, 0]] * len(texts)),
        logits=torch.tensor([[0.0, 1.5]] * len(texts)),
        texts=padded,
        class_names=tuple(class_names),
        method=method,
        provenance={"classifier": "by hand", "taps": ["a"], "rate": 0.5},
        signed=signed,
    )
