"""What ``minilm_reviews`` knows of reviews, next to a bag of words, and what it owes to attention.

    python -m benchmarks.text_classifier [--part test]

Measures the shipped weights on ../shared/data/movie-rationales, which is not part of the project.
Without ``--part`` it prints figures of the validation reviews, by which choices are made; with
``--part test`` it writes a section of BENCHMARKS.md and figures.json beside the updates, from which
``scripts.minilm_reviews.ship`` takes the card's table.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.benchmark_page import table, write_section
from benchmarks.bundled_classifiers import Figure, with_intervals
from scripts.minilm_reviews.examples import (
    even_windows,
    framed,
    label_of,
    read_reviews,
    review_ids,
)
from ttame.datasets.texts.annotated_texts import AnnotatedText
from ttame.files.atomic_writing import write_json
from ttame.text_classifiers.minilm_reviews import minilm_reviews, shipped_folder

DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "movie-rationales"
COMMAND = "python -m benchmarks.text_classifier --part test"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reviews", type=Path, default=DATA)
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, help="reviews to look at; nothing is written")
    options = parser.parse_args()
    if not options.reviews.exists():
        raise SystemExit(f"{options.reviews} is missing: this benchmark needs ../shared/data")
    found = measured(options.reviews, options.part, options.limit)
    print(found_in_table(found))
    if options.part != "test" or options.limit:
        return
    figures = {
        "weights_file": hashlib.sha256(
            (shipped_folder() / "updates.safetensors").read_bytes()
        ).hexdigest(),
        "measured_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **found,
    }
    write_json(shipped_folder() / "figures.json", figures)
    write_section(
        "text-classifier", "The bundled text classifier", COMMAND, found_in_table(figures)
    )


def measured(folder: Path, part: str, limit: int | None = None) -> dict[str, Any]:
    """Accuracy of every classifier, in per cent, with intervals over reviews."""
    reviews = read_reviews(folder, part)
    reviews = reviews[:: max(1, len(reviews) // limit)] if limit else reviews
    labels = torch.tensor([label_of(review) for review in reviews])
    training = read_reviews(folder, "train", "no-rationales")
    rows = {**of_network(reviews), **of_bags_of_words(training, reviews)}
    right = {name: 100.0 * ((odds > 0) == (labels == 1)).float() for name, odds in rows.items()}
    found = with_intervals(torch.stack(list(right.values()), dim=1))
    return {
        "part": part,
        "reviews": len(reviews),
        "accuracy": dict(zip(right, found, strict=True)),
    }


def of_network(reviews: Sequence[AnnotatedText]) -> dict[str, Tensor]:
    """Name to (N,) log odds of a positive review, of the network and of what lacks something."""
    network, tokenizer = minilm_reviews()
    ablated = {
        "uniform attention": with_uniform_attention(network),
        "uniform attention of [CLS]": with_uniform_attention(network, of_class_token_alone=True),
    }
    shuffled = random.Random(0)
    rows: dict[str, list[float]] = {}
    for number, review in enumerate(reviews):
        windows = even_windows(review_ids(tokenizer, review))
        odds = [log_odds(network, framed(tokenizer, window)) for window in windows]
        first = framed(tokenizer, windows[0])
        found = {
            "whole review, mean over windows": sum(odds) / len(odds),
            "first 512 tokens": odds[0],
            "last 512 tokens": odds[-1],
            "first 512 tokens, in random order": log_odds(
                network, framed(tokenizer, shuffled.sample(windows[0], len(windows[0])))
            ),
            **{
                f"first 512 tokens, {name}": log_odds(changed, first)
                for name, changed in ablated.items()
            },
        }
        for name, value in found.items():
            rows.setdefault(f"minilm_reviews, {name}", []).append(value)
        if number % 20 == 19:
            print(f"{number + 1}/{len(reviews)}", flush=True)
    return {name: torch.tensor(values) for name, values in rows.items()}


@torch.inference_mode()
def log_odds(network: Any, ids: Sequence[int]) -> float:
    """Of a positive review."""
    logits = network(input_ids=torch.tensor([ids])).logits[0]
    return float(logits[1] - logits[0])


def with_uniform_attention(network: nn.Module, *, of_class_token_alone: bool = False) -> nn.Module:
    """A copy of BERT in which tokens, or only the first one, attend to all tokens alike.

    Where a query is zero all its scores are zero, and their softmax is 1/T.
    """
    changed: Any = copy.deepcopy(network)
    for layer in changed.bert.encoder.layer:
        query = layer.attention.self.query
        layer.attention.self.query = _ZeroedQueries(query, 1 if of_class_token_alone else None)
    return changed


class _ZeroedQueries(nn.Module):
    """A dense layer whose first outputs, or all, are zero."""

    def __init__(self, query: nn.Linear, count: int | None) -> None:
        super().__init__()
        self.query, self.count = query, count

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        queries: Tensor = self.query(tokens).clone()
        queries[:, : self.count] = 0
        return queries


def of_bags_of_words(
    training: Sequence[AnnotatedText], reviews: Sequence[AnnotatedText]
) -> dict[str, Tensor]:
    """Name to (N,) log odds by scikit-learn's logistic regression on words and pairs of words.

    Its strength of regularisation is the best of 1, 10 and 100 (TF-IDF) and of 0.1, 1 and 10
    (naive Bayes weights, Wang and Manning 2012) on the validation reviews.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    labels = np.array([label_of(review) for review in training])
    options = {"ngram_range": (1, 2), "min_df": 2, "token_pattern": r"\S+"}

    def fitted(vectoriser: Any, strength: float, words: int | None, bayes: bool) -> Tensor:
        cut = [" ".join(review.text.split()[:words]) for review in training]
        counts = vectoriser.fit_transform(cut)
        weights = bayes_weights(counts, labels) if bayes else np.ones(counts.shape[1])
        model = LogisticRegression(C=strength, max_iter=2000)
        model.fit(counts.multiply(weights).tocsr(), labels)
        cut = [" ".join(review.text.split()[:words]) for review in reviews]
        asked = vectoriser.transform(cut).multiply(weights).tocsr()
        return torch.from_numpy(model.decision_function(asked))

    tfidf = TfidfVectorizer(sublinear_tf=True, **options)
    return {
        "bag of words, TF-IDF, whole review": fitted(tfidf, 100, None, False),
        "bag of words, TF-IDF, first 400 words": fitted(tfidf, 100, 400, False),
        "bag of words, naive Bayes weights, whole review": fitted(
            CountVectorizer(binary=True, **options), 10, None, True
        ),
    }


def bayes_weights(counts: Any, labels: np.ndarray) -> np.ndarray:
    """(F,) log of how much more often a feature stands in positive texts than in negative ones."""
    positive, negative = (1.0 + np.asarray(counts[labels == c].sum(axis=0))[0] for c in (1, 0))
    ratio: np.ndarray = np.log((positive / positive.sum()) / (negative / negative.sum()))
    return ratio


def found_in_table(found: Mapping[str, Any]) -> str:
    """The content of figures.json as Markdown."""
    rows = [[name, _in_words(figure)] for name, figure in found["accuracy"].items()]
    return "\n\n".join([_EXPLANATION.format(**found), table(["classifier", "accuracy %"], rows)])


def _in_words(figure: Figure) -> str:
    return f"{figure['mean']:.1f} ± {(figure['high'] - figure['low']) / 2:.1f}"


_EXPLANATION = (
    "Polarity of {reviews} movie reviews (Pang and Lee 2004; {part} part) that training has not "
    "seen; ± is half a 95 % bootstrap interval over reviews. A review of more than 512 tokens is "
    "read in equal windows, whose log odds are averaged. Uniform attention: every token attends to "
    "all tokens alike, in all layers; of [CLS]: only that token does. The bags of words are "
    "scikit-learn's logistic regressions on words and pairs of words, trained on the same 1,600 "
    "reviews."
)


if __name__ == "__main__":
    main()
