from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from ttame.cli.added_options import with_options
from ttame.cli.main import app as all_commands
from ttame.cli.network_options import NetworkOptions, network_parameters

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


def test_options_come_where_the_command_says() -> None:
    heard: list[dict[str, Any]] = []

    @with_options(before={"last": [SIZE]})
    def show(first: int = 1, last: int = 2, **rest: Any) -> None:
        heard.append({"first": first, "last": last, **rest})

    assert list(inspect.signature(show).parameters) == ["first", "size", "last"]
    app = typer.Typer()
    app.command()(show)
    assert CliRunner().invoke(app, ["--size", "7", "--last", "5"]).exit_code == 0
    assert heard == [{"first": 1, "last": 5, "size": 7}]


LOADING = [each.callback for each in all_commands.registered_commands]
"""Every command: each loads a classifier."""


@pytest.mark.parametrize("command", LOADING, ids=lambda command: command.__name__)
def test_every_command_with_a_classifier_has_all_its_options(command: Any) -> None:
    parameters = inspect.signature(command).parameters
    for own in network_parameters():
        assert parameters[own.name].default == own.default
        (typed,), (declared,) = (
            each.annotation.__metadata__ for each in (parameters[own.name], own)
        )
        assert typed is declared and len(typed.help) > 10
    assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def test_options_are_the_fields_with_their_types_and_defaults() -> None:
    found = {each.name: each for each in network_parameters()}
    assert found["weights"].default == NetworkOptions().weights == "default"
    assert found["class_names"].annotation.__origin__ == Path | None
    assert found["crop_share"].annotation.__origin__ == float | None
