"""Every error ttame raises on purpose.

::

    TtameError
    ├── UnknownNameError         a name that no registry knows
    ├── ImageError               a file that is not an image, a tensor that is not a batch
    ├── TextError                a text that is empty or too long, tokens that do not fit
    ├── ClassSelectionError      a class name or index that the classifier does not have
    ├── DatasetError             no images, a bad list file, a broken shard
    ├── ClassifierError          a network that cannot be used as a classifier
    │   ├── TapError             no feature taps, or a layer that does not exist
    │   └── WeightsError         weights that are missing, unreadable, or of another architecture
    ├── ExplainerError           a method or head that cannot explain this classifier
    │   ├── ExplainerFolderError a folder that holds no explainer, or a broken one
    │   ├── OtherClassifierError a head trained for other weights
    │   └── NonFiniteMapError    a map with NaN or infinity
    ├── TrainingError            settings that cannot work
    │   ├── NonFiniteLossError   the loss became NaN or infinite
    │   └── ResumeError          a checkpoint that does not fit this run
    ├── EvaluationError          results that do not fit together, numbers that are none
    ├── OutputError              a folder that exists, a full disk
    ├── LostProcessError         one of several processes that work together has ended
    ├── MemoryLimitError         a batch that does not fit into memory
    └── MissingExtraError        an optional package that is not installed

Each message is one line that says what came, what is allowed and what to type next. The
command line prints it and exits with code 2. Messages quote file names and contents that strangers
chose: line breaks and control characters in them are escaped, and a long problem is shortened.

What to type is not the same everywhere: ``batch_size=4`` in Python is ``--batch-size 4`` on the
command line. A message that names a setting is written with :func:`setting` (or :func:`either`),
and reads as Python unless the command line asks with :func:`on_command_line`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

_LONGEST_PROBLEM = 700  # characters

_NO_LETTERS = str.maketrans("", "", " -_")

_EITHER = re.compile("\ue000([^\ue000-\ue002]*)\ue001([^\ue000-\ue002]*)\ue002")
"""Two wordings inside a text, between characters that no language uses."""

_TYPED_OTHERWISE = {"folder": "out", "network_options": "network-option"}
"""Arguments in Python whose options have another name than theirs."""


class Wording(str):
    """A text that reads otherwise on the command line; as a ``str`` it is the one for Python.

    Attributes:
        typed: the text for the command line.
    """

    __slots__ = ("typed",)
    typed: str

    def __new__(cls, text: str, finish: Callable[[str], str] = str) -> Wording:
        """Settle the places of a text that are written with :func:`either`.

        Args:
            text: with such places, or a wording.
            finish: what is done to both texts.
        """
        made = super().__new__(cls, finish(_EITHER.sub(r"\1", text)))
        made.typed = finish(_EITHER.sub(r"\2", on_command_line(text)))
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (Wording, (either(str(self), self.typed),))


def either(python: str, typed: str) -> str:
    """A place of a message that reads as ``python``, or as ``typed`` on the command line.

    Example:
        >>> words = Wording(f"see {either('ttame.EXPLAINERS', 'ttame methods')}")
        >>> words, on_command_line(words)
        ('see ttame.EXPLAINERS', 'see ttame methods')
    """
    return f"\ue000{python}\ue001{typed}\ue002"


def kind_of(value: object) -> str:
    """What kind of thing a value is, for a message.

    Example:
        >>> kind_of(3), kind_of("3"), kind_of(None)
        ('an int', 'a str', 'None')
    """
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' or name.startswith('nd') else 'a'} {name}"


def setting(name: str, value: Any = None) -> str:
    """A place of a message that names an argument, and its option on the command line.

    Args:
        name: the name of the argument.
        value: what to set it to; without, only the name is shown.

    Example:
        >>> words = Wording(f"a smaller {setting('batch_size')}, {setting('taps', ['layer4'])}")
        >>> words, on_command_line(words)
        ("a smaller batch_size, taps=['layer4']", 'a smaller --batch-size, --taps layer4')
    """
    option = f"--{_TYPED_OTHERWISE.get(name, name).replace('_', '-')}"
    if value is None:
        return either(name, option)
    if value is True:
        return either(f"{name}=True", option)
    if isinstance(value, dict):
        typed = " ".join(f"{option} {key}={_as_typed(entry)}" for key, entry in value.items())
        return either(f"{name}={value!r}", typed)
    listed = value if isinstance(value, list | tuple) else [value]
    words = ",".join(map(str, listed))
    return either(f"{name}={value!r}", f"{option} {words.replace(' ', '-')}")


def _as_typed(value: Any) -> str:
    """A value of ``NAME=VALUE``, which the command line reads as JSON or else as text."""
    return value if isinstance(value, str) else json.dumps(value)


ANOTHER_FOLDER = f"another {setting('folder')}"
"""What helps where a result has no place."""

TRAINING = either("train_explainer(classifier, photos, FOLDER)", "`ttame train --out FOLDER`")
"""What writes an explainer."""

ANOTHER_TRAINING = f"a new {either('train_explainer(...)', '`ttame train`')}"
"""What helps where an explainer does not fit."""

OTHER_WEIGHTS = f"a connection, {setting('weights', 'none')}, or {setting('weights', 'FILE')}"
"""What helps where weights cannot be downloaded."""

SAYING_PREPROCESSING = either(
    "preprocessing=ttame.Preprocessing(...), as it was trained",
    "--image-size, --mean and --std, as it was trained (--mean imagenet for the usual ones)",
)
"""What helps where nothing says how photos are prepared for a network."""


def on_command_line(text: object) -> str:
    """A text, or what an error says, as it is printed on the command line.

    Example:
        >>> on_command_line(TtameError("no room", remedy=setting("batch_size", 4)))
        'no room; try: --batch-size 4'
    """
    words = text.wording if isinstance(text, TtameError) else text
    return words.typed if isinstance(words, Wording) else str(words)


class TtameError(Exception):
    """The root of all errors that ttame raises on purpose.

    Args:
        problem: what came, naming the offending thing.
        allowed: what would have been accepted.
        remedy: what to type or do next.

    Example:
        >>> str(TtameError("batch size 0", allowed="at least 1", remedy="batch_size=32"))
        'batch size 0; allowed: at least 1; try: batch_size=32'
    """

    def __init__(self, problem: str, *, allowed: str = "", remedy: str = "") -> None:
        self.problem = Wording(problem, _shortened)
        self.allowed = Wording(allowed, _on_one_line)
        self.remedy = Wording(remedy, _on_one_line)
        self.wording = Wording(
            either(
                _message(self.problem, self.allowed, self.remedy),
                _message(self.problem.typed, self.allowed.typed, self.remedy.typed),
            )
        )
        super().__init__(str(self.wording))


class UnknownNameError(TtameError):
    """A name that no registry knows; the message carries near matches."""

    @classmethod
    def of(
        cls, kind: str, name: str, known: Iterable[str], *, remedy: str = ""
    ) -> UnknownNameError:
        """Build the error for ``name``, with the near matches among ``known``.

        Example:
            >>> str(UnknownNameError.of("preset", "t-tam", ["t-tame", "tame"]))
            "unknown preset 't-tam'; try: t-tame or tame"
        """
        known = sorted(known)
        near = near_matches(name, known)
        if near:
            return cls(f"unknown {kind} {name!r}", remedy=" or ".join(near))
        shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
        return cls(f"unknown {kind} {name!r}", allowed=shown, remedy=remedy)


class ImageError(TtameError):
    """A file that is not a usable image, or a tensor that is not a batch of images."""


class TextError(TtameError):
    """A text that is empty or too long for its classifier, or tokens that do not fit."""


class ClassSelectionError(TtameError):
    """A class name or index that the classifier does not have."""


class DatasetError(TtameError):
    """No images, a bad list file, or a broken shard."""


class ClassifierError(TtameError):
    """A network that cannot be used as a classifier."""


class TapError(ClassifierError):
    """No feature taps were found, or a named layer does not exist."""


class WeightsError(ClassifierError):
    """Weights that are missing, unreadable, or of another architecture."""


class ExplainerError(TtameError):
    """A method or a trained head that cannot explain this classifier."""


class ExplainerFolderError(ExplainerError):
    """A folder that holds no explainer, or a broken one."""


class OtherClassifierError(ExplainerError):
    """A head that was trained for a classifier with other weights."""


class NonFiniteMapError(ExplainerError):
    """A map with NaN or infinite values."""


class TrainingError(TtameError):
    """Training settings that cannot work."""


class NonFiniteLossError(TrainingError):
    """The loss became NaN or infinite; the last good state is kept."""


class ResumeError(TrainingError):
    """A checkpoint that does not fit the run that wants to continue from it."""


class EvaluationError(TtameError):
    """Results that do not fit together, or a network whose probabilities are not numbers."""


class OutputError(TtameError):
    """A place that cannot be written: it exists already, or the disk is full."""


class LostProcessError(TtameError):
    """One of several processes that work together has ended before the others."""


class MemoryLimitError(TtameError):
    """A batch that does not fit into memory."""


class MissingExtraError(TtameError):
    """An optional package that is not installed."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingExtraError:
        """Build the error for ``package``, which ``pip install "ttame[extra]"`` brings.

        Example:
            >>> str(MissingExtraError.of("transformers", "transformers", "hf/ networks"))
            'hf/ networks need the package transformers; try: pip install "ttame[transformers]"'
        """
        return cls(f"{purpose} need the package {package}", remedy=f'pip install "ttame[{extra}]"')


def _message(problem: str, allowed: str, remedy: str) -> str:
    parts = [problem.rstrip(".")]
    if allowed:
        parts.append(f"allowed: {allowed}")
    if remedy:
        parts.append(f"try: {remedy}")
    return "; ".join(parts)


def near_matches(name: str, known: Iterable[str], limit: int = 4) -> list[str]:
    """Return up to ``limit`` known names that look like ``name``, best first.

    Case, spaces, ``-`` and ``_`` are ignored, and what is alike then is the only match. An empty
    list means that nothing comes near.

    Example:
        >>> near_matches("resnet5O", ["resnet50", "vgg16"])
        ['resnet50']
        >>> near_matches("GradCAM", ["grad_cam", "score_cam"])
        ['grad_cam']
    """
    by_letters: dict[str, list[str]] = {}
    for entry in known:
        by_letters.setdefault(_letters_of(entry), []).append(entry)
    if _letters_of(name) in by_letters:
        return by_letters[_letters_of(name)][:limit]
    found = difflib.get_close_matches(_letters_of(name), by_letters, n=limit, cutoff=0.6)
    return [entry for letters in found for entry in by_letters[letters]][:limit]


def _letters_of(name: str) -> str:
    """What is the same in ``GradCAM++``, ``grad-cam++`` and ``grad_cam_plus_plus``."""
    return name.lower().replace("+", "plus").translate(_NO_LETTERS)


def _shortened(text: str) -> str:
    """One line of bounded length; what is left out is the middle."""
    start, end = _LONGEST_PROBLEM * 3 // 4, _LONGEST_PROBLEM // 4
    for _ in range(2):  # Before, so that escaping is quick, and after, because it lengthens.
        if len(text) > _LONGEST_PROBLEM:
            text = f"{text[:start]} … {text[-end + 3 :]}"
        text = _on_one_line(text)
    return text


def _on_one_line(text: str) -> str:
    """Text whose line breaks, control characters and undecodable bytes are escaped.

    Example:
        >>> _on_one_line("a\\nb")
        'a\\\\nb'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
