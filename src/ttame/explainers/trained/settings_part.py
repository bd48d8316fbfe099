"""Settings as a tree of frozen parts that check themselves, and the flat names of its leaves.

A part of which there are several kinds, such as an optimiser, has a field ``kind``. In the flat
form this field goes by the name of whatever holds the part, so that ``settings.optimiser.kind`` is
``optimiser``. All names of a tree differ.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Self, TypeVar

from ttame.errors import (
    TrainingError,
    UnknownNameError,
    either,
    kind_of,
)

Part = TypeVar("Part", bound="SettingsPart")

_HINTS: dict[type[Any], dict[str, Any]] = {}

NOTHING = "nothing"
"""The flat form of an empty choice of several names."""


class Range(NamedTuple):
    """Which numbers are allowed, in words and as a test."""

    words: str
    fits: Callable[[float], bool]


ABOVE_ZERO = Range("above 0", lambda value: value > 0)
ZERO_OR_MORE = Range("0 or more", lambda value: value >= 0)
BELOW_ONE = Range("above 0 and below 1", lambda value: 0 < value < 1)
UP_TO_ONE = Range("0 to 1", lambda value: 0 <= value <= 1)


def number(default: float, allowed: Range) -> Any:
    """A field that holds a number of this range."""
    return dataclasses.field(default=default, metadata={"range": allowed})


def one_of(default: SettingsPart, kinds: Mapping[str, type[SettingsPart]]) -> Any:
    """A field that holds a part of any kind in a table, which may still grow."""
    return dataclasses.field(default=default, metadata={"kinds": kinds})


@dataclasses.dataclass(frozen=True)
class SettingsPart:
    """A frozen part of some settings; its fields are plain values or parts.

    Raises:
        TrainingError: a number or a part that cannot work.
        UnknownNameError: a name that is not among the allowed ones.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(type(self), field, getattr(self, field.name))

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file, parts as objects."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def flat(self) -> dict[str, Any]:
        """Return all values by their flat names; see :func:`flat_settings`."""
        return flat_settings(self.as_json())

    @classmethod
    def from_json(cls, content: object) -> Self:
        """Read what :meth:`as_json` gave; what is missing has its default.

        Raises:
            TrainingError: it has other fields, or values that cannot work.
            UnknownNameError: a name that is not among the allowed ones.
        """
        known = fields_of(cls)
        if not isinstance(content, Mapping):
            raise TrainingError(f"settings that are {kind_of(content)}")
        for name in content:
            if name not in known:
                raise UnknownNameError.of("setting", str(name), known)
        return cls(**{name: _read(cls, name, value) for name, value in content.items()})


def flat_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of settings in JSON, by names that need no path.

    Args:
        content: what :meth:`SettingsPart.as_json` gave.

    Example:
        >>> flat_settings({"optimiser": {"kind": "sgd", "momentum": 0.9}, "run": {"epochs": 3}})
        {'optimiser': 'sgd', 'momentum': 0.9, 'epochs': 3}
    """
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            inside = flat_settings(value)
            if "kind" in inside:
                flat[name] = inside.pop("kind")
            flat |= inside
        else:
            flat[name] = (",".join(map(str, value)) or NOTHING) if _is_several(value) else value
    return flat


def changed(part: Part, changes: Mapping[str, Any]) -> tuple[Part, dict[str, Any]]:
    """Some settings with others of their leaves.

    A part that becomes one of another kind keeps what both kinds have.

    Args:
        part: the root of the tree, of which no other kind can be chosen here.
        changes: flat name to value; the name of a part to a kind, or to a part.

    Returns:
        The settings, and the changes that none of their parts reads.

    Raises:
        TrainingError: a value that cannot work.
        UnknownNameError: a name that is not among the allowed ones.
    """
    unread = dict(changes)
    return _changed(type(part), _values(part), unread), unread


def kinds_of(part: type[SettingsPart], name: str) -> Mapping[str, type[SettingsPart]]:
    """Kind to class, for a field with several kinds of parts; empty for other fields."""
    table: Mapping[str, type[SettingsPart]] | None = fields_of(part)[name].metadata.get("kinds")
    if table is not None:
        return table
    members = [m for m in typing.get_args(hint_of(part, name)) if _is_part(m)]
    return {kind: member for member in members for kind in choices_of(member, "kind")}


def choices_of(part: type[SettingsPart], name: str) -> tuple[str, ...]:
    """The names that a field may have, of one or several at a time; none for numbers."""
    hint = hint_of(part, name)
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    return tuple(kinds_of(part, name))


def parts_in_files(package: str, files: Iterable[str], base: type[Part]) -> dict[str, type[Part]]:
    """The parts of one sort that files define, by the kinds that they answer to.

    Args:
        package: dotted name of the folder.
        files: stems of the files, in the order in which kinds are listed.
        base: what the parts are subclasses of.

    Example:
        >>> from ttame.explainers.trained.head_settings import HeadSettings
        >>> [*parts_in_files("ttame.explainers.trained", ["head_settings"], HeadSettings)][:2]
        ['t-tame', 'no-skip']
    """
    return {
        kind: part
        for file in files
        for part in vars(importlib.import_module(f"{package}.{file}")).values()
        if isinstance(part, type) and issubclass(part, base)
        for kind in choices_of(part, "kind")
    }


def leaves_of(part: type[SettingsPart]) -> Iterator[tuple[str, type[SettingsPart], str]]:
    """Flat name, class and field of all that can be set in a part, of whichever kind.

    What several kinds share comes once per kind.
    """
    for name in fields_of(part):
        if name == "kind":
            continue
        inside = [*dict.fromkeys(kinds_of(part, name).values())]
        if inside or not _is_part(hint_of(part, name)):
            yield name, part, name
        for member in inside or [hint_of(part, name)]:
            if _is_part(member):
                yield from leaves_of(member)


def switches(part: SettingsPart, name: str) -> Iterator[tuple[str, str, str]]:
    """Which parts would read a setting if they were of another kind, innermost ones first.

    Yields:
        The flat name of the part, its kind, and the kind that has such a setting.
    """
    for field, value in _values(part).items():
        if isinstance(value, SettingsPart):
            yield from switches(value, name)
            for kind, member in kinds_of(type(part), field).items():
                if kind != value.as_json()["kind"] and name in {n for n, *_ in leaves_of(member)}:
                    yield field, value.as_json()["kind"], kind


def fields_of(part: type[SettingsPart]) -> dict[str, dataclasses.Field[Any]]:
    """Name to field."""
    return {field.name: field for field in dataclasses.fields(part)}


def hint_of(part: type[SettingsPart], name: str) -> Any:
    """The type of a field."""
    if part not in _HINTS:
        _HINTS[part] = typing.get_type_hints(part)
    return _HINTS[part][name]


def option(name: str) -> str:
    """A setting's name as it is typed.

    Example:
        >>> option("batch_size")
        'batch-size'
    """
    return name.replace("_", "-")


def _is_part(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, SettingsPart)


def _is_several(value: object) -> bool:
    return isinstance(value, list | tuple)


def _values(part: SettingsPart) -> dict[str, Any]:
    return {name: getattr(part, name) for name in fields_of(type(part))}


def _plain(value: Any) -> Any:
    if isinstance(value, SettingsPart):
        return value.as_json()
    return list(value) if isinstance(value, tuple) else value


def _changed(kind: type[Any], values: dict[str, Any], unread: dict[str, Any]) -> Any:
    """A part made of values and of the changes for it and its parts, which are taken out."""
    for name, field in fields_of(kind).items():
        value = values.get(name, field.default)
        if isinstance(value, SettingsPart):
            new, kept = type(value), _values(value)
            if kinds_of(kind, name) and name in unread:
                new, kept = _other_kind(kinds_of(kind, name), name, unread.pop(name), kept)
            values[name] = _changed(new, kept, unread)
        elif name in unread and name != "kind":
            values[name] = _named(kind, name, unread.pop(name))
    return kind(**values)


def _other_kind(
    kinds: Mapping[str, type[SettingsPart]], name: str, wanted: object, kept: Mapping[str, Any]
) -> tuple[type[SettingsPart], dict[str, Any]]:
    if isinstance(wanted, SettingsPart):
        return type(wanted), _values(wanted)
    if not isinstance(wanted, str) or wanted not in kinds:
        raise UnknownNameError.of(option(name), str(wanted), kinds)
    new = kinds[wanted]
    return new, {n: v for n, v in kept.items() if n in fields_of(new)} | {"kind": wanted}


def _named(part: type[SettingsPart], name: str, value: Any) -> Any:
    """Several names, given as one text, as they are kept."""
    if typing.get_origin(hint_of(part, name)) is tuple and isinstance(value, str):
        return () if value == NOTHING else tuple(value.split(","))
    return value


def _read(part: type[SettingsPart], name: str, value: Any) -> Any:
    """A field's value from JSON."""
    hint, kinds = hint_of(part, name), kinds_of(part, name)
    if kinds:
        kind = value.get("kind") if isinstance(value, Mapping) else value
        if not isinstance(value, Mapping) or not isinstance(kind, str) or kind not in kinds:
            raise UnknownNameError.of(option(name), str(kind), kinds)
        return kinds[kind].from_json(value)
    if _is_part(hint):
        return hint.from_json(value)
    return tuple(value) if isinstance(value, list) else value


def _check(part: type[SettingsPart], field: dataclasses.Field[Any], value: Any) -> None:
    name, hint = field.name, hint_of(part, field.name)
    choices = choices_of(part, name)
    if kinds_of(part, name) or _is_part(hint):
        allowed = tuple(kinds_of(part, name).values()) or (hint,)
        if not isinstance(value, SettingsPart) or not isinstance(value, allowed):
            raise TrainingError(f"{option(name)} {value!r}", allowed=", ".join(choices))
    elif choices:
        several = typing.get_origin(hint) is tuple
        if several and not isinstance(value, tuple):
            raise TrainingError(f"{option(name)} {value!r}", allowed=f"several of {choices}")
        for one in value if several else (value,):
            if one not in choices:
                raise UnknownNameError.of(option(name), str(one), choices)
    elif hint is bool and not isinstance(value, bool):
        raise TrainingError(f"{option(name)} {value!r}", allowed="True or False")
    elif hint is int and (isinstance(value, bool) or not isinstance(value, int)):
        raise TrainingError(f"{option(name)} {value!r}", allowed="a whole number")
    elif hint is float and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TrainingError(f"{option(name)} {value!r}", allowed="a number")
    allowed_range: Range | None = field.metadata.get("range")
    if allowed_range and not (math.isfinite(value) and allowed_range.fits(value)):
        raise TrainingError(
            f"{option(name)} {value}",
            allowed=allowed_range.words,
            remedy=either(f"{name}=N", f"--{option(name)} N"),
        )
