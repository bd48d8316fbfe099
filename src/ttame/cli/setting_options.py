"""The options of ``ttame train`` that are made from the fields of the training settings."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import typer

from ttame.explainers.trained.settings_part import (
    SettingsPart,
    choices_of,
    fields_of,
    hint_of,
    kinds_of,
    leaves_of,
)
from ttame.training.training_settings import DEFAULT_PRESET, PRESETS, TrainingSettings

_NO_OPTIONS = ("preset", "method")
_ATTRIBUTE = re.compile(r"^(\w+): ", re.MULTILINE)


class SettingOption(NamedTuple):
    """One setting, as a person types it.

    Attributes:
        name: flat name.
        kind: the kind of its value.
        part: the part of the settings that holds it.
        words: what it is.
        choices: what it may be; empty for numbers.
        default: the value in a preset, in words, and where.
    """

    name: str
    kind: type
    part: str
    words: str
    choices: tuple[str, ...]
    default: str

    @property
    def in_words(self) -> str:
        """What it is and may be."""
        unsaid = [choice for choice in self.choices if choice not in self.words]
        return f"{self.words.removesuffix('.')}: {_one_of(self.choices)}" if unsaid else self.words

    @property
    def help(self) -> str:
        """All of it in a few lines of the terminal."""
        return f"{self.in_words} (default: {self.default})"


@functools.cache
def setting_options() -> dict[str, SettingOption]:
    """Name to option, for all settings that can be typed.

    Example:
        >>> setting_options()["learning_rate"].help
        'The peak of the one-cycle schedule. (default: 0.001 with few-shot)'
    """
    options: dict[str, SettingOption] = {}
    presets = {preset: PRESETS[preset].flat() for preset in (DEFAULT_PRESET, *PRESETS)}
    for part in fields_of(TrainingSettings):
        if part in _NO_OPTIONS:
            continue
        leaves = [*_leaves(part)]
        words = {holder: described(holder) for holder in {holder for _, holder, _ in leaves}}
        for name, holder, field in leaves:
            if name in options:
                continue
            hint = hint_of(holder, field)
            options[name] = SettingOption(
                name=name,
                kind=hint if hint in (int, float, bool) else str,
                part=part,
                words=_first_sentence(words[holder][field]),
                choices=tuple(
                    dict.fromkeys(
                        choice
                        for other, member, its in leaves
                        if other == name
                        for choice in choices_of(member, its)
                    )
                ),
                default=_default(name, presets),
            )
    return options


def setting_parameters() -> list[inspect.Parameter]:
    """An option for every setting; those that are not typed are ``None``."""
    parameters = []
    for option in setting_options().values():
        typed = typer.Option(
            help=option.help,
            rich_help_panel=f"Settings: {option.part} (the preset decides what is not given)",
            show_default=False,
        )
        parameters.append(
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[option.kind | None, typed],
            )
        )
    return parameters


def described(part: type[SettingsPart]) -> dict[str, str]:
    """What the docstrings of a part, and of what it derives from, say of its fields."""
    words: dict[str, str] = {}
    for kind in reversed(part.__mro__):
        _, _, behind = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
        section = textwrap.dedent(re.split(r"\n+(?=\S)", behind)[0])
        _, *found = _ATTRIBUTE.split(section)
        for name, text in zip(found[::2], found[1::2], strict=True):
            words[name] = " ".join(text.split())
    return {name: words.get(name, "") for name in fields_of(part)}


def _leaves(part: str) -> Iterator[tuple[str, type[SettingsPart], str]]:
    """The leaves of a part, of whichever kind, its own kind first."""
    if kinds_of(TrainingSettings, part):
        yield part, TrainingSettings, part
    members = dict.fromkeys(kinds_of(TrainingSettings, part).values()) or (
        hint_of(TrainingSettings, part),
    )
    for member in members:
        yield from leaves_of(member)


def _default(name: str, presets: Mapping[str, Mapping[str, Any]]) -> str:
    """The value in the first preset that has such a setting."""
    for preset, flat in presets.items():
        if name in flat:
            return f"{flat[name]} with {preset}"
    # No preset has a part of that kind.
    holder, field = next((h, f) for n, h, f in leaves_of(TrainingSettings) if n == name)
    return str(fields_of(holder)[field].default)


def _first_sentence(words: str) -> str:
    return re.split(r"(?<=\.) (?=[A-Z])", words.replace("``", ""), maxsplit=1)[0]


def _one_of(names: tuple[str, ...]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}."
