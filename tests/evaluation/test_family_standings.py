"""Which method is better than which: families one by one, and no weights between them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.evaluation.evaluated import explainers, photo_folder, run
from tests.tiny_networks import tiny_cnn
from ttame.evaluation.family_standings import (
    better_of,
    family_standings,
    standings_in_words,
)
from ttame.evaluation.paired_statistics import permutation_p_value, sign_flip_p_values

IMAGES = 40
FAMILIES = ("insertion", "deletion", "road", "hard_masks", "saco")


def noise(seed: int, count: int = IMAGES) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


def measured(label: str, offsets: dict[str, float], seed: int, judged: bool = False) -> Any:
    """A method that is so much better in some families than one without offsets."""
    common = {family: 30 * noise(place) for place, family in enumerate(FAMILIES)}
    prefixes = ("held_ground.", "judged.held_ground.") if judged else ("held_ground.",)
    values = {
        f"{prefix}{family}": common[family] + noise(100 * seed + place) + offsets.get(family, 0)
        for prefix in prefixes
        for place, family in enumerate(FAMILIES)
    }
    return SimpleNamespace(label=label, images=np.arange(IMAGES), values=values)


def test_one_family_is_enough_and_one_against_it_is_too_much() -> None:
    methods = [
        measured("plain", {}, 1),
        measured("ahead", {"deletion": 2}, 2),
        measured("torn", {"deletion": 2, "road": -2}, 3),
    ]
    found = {s.label: (s.better_than, s.worse_than) for s in family_standings(methods)}
    assert found == {
        "plain": ((), ("ahead",)),
        "ahead": (("plain", "torn"), ()),
        "torn": ((), ("ahead",)),
    }
    assert family_standings(methods)[0].label == "ahead"


def test_a_family_with_a_large_spread_decides_no_more_than_the_others() -> None:
    """Its lead would decide the sum, and is noise."""
    differences = np.stack([1 + 0.1 * noise(1), 50 * noise(2) - 20 * noise(3)], axis=1)
    differences[:, 1] -= differences[:, 1].mean() + 8
    assert differences.sum(axis=1).mean() < 0
    assert better_of(differences) == 1


def test_what_a_judge_says_counts_like_what_the_network_says() -> None:
    plain, ahead = measured("plain", {}, 1, judged=True), measured("ahead", {"saco": 2}, 2, True)
    for key in ahead.values:
        if key.startswith("judged."):
            ahead.values[key] = ahead.values[key] - 4 * (key.endswith("saco"))
    assert all(not s.better_than for s in family_standings([plain, ahead]))


def test_only_images_that_both_have_are_compared() -> None:
    plain, ahead = measured("plain", {}, 1), measured("ahead", {"road": 2}, 2)
    ahead.images = np.arange(IMAGES)[::-1][: IMAGES // 2][::-1]
    ahead.values = {key: values[IMAGES // 2 :] for key, values in ahead.values.items()}
    ahead.values["held_ground.road"][3] = np.nan
    assert family_standings([plain, ahead])[0].better_than == ("plain",)
    ahead.images = ahead.images + IMAGES
    assert all(not s.better_than for s in family_standings([plain, ahead]))


def test_methods_without_families_have_no_standing() -> None:
    other = SimpleNamespace(label="other", images=np.arange(3), values={"saco": np.zeros(3)})
    assert family_standings([other, other]) == ()
    assert family_standings([measured("alone", {}, 1)]) == ()
    assert standings_in_words(()) == []


def test_several_tests_at_once_are_those_one_by_one() -> None:
    ours = np.stack([noise(seed) for seed in range(4)], axis=1)
    theirs = ours + 0.3 * np.stack([noise(seed) + (seed - 4) / 4 for seed in range(4, 8)], axis=1)
    one_by_one = [permutation_p_value([a], [b]) for a, b in zip(ours.T, theirs.T, strict=True)]
    assert sign_flip_p_values(ours - theirs) == pytest.approx(one_by_one, abs=1e-12)
    assert min(one_by_one) < 0.01 < max(one_by_one)


def test_the_notes_of_an_evaluation_say_it(tmp_path: Path) -> None:
    photos, classifier = photo_folder(tmp_path / "photos", 4), tiny_cnn()
    methods = explainers(classifier, ("input_x_gradient", "grad_cam"))
    found = run(photos, tmp_path / "out", classifier, methods=methods, protocol="held-ground",
                metrics=["held_ground"])  # fmt: skip
    said = [note for note in found.notes if note.startswith("Held ground: ")]
    # Four images separate nothing.
    assert said[1:] == [
        "Held ground: input_x_gradient is better than none, worse than none",
        "Held ground: grad_cam is better than none, worse than none",
    ]
