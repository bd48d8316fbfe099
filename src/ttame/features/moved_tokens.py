"""Whether tokens have moved by the layer that is read: sorted, pruned, merged, kept in windows.

In front of attention :mod:`ttame.features.token_order` sees how tokens stand. Behind it every token
knows something of every patch, but most of its own: a small change of one patch changes the token
of that patch most, as long as tokens are only added to. Where patches change one other token each,
and hardly their own, tokens have moved.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError, TapError, setting
from ttame.features.feature_taps import GridTap
from ttame.features.token_order import ROW_BY_ROW
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import OutputAction, watching
from ttame.networks.network_trace import (
    LayerRecord,
    NetworkTrace,
    noise_images,
    run_network,
)

_CHANGE = 0.05
"""Of noise, and small, so that tokens that are sorted by what they hold stay in their order."""

_CHANGE_OF_HALF = 1.0
"""The same for dtypes of which rounding would hide a small one."""

_FAR_MORE = 10
"""Of squares: what is behind a patch's edge also changes its neighbours' tokens, but not so."""

_MOST_OF_ALL = 0.5
"""Of the change of all tokens: what one token has of it that took a patch's place. Attention with
wild weights may move more than that of one patch, but not of most."""

_MOVED = 3
"""Patches, of four, that have to agree that tokens have moved."""

_IN_PLACE = 2
"""Patches, of four, that have to change their own token where tokens are fewer than patches: they
may have been pooled, or pruned, so that some patches have none."""


def refuse_moved_tokens(network: nn.Module, trace: NetworkTrace, taps: Iterable[GridTap]) -> None:
    """Refuse taps whose tokens no longer stand where the patches stood.

    Costs one pass of five images, for networks of tokens only.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: of the network.
        taps: of any layout; only tokens are looked at.

    Raises:
        TapError: tokens were sorted, pruned, merged or rearranged on the way.
    """
    of_tokens = [tap for tap in taps if tap.layout == "tokens" and min(tap.grid) > 1]
    if not of_tokens or trace.output.is_meta:
        return
    for tap, changes in _changes(network, trace, of_tokens).items():
        if has_moved(changes, tap, of_fewer=_are_fewer(trace, tap)):
            grids = [layer.name for layer in trace.layers if layer.kind == "Conv2d"]
            remedy = "the network with its tokens in this order"
            if grids:
                there = setting("taps", [grids[-1]])
                remedy += f", or {there} and a method that reads no tokens, such as grad_cam"
            raise TapError(
                f"layer {str(tap)!r}, whose tokens no longer stand where the patches stood: "
                "something before it sorts, prunes, merges or moves them, and maps would be wrong",
                allowed=ROW_BY_ROW,
                remedy=remedy,
            )


def has_moved(changes: Tensor, tap: GridTap, *, of_fewer: bool = False) -> bool:
    """Whether patches change other tokens than their own.

    Args:
        changes: (4, T), squares of how much each token changed with each of :func:`_patches`.
        tap: that says which token is which patch's.
        of_fewer: whether tokens are fewer than the patches that the network began with.
    """
    moved, in_place = set(), 0
    for (row, column), change in zip(_patches(tap.grid), changes, strict=True):
        own = float(change[tap.prefix_tokens + row * tap.grid[1] + column])
        most = int(change.argmax())
        largest = float(change[most])
        # Pooling may spread a patch over its neighbours.
        if own > largest / (_FAR_MORE if of_fewer else 2):
            in_place += 1
        elif largest > max(_FAR_MORE * own, _MOST_OF_ALL * float(change.sum())):
            moved.add(most)
    return in_place < _IN_PLACE if of_fewer else not in_place and len(moved) >= _MOVED


def _are_fewer(trace: NetworkTrace, tap: GridTap) -> bool:
    patches = tap.grid[0] * tap.grid[1]
    order = trace.by_name()[tap.layer].order
    seen = [layer.shape[1] for layer in trace.layers if layer.order < order and _is_row(layer)]
    return any(each - tap.prefix_tokens > patches for each in seen)


def _is_row(layer: LayerRecord) -> bool:
    return len(layer.shape) == 3


def _patches(grid: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Four patches in (row, column), none of which a usual way to move patches leaves in place.

    Flips, turns, windows that stand one behind the other, and rolling move each of them.
    """
    rows, columns = grid
    return ((0, columns - 1), (rows - 1, 0), (0, columns // 2), (1, 0))


def _changes(
    network: nn.Module, trace: NetworkTrace, taps: Sequence[GridTap]
) -> dict[GridTap, Tensor]:
    """How much each token of each tap changes with each of four patches, squared: (4, T)."""
    found: dict[GridTap, Tensor] = {}

    def keep(tap: GridTap, ran: list[int], _module: nn.Module, output: Any) -> None:
        ran.append(len(ran))
        if getattr(tap, "run", -1) not in (-1, ran[-1]):
            return
        tokens = tap.tensor(tap.batch_first(output)).float()
        if len(tokens) == 5:
            found[tap] = (tokens[1:] - tokens[:1]).square().sum(dim=2)

    modules = dict(network.named_modules())
    watched: list[tuple[nn.Module, OutputAction]] = [
        (modules[tap.layer], functools.partial(keep, tap, [])) for tap in taps
    ]
    # Taps of one size are asked together, each of its own four patches.
    sizes = {tap.grid for tap in taps}
    unable = contextlib.suppress(ClassifierError, TapError)
    for grid in sizes:
        images = _with_changed_patches(network, trace, grid)
        of_size = [pair for pair, tap in zip(watched, taps, strict=True) if tap.grid == grid]
        with unable, frozen(network), torch.no_grad(), watching(of_size):
            run_network(network, images)
    return {
        tap: change
        for tap, change in found.items()
        if change.shape[1] == tap.prefix_tokens + tap.grid[0] * tap.grid[1]
        if bool(change.isfinite().all())
    }


def _with_changed_patches(network: nn.Module, trace: NetworkTrace, grid: tuple[int, int]) -> Tensor:
    """(5, C, H, W): noise, and the same with the middle of one patch changed, four times."""
    noise = noise_images(network, trace.image_size, 2, trace.channels)
    small = torch.finfo(noise.dtype).eps < 1e-4
    images = noise[:1].repeat(5, 1, 1, 1)
    for number, (row, column) in enumerate(_patches(grid), start=1):
        down = _middle(row, trace.image_size[0] / grid[0])
        across = _middle(column, trace.image_size[1] / grid[1])
        change = noise[1, :, down, across] * (_CHANGE if small else _CHANGE_OF_HALF)
        images[number, :, down, across] += change
    return images


def _middle(place: int, side: float) -> slice:
    """The pixels in the middle half of a patch."""
    start = int((place + 0.25) * side)
    return slice(start, max(start + 1, round((place + 0.75) * side)))
