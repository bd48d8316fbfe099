from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ttame.errors import ExplainerError
from ttame.exporting.comparison import Comparison
from ttame.exporting.exported_facts import ExportedFacts
from ttame.exporting.parity import check_parity, pixels_of
from ttame.results.explanation import Explanation
from ttame.testing import tiny_classifier


def compared(**changes: np.ndarray) -> Comparison:
    expected = Explanation(
        maps=torch.tensor([[[[0.0, 2.0]]]]),
        classes=torch.tensor([[1]]),
        logits=torch.tensor([[1.0, 4.0]]),
        image_size=(1, 2),
    )
    names = ("maps", "classes", "logits", "probabilities")
    found = {name: getattr(expected, name).numpy() for name in names}
    return Comparison(np.zeros((1, 1, 2, 3), np.uint8), {**found, **changes}, expected)


def test_differences_are_shares_of_the_largest() -> None:
    assert compared().difference("maps") == 0
    maps = np.array([[[[0.5, 2.0]]]], dtype=np.float32)
    assert compared(maps=maps).difference("maps") == 0.25
    assert compared(maps=maps * np.nan).difference("maps") == np.inf
    assert compared(maps=maps[..., :1]).difference("maps") == np.inf


def test_other_classes_than_the_most_probable_are_noticed(
    exported: tuple[Path, ExportedFacts],
) -> None:
    wrong = compared(classes=np.array([[0]]))
    assert wrong.chosen_wrongly() == 0.75
    with pytest.raises(ExplainerError, match="classes differ"):
        check_parity([compared(), wrong], exported[1], tiny_classifier())
    none = {"logits": 0, "maps": 0, "classes": 0}
    assert check_parity([compared()], exported[1], tiny_classifier()) == none


def test_pixels_are_those_that_the_classifier_sees() -> None:
    classifier = tiny_classifier()
    photo = Image.effect_noise((40, 30), 60).convert("RGB")
    pixels = torch.from_numpy(pixels_of(photo, classifier)).permute(2, 0, 1).float() / 255
    assert torch.allclose(classifier.preprocessing.normalise(pixels), classifier.prepare(photo)[0])
