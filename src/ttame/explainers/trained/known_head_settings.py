"""The kinds of heads: one line for each file with settings; loads nothing heavy."""

from __future__ import annotations

import dataclasses
from typing import Any

from ttame.errors import TrainingError, UnknownNameError
from ttame.explainers.trained.head_settings import AttentionHeadSettings, HeadSettings
from ttame.explainers.trained.settings_part import (
    SettingsPart,
    changed,
    one_of,
    parts_in_files,
    switches,
)

_FILES = [
    "head_settings",
]
"""The files of this folder with settings of heads."""

HEAD_SETTINGS = parts_in_files("ttame.explainers.trained", _FILES, HeadSettings)
"""Kind to class. The heads themselves are in ``known_heads.HEADS``."""


@dataclasses.dataclass(frozen=True)
class _Holder(SettingsPart):
    head: HeadSettings = one_of(AttentionHeadSettings(), HEAD_SETTINGS)  # noqa: RUF009


def head_settings(kind: str = "t-tame", **changes: Any) -> HeadSettings:
    """The settings of a head of this kind, with some of them changed.

    Raises:
        UnknownNameError: no such kind of head, or a name that is not among the allowed ones.
        TrainingError: a value that cannot work, or a setting that this head does not have.

    Example:
        >>> head_settings("few-shot", maps="min-max", mean_map=0.4).maps
        MinMaxMaps(kind='min-max', mean_map=0.4)
    """
    made, unread = changed(_Holder(), {"head": kind, **changes})
    for name in unread:
        readers = [f"{part} {wanted}" for part, _, wanted in switches(made, name)]
        if not readers:
            raise UnknownNameError.of("setting of a head", name, made.head.flat())
        raise TrainingError(
            f"{name}={changes[name]!r} for a head of kind {kind}",
            allowed=f"with {readers[0]}",
        )
    return made.head


def head_settings_from_json(content: object) -> HeadSettings:
    """Read what :meth:`HeadSettings.as_json` gave.

    Raises:
        UnknownNameError: no such kind of head, or a name that is not among the allowed ones.
        TrainingError: a value that cannot work.
    """
    return _Holder.from_json({"head": content}).head
