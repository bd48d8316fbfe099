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
    model: str, texts: Path, tmp_path: Path
) -> None:
    out = tmp_path / "explainer"
    said = ["--model", model, "--text-data", str(texts), "--words", "2", "--out", str(out)]
    quick = ["--epochs", "2", "--batch-size", "4", "--device", "cpu"]
    result = run("train", *said, *quick)
    assert result.exit_code == 0, result.output
    assert "saved the explainer" in result.output
    card = (out / "README.md").read_text()
    assert f"--text-data {texts} --words 2" in card and "--preset few-shot-text" in card
    again = run("train", *said, *quick, "--resume")
    assert "is complete" in again.output
    explained = tmp_path / "page"
    shown = run(
        "explain", "--text", "a fine film", "--model", model, "--explainer", str(out),
        "--out", str(explained),
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data", "photos"], "--data and --text-data"),
        (["--find-learning-rate"], "--find-learning-rate"),
        (["--preset", "t-tame"], "few-shot-text"),
        (["--image-size", "64"], "--image-size"),
    ],
)
def test_what_texts_have_no_use_for(
    model: str, texts: Path, tmp_path: Path, more: list[str], said: str
) -> None:
    result = run(
        "train", "--model", model, "--text-data", str(texts), "--out", str(tmp_path / "x"), *more
    )
    assert result.exit_code == 2
    assert said in result.output and len(result.output.strip().splitlines()) == 1


def test_words_of_photos(tmp_path: Path) -> None:
    result = run("train", "--words", "9", "--data", "photos", "--out", str(tmp_path / "x"))
    assert result.exit_code == 2 and "--text-data FILE" in result.output
