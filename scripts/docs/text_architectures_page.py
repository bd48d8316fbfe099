"""Writes ``docs/text-architectures.md``: python -m scripts.docs text-architectures

Every architecture is built with random weights and three narrow blocks, and asked for both classes
of a batch of texts by every method that explains texts, in float64.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer
from ttame.explainers.trained.trained_cards import TRAINED_CARDS
from ttame.testing.tiny_texts import ARCHITECTURES, tiny_text_model, tiny_tokenizer
from ttame.text_classifiers.text_classifier import TextClassifier

PAGE = Path(__file__).parents[2] / "docs" / "text-architectures.md"

TITLES = {
    "bert": "BERT",
    "roberta": "RoBERTa",
    "distilbert": "DistilBERT",
    "electra": "ELECTRA",
    "albert": "ALBERT",
    "deberta-v2": "DeBERTa v2, v3",
    "xlm-roberta": "XLM-RoBERTa",
    "modernbert": "ModernBERT",
    "mpnet": "MPNet",
}

METHODS = tuple(
    name
    for name, method in EXPLAINERS.items()
    if "texts" in method.card.explains and name not in TRAINED_CARDS
)
"""Those that explain texts and need no training."""

QUICK: dict[str, dict[str, Any]] = {"integrated_gradients": {"steps": 2}}
"""Options that save time and change nothing that is looked at."""

TEXTS = ["a fine film", "the story was not very good, unlikely", ("good?", "bad!")]
"""Of different lengths, with a word in pieces, and a pair."""

SAME = 1e-5
"""What a text's map may differ by in another batch, of its largest value, in float64: relevance is
badly conditioned, and maps are kept in float32."""


def wide_classifier(architecture: str) -> TextClassifier:
    """The tiny classifier of an architecture, in float64."""
    model = tiny_text_model(architecture).double()
    return TextClassifier(model, tiny_tokenizer(), name=TITLES[architecture])


def row_of(architecture: str) -> dict[str, str]:
    """Method to ``""``, or to why it is not defined for the architecture.

    Raises:
        AssertionError: a map of a padded batch differs from that of the text alone.
    """
    classifier, row = wide_classifier(architecture), {}
    for method in METHODS:
        try:
            explainer = make_explainer(method, classifier, **QUICK.get(method, {}))
        except ExplainerError as problem:
            row[method] = problem.problem
            continue
        check_batch_equals_singles(explainer)
        row[method] = ""
    return row


def check_batch_equals_singles(explainer: Explainer[TextClassifier]) -> None:
    """Explain both classes of all texts together, and of each alone."""
    together = explainer(TEXTS, "all").maps
    assert together.shape[:2] == (len(TEXTS), 2)
    for maps, text in zip(together, TEXTS, strict=True):
        alone = explainer(text, "all").maps[0]
        length = alone.shape[1]
        assert _is_close(maps[:, :length], alone), f"{explainer.method}: {text}"
        assert not maps[:, length:].any(), f"{explainer.method}: padding has a score"


def _is_close(maps: Tensor, expected: Tensor) -> bool:
    return bool(torch.isfinite(expected).all()) and float(
        (maps - expected).abs().max()
    ) <= SAME * float(expected.abs().max())


def write_page() -> None:
    """Write the page anew."""
    PAGE.write_text(architectures_page({name: row_of(name) for name in ARCHITECTURES}), "utf-8")


def architectures_page(rows: dict[str, dict[str, str]]) -> str:
    """The whole page.

    Args:
        rows: architecture to what :func:`row_of` says.
    """
    notes = list(dict.fromkeys(_plain(why, name) for name in rows for why in rows[name].values()
                               if why))  # fmt: skip
    lines = [
        "# Text classifiers",
        "",
        "<!-- Written by python -m scripts.docs text-architectures; do not edit. -->",
        "",
        'Sequence classifiers of transformers, `ttame.text.load("hf/FOLDER")` or',
        "`ttame.text.TextClassifier(model, tokenizer)`. Each architecture was built with random",
        "weights and three narrow blocks, and explained by every method that explains texts: both",
        "classes of texts of different lengths and of a pair, together in one padded batch and",
        "alone, with the same maps up to rounding. Where a method is refused, a number says why.",
        "",
        "| method | " + " | ".join(TITLES[name] for name in rows) + " |",
        "|---|" + "---|" * len(rows),
    ]
    for method in METHODS:
        cells = []
        for name in rows:
            why = rows[name][method]
            cells.append(f"({1 + notes.index(_plain(why, name))})" if why else "✓")
        lines.append(f"| [`{method}`](methods.md#{method}) | " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"{number}. {note}." for number, note in enumerate(notes, start=1)]
    return "\n".join(lines) + "\n"


def _plain(why: str, architecture: str) -> str:
    """A reason without the names of method, network and layer, as a sentence begins."""
    why = re.sub(rf"^\w+ is not defined for {re.escape(TITLES[architecture])}(, which|, whose)?",
                 r"\1", why)  # fmt: skip
    why = re.sub(r"^, which ", "it ", why)
    why = re.sub(r"^, whose ", "its ", why)
    why = re.sub(r" \(model\.\S+ (\d+) times\)", "", why).removeprefix(": ")
    return why[:1].upper() + why[1:]
