"""Whether the class scores depend on tapped layers, and whether anything goes past the last one.

One pass of a few noise images tells. For each tap one image is spoilt there: if its scores are not
spoilt, they do not depend on the layer. One more image gets at the last tap what the layer gave for
another image: if everything that tells classes apart goes through the layer, its scores become
those of the other image; if not, something goes around it, as another member of an ensemble does.

A layer that is chosen automatically has to matter by its places: where only the class token of a
layer is read, its patches are idle, and every map of them would be blank.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError, TapError, setting
from ttame.features.feature_taps import LayerOutput
from ttame.features.layer_layouts import describe_layer, token_blocks
from ttame.features.layer_runs import UNCLEAR, UPRIGHT, sound_run, views_of_runs
from ttame.features.tap_choice import FEWEST_CHANNELS, NAMED, TapChoice, choose_taps
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import first_tensor, put_first_tensor
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network

ROUNDING = 1e-3
"""Of scores, over the difference between those of two images."""

_AT_ONCE = 8
"""Layers looked at in one pass."""

PASSED = "the scores also depend on paths around it, which its maps do not show"
"""Said of a last tap that is not on every way to the scores."""


@dataclasses.dataclass(frozen=True)
class TapInfluence:
    """How the scores depend on layers.

    Attributes:
        idle: taps on which the scores do not depend.
        passed: whether something goes past the last tap; ``None`` where that was not seen, as with
            a head that starts at zero.
    """

    idle: tuple[LayerOutput, ...] = ()
    passed: bool | None = None


def tap_influence(
    network: nn.Module,
    trace: NetworkTrace,
    taps: Sequence[LayerOutput],
    by_places: Sequence[LayerOutput] = (),
) -> TapInfluence:
    """See in one pass how the scores depend on layers.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: the trace of the network.
        taps: at least one; the last is the one that something may go past.
        by_places: those of them that are idle, too, if the scores do not depend on each patch: on
            prefix tokens alone, or on the last step of a recurrent layer.

    Example:
        >>> from ttame.features.layer_layouts import describe_layer
        >>> from ttame.networks.network_trace import trace_network
        >>> network = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ...     nn.Linear(8, 5))
        >>> trace = trace_network(network, (16, 16))
        >>> tap_influence(network, trace, [describe_layer(network, trace, trace.by_name()["1"])])
        TapInfluence(idle=(), passed=False)
    """
    two = noise_images(network, trace.image_size, 2, trace.channels)
    if two.is_meta:
        return TapInfluence()
    count = len(taps)
    # For each tap an image to be spoilt; the first image, the second, and the first again.
    images = torch.cat([two[:1].expand(count, -1, -1, -1), two, two[:1]])

    def exchange(number: int, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None or len(tensor) != count + 3 or not tensor.is_floating_point():
            raise TapError("an output that does not hold the images of the batch")
        changed = tensor.clone()
        tap = taps[number]
        changed[number, _spoilt(tap, changed.shape[1]) if tap in by_places else slice(None)] = (
            torch.nan
        )
        if number == count - 1:
            changed[-1] = changed[-2]
        return put_first_tensor(output, changed)

    try:
        with frozen(network), torch.no_grad(), contextlib.ExitStack() as stack:
            for number, tap in enumerate(taps):
                change = _partial(exchange, number)
                stack.enter_context(tap.exchanging(network, trace, change))
            scores = run_network(network, images).float()
    except (TapError, ClassifierError):
        # A quantised layer, one with an output of its own kind, or a network for one image at a
        # time: nothing is seen, nothing said. That memory ran out is not for us to catch.
        return TapInfluence()
    found = _told_by(scores, taps)
    if len(found.idle) == count and not _is_spoilt_by_its_input(network, two[:1]):
        return TapInfluence()
    return found


def _is_spoilt_by_its_input(network: nn.Module, image: Tensor) -> bool:
    """Whether scores depend on the image at all: a detector's do not where it finds nothing."""
    try:
        with frozen(network), torch.no_grad():
            scores = run_network(network, torch.full_like(image, torch.nan))
    except ClassifierError:
        return False
    return bool(scores.isnan().any())


def _spoilt(tap: LayerOutput, length: int) -> slice:
    """What is spoilt of an output to see whether its places matter.

    Of tokens one in the middle: of a recurrent layer the last step alone may be read, whose map
    would be blank but for that place.
    """
    if tap.layout != "tokens":
        return slice(None)
    middle = (tap.prefix_tokens + length) // 2
    return slice(middle, middle + 1)


def _partial(exchange: Any, number: int) -> Any:
    return lambda output: exchange(number, output)


def _told_by(scores: Tensor, taps: Sequence[LayerOutput]) -> TapInfluence:
    spoilt = scores.isnan().any(dim=1)
    if bool(spoilt[len(taps) :].any()):
        return TapInfluence()  # the images of a batch are not independent
    idle = tuple(
        tap for tap, is_spoilt in zip(taps, spoilt.tolist(), strict=False) if not is_spoilt
    )
    first, second, exchanged = scores[len(taps) :]
    distance = float((second - first).abs().max())
    if not distance > 1e-4 * float(scores[len(taps) :].abs().max()):
        return TapInfluence(idle)
    return TapInfluence(idle, float((exchanged - second).abs().max()) > ROUNDING * distance)


def influential_choice(network: nn.Module, trace: NetworkTrace) -> TapChoice:
    """The automatic choice of taps, among layers on which the scores depend.

    Where something goes past the last tap, another one of its grid is taken that nothing goes past;
    where there is none, the reason and a notice say so. For taps inside the blocks of a Vision
    Transformer, that is asked of the last block. Layers that see the photo turned
    round, or not at all, are passed over.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: the trace of the network.

    Raises:
        TapError: the network has no such layers.
    """
    while True:
        choice = _with_sound_runs(network, trace, choose_taps(network, trace))
        found = _influence(network, trace, choice, by_places=True)
        if found.idle:
            trace = _without_idle_layers(network, trace, found.idle)
        elif found.passed is not False and (askew := _taps_askew(network, trace, choice)):
            trace = _without_layers_askew(network, trace, askew)
        elif found.passed:
            return _behind_all_paths(network, trace, choice)
        else:
            return choice


def _behind_all_paths(network: nn.Module, trace: NetworkTrace, choice: TapChoice) -> TapChoice:
    """The choice with another last tap of the same grid, which nothing goes past.

    The same choice, with a notice, where there is none, as in an ensemble.
    """
    last = choice.taps[-1]
    records = trace.by_name()
    like = [
        tap
        for layer in sorted(trace.layers, key=lambda layer: -layer.order)
        if layer.name != last.layer and layer.kind not in ("Identity", "Dropout")
        if (tap := describe_layer(network, trace, layer)) is not None
        if tap.grid == last.grid and tap.layout == last.layout != "tokens"
        if tap.channels >= FEWEST_CHANNELS and tap.channels != trace.number_of_outputs
    ]
    for tap in like[:_AT_ONCE]:
        found = tap_influence(network, trace, [tap])
        if found.passed is False and not found.idle:
            before = [
                each
                for each in choice.taps[:-1]
                if records[each.layer].order < records[tap.layer].order
            ]
            reason = f"{choice.reason}, the last of them one that nothing goes past"
            changed = dataclasses.replace(choice, taps=(*before, tap), reason=reason)
            return _with_sound_runs(network, trace, changed)
    return dataclasses.replace(
        choice,
        reason=f"{choice.reason}; {PASSED}",
        notices=(f"{last}: {PASSED}", *choice.notices),
    )


def _with_sound_runs(network: nn.Module, trace: NetworkTrace, choice: TapChoice) -> TapChoice:
    """The choice, with the run that sees the photo upright where a layer runs several times."""
    records, notices, taps = trace.by_name(), [], []
    for tap in choice.taps:
        record = records[tap.layer]
        if isinstance(tap, LayerOutput) and len(record.runs) > 1:
            sound = sound_run(network, trace, tap.layer)
            notices += [sound.notice] if sound.notice else []
            record = record.at(sound.run)
            tap = describe_layer(network, trace, record) or tap
        taps.append((record.order, tap))
    in_order = tuple(tap for _, tap in sorted(taps, key=lambda pair: pair[0]))
    return dataclasses.replace(choice, taps=in_order, notices=tuple(notices))


def _taps_askew(network: nn.Module, trace: NetworkTrace, choice: TapChoice) -> dict[str, str]:
    """Tapped layers that run once, and not on the upright photo, with what they see."""
    records = trace.by_name()
    if trace.output.is_meta:
        return {}
    once = [tap.layer for tap in choice.taps if len(records[tap.layer].runs) == 1]
    views = views_of_runs(network, trace, once)
    return {
        layer: views[layer][0]
        for layer in once
        if views[layer].get(0, UPRIGHT) not in (UPRIGHT, UNCLEAR)
    }


def _without_layers_askew(
    network: nn.Module, trace: NetworkTrace, askew: dict[str, str]
) -> NetworkTrace:
    """The trace without layers that run once on something other than the upright photo.

    Raises:
        TapError: no other layer is left.
    """
    names = [layer.name for layer in trace.layers if len(layer.runs) == 1]
    views = views_of_runs(network, trace, names)
    wrong = {name for name, seen in views.items() if seen.get(0, UPRIGHT) not in (UPRIGHT, UNCLEAR)}
    left = dataclasses.replace(
        trace, layers=tuple(layer for layer in trace.layers if layer.name not in wrong)
    )
    try:
        choose_taps(network, left)
    except TapError:
        layer, view = next(iter(askew.items()))
        raise TapError(
            f"layer {layer!r}, which would be chosen and sees {view}",
            remedy=f"{setting('taps', [layer])}, if its maps are wanted as they are",
        ) from None
    return left


def _without_idle_layers(
    network: nn.Module, trace: NetworkTrace, idle: Sequence[LayerOutput]
) -> NetworkTrace:
    """The trace without idle layers, and without those inside them that are idle too.

    Not all inside need be: a block may put out patches that nobody reads, next to a class token.
    """
    names = {tap.layer for tap in idle}
    inside = [
        tap
        for layer in trace.layers
        if any(layer.name.startswith(f"{name}.") for name in names)
        if (tap := describe_layer(network, trace, layer)) is not None
    ]
    for start in range(0, len(inside), _AT_ONCE):
        part = inside[start : start + _AT_ONCE]
        names |= {tap.layer for tap in tap_influence(network, trace, part, part).idle}
    layers = tuple(layer for layer in trace.layers if layer.name not in names)
    return dataclasses.replace(trace, layers=layers)


def refuse_idle_taps(network: nn.Module, trace: NetworkTrace, choice: TapChoice) -> TapChoice:
    """The choice, unless the scores do not depend on a layer in it.

    Raises:
        TapError: they do not; with the layers that would be chosen.
    """
    idle = _influence(network, trace, choice).idle
    if not idle:
        return choice
    try:
        remedy = ", ".join(str(tap) for tap in influential_choice(network, trace).taps)
    except TapError:
        remedy = ""
    raise TapError(
        f"layer {str(idle[0])!r}, on which the class scores do not depend",
        allowed="layers on the way to the scores",
        remedy=remedy,
    )


def _influence(
    network: nn.Module, trace: NetworkTrace, choice: TapChoice, by_places: bool = False
) -> TapInfluence:
    taps = [tap for tap in choice.taps if isinstance(tap, LayerOutput)]
    placed = tuple(taps) if by_places else ()
    blocks = token_blocks(trace) if choice.reason != NAMED else None
    if blocks is not None and taps:
        # Past a layer inside a block goes its residual, which the choice means; not past a block.
        last = blocks.blocks[-1]
        run = next((tap.run for tap in taps if tap.layer.startswith(f"{last.name}.")), -1)
        whole = describe_layer(network, trace, last.at(run if run < len(last.runs) else -1))
        taps += [whole] if whole is not None and whole not in taps else []
    return tap_influence(network, trace, taps, placed) if taps else TapInfluence()
