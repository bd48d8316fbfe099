"""What stands on the tiles of a page."""

from __future__ import annotations

import torch

from ttame.reporting.drawn_tiles import blank_of, compared_names, page_tiles
from ttame.reporting.embedded_pictures import heat_address
from ttame.reporting.method_label import MethodLabel
from ttame.results.explanation import Explanation


def explained(maps: torch.Tensor, logits: list[float]) -> Explanation:
    count = len(maps)
    return Explanation(
        maps[None],
        torch.arange(count)[None],
        torch.tensor([logits]),
        (2, 2),
        class_names=("hen", "dog", "cat")[: len(logits)],
    )


def test_a_page_has_each_map_and_its_contrast() -> None:
    maps = torch.tensor([[[0.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]], [[3.0] * 2] * 2])
    explanation = explained(maps, [2.0, 3.0, 1.0])
    assert compared_names(explanation) == ["dog", "hen", "dog"]
    first, last = page_tiles(explanation, [0, 2], "viridis", MethodLabel("mine"))
    assert first["heat"] == heat_address(maps[0], "viridis")
    # On one scale of all three maps, 0 to 3: a third above the dog's at its own corner.
    assert first["contrast"] == heat_address(maps[0] / 3, "viridis")
    assert last["heat"] == "" and last["contrast"] != ""
    assert blank_of(explanation, 0, "contrast") == "nowhere above dog"
    assert blank_of(explanation, 0, "own") == blank_of(explanation, 2, "contrast") == "no evidence"


def test_a_single_class_has_no_contrast() -> None:
    explanation = explained(torch.eye(2)[None], [2.0, 3.0])
    (tile,) = page_tiles(explanation, [0], "inferno", MethodLabel("mine"))
    assert tile["contrast"] == "" and compared_names(explanation) == [""]
