"""Which run of a layer sees the picture as it is, where a network runs the layer several times.

A corner of a picture of noise is changed, and it is seen which places of a run's features change.
In a run that reads the picture upright it is the same corner; where the network turned the picture
round before, another one; where it cut out a part, none for some corners; and nothing changes in a
run on something stored, such as a reference picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import TapError, setting
from ttame.features.feature_taps import LayerOutput
from ttame.features.layer_layouts import describe_layer
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import OutputAction, first_tensor, put_first_tensor, watching
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network

UPRIGHT = "the photo"
STORED = "something stored instead of the photo"
UNCLEAR = "the photo in an order that was not seen"

_SHARE_OF_SIDE = 16
"""A changed corner is this part of a side, so that also crops that cut off little miss it."""

_ROUNDING = 1e-10
"""Of the squares of features."""

_SHIFT = 0.15
"""Of a side: how far off the middle the four corners may lie on average."""


@dataclasses.dataclass(frozen=True)
class SoundRun:
    """The run of a layer whose features stand where the photo has them.

    Attributes:
        run: as :class:`LayerOutput` counts; -1 for the last.
        notice: what the other runs see, where they see something else; empty else.
    """

    run: int
    notice: str = ""


def sound_run(network: nn.Module, trace: NetworkTrace, layer: str) -> SoundRun:
    """Choose the run of a layer that is read when nobody names one.

    The last run, where all runs see the same. Else, of the runs that see the photo upright, the
    first one and what is computed of its features: the last run behind it.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: the trace of the network.
        layer: that ran in it.

    Raises:
        TapError: the runs see different things, and none of them the upright photo.

    Example:
        >>> from ttame.networks.network_trace import trace_network
        >>> class Averaged(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.conv, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 5)
        ...     def scores(self, x):
        ...         return self.head(self.conv(x).relu().mean((2, 3)))
        ...     def forward(self, x):
        ...         return self.scores(x) + self.scores(x.flip(-1))
        >>> network = Averaged()
        >>> sound_run(network, trace_network(network, (32, 32)), "conv")
        SoundRun(run=0, notice='conv#0 is read; conv#1 sees the photo mirrored from left to right')
    """
    record = trace.by_name()[layer]
    count = len(record.runs)
    if count == 1 or trace.output.is_meta:
        return SoundRun(-1)
    views = views_of_runs(network, trace, [layer])[layer]
    if len({*views.values()}) <= 1:
        return SoundRun(-1 if count - 1 in views or not views else max(views))
    sound = _sound(views)
    if not sound:
        runs = "; ".join(f"{layer}#{run} sees {view}" for run, view in views.items())
        raise TapError(
            f"layer {layer!r}, which runs {count} times and never on the whole photo upright",
            allowed=runs,
            remedy=f"{setting('taps', [f'{layer}#{min(views)}'])}, or another run",
        )
    chosen = _last_behind(network, trace, layer, sound)
    run = -1 if chosen == count - 1 else chosen
    return SoundRun(run, _others_in_words(layer, chosen, views))


def _sound(views: dict[int, str]) -> list[int]:
    """The runs of which one may be read; the first of them for certain."""
    upright = [run for run, view in views.items() if view == UPRIGHT]
    if upright:
        return [run for run in views if run >= upright[0] and views[run] in (UPRIGHT, UNCLEAR)]
    of_photo = [run for run, view in views.items() if view != STORED]
    return of_photo if len({views[run] for run in of_photo}) == 1 else []


def _others_in_words(layer: str, chosen: int, views: dict[int, str]) -> str:
    """What the runs see that see something other than the chosen one; empty if none does."""
    others: dict[str, list[int]] = {}
    for run, view in views.items():
        if view not in (views[chosen], UPRIGHT, UNCLEAR):
            others.setdefault(view, []).append(run)
    said = "; ".join(
        f"{', '.join(f'{layer}#{run}' for run in runs)} see{'s' * (len(runs) == 1)} {view}"
        for view, runs in others.items()
    )
    return f"{layer}#{chosen} is read; {said}" if said else ""


def view_of_run(network: nn.Module, trace: NetworkTrace, layer: str, run: int) -> str:
    """What one run of a layer sees, in words; :data:`UPRIGHT` where that is not known."""
    if trace.output.is_meta:
        return UPRIGHT
    views = views_of_runs(network, trace, [layer])[layer]
    view = views.get(run % len(trace.by_name()[layer].runs), UNCLEAR)
    return UPRIGHT if view == UNCLEAR else view


def views_of_runs(
    network: nn.Module, trace: NetworkTrace, layers: Sequence[str]
) -> dict[str, dict[int, str]]:
    """What each run of some layers sees, in words.

    Returns:
        Layer to number of a run to :data:`UPRIGHT`, :data:`STORED`, ... Runs whose output is not a
        feature map are left out.
    """
    records = trace.by_name()
    taps = {
        (name, run): tap
        for name in layers
        for run in range(len(records[name].runs))
        if (tap := describe_layer(network, trace, records[name].at(run))) is not None
    }
    noise = noise_images(network, trace.image_size, 2, trace.channels)
    plain: dict[_Run, Tensor] = {}
    _watch_features(network, taps, noise[:1], plain.setdefault)
    changes: dict[_Run, list[Tensor]] = {key: [] for key in taps}

    def note(key: _Run, features: Tensor) -> None:
        before = plain.get(key)
        if before is not None and before.shape == features.shape:
            changes[key].append((features - before).div(_largest(before)).square().sum(dim=(0, 1)))

    # The plain picture once more: what changes between two runs on it says nothing. And another.
    images = [noise[:1], noise[1:], *with_changed_corners(noise)]
    for image in images:
        _watch_features(network, taps, image, note)
    views: dict[str, dict[int, str]] = {name: {} for name in layers}
    for (name, run), seen in changes.items():
        whole = len(seen) == len(images)
        features = plain.get((name, run))
        size = float((features / _largest(features)).square().sum()) if features is not None else 0
        views[name][run] = _view(torch.stack(seen), size) if whole else UNCLEAR
    return views


def _largest(features: Tensor) -> Tensor:
    """What features are divided by before they are squared: the squares of some would be zero."""
    return features.abs().amax().clamp_min(torch.finfo(features.dtype).tiny)


def with_changed_corners(noise: Tensor) -> list[Tensor]:
    """The first picture with a corner changed: top left, top right, bottom left, bottom right.

    Each in two ways, since what makes one unit rise may leave it at zero.
    """
    height, width = noise.shape[2:]
    rows, columns = (max(2, side // _SHARE_OF_SIDE) for side in (height, width))
    changed = []
    for sign in (4, -4):
        for top in (slice(0, rows), slice(height - rows, height)):
            for left in (slice(0, columns), slice(width - columns, width)):
                image = noise[:1].clone()
                image[..., top, left] = sign * noise[1:, :, top, left]
                changed.append(image)
    return changed


_Run = tuple[str, int]
"""Layer and number of a run."""


def _watch_features(
    network: nn.Module,
    taps: dict[_Run, LayerOutput],
    image: Tensor,
    note: Callable[[_Run, Tensor], Any],
) -> None:
    """Note the (1, C, h, w) features of each run in one pass."""
    size = (int(image.shape[2]), int(image.shape[3]))

    def keeper(name: str) -> OutputAction:
        ran = -1

        def keep(_layer: nn.Module, output: Any) -> None:
            nonlocal ran
            ran += 1
            tap = taps.get((name, ran))
            if tap is not None:
                features = tap.feature_map(tap.batch_first(output), size)
                note((name, ran), features.dequantize().float().clone())

        return keep

    layers = [(network.get_submodule(name), keeper(name)) for name in {name for name, _ in taps}]
    with frozen(network), torch.no_grad(), watching(layers):
        run_network(network, image)


def _view(change: Tensor, size: float) -> str:
    """What a run sees.

    Args:
        change: (10, h, w) squares of how features changed: for the same picture, for another one,
            and for 4 corners in two ways.
        size: the size of all features, squared.
    """
    if not bool(change.isfinite().all()):
        return UNCLEAR
    by_chance = 100 * float(change[0].sum())
    least = _ROUNDING * size + by_chance
    of_another = float(change[1].sum())
    if not of_another > least:
        # Random weights may leave next to nothing of a photo; what is stored has nothing of it.
        return UNCLEAR if of_another > by_chance or not size else STORED
    corners = change[2:6] + change[6:]
    total = corners.sum(dim=(1, 2))
    seen = total > least
    if not bool(seen.all()):
        return f"a part of the photo, {_named_corners(seen.tolist())}"
    return orientation(corners / total[:, None, None])


def _named_corners(seen: list[bool]) -> str:
    names = ("top left", "top right", "bottom left", "bottom right")
    if not any(seen):
        return "without its corners"
    return "with its " + " and ".join(
        name for name, is_seen in zip(names, seen, strict=True) if is_seen
    )


def orientation(shares: Tensor) -> str:
    """How a picture lies, from where its four corners are found: (4, h, w) with sum 1 each."""
    height, width = shares.shape[1:]
    down, across = (
        (torch.arange(side, device=shares.device, dtype=shares.dtype) + 0.5) / side
        for side in (height, width)
    )
    places = torch.stack(
        [(shares.sum(dim=2) * down).sum(dim=1), (shares.sum(dim=1) * across).sum(dim=1)], dim=1
    )
    top_left, top_right, bottom_left, bottom_right = places
    to_bottom = ((bottom_left + bottom_right - top_left - top_right) / 2).tolist()
    to_right = ((top_right + bottom_right - top_left - bottom_left) / 2).tolist()
    straight = max(abs(to_bottom[1]), abs(to_right[0])) < min(abs(to_bottom[0]), abs(to_right[1]))
    if min(max(map(abs, to_bottom)), max(map(abs, to_right))) < 0.02:
        return UNCLEAR
    if not straight:
        return "the photo turned on its side"
    if float((places.mean(dim=0) - 0.5).abs().max()) > _SHIFT:
        return "the photo moved"
    return {
        (True, True): UPRIGHT,
        (True, False): "the photo mirrored from left to right",
        (False, True): "the photo mirrored from top to bottom",
        (False, False): "the photo turned upside down",
    }[to_bottom[0] > 0, to_right[1] > 0]


def _last_behind(network: nn.Module, trace: NetworkTrace, layer: str, runs: list[int]) -> int:
    """The last of some runs that is computed from the features of the first of them.

    These are spoilt: what is computed from them is spoilt too.
    """
    ran, spoilt = -1, {runs[0]}

    def spoil(_layer: nn.Module, output: Any) -> Any:
        nonlocal ran
        ran += 1
        tensor = first_tensor(output)
        if tensor is None or not tensor.is_floating_point():
            return None
        if ran == runs[0]:
            return put_first_tensor(output, torch.full_like(tensor, torch.nan))
        if bool(tensor.isnan().any()):
            spoilt.add(ran)
        return None

    image = noise_images(network, trace.image_size, 1, trace.channels)
    with frozen(network), torch.no_grad(), watching([(network.get_submodule(layer), spoil)]):
        run_network(network, image)
    return max(run for run in runs if run in spoilt)
