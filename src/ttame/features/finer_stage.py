"""One stage more than the automatic taps, for whoever wants sharper maps."""

from __future__ import annotations

from torch import nn

from ttame.features.feature_taps import LayerOutput
from ttame.features.tap_choice import (
    MOST_TAPS,
    NAMED,
    STEM_SHARE,
    TapChoice,
    place_in_network,
    spatial_layers,
)
from ttame.features.tap_names import Tap
from ttame.networks.network_trace import NetworkTrace


def with_finer_stage(network: nn.Module, trace: NetworkTrace, choice: TapChoice) -> tuple[Tap, ...]:
    """The taps of a choice and, before them, the end of the stage with the next finer grid.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: of the network.
        choice: of that network.

    Returns:
        The same taps where somebody named them, where the network has one resolution, or where no
        finer grid is left behind its stem.
    """
    first = choice.taps[0]
    grids = {tap.grid for tap in choice.taps}
    full = len(choice.taps) == MOST_TAPS or (len(choice.taps) > 1 and len(grids) == 1)
    if choice.reason == NAMED or full or not isinstance(first, LayerOutput):
        return choice.taps
    depth = trace.by_name()[first.layer].depth
    finer = [
        (tap.grid[0] * tap.grid[1], -layer.order, tap)
        for layer, tap in spatial_layers(network, trace)
        if layer.depth == depth and tap.grid[0] * tap.grid[1] > first.grid[0] * first.grid[1]
    ]
    if not finer:
        return choice.taps
    _, _, tap = min(finer, key=lambda found: found[:2])
    return (tap, *choice.taps) if place_in_network(tap, trace) > STEM_SHARE else choice.taps
