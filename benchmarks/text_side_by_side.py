"""Our methods on texts next to other libraries', and in plain forward passes.

    python -m benchmarks.text_side_by_side

Captum comes with ``pip install "ttame[comparison]"``; transformers-interpret is measured too where
it is installed. The network is BERT of MiniLM-L6's sizes with random weights, so that nothing has
to be downloaded.
"""

from __future__ import annotations

import functools
import importlib.util
import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.benchmark_page import median, median_ratio, table, write_section
from benchmarks.worker_process import Prepare, Run, take_turns

STEPS = 10
"""Of integrated gradients."""

BATCH, TOKENS = 4, 128
"""Texts, and tokens of each, of integrated gradients."""

AT_ONCE = 8
"""Variants that others run at a time where they are told: as many as ours on a processor."""

ROUNDS = 5
LONG_BATCH, LONG_TOKENS = 8, 512
"""Of Transformer Attribution."""

LIMIT = 7.0
"""The most forward passes per text that Transformer Attribution may take."""

INTERPRET = "transformers-interpret"


def main() -> None:
    parts = [beside_captum(), "", difference_in_words(), "", in_forward_passes()]
    title = "Texts, side by side with other libraries"
    command = "python -m benchmarks.text_side_by_side"
    write_section("text-side-by-side", title, command, "\n".join(parts))


def beside_captum() -> str:
    """Integrated gradients: time and memory as ratios."""
    variants: dict[str, Prepare] = {
        "ours": prepare_ours,
        f"Captum, {AT_ONCE} variants at a time": functools.partial(prepare_captum, AT_ONCE),
        "Captum, its default": functools.partial(prepare_captum, None),
    }
    if importlib.util.find_spec("transformers_interpret"):
        variants[INTERPRET] = prepare_interpret
    runs = take_turns(variants, ROUNDS)
    rows = [_row(name, runs[name], runs["ours"]) for name in variants]
    header = ["integrated gradients", "processor", "theirs / ours", "peak", "theirs / ours"]
    absent = "" if INTERPRET in variants else f" {INTERPRET} is not installed here."
    return table(header, rows) + (
        f"\n\nBERT of MiniLM-L6's sizes (6 blocks, width 384), random weights; {BATCH} texts of "
        f"{TOKENS} tokens, {STEPS} steps from the mask token's embedding, one thread. Every "
        f"variant in a process of its own, in turns, after one run to warm up; medians of {ROUNDS} "
        "rounds, of processor time, because other work ran on the machine; ratios are the medians "
        "of the rounds' ratios. Peak is how far the resident memory rose during a run, the most of "
        "all rounds; what the process had left free was given back before. Ours runs "
        f"{AT_ONCE} variants at a time of its own accord, {INTERPRET} is told to, and explains one "
        f"text after another.{absent}"
    )


def _row(name: str, runs: list[Run], ours: list[Run]) -> list[str]:
    seconds, our_seconds = (
        [run.processor_seconds for run in runs],
        [run.processor_seconds for run in ours],
    )
    peak, our_peak = (max(run.peak_megabytes for run in some) for some in (runs, ours))
    beside = name != "ours"
    return [
        name,
        f"{median(seconds):.2f} s",
        f"{median_ratio(seconds, our_seconds):.2f}" if beside else "",
        f"{peak:.0f} MB",
        f"{peak / our_peak:.2f}" if beside else "",
    ]


def in_forward_passes() -> str:
    """Transformer Attribution in plain forward passes of the same batch."""
    names = ("plain forward", "transformer_attribution")
    runs = take_turns({names[0]: prepare_plain, names[1]: prepare_attribution}, ROUNDS)
    plain, ours = ([run.processor_seconds for run in runs[name]] for name in names)
    peak = max(run.peak_megabytes for run in runs[names[1]])
    row = [
        names[1],
        f"{LONG_BATCH} x {LONG_TOKENS}",
        f"{median(ours) / LONG_BATCH:.2f} s",
        f"{median_ratio(ours, plain):.2f}",
        f"{LIMIT:.0f}",
        f"{peak:.0f} MB",
    ]
    header = [
        "method",
        "texts x tokens",
        "processor per text",
        "forward passes per text",
        "limit",
        "peak",
    ]
    return table(header, [row]) + (
        "\n\nA forward pass is a plain call of the network on the same batch in a process of its "
        f"own, in turns, without gradients; medians of {ROUNDS} rounds, of processor time on one "
        "thread, because other work ran on the machine. With MiniLM-L6's sizes this costs more "
        "forward passes than with BERT-base's (see [Methods on texts in forward passes]"
        "(#methods-on-texts-in-forward-passes)): both have 12 heads, so that for every text and "
        "block the method goes through 12 x 512 x 512 numbers of attention several times, which a "
        "plain pass never writes down (its kernel is fused), while the dense layers that a plain "
        "pass spends its time in are a quarter as large."
    )


def difference_in_words() -> str:
    """How far our integrated gradients are from Captum's, which must say the same."""
    ours, theirs = prepare_ours()().maps[:, 0], prepare_captum(AT_ONCE)()
    largest = float(theirs.abs().max())
    return (
        "Largest difference between our scores and Captum's, over the largest score: "
        f"{float((ours - theirs).abs().max()) / largest:.0e}."
    )


def classifier(tokens: int = TOKENS) -> Any:
    """MiniLM-L6's sizes with random weights, and a vocabulary of some words."""
    from ttame.testing.tiny_texts import tiny_text_model, tiny_tokenizer
    from ttame.text_classifiers.text_classifier import TextClassifier

    torch.set_num_threads(1)
    model = tiny_text_model(
        "bert",
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
        initializer_range=0.05,
    )
    return TextClassifier(model, tiny_tokenizer(512), name=f"BERT, {tokens} tokens")


def texts(batch: int, tokens: int) -> list[str]:
    """Texts of exactly so many tokens, [CLS] and [SEP] included."""
    from ttame.testing.tiny_texts import WORDS

    chance = random.Random(0)
    whole = [word for word in WORDS.split() if word.isalpha()]
    return [" ".join(chance.choices(whole, k=tokens - 2)) for _ in range(batch)]


def prepare_ours() -> Callable[[], Any]:
    """Integrated gradients as a user calls them."""
    from ttame.explainers.known_explainers import make_explainer

    explainer = make_explainer("integrated_gradients", classifier(), steps=STEPS)
    given = texts(BATCH, TOKENS)
    return lambda: explainer(given, 1, progress=False)


def prepare_captum(at_once: int | None) -> Callable[[], Tensor]:
    """Captum's layer integrated gradients on the word embeddings, from the same baseline."""
    from captum.attr import LayerIntegratedGradients

    made = classifier()
    model = made.network.model
    tokens = made.tokenise(texts(BATCH, TOKENS))
    ids = tokens.ids
    baselines = torch.where(tokens.roles == 0, made.tokenizer.mask_token_id, ids)
    attended = torch.ones_like(ids)

    def forward(ids: Tensor, attended: Tensor) -> Tensor:
        logits: Tensor = model(input_ids=ids, attention_mask=attended).logits
        return logits

    method = LayerIntegratedGradients(forward, model.bert.embeddings.word_embeddings)

    def run() -> Tensor:
        found: Tensor = method.attribute(
            ids,
            baselines=baselines,
            target=1,
            additional_forward_args=(attended,),
            n_steps=STEPS,
            internal_batch_size=at_once,
        )
        return found.sum(dim=-1).detach()

    return run


def prepare_interpret() -> Callable[[], object]:
    """transformers-interpret, which explains one text at a time."""
    from transformers_interpret import SequenceClassificationExplainer

    made = classifier()
    explainer = SequenceClassificationExplainer(made.network.model, made.tokenizer)
    given = texts(BATCH, TOKENS)
    return lambda: [explainer(text, n_steps=STEPS, internal_batch_size=AT_ONCE) for text in given]


def prepare_plain() -> Callable[[], object]:
    """The network's own forward pass, without gradients."""
    made = classifier(LONG_TOKENS)
    ids = made.tokenise(texts(LONG_BATCH, LONG_TOKENS)).ids
    attended = torch.ones_like(ids)

    def run() -> object:
        with torch.no_grad():
            return made.network.model(input_ids=ids, attention_mask=attended)

    return run


def prepare_attribution() -> Callable[[], object]:
    """Transformer Attribution of all blocks as a user calls it."""
    from ttame.explainers.known_explainers import make_explainer

    explainer = make_explainer("transformer_attribution", classifier(LONG_TOKENS))
    given = texts(LONG_BATCH, LONG_TOKENS)
    return lambda: explainer(given, 1, progress=False)


if __name__ == "__main__":
    main()
