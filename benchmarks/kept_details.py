"""Keeping against removing: what the details of a few-shot map decide, next to other methods

    python -m benchmarks.kept_details --data PHOTOS [--limit 60]

Goes on from the rows of ``travel-hybrid_vit_lite0-held-ground`` in benchmarks/leaderboard_rows with
the bundled explainer whose maps keep all of their short-range differences instead of half; nothing
is trained. Photos and limit have to be those of that run. Writes a section of BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
from typing import cast

import torch

import ttame
from benchmarks.benchmark_page import write_section
from benchmarks.bought_figures import MEASURED
from benchmarks.family_tables import comparison, in_brackets
from benchmarks.leaderboard_archive import KEPT, RUNS, keep, restore
from ttame.evaluation.evaluate_methods import evaluate
from ttame.evaluation.row_store import RowStore
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.shared_head import SharedHead
from ttame.metrics.known_protocols import known_protocol

MODEL, PROTOCOL = "hybrid_vit_lite0", "held-ground"
ARCHIVE, SECTION = f"travel-{MODEL}-{PROTOCOL}", f"kept-details-{MODEL}"
HALF, ALL = "few_shot", "few_shot, all details"
RIVALS = ("class_evidence", "generic_attention", "iia")
WORDS = (
    "Maps of the bundled explainer keep half of their short-range differences (`details`, see "
    f"docs/few-shot.md). `{ALL}` is the same explainer with all of them, not trained again. Sharp "
    "maps scatter what they remove, smooth ones keep a whole region: the setting exchanges one for "
    f"the other. {in_brackets(ALL)} The photos are those that the default was reported on, so that "
    "no setting may be chosen by this."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="the photos of the earlier run")
    parser.add_argument("--limit", type=int, default=60, help="how many of them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = RUNS / ARCHIVE
    if not folder.exists():
        restore(ARCHIVE)
    classifier = ttame.load_classifier(MODEL)
    explainer = with_all_details(ttame.load_explainer(MODEL, classifier=classifier))
    evaluation = evaluate(
        classifier, options.data, {ALL: explainer}, folder,
        protocol=dataclasses.replace(known_protocol(PROTOCOL), gate_images=0),
        metrics=MEASURED[PROTOCOL], limit=options.limit, resume=True,
    )  # fmt: skip
    keep(folder, KEPT / f"{ARCHIVE}.tar.xz")
    store = RowStore(folder)
    rows = {label: store.values(label)[2] for label in (ALL, HALF, *RIVALS)}
    text = f"{WORDS}\n\n{comparison(evaluation.protocol, rows, ALL)}"
    title = f"Keeping against removing: the details of {MODEL}'s maps"
    write_section(SECTION, title, "python -m benchmarks.kept_details", text)


def with_all_details(explainer: AttentionExplainer) -> AttentionExplainer:
    """A few-shot explainer of the same weights, whose maps keep all of their details."""
    head = copy.deepcopy(cast("SharedHead", explainer.head))
    head.settings = dataclasses.replace(head.settings, details=1.0)
    return dataclasses.replace(explainer, head=head)


if __name__ == "__main__":
    main()
