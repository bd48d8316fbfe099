"""Where features are read, and how a layer's output becomes a feature map."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from ttame.errors import TapError
from ttame.features.tap_reading import TapReading
from ttame.networks.layer_outputs import first_tensor, put_first_tensor, watching
from ttame.networks.network_trace import NetworkTrace

TapLayout = Literal["channels first", "channels last", "tokens"]


@dataclasses.dataclass(frozen=True)
class GridTap(ABC):
    """What taps of all kinds share: features of one layer, which stand on a grid.

    Attributes:
        layer: dotted name of the layer at which features are read.
        layout: ``"channels first"`` (B, C, h, w), ``"channels last"`` (B, h, w, C) or
            ``"tokens"`` (B, P + h·w, C).
        channels: C.
        grid: (h, w) at ``image_size``.
        image_size: (H, W) in pixels of the input that the grid belongs to.
        prefix_tokens: P, tokens before the patches: class, distillation, registers. 0 for maps.
        batch_axis: 1 where the layer gives (P + h·w, B, C), as torch's attention layers do by
            default. What is read of it is (B, P + h·w, C).
    """

    layer: str
    layout: TapLayout
    channels: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    prefix_tokens: int = 0
    batch_axis: int = 0

    holds: ClassVar[str]
    """What is read, in words."""

    @abstractmethod
    def read(self, reading: TapReading) -> None:
        """Say what has to be watched in a forward pass, so that ``reading.outputs[self]`` fills."""

    @abstractmethod
    def to_config(self) -> str:
        """The text that stands for this tap in configurations and on the command line.

        :func:`ttame.features.tap_names.parse_tap` reads it back; layout and grid are seen in the
        network again.
        """

    def __str__(self) -> str:
        return self.to_config()

    @classmethod
    def like(cls, other: GridTap, **more: Any) -> Self:
        """A tap of this kind at the layer of another one, with its layout and grid."""
        shared = (field.name for field in dataclasses.fields(GridTap))
        return cls(**{name: getattr(other, name) for name in shared}, **more)

    def in_words(self) -> str:
        """Layer, channels, grid and prefix tokens in one line."""
        words = f"{self}: {self.channels} channels on a {self.grid[0]}x{self.grid[1]} grid"
        if self.layout == "channels last":
            words += ", channels last"
        if self.layout == "tokens":
            words += f", tokens with {self.prefix_tokens} before the patches"
        if self.batch_axis:
            words += ", before the batch"
        return words

    def feature_map(self, output: Any, image_size: tuple[int, int]) -> Tensor:
        """Turn the layer's output into a feature map; prefix tokens are dropped.

        Args:
            output: what the layer returned.
            image_size: (H, W) of the images that went in; the grid follows it.

        Returns:
            (B, C, h, w), a view where possible.

        Raises:
            TapError: the output does not have the shape that the tap was made for.
        """
        tensor = self.tensor(output)
        if self.layout == "channels first":
            return tensor
        if self.layout == "channels last":
            return tensor.permute(0, 3, 1, 2)
        patches = tensor[:, self.prefix_tokens :]
        grid = self.grid_at(image_size, patches.shape[1])
        return patches.transpose(1, 2).reshape(patches.shape[0], self.channels, *grid)

    def batch_first(self, output: Any) -> Any:
        """A layer's output with the batch in front; turned back, its own order again."""
        tensor = first_tensor(output) if self.batch_axis else None
        return output if tensor is None else put_first_tensor(output, tensor.transpose(0, 1))

    def prefix(self, output: Any) -> Tensor:
        """The tokens before the patches, (B, P, C); the class token is the first one."""
        return self.tensor(output)[:, : self.prefix_tokens]

    def grid_at(self, image_size: tuple[int, int], patches: int) -> tuple[int, int]:
        """The (h, w) grid of ``patches`` tokens for an input of ``image_size``.

        Raises:
            TapError: the patches do not fill a grid of the image's aspect ratio.
        """
        if image_size == self.image_size:
            candidates = [self.grid]
        else:
            patch = [self.image_size[i] / self.grid[i] for i in (0, 1)]
            down = (int(image_size[0] // patch[0]), int(image_size[1] // patch[1]))
            up = (int(-(-image_size[0] // patch[0])), int(-(-image_size[1] // patch[1])))
            candidates = [down, up, (down[0], up[1]), (up[0], down[1])]
        fitting = {grid for grid in candidates if grid[0] * grid[1] == patches}
        if len(fitting) == 1:
            return fitting.pop()
        raise TapError(
            f"layer {self} gave {patches} patch tokens for a {image_size[0]}x{image_size[1]} "
            f"image, which do not form a {candidates[0][0]}x{candidates[0][1]} grid",
            remedy="a Classifier whose preprocessing has this input size",
        )

    def tensor(self, output: Any) -> Tensor:
        """The tensor in the layer's output, of the shape that the tap was made for.

        Raises:
            TapError: there is none, or it has another shape.
        """
        tensor = first_tensor(output)
        expected = 3 if self.layout == "tokens" else 4
        channel_axis = 1 if self.layout == "channels first" else -1
        if tensor is None or tensor.ndim != expected or tensor.shape[channel_axis] != self.channels:
            came = "no tensor" if tensor is None else f"shape {tuple(tensor.shape)}"
            raise TapError(
                f"layer {self} gave {came}, but was tapped as {self.in_words()}",
                remedy="name other taps",
            )
        return tensor


@dataclasses.dataclass(frozen=True)
class LayerOutput(GridTap):
    """The output of a layer on which the logits depend.

    It is read as the layer returned it, even where something after the layer changes it in
    place.

    Attributes:
        layer: dotted name of the module whose output is read.
        layout: ``"channels first"`` (B, C, h, w), ``"channels last"`` (B, h, w, C) or
            ``"tokens"`` (B, P + h·w, C).
        channels: C.
        grid: (h, w) at ``image_size``.
        image_size: (H, W) in pixels of the input that the grid belongs to.
        prefix_tokens: P, tokens before the patches: class, distillation, registers. 0 for maps.
        batch_axis: 1 where the layer gives (P + h·w, B, C); what is read has the batch in front.
        run: which call of the layer in one forward pass, where the network uses it several times:
            -1 the last, 0 the first, 1 the second. ``layer#0`` in configurations and on the
            command line.

    Raises:
        TapError: a run below -1.

    Example:
        >>> LayerOutput("layer4", "channels first", 2048, (7, 7), (224, 224)).in_words()
        'layer4: 2048 channels on a 7x7 grid'
        >>> str(LayerOutput("pool", "channels first", 8, (7, 7), (28, 28), run=0))
        'pool#0'
    """

    run: int = -1

    holds: ClassVar[str] = "the features of each place"

    def __post_init__(self) -> None:
        if self.run < -1:
            raise TapError(
                f"run {self.run} of layer {self.layer!r}", allowed="-1 for the last, or 0, 1, …"
            )

    def to_config(self) -> str:
        """The layer, and the run if it is not the last one."""
        if self.run == -1 and split_run(self.layer) == (self.layer, -1):
            return self.layer
        return f"{self.layer}#{self.run}"

    def read(self, reading: TapReading) -> None:
        """Keep the output of this run."""
        ran = 0

        def keep(_layer: nn.Module, output: Any) -> Any:
            nonlocal ran
            ran += 1
            if self.run not in (-1, ran - 1):
                return None
            turned = self.batch_first(output)
            kept = reading.keep(self, turned)
            # Gradients are taken by what is kept, so that the network goes on with it.
            return self.batch_first(turned if kept is None else kept) if self.batch_axis else kept

        reading.at_output(self.layer, keep)

    @contextlib.contextmanager
    def exchanging(
        self, network: nn.Module, trace: NetworkTrace, exchange: Callable[[Any], Any]
    ) -> Iterator[None]:
        """Exchange what is read here for something else, in the one pass that the block runs.

        Args:
            network: not behind ``torch.compile``.
            trace: the trace of the network; it says which run is the last.
            exchange: given what the layer put out in this run, returns what the network goes on
                with; ``None`` for the output itself. Other runs are left alone.

        Raises:
            TapError: the layer did not run as often as in the trace.
        """
        record = trace.by_name().get(self.layer)
        expected = 1 if record is None else len(record.runs)
        wanted = expected - 1 if self.run == -1 else self.run
        ran = 0

        def at_its_run(_layer: nn.Module, output: Any) -> Any:
            nonlocal ran
            ran += 1
            if ran != wanted + 1:
                return None
            exchanged = exchange(self.batch_first(output))
            return None if exchanged is None else self.batch_first(exchanged)

        with watching([(network.get_submodule(self.layer), at_its_run)]):
            yield
        if ran <= wanted or (self.run == -1 and ran != expected):
            raise TapError(
                f"layer {self.layer!r} ran {ran} times in this pass, and {expected} times when the "
                "classifier was made",
                allowed="a network that runs its layers equally often for all images",
                remedy=f"a layer that runs once, or the first run, {self.layer}#0",
            )


FeatureTap = LayerOutput
"""The name under which the package offers it."""


@dataclasses.dataclass(frozen=True)
class RectifiedOutput(GridTap):
    """What a layer puts out in its last run, with zeros for negative values.

    For networks that apply ReLU as a function behind their last layer, and average then: what is
    averaged is no layer's output.
    """

    holds: ClassVar[str] = "the features of each place, rectified"
    mark: ClassVar[str] = "rectified"

    def to_config(self) -> str:
        """``rectified:LAYER``."""
        return f"{self.mark}:{self.layer}"

    def read(self, reading: TapReading) -> None:
        """Keep the positive part of the output."""

        def keep(_layer: nn.Module, output: Any) -> None:
            tensor = first_tensor(self.batch_first(output))
            reading.outputs[self] = None if tensor is None else tensor.relu()

        reading.at_output(self.layer, keep)


def split_run(text: str) -> tuple[str, int]:
    """The layer and the run in ``layer`` or ``layer#run``; -1 where none is named.

    Example:
        >>> split_run("features.pool#0"), split_run("layer4")
        (('features.pool', 0), ('layer4', -1))
    """
    named = re.fullmatch(r"(.+)#(-1|[0-9]+)", text, flags=re.DOTALL)
    return (named[1], int(named[2])) if named else (text, -1)
