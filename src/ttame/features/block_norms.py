"""The normalisations of repeated blocks, in networks whose blocks do not show tokens themselves.

Blocks may put out several things, of which tokens are not the first, or there may be several
stages of them with a class token on the way through. What a block's attention reads is a layer's
output all the same: that of the block's first normalisation.
"""

from __future__ import annotations

import re
from collections import defaultdict

from torch import nn

from ttame.features.feature_taps import LayerOutput
from ttame.features.layer_layouts import describe_layer
from ttame.networks.network_trace import LayerRecord, NetworkTrace

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
"""A part of a dotted name that counts."""


def block_norms(network: nn.Module, trace: NetworkTrace) -> tuple[LayerOutput, ...]:
    """The first normalisation of each repeated block on the coarsest grid of tokens.

    Layers that run once belong together if their names differ in numbers only, and they put out
    the same shape. Of several such rows the longest counts; of those, one with tokens in front of
    the patches, and then the one that begins first.

    Args:
        network: not behind ``torch.compile``.
        trace: the trace of the network.

    Returns:
        In the order in which they run; empty where there are none.

    Example:
        >>> import timm
        >>> from ttame.networks.network_trace import trace_network
        >>> network = timm.create_model("pit_ti_224", img_size=64, depth=(1, 1, 2))
        >>> [str(tap) for tap in block_norms(network, trace_network(network, (64, 64)))]
        ['transformers.2.blocks.0.norm1', 'transformers.2.blocks.1.norm1']
    """
    rows: dict[tuple[str, tuple[int, ...]], list[LayerOutput]] = defaultdict(list)
    for layer in sorted(trace.layers, key=lambda layer: layer.order):
        pattern = _NUMBER.sub("*", layer.name)
        if not _is_norm_of_tokens(layer) or "*" not in pattern:
            continue
        tap = describe_layer(network, trace, layer)
        if tap is not None and min(tap.grid) > 1:
            rows[pattern, layer.shape].append(tap)
    if not rows:
        return ()
    # Rows stand in the order in which they begin, and the first of equals is taken.
    best = min(rows.values(), key=_rank)
    return tuple(best)


def _is_norm_of_tokens(layer: LayerRecord) -> bool:
    is_norm = layer.is_leaf and "norm" in layer.kind.lower()
    return is_norm and len(layer.shape) == 3 and layer.shape[0] == 1 and len(layer.runs) == 1


def _rank(row: list[LayerOutput]) -> tuple[int, int, bool]:
    rows, columns = row[0].grid
    return rows * columns, -len(row), row[0].prefix_tokens == 0
