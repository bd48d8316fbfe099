"""What a layer puts out, read off its shape: a feature map, tokens on a grid, or neither."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import torch
from torch import nn

from ttame.errors import ClassifierError
from ttame.features.feature_taps import LayerOutput, TapLayout
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import first_tensor, reading
from ttame.networks.module_walk import all_modules
from ttame.networks.network_trace import LayerRecord, NetworkTrace, noise_images, run_network

LARGEST_PREFIX = 32
"""More tokens than this before the patches are not looked for (register tokens are 4 to 8)."""


@dataclasses.dataclass(frozen=True)
class TokenBlocks:
    """The repeated blocks of an isotropic token network."""

    blocks: tuple[LayerRecord, ...]
    tokens: int
    channels: int


def describe_layer(
    network: nn.Module, trace: NetworkTrace, record: LayerRecord
) -> LayerOutput | None:
    """Read the layout of a layer's output off its shape; ``None`` if it is not a feature map.

    Args:
        network: not behind ``torch.compile``.
        trace: the trace of the network.
        record: the record of the layer, at the run that is to be read.
    """
    if len(record.shape) == 4:
        return spatial_tap(record, trace.image_size) or oblong_tap(record, trace.image_size)
    if len(record.shape) == 3:
        grid, prefix = _token_grid(network, trace, record)
        if grid is not None:
            size, channels, axis = trace.image_size, record.shape[2], int(record.tokens_first)
            return LayerOutput(
                record.name, "tokens", channels, grid, size, prefix, axis, run=record.run
            )
    return None


def token_blocks(trace: NetworkTrace) -> TokenBlocks | None:
    """The longest run of like siblings that all put out the same (1, T, D) tokens.

    ``None`` for networks without one, and for those whose token count changes on the way.
    """
    siblings: dict[tuple[str, str, tuple[int, ...]], list[LayerRecord]] = defaultdict(list)
    for layer in trace.layers:
        if len(layer.shape) == 3 and layer.shape[0] == 1 and layer.shape[1] >= 4:
            parent = layer.name.rpartition(".")[0]
            if not layer.is_leaf and parent:
                siblings[parent, layer.kind, layer.shape].append(layer)
    runs = [run for run in siblings.values() if len(run) >= 2]
    if not runs and len(resolutions(trace)) <= 1:
        # A transformer of a single block has no run, but also nothing except its patch grid.
        runs = [run for run in siblings.values() if run[0].name.rpartition(".")[2] == "0"]
    if not runs:
        return None
    longest = max(runs, key=len)
    # Any other layers of blocks at this level or above it count, also a pyramid's single ones.
    rivals = [
        shape
        for (_, kind, shape), run in siblings.items()
        if run[0].depth < longest[0].depth or (len(run) > 1 or kind == longest[0].kind)
        if run[0].depth <= longest[0].depth
    ]
    _, tokens, channels = longest[0].shape
    for _, rival_tokens, rival_channels in rivals:
        # Prefix tokens may join on the way; a pyramid has fewer tokens with more channels.
        if abs(rival_tokens - tokens) > LARGEST_PREFIX or (
            rival_tokens != tokens and rival_channels != channels
        ):
            return None
    if _longest_grid_run(trace) > len(longest):
        # The blocks work on grids, and these are only the class-attention blocks behind them.
        return None
    blocks = tuple(sorted(longest, key=lambda layer: layer.order))
    return TokenBlocks(blocks, blocks[0].shape[1], blocks[0].shape[2])


def spatial_tap(record: LayerRecord, image_size: tuple[int, int]) -> LayerOutput | None:
    """A tap for a 4-D output; (1, C, h, w) is preferred where both readings are possible."""
    if len(record.shape) != 4 or record.shape[0] != 1:
        return None
    _, first, second, third = record.shape
    readings: list[tuple[TapLayout, int, tuple[int, int]]] = [
        ("channels first", first, (second, third)),
        ("channels last", third, (first, second)),
    ]
    for layout, channels, grid in readings:
        if min(grid) >= 2 and _fits(*grid, image_size):
            return LayerOutput(record.name, layout, channels, grid, image_size, run=record.run)
    return None


def oblong_tap(record: LayerRecord, image_size: tuple[int, int]) -> LayerOutput | None:
    """A tap for a (1, C, h, w) output on a grid of another aspect ratio than the image's.

    As of convolutions with another stride for rows than for columns. Such a shape could be
    anything, so it is for layers that somebody names, or whose role is checked in another way.
    """
    if len(record.shape) != 4 or record.shape[0] != 1:
        return None
    _, channels, rows, columns = record.shape
    if rows * columns < 4 or rows > image_size[0] or columns > image_size[1]:
        return None
    grid = (rows, columns)
    return LayerOutput(record.name, "channels first", channels, grid, image_size, run=record.run)


def pyramid_tap(layer: LayerRecord, image_size: tuple[int, int]) -> LayerOutput | None:
    """A tap for the tokens of one stage of a pyramid, with a class token or without."""
    _, tokens, channels = layer.shape
    for prefix in (0, 1):
        grid = _grid_of_aspect(tokens - prefix, image_size)
        if grid is not None:
            return LayerOutput(
                layer.name, "tokens", channels, grid, image_size, prefix, run=layer.run
            )
    return None


def has_tokens_first(record: LayerRecord) -> bool:
    """Whether a layer puts out (tokens, B, C), as torch's attention does by default."""
    return len(record.shape) == 3 and record.shape[0] >= 4 and record.shape[1] == 1


def with_batch_in_front(network: nn.Module, trace: NetworkTrace) -> NetworkTrace | None:
    """The trace of a network with (tokens, B, C) layers, whose shapes then have the batch in front.

    Args:
        network: not behind ``torch.compile``.
        trace: the trace of the network.

    Returns:
        ``None`` where there are no such layers: that two images make the second dimension 2 is
        tried.
    """
    suspects = {layer.name for layer in trace.layers if has_tokens_first(layer)}
    if not suspects:
        return None
    images = noise_images(network, trace.image_size, 2, trace.channels)
    layers = {name: network.get_submodule(name) for name in suspects}
    try:
        with frozen(network), torch.no_grad(), reading(layers) as outputs:
            run_network(network, images)
    except ClassifierError:
        return None
    found = {
        name
        for name, output in outputs.items()
        if (tensor := first_tensor(output)) is not None and tensor.shape[1:2] == (2,)
    }
    records = tuple(
        dataclasses.replace(layer, tokens_first=layer.name in found) for layer in trace.layers
    )
    return dataclasses.replace(trace, layers=records) if found else None


def resolutions(trace: NetworkTrace) -> set[tuple[int, int]]:
    """The grids of all 4-D outputs."""
    taps = (spatial_tap(layer, trace.image_size) for layer in trace.layers)
    return {tap.grid for tap in taps if tap is not None}


def _longest_grid_run(trace: NetworkTrace) -> int:
    """The length of the longest run of like sibling blocks with channels-last grids."""
    runs: dict[tuple[str, str, tuple[int, ...]], int] = defaultdict(int)
    for layer in trace.layers:
        tap = spatial_tap(layer, trace.image_size)
        if tap is not None and tap.layout == "channels last" and not layer.is_leaf:
            runs[layer.name.rpartition(".")[0], layer.kind, layer.shape] += 1
    return max(runs.values(), default=0)


def _token_grid(
    network: nn.Module, trace: NetworkTrace, record: LayerRecord
) -> tuple[tuple[int, int] | None, int]:
    """The (h, w) grid of a token layer and the number of tokens before the patches."""
    tokens = record.shape[1]
    if trace.image_size == (1, tokens):
        # Every place of a row is a token of its own, as in a text: no patches, none before them.
        return (1, tokens), 0
    declared = _declared_prefixes(network)
    embeddings = _embedded_grids(trace, record)
    for prefix in declared:
        for grid in [*embeddings, _grid_of_aspect(tokens - prefix, trace.image_size)]:
            if grid is not None and grid[0] * grid[1] == tokens - prefix:
                return grid, prefix
    if embeddings:
        return embeddings[0], tokens - embeddings[0][0] * embeddings[0][1]
    # Tokens that are fewer than the patches that were seen: pooled perhaps, but not with new ones
    # in front that nobody speaks of.
    of_patches = any(grid_is_seen(trace, layer) for layer in trace.layers if len(layer.shape) == 3)
    most = 0 if of_patches else min(LARGEST_PREFIX, tokens - 4)
    for prefix in range(most + 1):
        grid = _grid_of_aspect(tokens - prefix, trace.image_size)
        if grid is not None:
            return grid, prefix
    return None, 0


def _declared_prefixes(network: nn.Module) -> list[int]:
    """The numbers of tokens before the patches that modules say they have."""
    name = "num_prefix_tokens"
    # Asked for where it is: that a module has no such attribute takes long to find out.
    having = [m for m in all_modules(network) if name in vars(m) or hasattr(type(m), name)]
    found = [getattr(module, name, None) for module in having]
    return [prefix for prefix in found if isinstance(prefix, int)]


def grid_is_seen(trace: NetworkTrace, record: LayerRecord) -> bool:
    """Whether a layer in front of (B, tokens, C) puts out the grid of its patches."""
    return bool(_embedded_grids(trace, record))


def _embedded_grids(trace: NetworkTrace, record: LayerRecord) -> list[tuple[int, int]]:
    """The grids that a layer's tokens may have, as layers in front of it put them out."""
    tokens, order = record.shape[1], record.order
    grids = [
        tap.grid
        for layer in trace.layers
        if len(layer.shape) == 4 and layer.order < order
        if (tap := spatial_tap(layer, trace.image_size)) and _is_filled_by(tokens, tap.grid)
    ]
    # The finest grid that fits leaves the fewest prefix tokens.
    grids.sort(key=lambda grid: grid[0] * grid[1], reverse=True)
    # Patches that are not square: seen in what cuts them out, before anything is guessed.
    seen = [grid for grid in trace.patch_grids if _is_filled_by(tokens, grid)]
    return grids or _oblong_embeddings(trace, record) or seen


def _is_filled_by(tokens: int, grid: tuple[int, int]) -> bool:
    """Whether so many tokens are a grid of patches and a few others in front of them."""
    return 0 <= tokens - grid[0] * grid[1] <= LARGEST_PREFIX


def _oblong_embeddings(trace: NetworkTrace, record: LayerRecord) -> list[tuple[int, int]]:
    """The grids of convolutions before a layer whose places, as tokens, it could put out."""
    taps = (
        oblong_tap(layer, trace.image_size)
        for layer in trace.layers
        if layer.order < record.order and layer.kind == "Conv2d"
    )
    return [
        tap.grid
        for tap in taps
        if tap is not None and tap.channels == record.shape[2]
        if _is_filled_by(record.shape[1], tap.grid)
    ]


def _grid_of_aspect(patches: int, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """The (h, w) with ``h·w = patches`` whose cells are square on the image, if there is one."""
    height = round((patches * image_size[0] / image_size[1]) ** 0.5) if patches > 0 else 0
    for rows in (height, height - 1, height + 1):
        if rows >= 2 and patches % rows == 0 and _fits(rows, patches // rows, image_size):
            return rows, patches // rows
    return None


def _fits(rows: int, columns: int, image_size: tuple[int, int]) -> bool:
    """Whether a grid has the image's aspect ratio, give or take a rounded row or column."""
    height, width = image_size
    if rows > height or columns > width:
        return False
    return abs(columns - width * rows / height) < 1 or abs(rows - height * columns / width) < 1
