from __future__ import annotations

from pathlib import Path

import pytest

from ttame.errors import DatasetError
from ttame.testing import tiny_text_classifier
from ttame.training.texts.training_texts import TrainingTexts
from ttame.training.training_settings import training_settings

SETTINGS = training_settings("few-shot-text", held_out_share=0.25)


def test_some_texts_are_held_out_and_too_short_ones_left_out() -> None:
    texts = [f"a film {number}" for number in range(8)] + ["dull", "", "\u200b good \u200d"]
    texts.append("half of a \ud83d character")
    found = TrainingTexts(texts).material(tiny_text_classifier(), SETTINGS, "out")
    assert found.held_out is not None
    assert (len(found.training), len(found.held_out)) == (6, 2)
    seen = {part[i].number for part in (found.training, found.held_out) for i in range(len(part))}
    assert seen == set(range(8))


def test_texts_that_come_one_by_one_are_all_taken() -> None:
    found = TrainingTexts(f"a film {number}" for number in range(3))  # type: ignore[arg-type]
    assert found.texts == ("a film 0", "a film 1", "a film 2")


def test_a_file_of_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    file.write_text('{"tokens": "a fine film"}\n{"tokens": "a dull plot"}\n')
    texts = TrainingTexts(file)
    assert texts.texts == ("a fine film", "a dull plot")
    classifier = tiny_text_classifier()
    assert texts.material(classifier, SETTINGS, "out").names == (str(file),)
    assert texts.fingerprint() == TrainingTexts(["a fine film", "a dull plot"]).fingerprint()
    assert texts.fingerprint() != TrainingTexts(file, words=3).fingerprint()


@pytest.mark.parametrize(
    ("source", "words", "said"),
    [
        (["one", "two words"], 0, "1 text to train on"),
        ([b"bytes here", "two words"], 0, "not text"),
        (None, 0, "not text; allowed: a file, or a list of str"),
        (["two words", "three whole words"], 1, "words 1"),
        ("nowhere.jsonl", 0, "nowhere.jsonl"),
    ],
)
def test_what_cannot_be_trained_on(source: object, words: int, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        TrainingTexts(source, words)  # type: ignore[arg-type]
