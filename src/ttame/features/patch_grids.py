"""The grid of patches that no convolution cuts out, seen in the first tokens that hold them.

Patches may be cut out by ``unfold`` or by reshaping, and then a linear layer makes tokens of them.
Their number does not say what the grid is: 32 tokens of a square image are 4 rows or 8. So the
first row of pixels of one picture is spoilt with NaN, and the first column of another, before
anything mixes places: what is spoilt are the first row and the first column of patches.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError
from ttame.features.layer_layouts import grid_is_seen
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import OutputAction, first_tensor, watching
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network

_FEWEST = 2
"""Rows, and columns: with one of them every order looks the same."""


def with_patch_grids(network: nn.Module, trace: NetworkTrace) -> NetworkTrace:
    """The trace, with the grid of patches where no layer of the network puts it out.

    Costs one pass to the first tokens of networks that have tokens and no such layer, else nothing.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: of the network.

    Example:
        >>> from ttame.networks.network_trace import trace_network
        >>> class Unfolds(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.patches, self.head = nn.Linear(3 * 16 * 8, 4), nn.Linear(4, 5)
        ...     def forward(self, x):
        ...         cut = nn.functional.unfold(x, (16, 8), stride=(16, 8))
        ...         return self.head(self.patches(cut.transpose(1, 2)).mean(1))
        >>> network = Unfolds()
        >>> with_patch_grids(network, trace_network(network, (32, 32))).patch_grids
        ((2, 4),)
    """
    of_tokens = [layer for layer in trace.layers if _holds_tokens(layer.runs[-1].shape)]
    row_of_tokens = min(trace.image_size) == 1
    if trace.output.is_meta or row_of_tokens or not of_tokens or grid_is_seen(trace, of_tokens[0]):
        return trace
    found: list[tuple[int, int]] = []

    def look(_module: nn.Module, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is None or tensor.ndim != 3 or 2 not in tensor.shape[:2]:
            return
        spoilt = tensor.isnan().any(dim=2)
        spoilt = spoilt if len(spoilt) == 2 else spoilt.T
        if bool(spoilt.all()):
            raise _SeenEnoughError
        grid = _grid(spoilt)
        if grid is not None:
            found.append(grid)
            raise _SeenEnoughError

    modules = dict(network.named_modules())
    watched: list[tuple[nn.Module, OutputAction]] = [
        (modules[layer.name], look) for layer in of_tokens
    ]
    seen_enough = contextlib.suppress(_SeenEnoughError, ClassifierError)
    with seen_enough, frozen(network), torch.no_grad(), watching(watched):
        run_network(
            network, _spoilt_edges(noise_images(network, trace.image_size, 1, trace.channels))
        )
    return dataclasses.replace(trace, patch_grids=tuple(found))


class _SeenEnoughError(Exception):
    """Ends a pass."""


def _holds_tokens(shape: tuple[int, ...]) -> bool:
    """(1, T, D), or (T, 1, D) where tokens come before the batch."""
    return len(shape) == 3 and 1 in shape[:2] and max(shape[:2]) >= _FEWEST**2


def _spoilt_edges(image: Tensor) -> Tensor:
    """(2, C, H, W): NaN in the first row of pixels, and in the first column."""
    images = image.repeat(2, 1, 1, 1)
    images[0, :, 0] = torch.nan
    images[1, :, :, 0] = torch.nan
    return images


def _grid(spoilt: Tensor) -> tuple[int, int] | None:
    """The (h, w) grid whose first row and first column are spoilt, if there is one.

    Args:
        spoilt: (2, T) bool, with the first row spoilt and with the first column.
    """
    columns, rows = (int(count) for count in spoilt.sum(dim=1))
    if min(rows, columns) < _FEWEST:
        return None
    first = int(spoilt[0].nonzero()[0])
    if first + rows * columns != spoilt.shape[1]:
        return None
    expected = torch.zeros_like(spoilt)
    expected[0, first : first + columns] = True
    expected[1, first::columns] = True
    return (rows, columns) if torch.equal(spoilt, expected) else None
