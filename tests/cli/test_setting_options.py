"""The options that are made from the fields of the settings."""

from __future__ import annotations

import inspect

from scripts.docs.settings_page import PAGE, with_table
from ttame.cli.setting_options import setting_options
from ttame.cli.train import train
from ttame.explainers.trained.settings_part import leaves_of
from ttame.training.training_settings import DEFAULT_PRESET, PRESETS, TrainingSettings


def test_every_setting_is_an_option_with_words_and_a_default() -> None:
    options = setting_options()
    names = {name for name, *_ in leaves_of(TrainingSettings)} - {"preset", "method"}
    assert set(options) == names
    assert set(inspect.signature(train).parameters) >= names
    for name, option in options.items():
        assert len(option.words) > 10, name
        assert option.help.endswith(f"(default: {option.default})")
        assert all(choice in option.help for choice in option.choices), name


def test_defaults_are_those_of_the_default_preset_where_it_has_them() -> None:
    options = setting_options()
    assert options["learning_rate"].default == "0.001 with few-shot"
    assert options["momentum"].default == "0.9 with t-tame"
    for name, value in PRESETS[DEFAULT_PRESET].flat().items():
        if name in options:
            assert options[name].default == f"{value} with {DEFAULT_PRESET}"


def test_types_are_those_of_the_fields() -> None:
    kinds = {name: option.kind for name, option in setting_options().items()}
    assert (kinds["epochs"], kinds["details"], kinds["last_tap_only"]) == (int, float, bool)
    assert kinds["without"] is kinds["head"] is kinds["mixed_precision"] is str


def test_the_guide_has_the_table_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "python -m scripts.docs settings"
