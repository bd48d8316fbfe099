from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest

from ttame.cli.evaluate import evaluate
from ttame.cli.explain import explain
from ttame.cli.export import export
from ttame.cli.method_options import (
    MethodOptions,
    method_parameters,
    parse_method_options,
    parse_methods,
)
from ttame.cli.serve import serve
from ttame.errors import ExplainerError, UnknownNameError
from ttame.explainers.known_explainers import EXPLAINERS

CHOOSING = {
    explain: "methods method explainer memory_budget option allow_other_weights",
    serve: "methods method explainer option allow_other_weights",
    export: "explainer methods method option allow_other_weights",
    evaluate: "methods method memory_budget option",
}
"""Command to the options that it has of those that choose methods, in the order of its help."""


@pytest.mark.parametrize("command", CHOOSING, ids=lambda command: command.__name__)
def test_commands_have_the_options_that_are_declared_once(command: Any) -> None:
    declared = {each.name: each for each in method_parameters(*CHOOSING[explain].split())}
    own = inspect.signature(command).parameters
    names = CHOOSING[command].split()
    assert [name for name in own if name in declared] == names
    for name in names:
        assert own[name].default == declared[name].default == getattr(MethodOptions(), name)
        (kind, said), (its_kind, declaration) = (
            get_args(each.annotation) for each in (own[name], declared[name])
        )
        assert kind == its_kind
        if said is not declaration:  # Another help or panel, and nothing else.
            apart = {key for key, value in vars(said).items() if value != vars(declaration)[key]}
            assert apart and apart <= {"help", "rich_help_panel"}


def test_a_declaration_is_one_object_for_all_commands() -> None:
    def declared(parameters: Any, name: str) -> object:
        return get_args(parameters[name].annotation)[1]

    once = {each.name: each for each in method_parameters("methods", "explainer", "option")}
    of_explain, of_serve = (inspect.signature(command).parameters for command in (explain, serve))
    for command in CHOOSING:
        of_command = inspect.signature(command).parameters
        assert declared(of_command, "method") is declared(once, "method")
    assert declared(of_explain, "methods") is declared(once, "methods")
    assert declared(of_explain, "explainer") is declared(once, "explainer")
    assert declared(of_serve, "option") is declared(once, "option")


def test_what_a_command_does_not_have_is_as_if_it_was_not_typed() -> None:
    typed = {"methods": "cam", "method": "rise,cam", "memory_budget": "1MiB", "device": "cpu"}
    said = MethodOptions.of(typed)
    assert said == MethodOptions(methods="cam", method="rise,cam", memory_budget="1MiB")
    assert said.method_names() == ["cam", "rise"]
    assert said.memory_budget_in_bytes() == 2**20


def test_method_names_are_read_once_each() -> None:
    assert parse_methods(None) == []
    assert parse_methods("grad_cam, cam,grad_cam") == ["grad_cam", "cam"]
    with pytest.raises(UnknownNameError, match="try: all"):
        parse_methods("al")


def test_option_values_are_json_or_text_and_checked_against_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def made(classifier, *, steps=5, share=0.5, mode="mean", on=True, layer=None):  # type: ignore[no-untyped-def]
        raise AssertionError

    monkeypatch.setitem(EXPLAINERS, "cam", made)
    good = ["cam.steps=7", "cam.share=1", "cam.mode=max", "cam.on=false", "layer=a.b"]
    assert parse_method_options(good, ["cam"]) == {
        "cam": {"steps": 7, "share": 1, "mode": "max", "on": False, "layer": "a.b"}
    }
    for bad in ("cam.steps=many", "cam.steps=true", "cam.on=1", "cam.share=half"):
        with pytest.raises(ExplainerError, match="as the default"):
            parse_method_options([bad], ["cam"])
    for bad in ("cam.steps", ".steps=1", "=1"):
        with pytest.raises(ExplainerError, match=r"METHOD\.NAME=VALUE"):
            parse_method_options([bad], ["cam"])
