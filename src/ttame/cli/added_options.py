"""Options that several commands share, or that are made from fields, given to a command."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, get_type_hints

Command = TypeVar("Command", bound=Callable[..., None])


def declared_options(kind: type) -> dict[str, inspect.Parameter]:
    """The fields of a frozen dataclass as options of a command, by name and in their order.

    Args:
        kind: the dataclass; each field has a default, and ``Annotated`` what typer wants to know.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Shown:
        ...     width: int = 80
        >>> declared_options(Shown)["width"].default
        80
    """
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(kind)
    }


def with_options(
    *options: inspect.Parameter,
    before: Mapping[str, Sequence[inspect.Parameter]] | None = None,
) -> Callable[[Command], Command]:
    """Give a command options in place of its ``**rest``, which gets what was typed of them.

    Typer reads a command's options off its signature, which this changes; calls stay as they are.

    Args:
        options: keyword-only parameters, with a default and what typer wants to know; last in the
            command's help.
        before: name of a parameter of the command to options that come before it in the help, and
            to ``**rest`` as well.

    Example:
        >>> device = inspect.Parameter(
        ...     "device", inspect.Parameter.KEYWORD_ONLY, default="cpu", annotation=str)
        >>> @with_options(device)
        ... def show(model: str, **rest: str) -> None: ...
        >>> list(inspect.signature(show).parameters)
        ['model', 'device']
    """

    def changed(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in own.parameters.values():
            parameters += (before or {}).get(parameter.name, ())
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                parameters += options
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {
            "return": None,
            **{parameter.name: parameter.annotation for parameter in parameters},
        }
        return command

    return changed
