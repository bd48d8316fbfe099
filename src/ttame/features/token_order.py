"""Whether the tokens of a layer stand as taps read them: the patches last, and row by row.

The shape of tokens does not say. So two pictures are spoilt with NaN, one in its upper right
corner and one in its lower left corner, and it is seen which tokens are spoilt before attention
mixes them. Where a convolution gave the grid, the places that are spoilt there are the ones to be
found among the tokens; else it is the patch in the corner.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError, TapError, setting
from ttame.features.feature_taps import GridTap
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import OutputAction, first_tensor, watching
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network

ROW_BY_ROW = "the class token and others like it first, then the patches row by row"
"""How tokens have to stand."""

ANOTHER = "stand in another order"
"""Said of tokens that are neither so nor with the patches first."""

_GRIDS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
"""Layers whose output is (B, C, h, w) for certain."""


@dataclasses.dataclass(frozen=True)
class OtherOrder:
    """Tokens that do not stand as taps read them.

    Attributes:
        layer: where it was seen.
        order: in words, after "whose tokens".
        grid_layer: the layer that gave the grid; ``None`` where none was seen.
    """

    layer: str
    order: str
    grid_layer: str | None


def refuse_other_orders(network: nn.Module, trace: NetworkTrace, taps: Iterable[GridTap]) -> None:
    """Refuse taps whose tokens stand in another order than they are read in.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: the trace of the network.
        taps: taps of any layout; only tokens are looked at.

    Raises:
        TapError: the patches come before the class token, column by column, or otherwise.
    """
    of_tokens = [tap for tap in taps if tap.layout == "tokens"]
    # Where tokens look the same, one look is enough.
    for tap in {(tap.grid, tap.prefix_tokens, tap.channels): tap for tap in of_tokens}.values():
        found = other_order(network, trace, tap)
        if found is not None:
            remedy = "the network with its tokens in this order"
            if found.grid_layer is not None:
                taps_there = setting("taps", [found.grid_layer])
                remedy += f", or {taps_there} and a method that reads no tokens, such as grad_cam"
            raise TapError(
                f"layer {found.layer!r}, whose tokens {found.order}: maps of them would be wrong",
                allowed=ROW_BY_ROW,
                remedy=remedy,
            )


def other_order(network: nn.Module, trace: NetworkTrace, tap: GridTap) -> OtherOrder | None:
    """See in a pass to the first layer of tokens whether they stand as ``tap`` reads them.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: the trace of the network.
        tap: a tap of tokens.

    Returns:
        ``None`` if they do, and where it is not seen: no token is spoilt, or all are.

    Example:
        >>> from ttame.features.layer_layouts import describe_layer
        >>> from ttame.networks.network_trace import trace_network
        >>> class ByColumns(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.patches, self.norm = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8)
        ...     def forward(self, x):
        ...         return self.norm(self.patches(x).mT.flatten(2).mT).mean(1)
        >>> network = ByColumns()
        >>> trace = trace_network(network, (32, 32))
        >>> tap = describe_layer(network, trace, trace.by_name()["norm"])
        >>> other_order(network, trace, tap)
        OtherOrder(layer='norm', order='stand in another order', grid_layer='patches')
    """
    images = _spoilt_corners(noise_images(network, trace.image_size, 1, trace.channels), tap.grid)
    if images.is_meta:
        return None
    probe = _Probe(tap)
    rows, columns = tap.grid
    tokens, grid = (tap.prefix_tokens + rows * columns, tap.channels), (rows, columns)
    watched: list[tuple[nn.Module, OutputAction]] = []
    modules = dict(network.named_modules())
    for layer in trace.layers:
        # The user may have wrapped a layer since: it is passed over then.
        module = modules.get(layer.name)
        if module is None:
            continue
        shapes = {run.shape for run in layer.runs}
        if shapes & {(1, *tokens), (tokens[0], 1, tokens[1])} or layer.name == tap.layer:
            watched.append((module, probe.at_tokens(layer.name)))
        elif isinstance(module, _GRIDS) and any(shape[-2:] == grid for shape in shapes):
            watched.append((module, probe.at_grid(layer.name)))
    seen_enough = contextlib.suppress(_SeenEnoughError, ClassifierError)
    with seen_enough, frozen(network), torch.no_grad(), watching(watched):
        run_network(network, images)
    return probe.found()


def _spoilt_corners(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """(2, C, H, W): NaN in the upper right corner, and in the lower left; half a patch each.

    Half a patch, since a network may cut off the rest of the image, or fill up its last patches.
    """
    height, width = image.shape[2:]
    down, across = -(-height // (2 * grid[0])), -(-width // (2 * grid[1]))
    images = image.repeat(2, 1, 1, 1)
    images[0, :, :down, width - across :] = torch.nan
    images[1, :, height - down :, :across] = torch.nan
    return images


class _SeenEnoughError(Exception):
    """Ends a pass."""


class _Probe:
    """Watches one pass of the two spoilt pictures for the first tokens that tell their order."""

    def __init__(self, tap: GridTap) -> None:
        self.tap = tap
        self.places: tuple[str, Tensor] | None = None
        self.tokens: tuple[str, Tensor] | None = None

    def at_grid(self, layer: str) -> OutputAction:
        def keep(_module: nn.Module, output: Any) -> None:
            grid = self.tap.grid
            if isinstance(output, Tensor) and (len(output), *output.shape[2:]) == (2, *grid):
                spoilt = output.isnan().any(dim=1)
                if _tells(spoilt.flatten(1)):
                    self.places = (layer, spoilt)

        return keep

    def at_tokens(self, layer: str) -> OutputAction:
        rows, columns = self.tap.grid
        number = self.tap.prefix_tokens + rows * columns

        def keep(_module: nn.Module, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is not None and tuple(tensor.shape[:2]) in ((2, number), (number, 2)):
                spoilt = tensor.isnan().flatten(2).any(dim=2)
                spoilt = spoilt if len(spoilt) == 2 else spoilt.T
                if _tells(spoilt):
                    self.tokens = (layer, spoilt)
                if bool(spoilt.any()):
                    raise _SeenEnoughError
            if layer == self.tap.layer:
                raise _SeenEnoughError

        return keep

    def found(self) -> OtherOrder | None:
        """What was seen, unless tokens stand as they are read."""
        if self.tokens is None:
            return None
        layer, spoilt = self.tokens
        places = _corners(spoilt, self.tap.grid) if self.places is None else self.places[1]
        prefix, by_rows = self.tap.prefix_tokens, places.flatten(1)
        if _stand(spoilt[:, prefix:], by_rows):
            return None
        in_front = _stand(spoilt[:, : spoilt.shape[1] - prefix], by_rows)
        order = "have the patches in front of the class token" if in_front else ANOTHER
        return OtherOrder(layer, order, None if self.places is None else self.places[0])


def _stand(spoilt: Tensor, expected: Tensor) -> bool:
    """Whether in each picture the expected patches are spoilt: both (2, h·w).

    Layers behind the grid may spread what is spoilt; a grid next to the way to the tokens may have
    spread it more than they.
    """
    spread = (expected & ~spoilt).any(dim=1).logical_not()
    narrow = (spoilt & ~expected).any(dim=1).logical_not() & spoilt.any(dim=1)
    return bool((spread | narrow).all())


def _tells(spoilt: Tensor) -> bool:
    """Whether in both pictures some are spoilt and some are not: (2, N)."""
    return bool((spoilt.any(dim=1) & ~spoilt.all(dim=1)).all())


def _corners(like: Tensor, grid: tuple[int, int]) -> Tensor:
    """(2, h, w): the patch in the upper right corner, and the one in the lower left."""
    places = torch.zeros(2, *grid, dtype=torch.bool, device=like.device)
    places[0, 0, -1] = places[1, -1, 0] = True
    return places
