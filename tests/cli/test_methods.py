"""``ttame methods`` and what ``ttame inspect`` says about methods."""

from __future__ import annotations

import pytest

from tests.cli.test_commands import run
from ttame.cli.methods import short_reasons
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.explainers.method_description import describe_method

VIT = ["timm/vit_tiny_patch16_224", "--weights", "none", "--image-size", "64", "--device", "cpu",
       "--network-option", "depth=2", "--network-option", "num_classes=5"]  # fmt: skip


def test_every_name_stands_whole_in_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["methods", "--options"], monkeypatch) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(len(line) for line in lines) <= 80
    for name, method in EXPLAINERS.items():
        assert any(line.split()[:1] == [name] for line in lines), name
        for option in describe_method(name).options:
            assert any(line.startswith(f"{name}.{option.name} ") for line in lines)
        note = " ".join(method.card.licence_note.split())
        assert note in " ".join(printed.split())
    assert "[1] " in printed


@pytest.mark.parametrize("name", EXPLAINERS)
def test_one_method_is_shown_in_full(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["methods", name], monkeypatch) == 0
    printed = capsys.readouterr().out
    described = describe_method(name)
    words = " ".join(printed.split())
    for expected in (described.card.title, described.card.paper, described.card.cost):
        assert expected in words
    for option in described.options:
        assert option.name in words
        assert option.shown_default in words
    assert "``" not in printed


def test_a_model_divides_the_methods_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["methods", "--model", *VIT], monkeypatch) == 0
    applicable, _, others = capsys.readouterr().out.partition("methods apply to")
    assert "grad_cam " in applicable
    assert "\ncam " not in applicable
    assert "globally averaged" in " ".join(others.split())
    assert run(["methods", "cam", "--model", *VIT], monkeypatch) == 0
    assert "cam does not apply to timm/vit_tiny" in " ".join(capsys.readouterr().out.split())
    assert run(["methods", "grad_cm"], monkeypatch) == 2
    assert "try: grad_cam" in capsys.readouterr().err


def test_reasons_are_printed_without_what_each_of_them_repeats() -> None:
    reasons = {
        "cam": "cam is not defined for timm/net: it has no head",
        "agf": "agf is not defined for timm/net, a Vision Transformer: it is not a CNN",
        "tame": "tame is not defined for timm/net before it is trained",
        "odd": "weights of another network",
    }
    assert short_reasons(reasons, "timm/net") == {
        "cam": "it has no head",
        "agf": "it is not a CNN",
        "tame": "before it is trained",
        "odd": "weights of another network",
    }


def test_inspect_shows_the_layout_of_a_transformer_and_what_applies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", *VIT], monkeypatch) == 0
    words = " ".join(capsys.readouterr().out.split())
    for expected in (
        "blocks 2 (blocks.0 … blocks.1)",
        "tokens 17: 1 prefix, 4x4 patches",
        "the head reads the class token",
        "its prior is made of contributions:norm, what each token adds to the class token",
        "methods that apply:",
        "grad_cam",
    ):
        assert expected in words
