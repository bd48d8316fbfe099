"""Presets hold the published protocol; values that cannot work are refused."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

import ttame
from ttame.errors import TrainingError, UnknownNameError
from ttame.training.training_settings import (
    PRESETS,
    HeadPart,
    TrainingSettings,
    can_be_typed,
    python_call,
    train_command,
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
        "head": "l-cam",
        "last_tap_only": True,
        "masked": "image",
        "learning_rate": 1e-4,
        "epochs": 26,
    },
    "l-cam-fm": {
        "method": "l_cam_fm",
        "head": "l-cam",
        "last_tap_only": True,
        "masked": "features",
        "learning_rate": 1e-4,
        "epochs": 26,
    },
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_presets_hold_the_published_protocol(preset: str) -> None:
    settings = training_settings(preset).as_json()
    for name, value in {**SHARED, **PUBLISHED[preset], "preset": preset}.items():
        assert settings[name] == value, name


def test_every_preset_is_checked_here() -> None:
    assert set(PRESETS) == {*PUBLISHED, "few-shot"}
    assert TrainingSettings() == training_settings("t-tame")
    assert training_settings() == training_settings("few-shot")


def test_the_few_shot_preset_trains_the_shared_head() -> None:
    """Its numbers are tuned; what it trains, and with what kind of step, is not."""
    settings = training_settings("few-shot")
    assert (settings.preset, settings.method, settings.head) == ("few-shot", "few_shot", "few-shot")
    assert settings.optimiser == "adamw"
    assert (settings.objective, settings.maps) == ("kept-share", "min-max")
    assert settings.head_settings.maps == "min-max"
    assert 0.4 < settings.mean_map < 0.7
    assert settings.head_settings.parts == ("prior", "embedding", "gate")
    for preset in PUBLISHED:
        published = training_settings(preset)
        assert (published.optimiser, published.maps) == ("sgd", "raw")
        assert published.objective == "t-tame"
        assert published.head_settings.parts == ()


@pytest.mark.parametrize("part", ["prior", "embedding", "gate"])
def test_one_part_can_be_left_out(part: HeadPart) -> None:
    parts = training_settings("few-shot", without=part).head_settings.parts
    assert set(parts) == {"prior", "embedding", "gate"} - {part}
    for preset in PUBLISHED:
        with pytest.raises(TrainingError, match=f"without {part}.*--preset few-shot"):
            training_settings(preset, without=part)


def test_a_few_shot_head_multiplies_no_class_token() -> None:
    with pytest.raises(TrainingError, match="class-token multiply"):
        training_settings("few-shot", class_token="multiply")


@pytest.mark.parametrize("preset", PUBLISHED)
def test_only_a_few_shot_head_has_min_max_maps(preset: str) -> None:
    """The others have no exponent to learn."""
    with pytest.raises(TrainingError, match="maps min-max for a head of.*few-shot.*--maps raw"):
        training_settings(preset, maps="min-max")
    assert training_settings(preset, objective="kept-share").objective == "kept-share"


@pytest.mark.parametrize("preset", ["t-tame", "tame"])
def test_published_heads_keep_all_details(preset: str) -> None:
    assert training_settings(preset, details=1.0).head_settings.details == 1
    with pytest.raises(TrainingError, match="details 0.5 for a head of variant t-tame"):
        training_settings(preset, details=0.5)


@pytest.mark.parametrize("details", [-0.1, 1.001, math.nan])
def test_a_few_shot_head_keeps_a_share_of_the_details(details: float) -> None:
    assert training_settings("few-shot").head_settings.details == 0.5
    for share in (0, 0.0, 0.25, 1):
        assert training_settings("few-shot", details=share).head_settings.details == share
    with pytest.raises(TrainingError, match="details .* 0 to 1 for a few-shot head, 1 for others"):
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
        ("area_weight", -1),
        ("weight_decay", -0.1),
        ("momentum", 1.0),
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
        training_settings(**{name: value})


def test_unknown_presets_and_settings_have_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="tame"):
        training_settings("t-tam")
    with pytest.raises(UnknownNameError, match="batch_size"):
        training_settings(batchsize=4)


def test_settings_survive_json() -> None:
    settings = training_settings("tame", epochs=3, learning_rate=0.1)
    content = json.loads(json.dumps(settings.as_json()))
    assert TrainingSettings(**content) == settings


def test_what_cannot_be_typed_is_a_call() -> None:
    assert can_be_typed(training_settings("l-cam-fm", epochs=2))
    settings = training_settings("few-shot", last_tap_only=True, without="gate")
    assert not can_be_typed(settings)
    call = python_call(settings).partition("folder, ")[2].removesuffix(")")
    assert eval(call, {"ttame": ttame}) == settings


def test_the_command_repeats_what_differs_from_the_preset() -> None:
    settings = training_settings("tame", learning_rate=0.01, masking_space="by family")
    command = train_command(settings, ["--model", "timm/x"], ["my photos", "more.tar"], "out")
    assert command == (
        "ttame train --model timm/x --data 'my photos' --data more.tar --out out --preset tame "
        "--masking-space 'by family' --learning-rate 0.01"
    )
    assert dataclasses.replace(training_settings("tame"), epochs=8) == training_settings("tame")


def test_the_command_repeats_loss_and_brightness() -> None:
    settings = training_settings("few-shot", objective="t-tame", mean_map=0.4)
    command = train_command(settings, ["--model", "timm/x"], ["photos"], "out")
    assert command.endswith("--preset few-shot --objective t-tame --mean-map 0.4")
    settings = training_settings("few-shot", objective="t-tame", maps="sigmoid")
    command = train_command(settings, ["--model", "timm/x"], ["photos"], "out")
    assert command.endswith("--preset few-shot --maps sigmoid --objective t-tame")


@pytest.mark.parametrize(
    ("preset", "changes", "reader"),
    [
        ("few-shot", {"area_weight": 3.0}, "--objective t-tame"),
        ("few-shot", {"map_selection": "max"}, "--objective t-tame"),
        ("few-shot", {"momentum": 0.5}, "--optimiser sgd"),
        ("few-shot", {"mean_map": 0.4, "maps": "raw"}, "--maps min-max"),
        ("t-tame", {"mean_map": 0.4}, "--preset few-shot"),
        ("l-cam-fm", {"masking_space": "raw"}, "--preset l-cam-img"),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(
    preset: str, changes: dict[str, Any], reader: str
) -> None:
    option = next(iter(changes)).replace("_", "-")
    with pytest.raises(TrainingError, match=f"{option} .*no use for it.*{reader}"):
        training_settings(preset, **changes)


def test_settings_that_something_reads_may_be_changed() -> None:
    assert training_settings("few-shot", mean_map=0.4).mean_map == 0.4
    changed = training_settings("few-shot", objective="t-tame", area_weight=1.0)
    assert changed.area_weight == 1.0
    assert training_settings("t-tame", momentum=0.8).momentum == 0.8
