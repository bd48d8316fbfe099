from __future__ import annotations

import math

import pytest

from ttame.drawing.word_strength import ClassScale, check_word_strength, class_scales
from ttame.errors import UnknownNameError


def test_strengths_by_hand() -> None:
    scores = [[4.0, 2.0, 1.0, math.nan], [-0.5, 0.25, 1.0, math.nan]]
    first, second = class_scales(scores, [0.6, 0.3], signed=True)
    assert [first.drawn(score) for score in scores[0][:3]] == [1, 0.5, 0.25]
    assert [second.drawn(score) for score in scores[1][:3]] == [-0.5, 0.25, 1]
    assert [second.drawn(score, "shared") for score in scores[1][:3]] == [-0.125, 0.0625, 0.25]
    assert second.drawn(1.0, "probability") == 0.5 and first.drawn(4.0, "probability") == 1
    # Of scores with signs the lowest means something: nothing is stretched.
    assert [first.drawn(score, "stretched") for score in scores[0][:3]] == [1, 0.5, 0.25]
    assert math.isnan(first.drawn(math.nan)) and math.isnan(first.drawn(math.nan, "stretched"))


def test_what_differs_little_can_be_stretched() -> None:
    (scale,) = class_scales([[0.9, 0.95, 1.0]], [1.0], signed=False)
    stretched = [scale.drawn(score, "stretched") for score in (0.9, 0.95, 1.0)]
    assert stretched == pytest.approx([0, 0.5, 1])
    assert scale.drawn(0.9) == 0.9


def test_the_weaker_of_two_words_does_not_vanish() -> None:
    """As it would if the scale began at the lowest score."""
    (scale,) = class_scales([[0.9, 1.0]], [1.0], signed=False)
    assert scale.drawn(0.9) == 0.9


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("row", [[], [0.0, 0.0], [math.nan], [-0.0]])
def test_nothing_is_drawn_where_there_is_nothing(row: list[float], signed: bool) -> None:
    (scale,) = class_scales([row], [0.0], signed=signed)
    assert scale == ClassScale(0.0, 0.0, 0.0, 0.0)
    assert scale.drawn(0.0) == scale.drawn(0.0, "stretched") == 0


def test_another_strength_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="strength 'loud'; allowed: own, shared"):
        check_word_strength("loud")
