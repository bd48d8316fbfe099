"""How a network's layers see the photo: upright and whole, or turned, cut or made smaller before.

Corners of a picture of noise are changed, one at a time, and it is seen where the output of
convolutions changes. Up to the first linear layer their grids are places of the picture, and in
those whose field of view is small each corner is somewhere else.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError
from ttame.features.layer_runs import UNCLEAR, UPRIGHT, orientation, with_changed_corners
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import OutputAction, uncompiled, watching
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network

_CORNERS = 3
"""Top left, top right, bottom left: whatever cuts off the fourth one cuts off one of them too."""

_OVERLAP = 0.2
"""Share of what two corners change that may be in the same places."""

_LEAST_SPREAD = 0.85
"""Of the distance between corners in a photo that fills the grid."""

_UNSEEN = 1e-10
"""Of the squares of features."""


def view_of_photo(network: nn.Module, trace: NetworkTrace) -> str:
    """What the network's layers see, in words; :data:`UPRIGHT` also where that is not known.

    Args:
        network: in any mode.
        trace: the trace of the network.

    Example:
        >>> from ttame.networks.network_trace import trace_network
        >>> class Mirrors(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.conv, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 5)
        ...     def forward(self, x):
        ...         return self.head(self.conv(x.flip(-1)).relu().mean((2, 3)))
        >>> network = Mirrors()
        >>> view_of_photo(network, trace_network(network, (32, 32)))
        'the photo mirrored from left to right'
    """
    if trace.output.is_meta:
        return UPRIGHT
    changes = _changes(uncompiled(network), trace)
    if not changes:
        return UPRIGHT
    # What is cut off, or put around, is seen best in front; deeper layers skip some pixels.
    first = _extent(*changes[0])
    if first != UPRIGHT:
        return first
    for corners, _ in reversed(changes):
        shares = corners / corners.sum(dim=(1, 2), keepdim=True)
        if bool(shares.isfinite().all()) and _apart(shares):
            view = orientation(torch.cat([shares, shares[1:2] + shares[2:] - shares[:1]]))
            return UPRIGHT if view == UNCLEAR else view
    return UPRIGHT


def view_notice(network: nn.Module, trace: NetworkTrace, name: str) -> tuple[str, ...]:
    """One line where layers do not see the whole photo upright; ``name`` is the classifier's."""
    view = view_of_photo(network, trace)
    if view == UPRIGHT:
        return ()
    return (
        f"{name} shows its layers {view}; maps of layers show that too, and lie wrong on the photo",
    )


def _extent(corners: Tensor, size: float) -> str:
    """Whether the whole photo is there, and as large as the grid.

    Args:
        corners: (3, h, w), squares of how much the features of each place changed.
        size: the size of all features, squared.
    """
    seen = corners.sum(dim=(1, 2)) > _UNSEEN * size
    if not bool(seen.all()):
        return "a part of the photo" if bool(seen.any()) else "the photo without its corners"
    shares = corners / corners.sum(dim=(1, 2), keepdim=True)
    rows, columns = shares.shape[1:]
    down, across = (
        (torch.arange(side, device=shares.device, dtype=shares.dtype) + 0.5) / side
        for side in (rows, columns)
    )
    places = torch.stack(
        [(shares.sum(dim=2) * down).sum(dim=1), (shares.sum(dim=1) * across).sum(dim=1)], dim=1
    )
    apart = (places[1:] - places[:1]).abs().amax(dim=1)
    # A corner that was changed is a sixteenth of a side, or the whole of a patch.
    smaller = bool((apart < _LEAST_SPREAD * (1 - max(1 / 16, 1 / min(rows, columns)))).any())
    return "the photo made smaller" if smaller and _apart(shares) else UPRIGHT


def _apart(shares: Tensor) -> bool:
    """Whether corners change different places: (3, h, w), each with sum 1."""
    pairs = ((0, 1), (0, 2), (1, 2))
    return all(
        float(torch.minimum(shares[one], shares[other]).sum()) < _OVERLAP for one, other in pairs
    )


class _SeenEnoughError(Exception):
    """Ends a pass."""


def _changes(network: nn.Module, trace: NetworkTrace) -> list[tuple[Tensor, float]]:
    """For each convolution how its output changes with corners, (3, h, w), and its size, squared.

    In the order of the network, up to its first linear layer.
    """
    noise = noise_images(network, trace.image_size, 2, trace.channels)
    images = torch.cat([noise[:1], *with_changed_corners(noise)[:_CORNERS]])
    found: list[tuple[Tensor, float]] = []
    convolutions = _convolutions(network, trace)
    if not convolutions:
        return []
    last = convolutions[-1]

    def keeper(module: nn.Module) -> OutputAction:
        def keep(_layer: nn.Module, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and len(output) == len(images):
                values = output.detach().float()
                changed = (values[1:] - values[:1]).square().sum(dim=1)
                found.append((changed, float(values[0].square().sum())))
            if module is last:
                raise _SeenEnoughError

        return keep

    watched = watching([(module, keeper(module)) for module in convolutions])
    seen_enough = contextlib.suppress(_SeenEnoughError, ClassifierError)
    with seen_enough, frozen(network), torch.no_grad(), watched:
        run_network(network, images)
    return [
        (changed, size)
        for changed, size in found
        if min(changed.shape[1:]) > 1 and bool(changed.isfinite().all()) and size > 0
    ]


def _convolutions(network: nn.Module, trace: NetworkTrace) -> list[nn.Module]:
    """Those that run once, before the first linear layer; of (1, C, h, w) features."""
    convolutions: list[nn.Module] = []
    for layer in sorted(trace.layers, key=lambda layer: layer.order):
        module = network.get_submodule(layer.name)
        if isinstance(module, nn.Linear | nn.MultiheadAttention):
            break
        if isinstance(module, nn.Conv2d) and len(layer.runs) == 1 and len(layer.shape) == 4:
            convolutions.append(module)
    return convolutions
