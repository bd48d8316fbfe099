"""The taps that somebody names, looked up in a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn

from ttame.errors import TapError, near_matches, setting
from ttame.features.feature_taps import LayerOutput, RectifiedOutput
from ttame.features.layer_layouts import describe_layer, has_tokens_first, with_batch_in_front
from ttame.features.layer_runs import UPRIGHT, sound_run, view_of_run
from ttame.features.normalised_average import NormalisedShares, normalised_averages
from ttame.features.read_contributions import ReadContributions, read_contributions_tap
from ttame.features.tap_choice import (
    BATCH_FIRST,
    MOST_TAPS,
    NAMED,
    Family,
    TapChoice,
    choose_taps,
    network_family,
    suggested_layers,
)
from ttame.features.tap_names import Tap, TapName, parse_tap
from ttame.features.token_contributions import TokenContributions, contributions_tap
from ttame.networks.frozen_network import frozen
from ttame.networks.network_trace import LayerRecord, NetworkTrace, noise_images


def named_taps(
    network: nn.Module, trace: NetworkTrace, given: Sequence[str | Tap], of: str = "the network"
) -> TapChoice:
    """Look up the taps that the user named; ready taps are taken as they are.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: the trace of the network.
        given: as :func:`ttame.features.tap_names.parse_tap` reads them, or ready.
        of: what messages call the network.

    Raises:
        TapError: more than four, a layer that does not exist or was not run, an output that is not
            a feature map, or contributions or shares that the network does not have.
    """
    texts = [str(tap) for tap in given]
    if not 1 <= len(texts) <= MOST_TAPS or len({parse_tap(text) for text in texts}) < len(texts):
        raise TapError(f"taps {texts}", allowed="one to four different layer names")
    notices: list[str] = []
    taps = [
        _looked_up(network, trace, _with_run(network, trace, tap, notices), of)
        if isinstance(tap, str)
        else tap
        for tap in given
    ]
    records = {tap: _record_of(network, trace, tap) for tap in taps}
    in_order = sorted(taps, key=lambda tap: records[tap].order)
    family = _family_of_choice(network, trace)
    return TapChoice(tuple(in_order), family, NAMED, tuple(dict.fromkeys(notices)))


def _with_run(network: nn.Module, trace: NetworkTrace, text: str, notices: list[str]) -> TapName:
    """A tap's name with the run that is to be read, where none is named and runs differ."""
    name = parse_tap(text)
    record = trace.by_name().get(name.layers[0])
    of_run = name.kind in (LayerOutput, RectifiedOutput)
    if record is None or len(record.runs) == 1 or name.run >= len(record.runs) or not of_run:
        return name
    if text.endswith("#-1") or name.run != -1:
        run = name.run % len(record.runs)
        view = view_of_run(network, trace, name.layers[0], run)
        notices += [f"{name.layers[0]}#{run} sees {view}"] if view != UPRIGHT else []
        return dataclasses.replace(name, run=run)
    sound = sound_run(network, trace, name.layers[0])
    if sound.run != -1 and name.kind is RectifiedOutput:
        raise TapError(
            f"tap {text!r}, which reads the last run of its layer: {sound.notice}",
            remedy=setting("taps", [f"{name.layers[0]}#{sound.run}"]),
        )
    notices += [sound.notice] if sound.notice else []
    return dataclasses.replace(name, run=sound.run)


def _looked_up(network: nn.Module, trace: NetworkTrace, name: TapName, of: str) -> Tap:
    if name.kind is TokenContributions:
        return _contributions(network, trace, name, of)
    if name.kind is ReadContributions:
        return _read_contributions(network, trace, name, of)
    if name.kind is NormalisedShares:
        return _shares(network, trace, name, of)
    output = _layer_output(network, trace, name)
    return RectifiedOutput.like(output) if name.kind is RectifiedOutput else output


def _record_of(network: nn.Module, trace: NetworkTrace, tap: Tap) -> LayerRecord:
    run = tap.run if isinstance(tap, LayerOutput) else -1
    return _record(network, trace, tap.layer, run)


def _record(network: nn.Module, trace: NetworkTrace, name: str, run: int) -> LayerRecord:
    record = trace.by_name().get(name)
    if record is None:
        exists = name in dict(network.named_modules())
        problem = "gives no features" if exists else "does not exist"
        near = near_matches(name, trace.by_name())
        remedy = " or ".join(near) if near else suggested_layers(trace)
        raise TapError(f"layer {name!r} {problem}", remedy=remedy)
    runs = len(record.runs)
    if run >= runs:
        several = f"{name}#0 to {name}#{runs - 1}, or {name} for the last" if runs > 1 else name
        raise TapError(
            f"run {run} of layer {name!r}, which runs {runs} time{'s' * (runs > 1)}",
            allowed=several,
        )
    return record.at(run)


def _layer_output(network: nn.Module, trace: NetworkTrace, name: TapName) -> LayerOutput:
    record = _record(network, trace, name.layers[0], name.run)
    tap = describe_layer(network, trace, record)
    if tap is not None:
        return tap
    turned = with_batch_in_front(network, trace) if has_tokens_first(record) else None
    if turned is not None:
        tap = describe_layer(network, turned, turned.by_name()[record.name].at(name.run))
        if tap is not None:
            return tap
    shape, remedy = record.shape, suggested_layers(trace)
    problem = f"the output of layer {record.name!r} has shape {shape}, which is not a feature map"
    if has_tokens_first(record):
        problem, remedy = f"{problem}: its tokens come before the batch", BATCH_FIRST
    raise TapError(problem, allowed="(B, C, h, w), (B, h, w, C) or (B, tokens, C)", remedy=remedy)


def _contributions(
    network: nn.Module, trace: NetworkTrace, name: TapName, of: str
) -> TokenContributions:
    (norm,) = name.layers
    tap = contributions_tap(network, trace, norm)
    if tap is None:
        called = f"{TokenContributions.mark}:{norm}"
        raise TapError(
            f"tap {called!r} of {of}, where no contributions of tokens to a class token were found",
            allowed="a Vision Transformer whose logits are linear in its class token",
        )
    return tap


def _read_contributions(
    network: nn.Module, trace: NetworkTrace, name: TapName, of: str
) -> ReadContributions:
    (layer,) = name.layers
    tap = read_contributions_tap(network, trace, layer) if layer in trace.by_name() else None
    if tap is None:
        called = f"{ReadContributions.mark}:{layer}"
        raise TapError(
            f"tap {called!r} of {of}, where no contributions of tokens to what that layer reads "
            "were found",
            allowed="a transformer whose last linear layer reads the first token, directly or "
            "through layers that act on this token alone",
        )
    return tap


def _shares(network: nn.Module, trace: NetworkTrace, name: TapName, of: str) -> NormalisedShares:
    records, parts = trace.by_name(), name.layers
    called = ":".join([NormalisedShares.mark, *parts])
    for part in parts:
        if len(parts) != 2 or part not in records:
            near = near_matches(part, records)
            raise TapError(
                f"tap {called!r} of {of}, where no layer {part!r} runs",
                allowed=f"{NormalisedShares.mark}:LAYER:NORM with the names of two layers that run",
                remedy=f"{near[0]} for {part}" if near else "ttame inspect, which names layers",
            )
    layer, norm = parts
    output = describe_layer(network, trace, records[layer])
    with torch.no_grad(), frozen(network):
        images = noise_images(network, trace.image_size, 1, trace.channels)
        found = normalised_averages(network, trace, [output] if output else [], images)
    for tap in found:
        if tap.norm == norm:
            return tap
    raise TapError(
        f"tap {called!r} of {of}, where the average of {layer!r} is not what {norm!r} normalises",
        allowed="a network that averages its features and normalises then",
    )


def _family_of_choice(network: nn.Module, trace: NetworkTrace) -> Family:
    """The family that the network has when its taps are automatic."""
    try:
        return choose_taps(network, trace).family
    except TapError:
        return network_family(trace)
