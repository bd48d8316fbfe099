"""Every error ttame raises on purpose.

::

    TtameError
    ├── UnknownNameError         a name that no registry knows
    ├── ImageError               a file that is no usable image, a tensor that is no batch of images
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
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_PROBLEM = 700  # characters

_NO_LETTERS = str.maketrans("", "", " -_")


class TtameError(Exception):
    """The root of all errors that ttame raises on purpose.

    Args:
        problem: what came, naming the offending thing.
        allowed: what would have been accepted.
        remedy: what to type or do next.

    Example:
        >>> str(TtameError("batch size 0", allowed="at least 1", remedy="pass --batch-size 32"))
        'batch size 0; allowed: at least 1; try: pass --batch-size 32'
    """

    def __init__(self, problem: str, *, allowed: str = "", remedy: str = "") -> None:
        self.problem = problem = _shortened(problem)
        self.allowed = allowed = _on_one_line(allowed)
        self.remedy = remedy = _on_one_line(remedy)
        parts = [problem.rstrip(".")]
        if allowed:
            parts.append(f"allowed: {allowed}")
        if remedy:
            parts.append(f"try: {remedy}")
        super().__init__("; ".join(parts))


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
    """A file that is no usable image, or a tensor that is no batch of images."""


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
    """Results that do not fit together, or a network whose probabilities are no numbers."""


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


def near_matches(name: str, known: Iterable[str], limit: int = 4) -> list[str]:
    """Return up to ``limit`` known names that look like ``name``, best first.

    Case, spaces, ``-`` and ``_`` are ignored. An empty list means that nothing comes near.

    Example:
        >>> near_matches("resnet5O", ["resnet50", "vgg16"])
        ['resnet50']
        >>> near_matches("GradCAM", ["grad_cam", "score_cam"])[0]
        'grad_cam'
    """
    by_letters: dict[str, list[str]] = {}
    for entry in known:
        by_letters.setdefault(_letters_of(entry), []).append(entry)
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
