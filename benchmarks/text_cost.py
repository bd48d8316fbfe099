"""What methods cost on texts, in plain forward passes per text, and in memory.

python -m benchmarks.text_cost                            # all methods, a quarter of an hour
python -m benchmarks.text_cost transformer_attribution    # those that are named
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

import ttame
from benchmarks.benchmark_page import median, median_ratio, table, write_section
from benchmarks.worker_process import Prepare, take_turns
from ttame.testing.tiny_texts import tiny_text_model, tiny_tokenizer

BERT_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "initializer_range": 0.02,
}
BATCH = 8
ROUNDS = 2
PLAIN = "plain forward"

VARIANTS: dict[str, tuple[dict[str, Any], float | None]] = {
    "transformer_attribution": ({}, 7.0),
    "generic_attention": ({}, None),
    "attn_lrp": ({}, None),
    "class_evidence": ({}, None),
    "full_lrp": ({}, None),
}
"""Method: options, most forward passes per text."""


def main(methods: Sequence[str] = ()) -> None:
    rows = [measure(method) for method in methods or VARIANTS]
    header = ["method", "batch", "processor s per text", "forward passes per text", "limit", "peak"]
    note = (
        "\n\nA classifier of the sizes of BERT-base, random weights, texts of 512 tokens, the "
        "top-1 classes, the default memory budget. A forward pass is a plain "
        "`model(input_ids=...)` of the same batch in a process of its own, in turns, after one run "
        f"of each to warm up; medians of {ROUNDS} rounds, of processor time on one thread, because "
        "other work ran on the machine. Peak is how far the resident memory rose during a run; "
        "what the process had left free was given back before."
    )
    write_section(
        "text-cost", "Methods on texts in forward passes",
        " ".join(["python -m benchmarks.text_cost", *methods]),
        table(header, rows) + note,
    )  # fmt: skip


def measure(method: str) -> list[str]:
    """One row of the table."""
    options, limit = VARIANTS[method]
    prepared: dict[str, Prepare] = {
        PLAIN: prepare_plain,
        method: functools.partial(prepare_method, method, options),
    }
    runs = take_turns(prepared, repeats=ROUNDS)
    plain, ours = ([run.processor_seconds for run in runs[name]] for name in (PLAIN, method))
    row = [
        method,
        str(BATCH),
        f"{median(ours) / BATCH:.2f}",
        f"{median_ratio(ours, plain):.2f}",
        f"{limit:.0f}" if limit else "",
        f"{max(run.peak_megabytes for run in runs[method]):.0f} MB",
    ]
    print(row, flush=True)
    return row


def _classifier() -> ttame.text.TextClassifier:
    torch.set_num_threads(1)
    model = tiny_text_model("bert", **BERT_BASE)
    return ttame.text.TextClassifier(model, tiny_tokenizer(512), name="BERT-base")


def _texts() -> list[str]:
    words = ["the", "film", "was", "not", "bad", "and", "the", "story", "is", "good", "but"]
    return [" ".join((words * 50)[first : first + 510]) for first in range(BATCH)]


def prepare_plain() -> Callable[[], object]:
    """``model(input_ids=...)`` without gradients."""
    classifier = _classifier()
    tokens = classifier.tokenise(_texts())
    model = classifier.network.model

    def run() -> object:
        with torch.no_grad():
            return model(input_ids=tokens.ids, attention_mask=torch.ones_like(tokens.ids)).logits

    return run


def prepare_method(method: str, options: dict[str, Any]) -> Callable[[], object]:
    """One of our methods."""
    explainer: Any = ttame.make_explainer(method, _classifier(), **options)
    texts = _texts()
    return lambda: explainer(texts)


if __name__ == "__main__":
    main(sys.argv[1:])
