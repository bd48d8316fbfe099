"""How settings are written down, and that they come back."""

from __future__ import annotations

import dataclasses

import pytest

import ttame
from ttame.training.attention_objective import TTameObjective
from ttame.training.train_command import can_be_typed, python_call, train_command
from ttame.training.training_settings import PRESETS, TrainingSettings, training_settings


def test_an_objective_of_ones_own_is_a_call() -> None:
    @dataclasses.dataclass(frozen=True)
    class Own(TTameObjective):
        pass

    assert can_be_typed(training_settings("l-cam-fm", epochs=2))
    assert not can_be_typed(training_settings(objective=Own()))
    assert not can_be_typed(dataclasses.replace(training_settings(), preset="mine"))


@pytest.mark.parametrize(
    "settings",
    [
        *PRESETS.values(),
        training_settings("few-shot", last_tap_only=True, without="gate"),
        training_settings("few-shot", objective="t-tame", maps="sigmoid", area_weight=1.0),
        training_settings("few-shot", head="no-skip", maps="raw", optimiser="sgd", momentum=0.5),
        training_settings("t-tame", class_token="multiply", masked="features"),
    ],
    ids=str,
)
def test_what_is_written_down_comes_back(settings: TrainingSettings) -> None:
    call = python_call(settings).partition("folder, ")[2].removesuffix(")")
    assert eval(call, {"ttame": ttame}) == settings
    assert can_be_typed(settings)


def test_a_switch_is_typed_without_a_value() -> None:
    settings = training_settings("few-shot", last_tap_only=True)
    assert train_command(settings, [], ["x"], "out").endswith("--preset few-shot --last-tap-only")


def test_the_command_repeats_what_differs_from_the_preset() -> None:
    settings = training_settings("tame", learning_rate=0.01, masking_space="by family")
    command = train_command(settings, ["--model", "timm/x"], ["my photos", "more.tar"], "out")
    assert command == (
        "ttame train --model timm/x --data 'my photos' --data more.tar --out out --preset tame "
        "--masking-space 'by family' --learning-rate 0.01"
    )


def test_the_command_repeats_loss_and_brightness() -> None:
    settings = training_settings("few-shot", objective="t-tame", mean_map=0.4)
    command = train_command(settings, ["--model", "timm/x"], ["photos"], "out")
    assert command.endswith("--preset few-shot --mean-map 0.4 --objective t-tame")
    settings = training_settings("few-shot", objective="t-tame", maps="sigmoid")
    command = train_command(settings, ["--model", "timm/x"], ["photos"], "out")
    assert command.endswith("--preset few-shot --maps sigmoid --objective t-tame")
