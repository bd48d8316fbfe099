"""The frozen result: its numbers, saving and loading."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from ttame.errors import ExplainerError
from ttame.results.explanation import Explanation


@pytest.fixture
def explanation() -> Explanation:
    return Explanation(
        maps=torch.tensor([[[[0.0, 1.0], [2.0, 4.0]], [[3.0, 3.0], [3.0, 3.0]]]]),
        classes=torch.tensor([[2, 0]]),
        logits=torch.tensor([[0.0, 1.0, 2.0]]),
        image_size=(4, 6),
        class_names=("ant", "bee", "cat"),
        method="t_tame",
        provenance={"classifier": "tiny", "taps": ["a"]},
    )


def test_numbers_follow_from_maps_and_logits(explanation: Explanation) -> None:
    assert explanation.heatmaps((2, 2))[0, 0].flatten().tolist() == [0, 0.25, 0.5, 1]
    assert explanation.heatmaps().shape == (1, 2, 4, 6)
    assert explanation.has_evidence.tolist() == [[True, False]]
    assert explanation.heatmaps()[0, 1].abs().max() == 0
    torch.testing.assert_close(
        explanation.class_probabilities[0, 0], explanation.probabilities[0, 2]
    )
    assert explanation.class_label(1) == "bee"
    assert dataclasses.replace(explanation, class_names=()).class_label(1) == "class 1"


def test_it_cannot_be_changed(explanation: Explanation) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        explanation.method = "other"  # type: ignore[misc]


def test_saving_and_loading_keeps_everything(explanation: Explanation, tmp_path: Path) -> None:
    explanation.save(tmp_path / "one.safetensors")
    again = Explanation.load(tmp_path / "one.safetensors")
    for field in dataclasses.fields(Explanation):
        first, second = getattr(explanation, field.name), getattr(again, field.name)
        if isinstance(first, torch.Tensor):
            assert torch.equal(first, second)
        else:
            assert first == second


def test_other_files_are_refused(explanation: Explanation, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no")
    with pytest.raises(ExplainerError, match="no saved explanation"):
        Explanation.load(tmp_path / "text")
    with pytest.raises(ExplainerError, match="no saved explanation"):
        Explanation.load(tmp_path / "missing")
