"""Perceptually uniform colours for values in [0, 1].

The tables stand in ``colour_scales.json`` with their authors and licences: inferno, magma and
viridis are in the public domain (CC0), cividis came to matplotlib from its authors. A rainbow
scale is left out on purpose: its lightness goes up and down, which draws edges that no map has.
"""

from __future__ import annotations

import functools
import json
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ttame.errors import UnknownNameError

DEFAULT_SCALE = "inferno"
"""Dark to bright over the widest lightness range of the four, and no green that meadows have."""

N_COLOURS = 256
"""Colours in every table."""


def known_scales() -> tuple[str, ...]:
    """The names that :func:`colour_scale` takes, the default first.

    Example:
        >>> known_scales()
        ('inferno', 'viridis', 'magma', 'cividis')
    """
    return tuple(_tables())


def colour_scale(name: str = DEFAULT_SCALE) -> NDArray[np.uint8]:
    """The colours of a scale, from low to high.

    Args:
        name: one of :func:`known_scales`.

    Returns:
        (256, 3) uint8, red, green and blue (sRGB); read-only. Lightness increases throughout.

    Raises:
        UnknownNameError: no such scale; the message names near ones.

    Example:
        >>> colour_scale("viridis")[[0, 255]].tolist()
        [[68, 1, 84], [253, 231, 37]]
    """
    tables = _tables()
    if name not in tables:
        raise UnknownNameError.of("colour scale", name, tables)
    return tables[name]


def apply_colours(heatmap: ArrayLike, scale: str = DEFAULT_SCALE) -> NDArray[np.uint8]:
    """Give every value of a heatmap its colour.

    Args:
        heatmap: (H, W) floating in [0, 1]; values outside are clamped, NaN is drawn as 0.
        scale: one of :func:`known_scales`.

    Returns:
        (H, W, 3) uint8, sRGB.

    Raises:
        UnknownNameError: no such scale.

    Example:
        >>> apply_colours([[0.0, 1.0]], "viridis").tolist()
        [[[68, 1, 84], [253, 231, 37]]]
    """
    return colour_scale(scale)[colour_indices(heatmap)]


def colour_indices(heatmap: ArrayLike) -> NDArray[np.uint8]:
    """The place of every value in a table of 256 colours.

    Args:
        heatmap: (H, W) floating in [0, 1]; values outside are clamped, NaN becomes 0.

    Returns:
        (H, W) uint8, the nearest of 256 equal steps.

    Example:
        >>> colour_indices([[-1.0, 0.5, 2.0]]).tolist()
        [[0, 128, 255]]
    """
    values = np.nan_to_num(np.asarray(heatmap, dtype=np.float32), nan=0.0)
    indices: NDArray[np.uint8] = np.rint(values.clip(0, 1) * (N_COLOURS - 1)).astype(np.uint8)
    return indices


@functools.cache
def _tables() -> dict[str, NDArray[np.uint8]]:
    """Name to (256, 3) uint8, read once and locked, because every caller gets the same arrays."""
    text = resources.files(__package__).joinpath("colour_scales.json").read_text("utf-8")
    tables = {}
    for name, described in json.loads(text)["scales"].items():
        table = np.array(described["colours"], dtype=np.uint8)
        table.setflags(write=False)
        tables[name] = table
    return tables
