from __future__ import annotations

import pytest
import torch

from ttame.classifiers.class_selection import ClassSelection, class_index, select_classes
from ttame.classifiers.sources.network_source import imagenet_class_names
from ttame.errors import ClassSelectionError

LOGITS = torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.2, 0.3]])
NAMES = ("dog", "tiger cat, big cat", "hen")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (None, [[1], [0]]),
        (2, [[2], [2]]),
        ([1, 2], [[1], [2]]),
        ([[1, 2], [0, 0]], [[1, 2], [0, 0]]),
        ("all", [[0, 1, 2], [0, 1, 2]]),
        ("top2", [[1, 2], [0, 2]]),
        ("Hen", [[2], [2]]),
        (["hen", "0"], [[2, 0], [2, 0]]),
        ("big cat", [[1], [1]]),
        (torch.tensor([1, 2], dtype=torch.uint8), [[1], [2]]),
    ],
)
def test_every_way_to_name_classes(selection: ClassSelection, expected: list[list[int]]) -> None:
    chosen = select_classes(selection, LOGITS, NAMES)
    assert chosen.dtype == torch.int64
    assert chosen.tolist() == expected


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (3, "class index 3; allowed: 0 to 2"),
        (-1, "class index -1"),
        ([], "empty list"),
        (1.5, "dtype"),
        ([True, False], "dtype"),
        ([1, 2, 0], "for 2 images"),
        ([[1], [2, 0]], "allowed: None, an int"),
        (2**70, "allowed: None, an int"),
        ("top4", '"top1" to "top3"'),
        ("top0", '"top1" to "top3"'),
        ("7", "class index 7"),
    ],
)
def test_what_does_not_exist_is_refused(selection: ClassSelection, message: str) -> None:
    with pytest.raises(ClassSelectionError) as caught:
        select_classes(selection, LOGITS, NAMES)
    assert message in str(caught.value)


def test_an_unknown_name_brings_near_ones_and_those_that_hold_the_word() -> None:
    with pytest.raises(ClassSelectionError, match="Egyptian cat"):
        class_index("cat", imagenet_class_names(), 1000)
    with pytest.raises(ClassSelectionError, match="try: espresso"):
        class_index("expresso", imagenet_class_names(), 1000)


def test_an_ambiguous_name_brings_the_indices() -> None:
    names = ["crane", "dog", "crane"]
    with pytest.raises(ClassSelectionError, match=r"index 0 \(crane\) or index 2"):
        class_index("Crane", names, 3)


def test_a_whole_name_wins_over_a_part() -> None:
    assert class_index("crane", ["crane, bird", "crane"], 2) == 1


def test_a_name_made_of_digits_is_a_name() -> None:
    assert class_index("3", ["7", "3"], 2) == 1
    assert class_index("0", ["7", "3"], 2) == 0


def test_without_names_only_indices() -> None:
    with pytest.raises(ClassSelectionError, match="no class names; allowed: indices 0 to 2"):
        class_index("cat", (), 3)
