"""Which classes of which image are to be explained."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ttame.errors import ClassSelectionError, near_matches

ClassSelection = None | int | str | Tensor | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]
"""What callers may pass as ``classes``; see :func:`select_classes`."""


def select_classes(selection: ClassSelection, logits: Tensor, names: Sequence[str] = ()) -> Tensor:
    """Turn what a caller asked for into class indices of every image.

    Args:
        selection: ``None`` for each image's top-1 class; an int for one class for all images;
            (B,) ints for one class an image; (B, K) ints; ``"all"``; ``"top3"`` for the three
            most probable ones; a class name, or a list of class names, for all images.
        logits: (B, C).
        names: the C class names, if there are any.

    Returns:
        (B, K) int64 on the device of the logits. With ``"topN"`` the most probable comes first.

    Raises:
        ClassSelectionError: a name or index that does not exist, or a shape that does not fit.

    Example:
        >>> select_classes("top2", torch.tensor([[0.1, 0.9, 0.5]]))
        tensor([[1, 2]])
        >>> select_classes(["cat"], torch.zeros(2, 3), names=["dog", "cat", "hen"])
        tensor([[1],
                [1]])
    """
    images, count = logits.shape
    if selection is None:
        return logits.argmax(dim=1, keepdim=True)
    if isinstance(selection, str):
        if selection == "all":
            return torch.arange(count, device=logits.device).expand(images, count)
        top = re.fullmatch(r"top-?(\d+)", selection)
        if top:
            return logits.topk(_checked_top(int(top[1]), count), dim=1).indices
        selection = [selection]
    if isinstance(selection, Sequence) and not len(selection):
        raise ClassSelectionError("an empty list of classes", allowed=_ALLOWED)
    if isinstance(selection, Sequence) and any(isinstance(entry, str) for entry in selection):
        indices = [class_index(str(entry), names, count) for entry in selection]
        return torch.tensor(indices, device=logits.device).expand(images, len(indices))
    try:
        asked = torch.as_tensor(selection, device=logits.device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as problem:
        raise ClassSelectionError(f"classes {selection!r}", allowed=_ALLOWED) from problem
    return _checked_indices(asked, images, count)


def classes_in_text(text: str, names: Sequence[str] = ()) -> list[str]:
    """Classes that are named in one line, with commas between them.

    A name may itself hold a comma, as in "tench, Tinca tinca".

    Example:
        >>> classes_in_text("tench, goldfish"), classes_in_text("tench, Tinca", ["tench, Tinca"])
        (['tench', 'goldfish'], ['tench, Tinca'])
    """
    if text.strip() in names:
        return [text.strip()]
    return [part.strip() for part in text.split(",") if part.strip()]


def class_index(name: str, names: Sequence[str], count: int) -> int:
    """The index of one class given by name or by number.

    Upper and lower case are alike; of a name such as ``"tench, Tinca tinca"`` each part will do.

    Raises:
        ClassSelectionError: unknown (with near matches), ambiguous, or out of range.

    Example:
        >>> class_index("Cat", ["dog", "cat"], 2)
        1
    """
    wanted = name.strip().casefold()
    exact = [i for i, known in enumerate(names) if known.strip().casefold() == wanted]
    # A name comes before a number: the classes of a digits network may be called "3" and "7".
    if not exact and re.fullmatch(r"[+-]?[0-9]+", wanted):
        index = int(wanted)
        if not 0 <= index < count:
            raise ClassSelectionError(f"class index {index}", allowed=f"0 to {count - 1}")
        return index
    found = exact or [i for i, known in enumerate(names) if wanted in _synonyms(known)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ClassSelectionError(
            f"{len(found)} classes are called {name!r}",
            remedy=" or ".join(f"index {index} ({names[index]})" for index in found[:_MOST_SHOWN])
            + (" or another" if len(found) > _MOST_SHOWN else ""),
        )
    if not names:
        raise ClassSelectionError(
            f"class {name!r}, but this classifier has no class names",
            allowed=f"indices 0 to {count - 1}",
        )
    near = _near_classes(wanted, names) or (names if len(names) <= _MOST_SHOWN else ())
    raise ClassSelectionError(
        f"unknown class {name!r}",
        remedy=" or ".join(near) if near else f"an index from 0 to {count - 1}",
    )


def _synonyms(name: str) -> list[str]:
    """The parts of a name such as ``"tench, Tinca tinca"``, for comparing."""
    return [part.strip() for part in name.casefold().split(",")]


def _near_classes(wanted: str, names: Sequence[str]) -> list[str]:
    """Names that hold the wanted one as a word, then names that look like it."""
    of_synonym = {synonym: name for name in names for synonym in _synonyms(name)}
    near = [of_synonym[synonym] for synonym in near_matches(wanted, of_synonym)]
    word = re.compile(rf"\b{re.escape(wanted)}\b")
    holding = [name for name in names if wanted and word.search(name.casefold())]
    return list(dict.fromkeys([*holding, *near]))[:_MOST_SHOWN]


_MOST_SHOWN = 4
"""Classes that a message offers."""

_ALLOWED = 'None, an int, (B,) or (B, K) ints, "all", "top3", a class name or a list of names'


def _checked_top(wanted: int, count: int) -> int:
    if not 1 <= wanted <= count:
        raise ClassSelectionError(
            f'classes "top{wanted}" of a network with {count}', allowed=f'"top1" to "top{count}"'
        )
    return wanted


def _checked_indices(asked: Tensor, images: int, count: int) -> Tensor:
    if asked.is_floating_point() or asked.is_complex() or asked.dtype == torch.bool:
        raise ClassSelectionError(f"classes of dtype {asked.dtype}", allowed=_ALLOWED)
    asked = asked.long()
    given = tuple(asked.shape)
    if asked.ndim == 0:
        asked = asked.expand(images, 1)
    elif asked.ndim == 1:
        asked = asked[:, None]
    if asked.ndim != 2 or len(asked) != images or asked.shape[1] == 0:
        raise ClassSelectionError(
            f"classes of shape {given} for {images} images",
            allowed=f"an int, ({images},) or ({images}, K) ints",
            remedy="one list of classes for each image, [[...], ...]" if len(given) == 1 else "",
        )
    outside = asked[(asked < 0) | (asked >= count)]
    if outside.numel():
        raise ClassSelectionError(f"class index {int(outside[0])}", allowed=f"0 to {count - 1}")
    return asked
