"""Choosing where features are read, from one dry run of the network, and saying why.

No table of architectures: the rules look at the order, shapes and kinds of the layers, so that
they also hold for networks that nobody has listed. What they choose for well-known networks is
pinned by tests against the published choices.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import Literal

from torch import nn

from ttame.errors import (
    TapError,
    either,
)
from ttame.features.block_norms import block_norms
from ttame.features.feature_taps import LayerOutput
from ttame.features.layer_layouts import (
    TokenBlocks,
    describe_layer,
    has_tokens_first,
    oblong_tap,
    pyramid_tap,
    resolutions,
    spatial_tap,
    token_blocks,
    with_batch_in_front,
)
from ttame.features.tap_names import Tap
from ttame.networks.network_trace import LayerRecord, NetworkTrace

Family = Literal[
    "CNN", "Vision Transformer", "token mixer", "hierarchical transformer", "text transformer"
]

NUMBER_OF_TAPS = 3
MOST_TAPS = 4

FEWEST_CHANNELS = 4
"""Maps of fewer channels are gates, not features."""

STEM_SHARE = 0.05
"""A layer among this first share of the network's layers belongs to its stem."""

NAMED = "named by the user"
"""The reason of taps that were not chosen automatically."""

BATCH_FIRST = "the network built with batch_first=True, as torch's own attention layers offer it"
"""The remedy where tokens come before the batch."""

MOST_WORK_AFTER = 0.75
"""A layer with a larger share of its stage's layers behind it is not an output of the stage."""


@dataclasses.dataclass(frozen=True)
class TapChoice:
    """Which taps were chosen, and why.

    Attributes:
        taps: from the first to the last in the network.
        family: what kind of network the dry run showed.
        reason: one sentence for people.
        notices: one line for each thing that somebody should look at.
    """

    taps: tuple[Tap, ...]
    family: Family
    reason: str
    notices: tuple[str, ...] = ()


def choose_taps(network: nn.Module, trace: NetworkTrace) -> TapChoice:
    """Choose up to three taps.

    * Vision Transformers and other isotropic token networks: the first normalisation of each of
      the last three blocks, i.e. the input of the attention. (After the last block only the
      class token is read, so its patch tokens never reach a class-token classifier.)
    * Networks whose every stage ends with a max-pool (VGG, AlexNet): the last three pools.
    * All others: the last layer at each of the three coarsest resolutions, at the level of the
      network's stages. Grids have the image's aspect ratio, unless the network soon leaves it, as
      one does that halves rows more often than columns.

    Raises:
        TapError: the network has no spatial features that these rules can see.
    """
    family = network_family(trace)
    blocks = token_blocks(trace)
    if blocks is not None:
        return _tap_token_blocks(network, trace, blocks, family)
    candidates = spatial_layers(network, trace)
    if _end_early(candidates, trace):
        candidates = _oblong_layers(trace) or candidates
    pools = _closing_pools(candidates) if family == "CNN" else []
    if pools:
        reason = "the last three max-pool outputs, because every stage of this CNN ends with one"
        return TapChoice(tuple(tap for _, tap in pools), family, reason)
    return _tap_stages(network, candidates, trace, family)


def in_order_of_reading(network: nn.Module, trace: NetworkTrace) -> NetworkTrace:
    """The trace, with the batch in front where a network that keeps tokens there needs it.

    Args:
        network: not behind ``torch.compile``.
        trace: the trace of the network.
    """
    if not any(has_tokens_first(layer) for layer in trace.layers):
        return trace
    try:
        choose_taps(network, trace)
    except TapError:
        return with_batch_in_front(network, trace) or trace
    return trace


def untapped(trace: NetworkTrace) -> TapChoice:
    """No taps, for a network whose user says so."""
    return TapChoice((), network_family(trace), "none: no features are read")


def network_family(trace: NetworkTrace) -> Family:
    """Tell the kind of network from its layers."""
    if token_blocks(trace) is not None:
        return "Vision Transformer" if _attends(trace) else "token mixer"
    return "hierarchical transformer" if _attends(trace) else "CNN"


def _attends(trace: NetworkTrace) -> bool:
    """Whether the network has self-attention between places.

    Attention is seen in what a network computes. Linear attention, which has no probabilities, is
    known by its name only.
    """
    linear = ("LiteMLA", "LinearAttention", "LinearSelfAttention", "AdditiveAttention")
    return trace.attends or any(layer.kind.endswith(linear) for layer in trace.layers)


def _tap_token_blocks(
    network: nn.Module, trace: NetworkTrace, found: TokenBlocks, family: Family
) -> TapChoice:
    taps = []
    reasons = set()
    for block in found.blocks[-NUMBER_OF_TAPS:]:
        inside = [layer for layer in trace.layers if layer.name.startswith(f"{block.name}.")]
        first = min((layer for layer in inside if layer.is_leaf), key=lambda layer: layer.order)
        if "norm" in first.kind.lower() and first.shape == block.shape:
            record, reason = first, "the first normalisation (before attention)"
        else:
            record, reason = block, "the output (no normalisation comes first)"
        tap = describe_layer(network, trace, record)
        if tap is None:
            raise TapError(
                f"the {found.tokens} tokens of {record.name} do not fill a grid with the aspect "
                f"ratio of a {trace.image_size[0]}x{trace.image_size[1]} image",
                remedy=either("taps=[names of layers with spatial output]", "--taps LAYER,LAYER"),
            )
        taps.append(tap)
        reasons.add(reason)
    reason = f"{' / '.join(sorted(reasons))} of the last {len(taps)} of {len(found.blocks)} blocks"
    return TapChoice(tuple(taps), family, reason)


def spatial_layers(
    network: nn.Module, trace: NetworkTrace
) -> list[tuple[LayerRecord, LayerOutput]]:
    """All layers with a feature map of at least 2x2 places, without the maps of the classes."""
    attends = _attends(trace)
    grids = resolutions(trace)
    found: list[tuple[LayerRecord, LayerOutput]] = []
    for layer in trace.layers:
        tap = spatial_tap(layer, trace.image_size)
        if tap is None and len(layer.shape) == 3 and layer.shape[0] == 1:
            tap = pyramid_tap(layer, trace.image_size)
            if tap is not None and not attends and tap.grid not in grids:
                tap = None
        if tap is None or tap.channels < FEWEST_CHANNELS or layer.kind in ("Identity", "Dropout"):
            continue
        found.append((layer, tap))
    features = [(layer, tap) for layer, tap in found if tap.channels != trace.number_of_outputs]
    return _without_reordered_tokens(network, features or found)


def _end_early(candidates: list[tuple[LayerRecord, LayerOutput]], trace: NetworkTrace) -> bool:
    return all(_is_early(tap, trace) for _, tap in candidates)


def _oblong_layers(trace: NetworkTrace) -> list[tuple[LayerRecord, LayerOutput]]:
    """All layers with a feature map of any aspect ratio, where no layer attends to tokens."""
    if _attends(trace):
        return []
    taps = [(layer, oblong_tap(layer, trace.image_size)) for layer in trace.layers]
    return [
        (layer, tap)
        for layer, tap in taps
        if tap is not None and tap.channels >= FEWEST_CHANNELS
        if tap.channels != trace.number_of_outputs and layer.kind not in ("Identity", "Dropout")
    ]


def _without_reordered_tokens(
    network: nn.Module, found: list[tuple[LayerRecord, LayerOutput]]
) -> list[tuple[LayerRecord, LayerOutput]]:
    """Drop stages whose tokens do not stand row by row.

    Hiera keeps the tokens of a window together until its last pooling; only the coarsest grid is
    in the order of the rows.
    """
    reorders = ("hiera", "unroll")
    if not any(type(m).__name__.lower().startswith(reorders) for m in network.modules()):
        return found
    coarsest = min((_places(tap) for _, tap in found), default=0)
    return [(layer, tap) for layer, tap in found if _places(tap) == coarsest]


def _closing_pools(
    candidates: list[tuple[LayerRecord, LayerOutput]],
) -> list[tuple[LayerRecord, LayerOutput]]:
    """The last three max-pools, if no convolution with spatial output follows the last one."""
    pools = [(layer, tap) for layer, tap in candidates if "maxpool2d" in layer.kind.lower()]
    if len(pools) < NUMBER_OF_TAPS:
        return []
    last = pools[-1][0].order
    if any(layer.order > last and "conv" in layer.kind.lower() for layer, _ in candidates):
        return []
    return pools[-NUMBER_OF_TAPS:]


def _tap_stages(
    network: nn.Module,
    candidates: list[tuple[LayerRecord, LayerOutput]],
    trace: NetworkTrace,
    family: Family,
) -> TapChoice:
    if not candidates:
        problem = "no layer of this network has spatial output that is seen in its shape"
        raise _nothing_seen(problem, trace)
    coarsest = min(_places(tap) for _, tap in candidates)
    by_depth: dict[int, dict[int, LayerOutput]] = defaultdict(dict)
    for layer, tap in sorted(candidates, key=lambda pair: pair[0].order):
        # Later layers overwrite earlier ones of the same resolution.
        by_depth[layer.depth][_places(tap)] = tap
    reachable = {depth: found for depth, found in by_depth.items() if coarsest in found}
    wanted = min(NUMBER_OF_TAPS, max(len(found) for found in reachable.values()))
    levels = {
        depth: _coarsest_stages(found, candidates)
        for depth, found in sorted(reachable.items())
        if len(found) >= wanted
    }
    if wanted == 1:
        return _tap_isotropic(network, candidates, trace)
    missed = {depth: _work_after(chosen, candidates, trace) for depth, chosen in levels.items()}
    least = min(missed, key=lambda depth: missed[depth])
    # The outermost level whose layers stand at the end of their stages.
    depth = next((depth for depth in levels if missed[depth] <= MOST_WORK_AFTER), least)
    chosen = levels[depth]
    _refuse_early(chosen[0], trace)
    chosen = chosen[:1] + [tap for tap in chosen[1:] if place_in_network(tap, trace) > STEM_SHARE]
    reason = (
        f"the outputs of the last {len(chosen)} stages: the last layer at each of the coarsest "
        "resolutions, at the level of the network's stages"
    )
    return TapChoice(tuple(reversed(chosen)), family, reason)


def _coarsest_stages(
    found: dict[int, LayerOutput], candidates: list[tuple[LayerRecord, LayerOutput]]
) -> list[LayerOutput]:
    """The taps of one level at its coarsest resolutions, the coarsest one first."""
    chosen = [found[places] for places in sorted(found)[:NUMBER_OF_TAPS]]
    if len(chosen) > 1:
        chosen[0] = _sibling(chosen[0], chosen[1], candidates)
    return chosen


def _work_after(
    chosen: list[LayerOutput],
    candidates: list[tuple[LayerRecord, LayerOutput]],
    trace: NetworkTrace,
) -> float:
    """The largest share of a stage's layers that run after its tap.

    Near 0 for the output of a stage, near 1 for its patch embedding.
    """
    records = trace.by_name()
    shares = []
    for tap in chosen:
        orders = [layer.order for layer, other in candidates if other.grid == tap.grid]
        later = sum(order > records[tap.layer].order for order in orders)
        shares.append(later / len(orders))
    return max(shares)


def _sibling(
    coarsest: LayerOutput, finer: LayerOutput, candidates: list[tuple[LayerRecord, LayerOutput]]
) -> LayerOutput:
    """The coarsest stage next to the finer one, rather than a layer of the head after it."""
    parent = finer.layer.rpartition(".")[0]
    beside = [
        tap
        for layer, tap in candidates
        if layer.name.rpartition(".")[0] == parent and tap.grid == coarsest.grid
    ]
    return beside[-1] if beside else coarsest


def _refuse_early(last: LayerOutput, trace: NetworkTrace) -> None:
    """A network whose spatial layers all come early does its work where no rule can see it."""
    if _is_early(last, trace):
        raise _nothing_seen(
            f"the last layer with a recognisable grid, {last.layer}, comes before half of this "
            "network's layers",
            trace,
        )


def _is_early(tap: LayerOutput, trace: NetworkTrace) -> bool:
    return place_in_network(tap, trace) < 0.5


def _nothing_seen(problem: str, trace: NetworkTrace) -> TapError:
    tokens_first = [layer for layer in trace.layers if has_tokens_first(layer)]
    stacked = [layer for layer in trace.layers if len(layer.shape) == 4 and layer.shape[0] > 1]
    if stacked and all(layer.shape[0] > 1 for layer in trace.layers if len(layer.shape) == 4):
        return TapError(
            f"layers that get {stacked[-1].shape[0]} pictures for one image, such as views or "
            f"crops of it: the output of layer {stacked[-1].name!r} has shape {stacked[-1].shape}",
            allowed="one picture for each image",
            remedy="the network inside, which gets one of them",
        )
    if not tokens_first:
        return TapError(problem, remedy=suggested_layers(trace))
    last = tokens_first[-1]
    return TapError(
        f"tokens that come before the batch: the output of layer {last.name!r} has shape "
        f"{last.shape} for one image",
        allowed="(B, tokens, C)",
        remedy=BATCH_FIRST,
    )


def place_in_network(tap: LayerOutput, trace: NetworkTrace) -> float:
    """0 for the first layer that finishes, 1 for the last one before the head's vectors."""
    latest = trace.last_order
    return trace.by_name()[tap.layer].order / latest if latest else 1.0


def _tap_isotropic(
    network: nn.Module, candidates: list[tuple[LayerRecord, LayerOutput]], trace: NetworkTrace
) -> TapChoice:
    """Networks of a single resolution: the last of their repeated blocks.

    Where blocks themselves do not show tokens, their first normalisations.
    """
    siblings: dict[tuple[str, str, tuple[int, ...]], list[LayerOutput]] = {}
    for layer, tap in sorted(candidates, key=lambda pair: pair[0].order):
        run = siblings.pop((layer.name.rpartition(".")[0], layer.kind, layer.shape), [])
        # Taken out and put in again: the run that ends last stands last.
        siblings[layer.name.rpartition(".")[0], layer.kind, layer.shape] = [*run, tap]
    # Of runs of the same length, the outermost one; of those, the one that ends last.
    longest = max(reversed(siblings.values()), key=lambda run: (len(run), -run[0].layer.count(".")))
    chosen = tuple(longest[-NUMBER_OF_TAPS:])
    family: Family = "Vision Transformer" if _attends(trace) else "CNN"
    norms = block_norms(network, trace)
    if len(norms) > len(longest) and not _is_early(norms[-1], trace):
        last = norms[-NUMBER_OF_TAPS:]
        reason = f"the first normalisation of the last {len(last)} of {len(norms)} blocks"
        return TapChoice(last, family, reason)
    _refuse_early(chosen[-1], trace)
    return TapChoice(chosen, family, f"the last {len(chosen)} layers of its only resolution")


def _places(tap: LayerOutput) -> int:
    return tap.grid[0] * tap.grid[1]


def suggested_layers(trace: NetworkTrace) -> str:
    """What to pass as taps, for an error message: the latest layers that look spatial."""
    spatial = [
        layer
        for layer in trace.layers
        if spatial_tap(layer, trace.image_size) is not None
        or (
            len(layer.shape) == 3
            and layer.shape[0] == 1
            and pyramid_tap(layer, trace.image_size) is not None
        )
        if layer.kind not in ("Identity", "Dropout")
    ]
    latest = sorted(spatial, key=lambda layer: -layer.order)[:8]
    if not latest:
        return "a network whose layers are modules with feature maps or patch tokens as output"
    return f"taps=[one to four of {', '.join(layer.name for layer in latest)}]"
