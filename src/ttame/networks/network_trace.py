"""One dry run of a network that notes what every layer puts out, and when."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ttame.errors import (
    ClassifierError,
    TtameError,
    either,
    kind_of,
)
from ttame.memory_limit import ran_out_of_memory
from ttame.networks.attention_search import AttentionSearch
from ttame.networks.checkpointing import keeping_activations
from ttame.networks.frozen_network import frozen
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import first_tensor, running_eagerly, uncompiled, watching
from ttame.networks.network_failure import NetworkFailedError, failure
from ttame.networks.recording_gradients import recording_gradients
from ttame.signal_handlers import raised_by_signal_handler

_USUAL_CHANNELS = (3, 1, 4)
_USUAL_SIDES = (224, 256, 299, 384, 32, 28, 64, 512)
"""Pixels, on which a network is tried that fails on others."""


@dataclasses.dataclass(frozen=True)
class LayerRun:
    """One call of a layer during the dry run.

    Attributes:
        shape: the shape of the (first) output tensor, batch included; empty where it gave none.
        order: how many calls of layers had finished before it.
    """

    shape: tuple[int, ...]
    order: int


@dataclasses.dataclass(frozen=True)
class LayerRecord:
    """What one layer put out during the dry run: in its last run, unless asked for another.

    Attributes:
        name: dotted name in the network, as in ``named_modules``.
        kind: the class name of the module.
        runs: every call of the layer, from the first to the last.
        is_leaf: whether the layer has no layers inside.
        run: which of the runs the record speaks of; -1 for the last, 0 for the first.
        tokens_first: whether the layer gives (T, B, D) tokens.
    """

    name: str
    kind: str
    runs: tuple[LayerRun, ...]
    is_leaf: bool
    run: int = -1
    tokens_first: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the (first) output tensor of this run, batch in front; empty where it gave none."""
        shape = self.runs[self.run].shape
        return (shape[1], shape[0], *shape[2:]) if self.tokens_first else shape

    @property
    def order(self) -> int:
        """How many calls of layers had finished before this one."""
        return self.runs[self.run].order

    @property
    def depth(self) -> int:
        """The number of parts of the dotted name."""
        return self.name.count(".") + 1

    def at(self, run: int) -> LayerRecord:
        """The same layer in another of its runs.

        Args:
            run: -1 for the last, or 0 to the number of runs less one.
        """
        return dataclasses.replace(self, run=run)


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkTrace:
    """What one dry run showed.

    Attributes:
        layers: in the order in which their last runs finished; inner layers before the ones
            around them. Only those whose last run put out a tensor of two or more dimensions.
        image_size: (H, W) of the input.
        number_of_outputs: N of the (B, N) numbers that the network returns.
        output: (1, N), what it returned for the constant image.
        channels: C of the input.
        attends: whether it computed ``softmax(QKᵀ) V`` between several places or channels.
        patch_grids: (h, w) of patches that no layer puts out as a grid, where they were looked for
            and found in the first tokens.
    """

    layers: tuple[LayerRecord, ...]
    image_size: tuple[int, int]
    number_of_outputs: int
    output: Tensor
    attends: bool = False
    channels: int = 3
    patch_grids: tuple[tuple[int, int], ...] = ()

    def by_name(self) -> Mapping[str, LayerRecord]:
        """Layer name to record."""
        return self._by_name

    # Asked for once for every layer when taps are chosen.
    @functools.cached_property
    def _by_name(self) -> dict[str, LayerRecord]:
        return {layer.name: layer for layer in self.layers}

    @functools.cached_property
    def last_order(self) -> int:
        """The order of the last layer that puts out more than vectors."""
        return max(layer.order for layer in self.layers if len(layer.shape) > 2)


@gives_everything_back
def trace_network(
    network: nn.Module, image_size: tuple[int, int], channels: int = 3
) -> NetworkTrace:
    """Run ``network`` once on a constant image and record the output shape of every layer.

    Args:
        network: any module that maps (1, C, H, W) to (1, N) numbers.
        image_size: (H, W) in pixels.
        channels: C.

    Raises:
        ClassifierError: the network fails on such an input, or its output is not (B, N).
    """
    network = uncompiled(network)
    _refuse_without_weights(network)
    runs: dict[str, list[LayerRun]] = {}
    finished = 0

    def note(name: str, output: Any) -> None:
        nonlocal finished
        tensor = first_tensor(output)
        shape = () if tensor is None else tuple(tensor.shape)
        runs.setdefault(name, []).append(LayerRun(shape, finished))
        finished += 1

    def noter(name: str) -> Any:
        return lambda _module, output: note(name, output)

    layers = [(module, noter(name)) for name, module in network.named_modules() if name]
    search = AttentionSearch()
    with frozen(network), torch.no_grad(), watching(layers), search.watching():
        try:
            output = run_network(network, blank_image(network, image_size, channels))
        except NetworkFailedError as problem:
            raise NetworkFailedError(
                problem.problem, remedy=what_helps(network, image_size, problem, channels)
            ) from problem.__cause__
    records = [_record(network, name, seen) for name, seen in runs.items()]
    in_order = sorted(records, key=lambda record: record.order)
    spoken_of = tuple(record for record in in_order if len(record.shape) >= 2)
    number = int(output.shape[1])
    return NetworkTrace(spoken_of, image_size, number, output.detach(), search.found, channels)


def _record(network: nn.Module, name: str, runs: list[LayerRun]) -> LayerRecord:
    module = network.get_submodule(name)
    is_leaf = next(module.children(), None) is None
    return LayerRecord(name, type(module).__name__, tuple(runs), is_leaf)


def _refuse_without_weights(network: nn.Module) -> None:
    if any(is_lazy(parameter) for parameter in [*network.parameters(), *network.buffers()]):
        raise ClassifierError(
            "a network with lazy layers, whose weights do not exist yet",
            allowed="a network that has run, or whose weights were loaded",
            remedy="network(images) once before",
        )


def what_helps(
    network: nn.Module, image_size: tuple[int, int], problem: Exception, channels: int = 3
) -> str:
    """What to do about a network that fails on blank images, where it was tried and found to help.

    Args:
        network: frozen.
        image_size: (H, W) on which it failed.
        problem: how it failed.
        channels: the channels of those images.

    Returns:
        One clause; empty where nothing is known to help.
    """
    cause = problem.__cause__ or problem
    if isinstance(cause, TypeError) and "required positional argument" in str(cause):
        return "a module around it whose forward(images) fills in the other arguments"
    other = channels_that_run(network, image_size, channels)
    if other is not None:
        channelled = either(f"preprocessing with channels={other}", f"--channels {other}")
        return f"{channelled}, with which it runs"
    blank = blank_image(network, (1, 1), channels)
    for side in _USUAL_SIDES:
        if (side, side) != image_size and _runs(network, blank.new_zeros(1, channels, side, side)):
            smaller = either(f"preprocessing with input size {side}", f"--image-size {side}")
            return f"{smaller}, on which it runs"
    return ""


def channels_that_run(
    network: nn.Module, image_size: tuple[int, int], channels: int = 3
) -> int | None:
    """Find how many channels a network takes that fails on images of ``channels``.

    What its first convolution takes is tried, then red, green and blue, grey and opacity.

    Args:
        network: frozen.
        image_size: (H, W).
        channels: with which it fails.

    Returns:
        ``None`` where it runs with none of them.
    """
    first = next((layer for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    tried = dict.fromkeys([*([] if first is None else [first.in_channels]), *_USUAL_CHANNELS])
    for number in tried:
        if number != channels and _runs(network, blank_image(network, image_size, number)):
            return number
    return None


def _runs(network: nn.Module, images: Tensor) -> bool:
    try:
        run_network(network, images)
    except ClassifierError:
        return False
    return True


def blank_image(network: nn.Module, image_size: tuple[int, int], channels: int = 3) -> Tensor:
    """A (1, C, H, W) zero image on the network's device, in its floating dtype."""
    parameter = next((p for p in network.parameters() if p.is_floating_point()), None)
    device = parameter.device if parameter is not None else None
    dtype = parameter.dtype if parameter is not None else torch.float32
    return torch.zeros(1, channels, *image_size, device=device, dtype=dtype)


def noise_images(
    network: nn.Module, image_size: tuple[int, int], count: int = 1, channels: int = 3
) -> Tensor:
    """(count, C, H, W) images of noise, always the same, like :func:`blank_image`.

    Two layers that agree on noise agree for a reason; on a blank image biases alone would do.
    """
    blank = blank_image(network, image_size, channels)
    noise = torch.randn(
        count, *blank.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float32
    )
    return noise.to(blank)


def run_network(network: nn.Module, images: Tensor, rows: int | None = None) -> Tensor:
    """Run the network and return its (B, C) logits.

    Args:
        network: maps images to logits.
        images: (B, C, H, W).
        rows: how many rows of logits to expect where a hook multiplies the batch on the way;
            B if not given.

    Raises:
        ClassifierError: the network fails on this input, or its output is not (B, C) logits.
        Exception: that memory ran out, as the network raises it; or what a signal handler raised
            meanwhile, such as a time limit.
    """
    try:
        with running_eagerly(network), keeping_activations(network), recording_gradients():
            output = network(images)
    except TtameError:
        raise
    except Exception as problem:  # the network is the user's code and may raise anything
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        raise failure(network, images, problem) from problem
    return logits_of(output, images.shape[0] if rows is None else rows, type(network).__name__)


def logits_of(output: Any, batch_size: int, network_name: str) -> Tensor:
    """Find the (B, C) logits in what a network returned.

    A tensor is taken as it is; of an object or mapping with ``logits``, those. (B,) numbers are
    taken as (B, 1).

    Raises:
        ClassifierError: there are no (B, C) logits in it.
    """
    logits = output
    if isinstance(output, Mapping):
        logits = output.get("logits", output)
    elif not isinstance(output, Tensor):
        logits = getattr(output, "logits", output)
    if isinstance(logits, Tensor) and logits.shape in ((batch_size,), (1,) * 0) and batch_size:
        # One number for each image: (B,), or a lone number where squeeze took the batch away too.
        logits = logits.reshape(-1, 1)
    fits = isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[0] == batch_size
    if not fits or not logits.is_floating_point():
        if isinstance(logits, Tensor):
            came = f"a {logits.dtype} tensor of shape {tuple(logits.shape)}"
        else:
            came = f"{kind_of(logits)}"
        raise ClassifierError(
            f"{network_name} returned {came} for {batch_size} images",
            allowed="(B, C) logits, or an output with .logits or ['logits']",
            remedy="wrap it in a module that returns the class scores only",
        )
    found: Tensor = logits
    return found


def first_line(problem: Exception) -> str:
    """What another library says in its first line; the kind of error if it says nothing."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(problem).__name__
