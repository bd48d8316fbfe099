"""What users give to a text classifier: a text, a pair of texts, or several of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ttame.errors import TextError, either, kind_of

Texts = str | tuple[str, str] | Sequence[str] | Sequence[tuple[str, str]]
"""One text, a pair as a tuple, or a list of texts or of pairs."""

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".npy")

_LINES = (".txt", ".tsv", ".jsonl")


class GivenText(NamedTuple):
    """One text, with its pair if there is one."""

    text: str
    pair: str | None = None


def given_texts(given: Any) -> list[GivenText]:
    """Read what a user gave.

    Args:
        given: a text; a tuple of two, which are a pair (a question and a passage); or a list of
            texts or of pairs.

    Returns:
        At least one text.

    Raises:
        TextError: something else, an empty list or text, or the name of a picture or of a file of
            texts.

    Example:
        >>> given_texts(["a", ("b", "c")])
        [GivenText(text='a', pair=None), GivenText(text='b', pair='c')]
    """
    if isinstance(given, str) or _is_pair(given):
        given = [given]
    if not isinstance(given, list | tuple):
        raise TextError(f"{kind_of(given)} as text", allowed=_ALLOWED, remedy=_remedy_for(given))
    if not given:
        raise TextError("an empty list of texts", allowed="at least one text")
    return [_one(entry, number) for number, entry in enumerate(given)]


def naming_the_text(problem: TextError, name: str) -> TextError:
    """The same error, of a text with a name rather than of the first one of a batch.

    Example:
        >>> str(naming_the_text(TextError("text 0 is empty"), "line 3"))
        'line 3 is empty'
    """
    what = problem.problem.removeprefix("text 0 ")
    between = " " if what != problem.problem else ": "
    return TextError(f"{name}{between}{what}", allowed=problem.allowed, remedy=problem.remedy)


_ALLOWED = "a text, a pair as a tuple of two texts, or a list of them"


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and all(isinstance(g, str) for g in given)


def _one(entry: Any, number: int) -> GivenText:
    if isinstance(entry, list) and len(entry) == 2 and all(isinstance(e, str) for e in entry):
        entry = tuple(entry)
    if not isinstance(entry, str) and not _is_pair(entry):
        raise TextError(
            f"{kind_of(entry)} as text {number}",
            allowed=_ALLOWED,
            remedy=_remedy_for(entry),
        )
    text = GivenText(entry) if isinstance(entry, str) else GivenText(*entry)
    for part in text:
        if part is not None and not part.strip():
            raise TextError(f"text {number} is empty", allowed="at least one word")
        if part is not None and any("\ud800" <= sign <= "\udfff" for sign in part):
            raise TextError(
                f"text {number} holds half of a character (a lone surrogate)",
                allowed="Unicode",
                remedy=either(
                    'text.encode("utf-8", "replace").decode()',
                    "a file without such escapes (\\ud800 to \\udfff, alone)",
                ),
            )
    if text.pair is None and _names_a_file(text.text, _PICTURES):
        raise TextError(
            f"text {number} is the name of a picture, {text.text!r}", remedy=_IMAGES_ARE_EXPLAINED
        )
    if text.pair is None and _names_a_file(text.text, _LINES):
        raise TextError(
            f"text {number} is the name of a file, {text.text!r}",
            remedy=either(
                f"ttame.text.explain(pathlib.Path({text.text!r}), explainer, folder), which "
                "explains its lines",
                f"ttame explain --texts {text.text}, which explains its lines",
            ),
        )
    return text


def _names_a_file(text: str, endings: tuple[str, ...]) -> bool:
    """Whether it names such a file; who explains such a name as a text, writes another word."""
    return text.lower().endswith(endings) and len(text) < 4096 and Path(text).is_file()


_IMAGES_ARE_EXPLAINED = either(
    "a ttame.Classifier, which classifies images", "ttame explain PHOTO without --text"
)


def _remedy_for(given: Any) -> str:
    if hasattr(given, "getbands") or isinstance(given, Path):
        return _IMAGES_ARE_EXPLAINED
    kind = getattr(getattr(given, "dtype", None), "kind", None)
    if isinstance(given, Iterator) or kind in ("O", "U", "T"):  # Objects or strings of NumPy.
        return "list(texts)"
    return _IMAGES_ARE_EXPLAINED if hasattr(given, "shape") else ""
