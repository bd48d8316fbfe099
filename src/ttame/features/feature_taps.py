"""Where features are read, and how a layer's output becomes a feature map."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from torch import Tensor

from ttame.errors import TapError
from ttame.networks.layer_outputs import first_tensor

CONTRIBUTIONS = "contributions:"
"""Before the name of the final normalisation, in the name of a tap of what the tokens of a Vision
Transformer add to its class token."""

NORMALISED = "normalised:"
"""Before the names of a layer and of a normalisation, with a colon between, in the name of a tap of
what each place gives to the normalised average of the layer's output."""

TapLayout = Literal["channels first", "channels last", "tokens"]


@dataclasses.dataclass(frozen=True)
class FeatureTap:
    """One place where features are read.

    Attributes:
        layer: dotted name of the module whose output is read. Two kinds of names mean something
            else: ``contributions:NORM`` is what each token adds to the class token that a module
            normalises, ``normalised:LAYER:NORM`` what each place gives to the average that it
            normalises.
        layout: ``"channels first"`` (B, C, h, w), ``"channels last"`` (B, h, w, C) or
            ``"tokens"`` (B, P + h·w, C).
        channels: C.
        grid: (h, w) at ``image_size``.
        image_size: (H, W) in pixels of the input that the grid belongs to.
        prefix_tokens: P, tokens before the patches: class, distillation, registers. 0 for maps.

    Example:
        >>> FeatureTap("layer4", "channels first", 2048, (7, 7), (224, 224)).in_words()
        'layer4: 2048 channels on a 7x7 grid'
    """

    layer: str
    layout: TapLayout
    channels: int
    grid: tuple[int, int]
    image_size: tuple[int, int]
    prefix_tokens: int = 0

    @property
    def read_at(self) -> str:
        """Dotted name of the layer at which it is read; the first of :func:`layers_read_by`."""
        return layers_read_by(self.layer)[0]

    @property
    def normalised_by(self) -> str:
        """Dotted name of the normalisation of an average in which it holds shares, or empty; see
        :mod:`ttame.features.normalised_average`."""
        return layers_read_by(self.layer)[1] if self.layer.startswith(NORMALISED) else ""

    @property
    def holds_contributions(self) -> bool:
        """Whether it holds what tokens add to the class token, instead of a layer's output; see
        :mod:`ttame.features.token_contributions`."""
        return self.layer.startswith(CONTRIBUTIONS)

    @property
    def is_output(self) -> bool:
        """Whether it is a layer's output, on which the logits depend."""
        return self.layer == self.read_at

    def in_words(self) -> str:
        """Layer, channels, grid and prefix tokens in one line."""
        words = f"{self.layer}: {self.channels} channels on a {self.grid[0]}x{self.grid[1]} grid"
        if self.layout == "channels last":
            words += ", channels last"
        if self.layout == "tokens":
            words += f", tokens with {self.prefix_tokens} before the patches"
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
        return patches.transpose(1, 2).reshape(len(patches), self.channels, *grid)

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
            f"layer {self.layer} gave {patches} patch tokens for a {image_size[0]}x{image_size[1]} "
            f"image, which is no {candidates[0][0]}x{candidates[0][1]} grid",
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
                f"layer {self.layer} gave {came}, but was tapped as {self.in_words()}",
                remedy="name other taps",
            )
        return tensor


def layers_read_by(name: str) -> tuple[str, ...]:
    """The dotted names of the layers that a tap of this name reads.

    Example:
        >>> layers_read_by("contributions:norm"), layers_read_by("normalised:stages.3:head.norm")
        (('norm',), ('stages.3', 'head.norm'))
    """
    if name.startswith(NORMALISED):
        return tuple(name.removeprefix(NORMALISED).split(":"))
    return (name.removeprefix(CONTRIBUTIONS),)


def normalised_name(layer: str, normalisation: str) -> str:
    """The name of a tap of shares in a normalised average.

    Example:
        >>> normalised_name("stages.3", "head.norm")
        'normalised:stages.3:head.norm'
    """
    return f"{NORMALISED}{layer}:{normalisation}"
