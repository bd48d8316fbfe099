"""Taps by their names, and what they read in a forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ttame.errors import TapError, near_matches
from ttame.features.feature_taps import CONTRIBUTIONS, NORMALISED, FeatureTap, layers_read_by
from ttame.features.layer_layouts import describe_layer
from ttame.features.normalised_average import normalised_averages, reading_shares
from ttame.features.token_contributions import contributions_tap, reading_contributions
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import reading
from ttame.networks.network_trace import NetworkTrace, noise_images


@contextlib.contextmanager
def reading_taps(
    network: nn.Module, trace: NetworkTrace, taps: Sequence[FeatureTap]
) -> Iterator[dict[str, Any]]:
    """Collect what taps read while the block runs in this thread.

    Args:
        network: not behind ``torch.compile``.
        trace: of the network.
        taps: of any kind.

    Yields:
        A dict that fills during the forward pass: tap name to a layer's output as it returned it,
        to (B, T, D) contributions, or to shares in the layout of the layer.
    """
    modules = dict(network.named_modules())
    plain = {tap.layer: modules[tap.layer] for tap in taps if tap.is_output}
    with contextlib.ExitStack() as stack:
        outputs = stack.enter_context(reading(plain))
        for tap in taps:
            if tap.holds_contributions:
                stack.enter_context(reading_contributions(network, trace, tap, outputs))
            elif tap.normalised_by:
                stack.enter_context(reading_shares(network, tap, outputs))
        yield outputs


def described_tap(network: nn.Module, trace: NetworkTrace, name: str, of: str) -> FeatureTap | str:
    """The tap of a name that is no layer's; any other name as it is.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: of the network.
        name: as in :attr:`ttame.FeatureTap.layer`.
        of: what messages call the network.

    Raises:
        TapError: the network has no such contributions or shares.
    """
    if name.startswith(CONTRIBUTIONS):
        contributions = contributions_tap(network, trace, name)
        if contributions is None:
            raise TapError(
                f"tap {name!r} of {of}, where it is not found what tokens add to a class token",
                allowed="a Vision Transformer whose logits are linear in its class token",
            )
        return contributions
    if name.startswith(NORMALISED):
        return _normalised_tap(network, trace, name, of)
    return name


def _normalised_tap(network: nn.Module, trace: NetworkTrace, name: str, of: str) -> FeatureTap:
    records = trace.by_name()
    parts = layers_read_by(name)
    for part in parts:
        if len(parts) != 2 or part not in records:
            near = near_matches(part, records)
            raise TapError(
                f"tap {name!r} of {of}, where no layer {part!r} runs",
                allowed=f"{NORMALISED}LAYER:NORM with the names of two layers that run",
                remedy=f"{near[0]} for {part}" if near else "ttame inspect, which names layers",
            )
    layer = describe_layer(network, trace, records[parts[0]])
    with torch.no_grad(), frozen(network):
        images = noise_images(network, trace.image_size)
        found = normalised_averages(network, trace, [layer] if layer else [], images)
    for tap in found:
        if tap.layer == name:
            return tap
    raise TapError(
        f"tap {name!r} of {of}, where the average of {parts[0]!r} is not what {parts[1]!r} "
        "normalises",
        allowed="a network that averages its features and normalises then",
    )
