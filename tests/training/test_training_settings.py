"""Presets hold the published protocol; values that cannot work are refused."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from ttame.errors import TrainingError, UnknownNameError
from ttame.explainers.trained.head_settings import AttentionHeadSettings, HeadPart, MinMaxMaps
from ttame.explainers.trained.settings_part import leaves_of
from ttame.training.attention_objective import TTameObjective
from ttame.training.optimiser_settings import Sgd
from ttame.training.training_settings import (
    PRESETS,
    TrainingSettings,
    training_settings,
)

# METHODS.md 2.4, 2.5 and 2.7; for L-CAM section 6.
SHARED = {
    "cross_entropy_weight": 1.5,
    "area_weight": 2.0,
    "area_power": 0.3,
    "smoothness_weight": 0.01,
    "border_weight": 0.3,
    "batch_size": 32,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "class_token": "drop",
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "t-tame": {
        "method": "t_tame",
        "head": "t-tame",
        "last_tap_only": False,
        "masked": "image",
        "masking_space": "by family",  # raw for CNNs, normalised for ViTs
        "augmentation": "by family",  # none for CNNs, crops and flips for ViTs
        "map_selection": "random",
        "epochs": 8,
        "learning_rate": 1e-3,
        "bias_learning_rate_factor": 1.0,
    },
    "tame": {
        "method": "tame",
        "head": "t-tame",
        "last_tap_only": False,
        "masked": "image",
        "masking_space": "raw",
        "augmentation": "random crop and flip",
        "map_selection": "random",
        "epochs": 8,
        "learning_rate": 1e-3,
        "bias_learning_rate_factor": 2.0,
    },
    "l-cam-img": {
        "method": "l_cam_img",
        "head": "l-cam",  # which takes the last tap alone
        "masked": "image",
        "learning_rate": 1e-4,
        "epochs": 26,
    },
    "l-cam-fm": {
        "method": "l_cam_fm",
        "head": "l-cam",  # which takes the last tap alone
        "masked": "features",
        "learning_rate": 1e-4,
        "epochs": 26,
    },
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_hold_the_published_protocol(preset: str) -> None:
    settings = training_settings(preset).flat()
    for name, value in {**SHARED, **PUBLISHED[preset], "preset": preset}.items():
        assert settings[name] == value, name


def test_every_preset_is_checked_here() -> None:
    ours = {"few-shot", "few-shot-quick", "few-shot-text"}
    assert set(PRESETS) == {*PUBLISHED, "p-tame", *ours}
    assert TrainingSettings() == training_settings("t-tame")
    assert training_settings() == training_settings("few-shot")


def test_the_p_tame_preset_stays_within_what_was_published() -> None:
    flat = training_settings("p-tame").flat()
    assert (flat["method"], flat["head"], flat["epochs"]) == ("p_tame", "t-tame", 1)
    # AdamW without weight decay is Adam.
    assert (flat["optimiser"], flat["learning_rate"], flat["weight_decay"]) == ("adamw", 1e-4, 0)
    assert 0.073 <= flat["cross_entropy_weight"] <= 0.161
    assert 0.839 <= flat["area_weight"] <= 0.978
    assert 0 <= flat["smoothness_weight"] <= 1e-4


def test_the_few_shot_preset_trains_the_shared_head() -> None:
    """Its numbers are tuned; what it trains, and with what kind of step, is not."""
    settings = training_settings("few-shot-quick")
    flat = settings.flat()
    assert (settings.method, flat["head"]) == ("few_shot", "few-shot")
    assert (flat["optimiser"], flat["objective"]) == ("adamw", "kept-share")
    assert flat["maps"] == "min-max"
    assert 0.4 < flat["mean_map"] < 0.7
    assert settings.head.parts == ("prior", "embedding", "gate")
    for preset in PUBLISHED:
        published = training_settings(preset)
        flat = published.flat()
        assert (flat["optimiser"], flat["maps"], flat["objective"]) == ("sgd", "raw", "t-tame")
        assert published.head.parts == ()


def test_the_preset_with_random_masks_asks_what_they_leave() -> None:
    settings = training_settings("few-shot")
    assert (settings.method, settings.head.kind) == ("few_shot", "few-shot")
    assert settings.head.parts == ("prior", "gate")
    assert settings.flat()["contrast"] is True
    assert settings.flat()["random_masks"] >= 16
    assert len(settings.flat()["grounds"]) > 1, "no single ground can be fitted"


def test_the_preset_for_texts_differs_in_what_is_masked_and_shown() -> None:
    settings, photos = training_settings("few-shot-text"), training_settings("few-shot")
    assert (settings.method, settings.head.kind) == (photos.method, photos.head.kind)
    assert settings.objective.kind == photos.objective.kind
    assert settings.objective.masked.explains == "texts"
    assert settings.head.maps.kind == "standard", "no token's number depends on padding"


@pytest.mark.parametrize("part", ["prior", "embedding", "gate"])
def test_one_part_can_be_left_out(part: HeadPart) -> None:
    parts = training_settings("few-shot-quick", without=part).head.parts
    assert set(parts) == {"prior", "embedding", "gate"} - {part}
    for preset in PUBLISHED:
        with pytest.raises(TrainingError, match=f"without {part}.*preset='few-shot'"):
            training_settings(preset, without=part)


def test_a_few_shot_head_multiplies_no_class_token() -> None:
    with pytest.raises(TrainingError, match="class-token multiply"):
        training_settings("few-shot", class_token="multiply")


@pytest.mark.parametrize("preset", PUBLISHED)
def test_only_a_few_shot_head_has_min_max_maps(preset: str) -> None:
    """The others have no exponent to learn."""
    with pytest.raises(TrainingError, match="maps min-max for a head of.*few-shot.*maps='raw'"):
        training_settings(preset, maps="min-max")
    assert training_settings(preset, objective="kept-share").objective.kind == "kept-share"


@pytest.mark.parametrize("preset", ["t-tame", "tame"])
def test_published_heads_have_no_details_to_set(preset: str) -> None:
    with pytest.raises(TrainingError, match=r"details 0\.5 with head t-tame.*preset='few-shot'"):
        training_settings(preset, details=0.5)


@pytest.mark.parametrize("details", [-0.1, 1.001, math.nan])
def test_a_few_shot_head_keeps_a_share_of_the_details(details: float) -> None:
    assert training_settings("few-shot").head.details == 0.5
    for share in (0, 0.0, 0.25, 1):
        assert training_settings("few-shot", details=share).head.details == share
    with pytest.raises(TrainingError, match="details .* 0 to 1"):
        training_settings("few-shot", details=details)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("batch_size", -4),
        ("batch_size", True),
        ("learning_rate", 0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", "1e-3"),
        ("weight_decay", -0.1),
        ("mean_map", 0.0),
        ("mean_map", 1),
        ("mean_map", math.nan),
        ("mean_map", "half"),
        ("details", -0.1),
        ("details", 1.1),
        ("details", math.nan),
        ("details", "half"),
        ("held_out_share", 0.0),
        ("held_out_share", 1.5),
        ("held_out_at_most", 0),
        ("seed", -1),
        ("workers", -1),
        ("checkpoint_every", 0),
        ("gradient_accumulation", 3),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(name: str, value: Any) -> None:
    said = "parts" if name == "gradient_accumulation" else name.replace("_", "-")
    with pytest.raises(TrainingError, match=said):
        training_settings(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("area_weight", -1), ("momentum", 1.0)])
def test_published_values_that_cannot_work_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(TrainingError, match=name.replace("_", "-")):
        training_settings("t-tame", **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("map_selection", "diagnal", "diagonal"),
        ("head", "t-tam", "t-tame"),
        ("class_token", "multipl", "multiply"),
        ("masking_space", "normalized", "normalised"),
        ("mixed_precision", "bf-16", "bf16"),
        ("augmentation", "non", "none"),
        ("masked", "images", "image"),
        ("maps", "sigmiod", "sigmoid"),
        ("maps", "minmax", "min-max"),
        ("objective", "kept-shares", "kept-share"),
        ("optimiser", "adam", "adamw"),
        ("without", "prio", "prior"),
    ],
)
def test_names_have_near_matches(name: str, value: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=meant):
        training_settings("few-shot" if name == "without" else "t-tame", **{name: value})


def test_unknown_presets_and_settings_have_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="tame"):
        training_settings("t-tam")
    with pytest.raises(UnknownNameError, match="batch_size"):
        training_settings(batchsize=4)


def test_settings_survive_json() -> None:
    settings = training_settings("tame", epochs=3, learning_rate=0.1)
    content = json.loads(json.dumps(settings.as_json()))
    assert TrainingSettings.from_json(content) == settings


@pytest.mark.parametrize(
    ("preset", "changes", "reader"),
    [
        ("few-shot", {"area_weight": 3.0}, "objective='t-tame'"),
        ("few-shot", {"map_selection": "max"}, "objective='t-tame'"),
        ("few-shot", {"momentum": 0.5}, "optimiser='sgd'"),
        ("few-shot", {"mean_map": 0.4, "maps": "raw"}, "maps='min-max'"),
        ("t-tame", {"mean_map": 0.4}, "preset='few-shot'"),
        ("l-cam-fm", {"masking_space": "raw"}, "masked='image'"),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(
    preset: str, changes: dict[str, Any], reader: str
) -> None:
    option = next(iter(changes)).replace("_", "-")
    with pytest.raises(TrainingError, match=f"{option} .*does not use it.*{reader}"):
        training_settings(preset, **changes)


def test_settings_that_something_reads_may_be_changed() -> None:
    assert training_settings("few-shot", mean_map=0.4).flat()["mean_map"] == 0.4
    changed = training_settings("few-shot-quick", objective="t-tame", area_weight=1.0)
    assert changed.flat()["area_weight"] == 1.0
    assert changed.flat()["masking_space"] == "raw", "what both objectives have stays"
    assert training_settings("t-tame", momentum=0.8).flat()["momentum"] == 0.8


def test_other_kinds_of_parts_keep_what_both_have() -> None:
    settings = training_settings("few-shot", learning_rate=0.2, last_tap_only=True)
    other = settings.changed(optimiser="sgd", head="t-tame", maps="raw")
    assert other.optimiser == Sgd(learning_rate=0.2, momentum=0.9)
    assert other.head == AttentionHeadSettings(last_tap_only=True)
    assert settings.changed() == settings


def test_parts_are_checked_where_they_are_put_together() -> None:
    with pytest.raises(TrainingError, match="optimiser 'sgd'"):
        TrainingSettings(optimiser="sgd")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="run "):
        TrainingSettings(run=Sgd())  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="maps min-max for a head of kind t-tame"):
        AttentionHeadSettings(maps=MinMaxMaps())


def test_names_differ_wherever_they_are() -> None:
    """Flat names need no path."""
    homes: dict[str, set[str]] = {}
    for name, holder, field in leaves_of(TrainingSettings):
        owners = [kind for kind in holder.__mro__ if field in vars(kind).get("__annotations__", {})]
        homes.setdefault(name, set()).add(owners[-1].__name__)
    shared = {name for name, rooms in homes.items() if len(rooms) > 1}
    assert shared == {"class_token", "last_tap_only"}, "heads of several kinds have these"
    assert len(homes) >= 33


def test_an_objective_of_ones_own_needs_no_name() -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(TTameObjective):
        pass

    settings = training_settings(objective=Own(area_weight=3.0))
    assert isinstance(settings.objective, Own)
    assert settings.flat()["area_weight"] == 3
