from __future__ import annotations

from typing import Any

import pytest

from ttame.errors import TtameError
from ttame.explainers.trained.older_settings import FLAT_DEFAULTS, with_parts
from ttame.training.training_settings import TrainingSettings

KINDS: list[dict[str, Any]] = [
    {},
    {"head": "few-shot", "method": "few_shot", "maps": "min-max", "mean_map": 0.4},
    {"head": "few-shot", "method": "few_shot", "without": "prior"},
    {"head": "l-cam", "method": "l_cam_fm", "masked": "features", "objective": "kept-share"},
    {"head": "no-skip", "optimiser": "adamw", "last_tap_only": True},
]


@pytest.mark.parametrize("flat", KINDS)
def test_what_is_read_keeps_its_value_and_nothing_else_stays(flat: dict[str, Any]) -> None:
    settings = TrainingSettings.from_json(with_parts(flat))
    old = {**FLAT_DEFAULTS, **flat}
    for name, value in settings.flat().items():
        if name in old:
            assert value == old[name], name
        else:  # younger than those files, and so at the value that acts as before
            assert value == TrainingSettings.from_json(with_parts({})).flat().get(name, value)
    assert ("mean_map" in settings.flat()) == (old["maps"] == "min-max")
    assert ("momentum" in settings.flat()) == (old["optimiser"] == "sgd")
    assert ("area_weight" in settings.flat()) == (old["objective"] == "t-tame")
    assert ("masking_space" in settings.flat()) == (old["masked"] == "image")
    assert ("details" in settings.flat()) == (old["head"] == "few-shot")
    assert ("class_token" in settings.flat()) == (old["head"] != "few-shot")


@pytest.mark.parametrize(
    "flat",
    [{"head": "other"}, {"head": ["t-tame"]}, {"optimiser": 1}, {"epochs": "8"}, {"maps": None}],
)
def test_what_a_stranger_wrote_is_refused_where_it_is_read(flat: dict[str, Any]) -> None:
    with pytest.raises(TtameError):
        TrainingSettings.from_json(with_parts(flat))
