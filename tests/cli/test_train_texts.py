"""``ttame train --text-data``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from ttame.testing import tiny_text_classifier


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    classifier = tiny_text_classifier()
    classifier.network.model.save_pretrained(folder)  # type: ignore[operator]
    classifier.tokenizer.save_pretrained(folder)
    return f"hf/{folder}"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("texts") / "reviews.jsonl"
    lines = [{"tokens": text} for text in ("a fine film", "the dull plot", "it was good") * 4]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_texts_are_trained_on_and_the_card_has_the_command(
    model: str,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "explainer"
    said = ["--model", model, "--text-data", str(texts), "--words", "2", "--out", str(out)]
    quick = ["--epochs", "2", "--batch-size", "4", "--device", "cpu"]
    assert run(["train", *said, *quick], monkeypatch) == 0
    assert "saved the explainer" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert f"--text-data {texts} --words 2" in card and "--preset few-shot-text" in card
    assert run(["train", *said, *quick, "--resume"], monkeypatch) == 0
    assert "is complete" in capsys.readouterr().out
    explained = tmp_path / "page"
    page = ["--out", str(explained), "--model", model, "--explainer", str(out)]
    assert run(["explain", "--text", "a fine film", *page], monkeypatch) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data", "photos"], "--data and --text-data"),
        (["--find-learning-rate"], "--find-learning-rate"),
        (["--preset", "t-tame"], "few-shot-text"),
        (["--image-size", "64"], "--image-size"),
        (["--maps", "min-max"], "maps min-max of texts; allowed: raw, sigmoid, standard; try: --"),
        (["--batch-size", "20"], "texts to train on, fewer than a batch of 20; try: --batch-size"),
        (["--model", "efficientnet_lite0"], "no text classifier 'efficientnet_lite0'"),
    ],
)
def test_what_texts_have_no_use_for(
    model: str,
    texts: Path,
    tmp_path: Path,
    more: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = ["--model", model, "--text-data", str(texts), "--out", str(tmp_path / "x")]
    assert run(["train", *places, *more], monkeypatch) == 2
    problem = capsys.readouterr().err
    assert said in problem.strip().splitlines()[-1]


def test_words_of_photos(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed = ["train", "--data", "photos", "--out", str(tmp_path / "x")]
    assert run([*typed, "--words", "9"], monkeypatch) == 2
    assert "--text-data FILE" in capsys.readouterr().err
    assert run([*typed, "--model", "minilm_reviews"], monkeypatch) == 2
    said = capsys.readouterr().err
    assert "minilm_reviews classifies texts; allowed: a classifier of photos; try: ttame ex" in said
    assert "ttame train --text-data FILE" in said
