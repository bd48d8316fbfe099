"""What the terminal says of explained photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.results.test_explained_photos import RECORD, written
from ttame.cli.explanation_display import summarise


@pytest.mark.parametrize(
    ("predicted", "headings"),
    [("cat", ["photo", "prediction and further classes"]), ("dog", ["photo", "prediction"])],
)
def test_a_prediction_that_is_explained_first_is_said_once(
    predicted: str, headings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record: dict[str, Any] = {**RECORD, "prediction": {"name": predicted, "probability": 0.25}}
    summarise(written(tmp_path, record))
    first, row, *_ = capsys.readouterr().out.splitlines()
    assert first.split("  ")[0] == headings[0] and headings[1] in first
    assert ("explained" in first) == (predicted == "dog")
    assert row.count("cat 25.0%") == 1 and row.count("25.0%") == 1 + (predicted == "dog")
