"""What a reader of the table must know besides its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ttame.classifiers.classifier import Classifier
from ttame.metrics.metric import JUDGED, Column, Metric
from ttame.outputs import SOFTMAX
from ttame.results.evaluation import RandomisationScore, Score


def meaning_in_words(classifier: Classifier) -> list[str]:
    """What the probabilities are of, unless it is what everybody expects."""
    outputs = classifier.outputs
    if outputs is SOFTMAX:
        return []
    words = f"the outputs of {classifier.name} are {outputs.in_words} ({outputs.kind})"
    if outputs.exclusive:
        return [words]
    return [
        f"{words}; of each image the most probable one is explained, what is measured is its own "
        "probability, and where accuracy is measured it counts from one half on"
    ]


def fewer_images(
    images: int,
    columns: Mapping[str, tuple[Metric, Column]],
    scores: Mapping[str, Mapping[str, Score]],
) -> list[str]:
    """Which columns rest on fewer images than the others, as those of annotated objects do."""
    counts = {
        key: max((score.images for score in of.values()), default=0) for key, of in scores.items()
    }
    by_count: dict[int, list[str]] = {}
    for key, count in counts.items():
        if count < images and not (count == 0 and columns[key][0].gated):
            by_count.setdefault(count, []).append(columns[key][1].title)
    return [
        f"{', '.join(titles)}: of {count} of the {images} images; the others have no value, "
        "because no object of the explained class is annotated, for example"
        for count, titles in by_count.items()
    ]


def judge_in_words(judge: Classifier | None) -> list[str]:
    """Whose probabilities the judged columns have."""
    if judge is None:
        return []
    return [
        f"judged columns ({JUDGED}…) have the probabilities of {judge.name} "
        f"({judge.fingerprint()[:12]}); maps and classes are those of the explained one"
    ]


def unfinished_in_words(labels: Sequence[str]) -> list[str]:
    """Which methods an interrupted run left unfinished."""
    return [f"not finished, and not in the table: {', '.join(labels)}"] if labels else []


def gate_in_words(
    metrics: Sequence[Metric], labels: Sequence[str], sanity: Mapping[str, RandomisationScore]
) -> list[str]:
    """Which methods have no score in gated columns, or one that no check stands before."""
    titles = [metric.title for metric in metrics if metric.gated]
    if not titles:
        return []
    failed = [label for label in labels if label in sanity and not sanity[label].passed]
    unchecked = [label for label in labels if label not in sanity]
    columns = " and ".join(titles)
    notes = []
    if failed:
        notes.append(
            f"{columns}: not of {', '.join(failed)}, whose maps do not depend on the network's "
            "weights (randomisation check)"
        )
    if unchecked:
        notes.append(f"{columns}: no randomisation check was made of {', '.join(unchecked)}")
    return notes
