from __future__ import annotations

import pytest

from ttame.errors import TrainingError, UnknownNameError
from ttame.explainers.trained.head_settings import (
    AttentionHeadSettings,
    LCamHeadSettings,
    MinMaxMaps,
    SharedHeadSettings,
    SigmoidMaps,
)
from ttame.explainers.trained.known_head_settings import head_settings, head_settings_from_json

KINDS = {
    "t-tame": AttentionHeadSettings(),
    "no-skip": AttentionHeadSettings(kind="no-skip"),
    "l-cam": LCamHeadSettings(),
    "few-shot": SharedHeadSettings(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_made_by_name_and_read_back(kind: str) -> None:
    made = head_settings(kind)
    assert made == KINDS[kind]
    assert head_settings_from_json(made.as_json()) == made


def test_changes_reach_the_part_that_reads_them() -> None:
    made = head_settings("few-shot", maps="min-max", mean_map=0.4, without="prior,gate", details=0)
    assert made == SharedHeadSettings(
        maps=MinMaxMaps(mean_map=0.4), without=("prior", "gate"), details=0
    )
    assert made.parts == ("embedding",)
    assert KINDS["few-shot"].parts == ("prior", "embedding", "gate")
    assert KINDS["t-tame"].parts == ()
    multiplied = head_settings("l-cam", class_token="multiply", maps="sigmoid")
    assert multiplied == LCamHeadSettings(class_token="multiply", maps=SigmoidMaps())


def test_a_setting_of_another_kind_says_which() -> None:
    with pytest.raises(TrainingError, match="details=1.0 .* kind t-tame; .* with head few-shot"):
        head_settings("t-tame", details=1.0)
    with pytest.raises(TrainingError, match="mean_map=0.5 .* with maps min-max"):
        head_settings("few-shot", mean_map=0.5)
    with pytest.raises(UnknownNameError, match="'detials'"):
        head_settings("few-shot", detials=1.0)
    with pytest.raises(UnknownNameError, match="'l-camm'"):
        head_settings("l-camm")


def test_min_max_maps_are_the_few_shot_heads() -> None:
    for kind in ("t-tame", "l-cam"):
        with pytest.raises(TrainingError, match=f"maps min-max for a head of kind {kind}"):
            head_settings(kind, maps="min-max")
