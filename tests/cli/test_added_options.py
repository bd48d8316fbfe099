from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from ttame.cli.added_options import with_options
from ttame.cli.evaluate import evaluate
from ttame.cli.explain import explain
from ttame.cli.inspect import inspect as inspect_command
from ttame.cli.methods import methods
from ttame.cli.network_options import NetworkOptions, network_parameters
from ttame.cli.train import train

SIZE = inspect.Parameter(
    "size",
    inspect.Parameter.KEYWORD_ONLY,
    default=3,
    annotation=Annotated[int, typer.Option(help="How large.")],
)


def test_what_is_typed_arrives_where_the_rest_was() -> None:
    heard: list[dict[str, Any]] = []

    @with_options(SIZE)
    def show(place: Annotated[str, typer.Argument()], **rest: Any) -> None:
        heard.append({"place": place, **rest})

    app = typer.Typer()
    app.command()(show)
    assert CliRunner().invoke(app, ["here", "--size", "7"]).exit_code == 0
    assert CliRunner().invoke(app, ["there"]).exit_code == 0
    assert heard == [{"place": "here", "size": 7}, {"place": "there", "size": 3}]
    assert "How large." in CliRunner().invoke(app, ["--help"]).output
    assert CliRunner().invoke(app, ["here", "--size", "big"]).exit_code == 2


@pytest.mark.parametrize("command", [explain, train, evaluate, methods, inspect_command])
def test_every_command_with_a_classifier_has_all_its_options(command: Any) -> None:
    parameters = inspect.signature(command).parameters
    for own in network_parameters():
        assert parameters[own.name].default == own.default
        (typed,), (expected,) = (
            each.annotation.__metadata__ for each in (parameters[own.name], own)
        )
        assert typed.help == expected.help and len(typed.help) > 10
    assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def test_options_are_the_fields_with_their_types_and_defaults() -> None:
    found = {each.name: each for each in network_parameters()}
    assert found["weights"].default == NetworkOptions().weights == "default"
    assert found["class_names"].annotation.__origin__ == Path | None
    assert found["crop_share"].annotation.__origin__ == float | None
