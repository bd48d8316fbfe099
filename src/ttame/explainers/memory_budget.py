"""How much of a long computation runs at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ttame.classifiers.classifier import Classifier
from ttame.errors import MemoryLimitError

DEFAULT_BUDGET = 2 * 1024**3
"""Bytes that a method may use for activations at a time, unless told otherwise."""

MOST_AT_ONCE = 64
"""More images at a time make no pass faster, also where the memory would allow them."""

_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 1e3, "MB": 1e6, "GB": 1e9}

Progress = Callable[[int, int], None]
"""Called with the finished and the total number of steps of a long method."""


def parse_memory(text: str | int) -> int:
    """Read an amount of memory in bytes.

    Args:
        text: bytes, or a number with KiB, MiB, GiB, KB, MB or GB.

    Raises:
        MemoryLimitError: it cannot be read, or it is not positive.

    Example:
        >>> parse_memory("1.5GiB")
        1610612736
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?i?B?)\s*", str(text), re.IGNORECASE)
    unit = _UNITS.get(found[2].upper()) if found else None
    size = int(float(found[1]) * unit) if found and unit else 0
    if size < 1:
        raise MemoryLimitError(f"memory budget {text!r}", allowed="512MiB, 2GiB, or bytes")
    return size


def bytes_per_image(classifier: Classifier, *, gradients: bool = False) -> int:
    """A cautious estimate of the activations of one image in a pass of the classifier.

    Without gradients the input and the output of the widest layer are alive together with a
    residual stream and a scratch copy; with gradients every layer's output is.

    Args:
        classifier: its trace knows the shape of every layer's output.
        gradients: whether a graph is kept for a backward pass.
    """
    sizes = [_elements(layer.shape) for layer in classifier.trace.layers if layer.is_leaf]
    elements = 2 * sum(sizes) if gradients else 4 * max(sizes, default=1)
    return max(elements, 1) * classifier.dtype.itemsize


def _elements(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape[1:]:
        product *= size
    return product


def items_at_once(bytes_per_item: int, budget: int, most: int = MOST_AT_ONCE) -> int:
    """How many items of a size fit into a budget; at least one, because less cannot be done.

    Example:
        >>> items_at_once(300, 1000), items_at_once(300, 10), items_at_once(1, 1000)
        (3, 1, 64)
    """
    return max(1, min(most, budget // max(1, bytes_per_item)))


def in_chunks(total: int, size: int, progress: Progress | None = None) -> Iterator[slice]:
    """Slices that cover ``range(total)``, reporting after each.

    Example:
        >>> list(in_chunks(5, 2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, total, size):
        stop = min(start + size, total)
        yield slice(start, stop)
        if progress is not None:
            progress(stop, total)
