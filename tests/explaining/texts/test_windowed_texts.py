from __future__ import annotations

from typing import Any

import pytest
import torch

from ttame.errors import ExplainerError, TextError
from ttame.explainers.known_explainers import make_explainer
from ttame.explaining.texts.windowed_texts import explain_long_text
from ttame.testing import tiny_classifier, tiny_text_classifier

TEXT = "the film was not bad , but the plot is dull and the music really boring . " * 5


@pytest.fixture(scope="module")
def explainer() -> Any:
    return make_explainer("input_x_gradient", tiny_text_classifier())


def test_a_text_that_fits_is_explained_as_ever(explainer: Any) -> None:
    alone = explainer("not a bad film", classes="all")
    found = explain_long_text(explainer, "not a bad film", "all", progress=False)
    assert torch.allclose(found.word_scores(), alone.word_scores(), atol=1e-6)
    assert torch.allclose(found.probabilities, alone.probabilities, atol=1e-6)
    assert found.provenance["windows"] == 1


def test_windows_are_joined_word_by_word_by_hand(explainer: Any) -> None:
    """Each word is one token here, of 30 in a window, and windows share 3 or more."""
    found = explain_long_text(explainer, TEXT, ["positive", "negative"], progress=False)
    words = TEXT.split()
    assert [word.text for word in found.words()] == words and len(words) == 85
    starts = (0, 27, 54, 55)
    pieces = [" ".join(words[start : start + 30]) for start in starts]
    singly = [explainer(piece, classes=["positive", "negative"]) for piece in pieces]
    logits = torch.stack([each.logits[0] for each in singly]).mean(0)
    assert torch.allclose(found.logits[0], logits, atol=1e-5)
    assert found.classes.tolist() == [[1, 0]]
    for place in (0, 27, 28, 29, 40, 55, 56, 80, 84):
        total = weights = torch.zeros(2)
        for number, (start, each) in enumerate(zip(starts, singly, strict=True)):
            if start <= place < start + 30:
                after = 99 if number == len(starts) - 1 else start + 30 - place
                weight = min(place - start + 1 if start else 99, after)
                total = total + weight * each.word_scores()[:, place - start]
                weights = weights + weight
        assert torch.allclose(found.word_scores()[:, place], total / weights, atol=1e-5)


def test_a_pair_is_refused(explainer: Any) -> None:
    with pytest.raises(TextError, match="a tuple to be read in windows; allowed: one text"):
        explain_long_text(explainer, ("a", "b"))  # type: ignore[arg-type]


def test_what_cannot_be_read_in_windows_is_one_line(explainer: Any) -> None:
    with pytest.raises(TextError, match="holds half of a character"):
        explain_long_text(explainer, "good \ud83d " * 30)
    with pytest.raises(TextError, match="text 0 is empty"):
        explain_long_text(explainer, " \n")
    with pytest.raises(ExplainerError, match="batch_size 0; allowed: 1 or more"):
        explain_long_text(explainer, "good " * 80, batch_size=0)
    of_images: Any = make_explainer("grad_cam", tiny_classifier())
    with pytest.raises(ExplainerError, match="grad_cam explains tiny cnn, a classifier of images"):
        explain_long_text(of_images, "good")
