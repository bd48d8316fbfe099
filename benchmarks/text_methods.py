"""Every method on reviews whose deciding words people marked: token F1, erasure, cost.

    python -m benchmarks.text_methods REVIEWS.jsonl.gz [MODEL] [--out FOLDER] [--stage NAME]

MODEL is ``minilm_reviews``, or ``hf/FOLDER``. What was measured lies in FOLDER, batch by batch: a
killed run goes on when the same command is typed again. ``--stage`` measures one part alone, and
``--write`` writes the section of BENCHMARKS.md from whatever is finished, without measuring.
What stands there was measured on 2026-11-30, and its rows are kept: to go on from them, unpack
``text_method_rows/minilm_reviews.tar.xz`` in FOLDER first.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.benchmark_page import table, write_section
from ttame.datasets.texts.annotated_texts import AnnotatedTexts
from ttame.errors import ExplainerError
from ttame.evaluation.paired_statistics import (
    SIGNIFICANCE,
    bootstrap_interval,
    corrected,
    permutation_p_value,
)
from ttame.evaluation.row_store import RowStore
from ttame.evaluation.texts.evaluate_texts import evaluate_texts
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer
from ttame.results.evaluation import Evaluation, MethodScores, Score
from ttame.text_classifiers.sequence_classifiers import load
from ttame.text_classifiers.text_classifier import TextClassifier

BATCH = 4
COUNTS = (5, 10, 20, 40, 80)
"""Of the published numbers of words, those that the table shows; the mean is over all of them."""

CHALLENGER = "transformer_attribution"

_RULES = {"linear": "separate", "additions": "plain"}
_TENSORS = {"matrix_products": "halved", "stabiliser": "published"}

AS_PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    f"{CHALLENGER}, as published": (CHALLENGER, _TENSORS),
    "partial_lrp, as published": ("partial_lrp", {**_RULES, **_TENSORS}),
    "full_lrp, as published": ("full_lrp", {**_RULES, **_TENSORS}),
}
"""Label to method and options. Of Transformer Attribution's blocks, only the last one counts then:
the published benchmark starts at block 11 of BERT's 12."""

TRAINED = "few_shot"

PUBLISHED = ("raw_attention", "attention_rollout", "cam_attn", "partial_lrp", "full_lrp")
"""The methods of the paper's figure that it says Transformer Attribution is ahead of."""

FIRST = ("random", *PUBLISHED, CHALLENGER, TRAINED)
"""What is measured before everything else."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the measurement, with a folder of its own.

    Attributes:
        metrics: what is measured.
        reviews: how many, evenly spread, unless the command line says otherwise.
        expensive: whether the methods are those of many passes.
    """

    metrics: tuple[str, ...]
    reviews: int
    expensive: bool


_RATIONALES = ("token_f1", "best_token_f1", "auprc")
_ERASURE = ("comprehensiveness", "sufficiency")

_ERASED = (
    "comprehensiveness (higher is better) and sufficiency (lower is better) in percentage points, "
    "words removed, the mean over 1, 5, 10, 20 and 50 % of the words."
)

STAGES = {
    "rationales": Stage(_RATIONALES, 200, expensive=False),
    "erasure": Stage(_ERASURE, 60, expensive=False),
    "expensive": Stage((*_RATIONALES, *_ERASURE), 20, expensive=True),
}
"""In the order in which they are measured."""

EXPENSIVE = ("integrated_gradients", "occlusion", "smooth_grad", "rise")
"""Methods of tens or hundreds of passes per text."""


def main() -> None:
    asked = _arguments()
    torch.set_num_threads(1)
    texts = AnnotatedTexts(asked.data)
    classifier = classifier_of(asked.model)
    if asked.write:
        write(classifier, texts, asked.out)
        return
    for name in [asked.stage] if asked.stage else STAGES:
        reviews = min(asked.reviews or STAGES[name].reviews, len(texts))
        measure(classifier, texts, STAGES[name], asked.out / f"{name}-{reviews}", reviews)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", nargs="?", default="minilm_reviews")
    parser.add_argument("--out", type=Path, default=Path("text-methods"))
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--reviews", type=int, help="how many, evenly spread")
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def classifier_of(model: str) -> TextClassifier:
    """The network that is explained; the end of long reviews is cut off, as published."""
    return load(model, too_long="truncate")


def measure(
    classifier: TextClassifier, texts: AnnotatedTexts, stage: Stage, folder: Path, reviews: int
) -> None:
    """One part. Methods one by one, so that what is finished can be read before all are."""
    methods, left_out = methods_of(classifier, stage)
    print(folder.name, list(methods), left_out, flush=True)
    for label, explainer in methods.items():
        evaluation = evaluate_texts(
            classifier,
            texts,
            {label: explainer},
            folder,
            metrics=stage.metrics,
            limit=reviews,
            batch_size=BATCH,
            resume=(folder / "evaluation.json").is_file(),
            left_out=left_out,
        )
        for row in evaluation.methods:
            if row.name == label:
                print(label, {key: round(s.value, 2) for key, s in row.scores.items()}, flush=True)


def methods_of(
    classifier: TextClassifier, stage: Stage
) -> tuple[dict[str, Explainer], dict[str, str]]:
    """The methods of a stage, cheap ones first, and why others are left out."""
    made: dict[str, Explainer] = {}
    left_out: dict[str, str] = {}
    for name, label, options in _wanted(stage, number_of_blocks(classifier)):
        try:
            made[label] = make_explainer(name, classifier, **options)
        except ExplainerError as problem:
            left_out[label] = problem.problem
    return made, left_out


def _wanted(stage: Stage, blocks: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Name, label and options."""
    of_texts = [name for name, kind in EXPLAINERS.items() if "texts" in kind.card.explains]
    chosen = [name for name in of_texts if (name in EXPENSIVE) == stage.expensive]
    first = ("random", CHALLENGER) if stage.expensive else FIRST
    names = dict.fromkeys([*first, *chosen])
    wanted: list[tuple[str, str, dict[str, Any]]] = [(name, name, {}) for name in names]
    if not stage.expensive:
        for place, (label, (name, options)) in enumerate(AS_PUBLISHED.items()):
            last = {"start_block": blocks - 1} if name == CHALLENGER else {}
            wanted.insert(len(FIRST) if place == 0 else len(wanted), (name, label, options | last))
    return wanted


def number_of_blocks(classifier: TextClassifier) -> int:
    """How many blocks the network has."""
    config: Any = classifier.network.model.config  # type: ignore[union-attr]
    return int(config.num_hidden_layers)


def write(classifier: TextClassifier, texts: AnnotatedTexts, folder: Path) -> None:
    """The section of BENCHMARKS.md, of whatever is finished."""
    found = {name: place for name in STAGES if (place := _fullest(folder, name)) is not None}
    read = {name: Evaluation.load(place / "results.json") for name, place in found.items()}
    parts = [introduction(classifier, texts, list(read.values()))]
    if "rationales" in read:
        parts.append(f"{_on(read['rationales'], texts)}, against the words that people marked:")
        parts.append(rationale_table(read["rationales"]))
        store = RowStore(found["rationales"])
        parts += order_of_the_paper(store, read["rationales"].methods)
        parts += trained_next_to_others(store, read["rationales"], ("token_f1",))
    if "erasure" in read:
        parts.append(f"{_on(read['erasure'], texts)}, words taken away: {_ERASED}")
        parts.append(erasure_table(read["erasure"], _ERASURE))
        parts += trained_next_to_others(RowStore(found["erasure"]), read["erasure"], _ERASURE)
    if "expensive" in read:
        parts.append(f"{_on(read['expensive'], texts)}, methods of many passes: {_ERASED}")
        parts.append(erasure_table(read["expensive"], ("token_f1", "auprc", *_ERASURE)))
    title = f"Methods on movie reviews: {classifier.name}"
    command = f"python -m benchmarks.text_methods {texts.path.name} {classifier.name}"
    write_section(f"text-methods-{classifier.name}", title, command, "\n\n".join(parts))


def _fullest(folder: Path, name: str) -> Path | None:
    """The folder of a part with the most methods, and of several such the most reviews."""
    places = [path.parent for path in folder.glob(f"{name}-*/results.json")]

    def size(place: Path) -> tuple[int, int]:
        evaluation = Evaluation.load(place / "results.json")
        return len(evaluation.methods), evaluation.images

    return max(places, key=size, default=None)


def _on(evaluation: Evaluation, texts: AnnotatedTexts) -> str:
    if evaluation.images == len(texts):
        return f"All {len(texts)} reviews"
    return f"{evaluation.images} of the {len(texts)} reviews, evenly spread"


def introduction(
    classifier: TextClassifier, texts: AnnotatedTexts, found: Sequence[Evaluation]
) -> str:
    """What was measured, on what."""
    said = " ".join(f"{note[0].upper()}{note[1:]}." for note in found[0].notes)
    return (
        f"{len(texts)} reviews with marked words (Zaidan, Eisner and Piatko 2007), protocol "
        f"[{found[0].protocol}](docs/how-to/evaluate-texts.md#protocols) "
        f"(`{found[0].protocol_hash}`): the labelled class is explained, scores below 0 count "
        "as 0 against marked words, a word has the maximum of its pieces, and words beyond "
        f"{classifier.most_tokens} tokens have no score. {said} All numbers in %, "
        "in brackets the 95 % interval; forward and backward passes are per review. *As "
        "published*: the rules of the published code, and of Transformer Attribution the last "
        "block only. Date and machine are those of this summary; the rows below it were kept from "
        "runs on several machines."
    )


def rationale_table(evaluation: Evaluation) -> str:
    """Token F1 by method, the best on top, and what is possible at all."""
    rows = [
        [
            row.name,
            _with_interval(row.scores["token_f1"]),
            *_at_counts(row, "token_f1"),
            _with_interval(row.scores["auprc"]),
            *_cost(row),
        ]
        for row in _ordered(evaluation, "token_f1")
    ]
    any_of_them = evaluation.methods[0]
    best = any_of_them.scores["best_token_f1"]
    curve = _at_counts(any_of_them, "best_token_f1")
    rows.append(["best possible", f"{best.value:.1f}", *curve, "100", "", ""])
    counts = [f"k = {count}" for count in COUNTS]
    return table(["method", "token F1", *counts, "AUPRC", "forward", "backward"], rows)


def erasure_table(evaluation: Evaluation, columns: Sequence[str]) -> str:
    """Some columns by method, the best in the first one on top."""
    rows = [
        [row.name, *(_with_interval(row.scores[key]) for key in columns), *_cost(row)]
        for row in _ordered(evaluation, columns[0])
    ]
    titles = {column.key: column.title.lower() for column in evaluation.columns}
    titles |= {"token_f1": "token F1", "auprc": "AUPRC"}
    return table(["method", *(titles[key] for key in columns), "forward", "backward"], rows)


def order_of_the_paper(store: RowStore, rows: Sequence[MethodScores]) -> list[str]:
    """Whether Transformer Attribution is ahead of the methods that the paper compares it with."""
    measured = {row.name for row in rows}
    sentences = []
    for form in ("", ", as published"):
        named = {f"{name}{form}" if f"{name}{form}" in AS_PUBLISHED else name for name in PUBLISHED}
        others = sorted(named & measured)
        if f"{CHALLENGER}{form}" in measured and others:
            values = {name: _token_f1(store, name) for name in (f"{CHALLENGER}{form}", *others)}
            sentences.append(comparison(f"{CHALLENGER}{form}", values))
    return sentences


def comparison(challenger: str, values: Mapping[str, np.ndarray]) -> str:
    """Compare one method with others on the same texts, in sentences.

    Args:
        challenger: its name among the values.
        values: method to (n,) token F1 of the same texts, in the same order.
    """
    ours, others = values[challenger], [name for name in values if name != challenger]
    said, ahead, behind = [], [], []
    for name, difference, p in _differences(challenger, values):
        said.append(_in_words(name, difference, p))
        if p < SIGNIFICANCE:
            (ahead if difference.mean() > 0 else behind).append(name)
    return (
        f"**The paper's order, for {challenger}: {_answer(others, ahead, behind)}** Token F1 of "
        f"{challenger} minus that of the other published methods, paired over {len(ours)} reviews "
        f"(95 % interval; permutation test, Holm's correction): {'; '.join(said)}."
    )


def trained_next_to_others(
    store: RowStore, evaluation: Evaluation, columns: Sequence[str]
) -> list[str]:
    """The trained explainer minus every other method on the same texts, one column at a time."""
    titles = {column.key: column.title.lower() for column in evaluation.columns}
    labels = [row.name for row in evaluation.methods]
    if TRAINED not in labels:
        return []
    sentences = []
    for key in columns:
        values = {label: store.values(label)[2][key] for label in labels}
        said = [_in_words(*found) for found in _differences(TRAINED, values)]
        title = "Token F1" if key == "token_f1" else titles[key].capitalize()
        sentences.append(
            f"{title} of {TRAINED} minus that of the others, paired over {len(values[TRAINED])} "
            f"reviews (95 % interval; permutation test, Holm's correction): {'; '.join(said)}."
        )
    return sentences


def _differences(
    challenger: str, values: Mapping[str, np.ndarray]
) -> list[tuple[str, np.ndarray, float]]:
    """Each other method with the challenger's values minus its own, and a corrected p-value."""
    ours, others = values[challenger], [name for name in values if name != challenger]
    p_values = corrected([permutation_p_value([ours], [values[name]]) for name in others])
    pairs = zip(others, p_values, strict=True)
    return [(name, ours - values[name], float(p)) for name, p in pairs]


def _in_words(name: str, difference: np.ndarray, p: float) -> str:
    low, high = bootstrap_interval([difference])
    return f"{name} {difference.mean():+.1f} ({low:+.1f} to {high:+.1f}, p = {p:.2g})"


def _answer(others: Sequence[str], ahead: Sequence[str], behind: Sequence[str]) -> str:
    if len(ahead) == len(others):
        return "confirmed. It is significantly ahead of every other published method."
    level = [name for name in others if name not in (*ahead, *behind)]
    parts = [
        f"{words} {', '.join(names)}"
        for words, names in (
            ("significantly behind", behind),
            ("not significantly different from", level),
            ("significantly ahead of", ahead),
        )
        if names
    ]
    return f"{'contradicted' if behind else 'not confirmed'}. It is {'; '.join(parts)}."


def _token_f1(store: RowStore, method: str) -> np.ndarray:
    _, _, values = store.values(method)
    return values["token_f1"]


def _ordered(evaluation: Evaluation, column: str) -> list[MethodScores]:
    return sorted(evaluation.methods, key=lambda row: -row.scores[column].value)


def _with_interval(score: Score) -> str:
    return f"{score.value:.1f} ({score.low:.1f} to {score.high:.1f})"


def _at_counts(row: MethodScores, metric: str) -> list[str]:
    heights = {point.x: point.value for point in row.curves[metric]}
    return [f"{heights[count]:.1f}" for count in COUNTS]


def _cost(row: MethodScores) -> list[str]:
    forward = f"{row.cost.forward:.3g}" + (f" + {row.cost.tail:.0f} tails" if row.cost.tail else "")
    return [forward, f"{row.cost.backward:.3g}"]


if __name__ == "__main__":
    main()
