"""Whole evaluations on texts: numbers, resuming, and what bad input gets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import normalizers

from tests.evaluation.texts.measured_texts import (
    SENTENCES,
    InOrder,
    Nothing,
    methods,
    review,
    review_file,
    run,
    tiny,
)
from ttame.cli.evaluation_display import print_evaluation
from ttame.datasets.texts.annotated_texts import AnnotatedTexts
from ttame.errors import (
    EvaluationError,
    ExplainerError,
    NonFiniteMapError,
    TextError,
    TtameError,
    UnknownNameError,
)
from ttame.evaluation.evaluate_methods import evaluate
from ttame.evaluation.texts.evaluate_texts import evaluate_texts
from ttame.explainers.known_explainers import make_explainer
from ttame.metrics.texts.known_text_metrics import TEXT_METRICS
from ttame.metrics.texts.known_text_protocols import TEXT_PROTOCOLS
from ttame.reporting.evaluation_report import write_evaluation_report
from ttame.results.evaluation import Evaluation
from ttame.testing import tiny_classifier
from ttame.testing.tiny_texts import tiny_text_classifier, tiny_text_model, tiny_tokenizer
from ttame.text_classifiers.text_classifier import TextClassifier

EVERY = list(TEXT_METRICS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return review_file(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an evaluation with every metric."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    run(data, out, metrics=EVERY)
    return out


@pytest.fixture(scope="module")
def found(folder: Path) -> Evaluation:
    return Evaluation.load(folder / "results.json")


def scores(evaluation: Evaluation, method: str) -> dict[str, float]:
    row = next(row for row in evaluation.methods if row.name == method)
    return {key: score.value for key, score in row.scores.items()}


def probability(text: str, label: int) -> float:
    classifier = tiny()
    return float(classifier.probabilities(classifier.prepare([text]))[0, label])


def test_rationales_are_found_by_place(found: Evaluation) -> None:
    """Word 2 is marked: five words contain it from the front, and from the end of a short text."""
    expected = [100 * 2 / (5 + 1)] * len(SENTENCES)
    first = next(row for row in found.methods if row.name == "first")
    assert first.curves["token_f1"][0].value == pytest.approx(np.mean(expected))
    assert first.curves["best_token_f1"][0].value == pytest.approx(100 * 2 / 6)
    # Clamped at 0, all words have the same score, which is an AUPRC of the share of marked words.
    shares = [100 / len(text.split()) for text in SENTENCES]
    assert scores(found, "nothing")["auprc"] == pytest.approx(np.mean(shares))


def test_words_are_taken_away_as_if_they_were_typed_without(found: Evaluation) -> None:
    """The first words go, at least one of them; the labelled class is asked for."""
    drops, losses = [], []
    for number, text in enumerate(SENTENCES):
        words, label = text.split(), number % 2
        whole = probability(text, label)
        counts = [-(-len(words) * share // 100) for share in (1, 5, 10, 20, 50)]
        without = [probability(" ".join(words[count:]), label) for count in counts]
        alone = [probability(" ".join(words[:count]), label) for count in counts]
        drops.append(whole - np.mean(without))
        losses.append(whole - np.mean(alone))
    first = scores(found, "first")
    assert first["comprehensiveness"] == pytest.approx(100 * np.mean(drops), abs=1e-3)
    assert first["sufficiency"] == pytest.approx(100 * np.mean(losses), abs=1e-3)


def test_curves_run_from_the_whole_text_to_nothing(found: Evaluation) -> None:
    whole = 100 * np.mean([probability(text, n % 2) for n, text in enumerate(SENTENCES)])
    for row in found.methods:
        deletion, insertion = row.curves["deletion"], row.curves["insertion"]
        assert [point.x for point in deletion] == pytest.approx(np.linspace(0, 100, 21))
        assert deletion[0].value == pytest.approx(whole, abs=1e-3)
        assert insertion[-1].value == pytest.approx(whole, abs=1e-3)
        assert deletion[-1].value == pytest.approx(insertion[0].value, abs=1e-3)


def test_everything_is_counted_and_said(found: Evaluation) -> None:
    assert (found.kind, found.images) == ("texts", 6)
    assert found.protocol_hash == TEXT_PROTOCOLS["chefer-text"].hash
    assert [column.key for column in found.columns] == EVERY
    for row in found.methods:
        assert (row.cost.forward, row.cost.backward) == (1, 0)
        assert row.cost.peak_megabytes > 0
        assert all(score.images == 6 for score in row.scores.values())
    assert [row.no_evidence for row in found.methods] == [0, 0, 6]
    words = dict(found.protocol_words)
    assert "move up" in words["Taking away"] and "5, 10, 15" in words["Numbers of words"]
    predicted = [probability(text, 1) > 0.5 for text in SENTENCES]
    right = sum(int(answer) == number % 2 for number, answer in enumerate(predicted))
    assert f"predicts the label of {right} of the 6 labelled texts" in found.notes[0]


def test_rows_are_written_for_other_programs(folder: Path) -> None:
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(folder / "rows.parquet").to_pylist()
    assert {row["photo"] for row in rows} == {f"review {number}" for number in range(6)}
    assert {row["method"] for row in rows} == {"first", "last", "nothing"}
    assert {row["class"] for row in rows if row["photo"] == "review 3"} == {1}
    f1 = [row for row in rows if row["metric"] == "token_f1.curve@80"]
    assert len(f1) == 18


def test_page_and_terminal_speak_of_texts(
    found: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_evaluation_report(tmp_path / "report.html", found, command="ttame evaluate")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    shown = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    print_evaluation(found, tmp_path)
    for text in (shown, capsys.readouterr().out, found._repr_html_(), repr(found)):
        assert "6 texts" in text
        assert not re.search(r"\b(photo|image|pixel)s?\b", text, flags=re.IGNORECASE)
    assert "% of the words" in shown


class Interrupted(BaseException):
    """What ends a run in its middle."""


class StopsAfter:
    """A listener that ends the run after some batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches
        self.heard: list[tuple[Any, ...]] = []

    def begin(self, method: str, images: int, finished: int) -> None:
        self.heard.append((method, images, finished))

    def step(self, finished: int, total: int) -> None:
        """Nothing."""

    def measured(self, images: int) -> None:
        self.left -= 1
        if not self.left:
            raise Interrupted

    def randomising(self, method: str) -> None:
        """Nothing."""


def test_an_interrupted_run_goes_on(data: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"metrics": ["token_f1", "auprc"]}
    whole = run(data, tmp_path / "whole", **quick)
    with pytest.raises(Interrupted):
        run(data, tmp_path / "out", listener=StopsAfter(3), **quick)
    with pytest.raises(EvaluationError, match="holds results already"):
        run(data, tmp_path / "out", **quick)
    listener = StopsAfter(99)
    resumed = run(data, tmp_path / "out", resume=True, listener=listener, **quick)
    assert listener.heard == [("first", 6, 6), ("last", 6, 4), ("nothing", 6, 0)]
    assert [row.scores for row in resumed.methods] == [row.scores for row in whole.methods]


def test_other_results_are_not_mixed(data: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"metrics": ["token_f1"]}
    run(data, tmp_path / "out", **quick)
    for changed, problem in (
        ({"protocol": "eraser"}, "protocol"),
        ({"metrics": ["auprc"]}, "list of metrics"),
        ({"limit": 3}, "number of images"),
        ({"batch_size": 2}, "batch size"),
        ({"classifier": tiny_text_classifier("roberta")}, "classifier"),
    ):
        with pytest.raises(EvaluationError, match=f"another {problem}"):
            run(data, tmp_path / "out", resume=True, **{**quick, **changed})
    other = review_file(tmp_path, label="pos")
    with pytest.raises(EvaluationError, match="another data set"):
        run(other, tmp_path / "out", resume=True, **quick)


def test_rows_by_another_tokenizer_are_not_mixed(data: Path, tmp_path: Path) -> None:
    """It cuts other words into tokens; folders of older versions do not say which it was."""
    quick: dict[str, Any] = {"metrics": ["auprc"], "limit": 1}
    classifier = tiny()
    run(data, tmp_path / "out", classifier, **quick)
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    other = TextClassifier(
        classifier.network.model,  # type: ignore[arg-type]
        tokenizer,
        class_names=classifier.class_names,
        name=classifier.name,
    )
    with pytest.raises(EvaluationError, match="another tokenizer: .* try: the same tokenizer as"):
        run(data, tmp_path / "out", other, resume=True, **quick)
    path = tmp_path / "out" / "evaluation.json"
    said = json.loads(path.read_text())
    del said["tokenizer"]
    path.write_text(json.dumps(said))
    run(data, tmp_path / "out", other, resume=True, **quick)


def test_texts_longer_than_the_classifier_reads(tmp_path: Path) -> None:
    classifier = TextClassifier(
        tiny_text_model(),
        tiny_tokenizer(),
        class_names=("negative", "positive"),
        too_long="truncate",
    )
    long = " ".join(["a fine film"] * 20)
    path = review_file(tmp_path, 2, tokens=long, rationales=[[0, 1], [50, 60]])
    found = run(path, tmp_path / "out", classifier, metrics=["token_f1", "best_token_f1"])
    assert "2 texts are longer" in " ".join(found.notes)
    alone = run(path, tmp_path / "alone", classifier, metrics=["token_f1"], limit=1)
    assert "1 text is longer" in " ".join(alone.notes)
    # 30 of 60 words are read; the marked ones beyond them cannot be found.
    best = next(iter(found.methods)).curves["best_token_f1"]
    assert best[0].value == pytest.approx(100 * 2 * 1 / (5 + 11))
    assert best[-1].value == pytest.approx(100 * 2 * 1 / (30 + 11))


@pytest.mark.parametrize(
    ("text", "said"),
    [("bad " * 59 + "bad", "has 62 tokens; .*; try: too_long"), ("\u200b", "holds nothing but")],
)
def test_a_text_that_is_not_taken_is_named_before_any_work(
    tmp_path: Path, text: str, said: str
) -> None:
    lines = review_file(tmp_path, 3).read_text().splitlines()
    odd = {"id": "odd", "label": "negative", "tokens": text, "rationales": [[0, 1]]}
    (tmp_path / "odd.jsonl").write_text("\n".join([*lines, json.dumps(odd)]))
    with pytest.raises(TextError, match=f"^text 'odd' {said}"):
        run(tmp_path / "odd.jsonl", tmp_path / "out", batch_size=1)
    assert not (tmp_path / "out").exists()


def test_data_without_rationales_or_labels(tmp_path: Path) -> None:
    bare = review_file(tmp_path, label=None, rationales=None)
    found = run(bare, tmp_path / "eraser", protocol="eraser")
    assert [column.key for column in found.columns] == ["comprehensiveness", "sufficiency"]
    assert not any("predicts the label" in note for note in found.notes)
    with pytest.raises(EvaluationError, match="'review 0' has no label"):
        run(bare, tmp_path / "out")
    with pytest.raises(EvaluationError, match="token_f1 without rationales"):
        run(bare, tmp_path / "out", protocol="eraser", metrics=["token_f1"])


def test_labels_of_other_names_are_told(tmp_path: Path) -> None:
    path = review_file(tmp_path, label="bad")
    with pytest.raises(EvaluationError, match="label 'bad' of the data is not a class"):
        run(path, tmp_path / "out", metrics=["auprc"])
    found = run(path, tmp_path / "out", metrics=["auprc"], label_classes={"bad": "negative"})
    assert found.images == 6
    # Where the predicted class is explained, labels only say how often it is right.
    run(path, tmp_path / "eraser", protocol="eraser", metrics=["auprc"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"methods": {}}, "no method"),
        ({"metrics": ["nothing"]}, "unknown metric of texts"),
        ({"metrics": []}, "no metric to measure"),
        ({"protocol": None}, "None as a protocol of texts; allowed: chefer-text"),
        ({"limit": 0}, "limit=0; allowed: 1 or more"),
        ({"batch_size": 0}, "batch_size=0; allowed: 1 or more"),
        ({"protocol": "t-tame"}, "unknown protocol of texts"),
    ],
)
def test_what_is_asked_for_must_exist(
    data: Path, tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    classifier = tiny()
    given = options.pop("methods", methods(classifier))
    with pytest.raises((EvaluationError, UnknownNameError), match=problem):
        evaluate_texts(classifier, data, given, tmp_path / "out", progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_explainers_of_another_network_are_refused(data: Path, tmp_path: Path) -> None:
    """The same weights, loaded again, are the same network."""
    classifier = tiny()
    other = tiny_text_classifier("roberta")
    of_images = make_explainer("grad_cam", tiny_classifier())
    for explainer in (make_explainer("random", other), of_images):
        with pytest.raises(ExplainerError, match="explains tiny .*, another network than tiny"):
            evaluate_texts(classifier, data, explainer, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    again = make_explainer("random", tiny())
    found = evaluate_texts(
        classifier, data, again, tmp_path / "out", progress=False, metrics=["auprc"], limit=1
    )
    assert found.images == 1


def test_maps_that_are_not_numbers_end_the_run(data: Path, tmp_path: Path) -> None:
    broken = {"nothing": Nothing(tiny(), broken=True)}
    with pytest.raises(NonFiniteMapError):
        run(data, tmp_path / "out", methods=broken)


def test_classifiers_of_images_are_refused(data: Path, tmp_path: Path) -> None:
    from tests.tiny_networks import tiny_cnn

    with pytest.raises(TtameError, match="a classifier of texts") as refused:
        evaluate_texts(tiny_cnn(), data, InOrder(tiny()), tmp_path / "out")  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_photos_for_a_classifier_of_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="photos for tiny BERT, a classifier of texts"):
        evaluate(tiny(), [], InOrder(tiny()), tmp_path / "out")  # type: ignore[arg-type]


def test_texts_that_were_read_already_are_taken(data: Path, tmp_path: Path) -> None:
    texts = AnnotatedTexts(data)
    found = run(texts, tmp_path / "out", metrics=["auprc"], limit=2)
    assert (found.images, found.data) == (2, "reviews.jsonl")
    assert review(0)["tokens"] == texts[0].text
