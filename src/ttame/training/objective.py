"""What an objective of training is: its settings, and what it makes of a batch.

Modules with objectives load nothing heavy when they are imported: the options of ``ttame train``
are made from them.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from ttame.errors import TrainingError
from ttame.explainers.trained.settings_part import SettingsPart

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ttame.classifiers.any_classifier import Explainable
    from ttame.images.moved_images import Move
    from ttame.training.loss_parts import LossParts


WhatIsLeft = Literal["ratio", "log-odds"]
"""What a mask leaves of a class: its probability compared with that on the whole input, or the
logarithm of its odds."""


@dataclasses.dataclass(frozen=True)
class MaskedImage(SettingsPart):
    """Masks multiply the pixels.

    Attributes:
        masking_space: Which pixels replace removed ones: raw makes them black, normalised gives
            them the mean colour, 'by family' is raw for CNNs and normalised for Vision
            Transformers. T-TAME's scripts do it by family.
    """

    kind: Literal["image"] = "image"
    masking_space: Literal["raw", "normalised", "by family"] = "by family"

    explains: ClassVar[str] = "images"


@dataclasses.dataclass(frozen=True)
class MaskedOnGrounds(SettingsPart):
    """What a mask hides becomes a ground, drawn for each image of each step.

    A map that fits one ground, as black spots can make a class more probable, gains nothing from
    it on the others.

    Attributes:
        grounds: What hidden pixels become, drawn for each image: black, the mean colour, the
            blurred image, or noise.
    """

    kind: Literal["grounds"] = "grounds"
    # The names of ttame.images.hidden_pixels, which imports torch.
    grounds: tuple[Literal["black", "mean", "blur", "noise"], ...] = (
        "black",
        "mean",
        "blur",
        "noise",
    )

    explains: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.grounds:
            raise TrainingError("no grounds to hide pixels with", allowed="at least one")


@dataclasses.dataclass(frozen=True)
class MaskedTokens(SettingsPart):
    """Masks mix the word embedding of each token of a text with that of a token without meaning.

    ``e' = m e + (1 - m) e_ground``; special tokens and padding stay as they are.

    Attributes:
        ground: What hidden words become: the mask token, padding, or zero.
    """

    kind: Literal["tokens"] = "tokens"
    ground: Literal["mask", "padding", "zero"] = "mask"

    explains: ClassVar[str] = "texts"


@dataclasses.dataclass(frozen=True)
class MaskedFeatures(SettingsPart):
    """Masks multiply the features of the last tap (L-CAM-Fm)."""

    kind: Literal["features"] = "features"

    explains: ClassVar[str] = "images"


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectiveBatch:
    """A batch as an objective sees it.

    Attributes:
        classifier: frozen.
        scores: (B, C), of the whole images.
        labels: (B,) int64, their top-1 classes.
        maps: gives the head's maps (B, K, h, w), float32, before any activation, for (K,) classes
            of all images or (B, K) classes of their own.
        masked_scores: gives the scores (B, C), float32, behind masks (B, 1, h, w) in [0, 1].
        labels_of_all: gives the labels of the whole batch, over all processes.
        one_ground: draws what hidden places of each image or text become, once, and gives scores
            (B, C), float32 and without gradient, behind masks (B, 1, H, W) on this ground.
        first_image: where this process's images begin in the whole batch.
        generator: on the CPU; what is drawn at random comes from it, alike in all processes.
        places: (B, 1, h, w) bool, which places a mask may hide; ``None`` for all.
        maps_of_moved: gives the maps, as ``maps`` does, of the photos after a
            :class:`ttame.images.moved_images.Move`; ``None`` of texts.
        image_size: (H, W) of the photos.
        shown: gives maps with the details that explanations keep, before any activation.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> batch = ObjectiveBatch(
        ...     tiny_classifier(), torch.zeros(2, 5), torch.tensor([3, 1]),
        ...     maps=lambda classes: torch.zeros(2, 1, 4, 4),
        ...     masked_scores=lambda masks: torch.ones(2, 5),
        ...     labels_of_all=lambda: torch.tensor([3, 1]),
        ...     one_ground=lambda: lambda masks: torch.ones(2, 5),
        ...     first_image=0, generator=torch.Generator())
        >>> batch.maps(batch.labels[:, None]).shape
        torch.Size([2, 1, 4, 4])
    """

    classifier: Explainable
    scores: Tensor
    labels: Tensor
    maps: Callable[[Tensor], Tensor]
    masked_scores: Callable[[Tensor], Tensor]
    labels_of_all: Callable[[], Tensor]
    one_ground: Callable[[], Callable[[Tensor], Tensor]]
    first_image: int
    generator: torch.Generator
    places: Tensor | None = None
    maps_of_moved: Callable[[Tensor, Move], Tensor] | None = None
    image_size: tuple[int, int] = (0, 0)
    shown: Callable[[Tensor], Tensor] = lambda maps: maps


@dataclasses.dataclass(frozen=True)
class Objective(SettingsPart, abc.ABC):
    """What training makes small: frozen settings and one function of a batch.

    Attributes:
        masked: What the mask multiplies: the image, the image with several grounds behind it
            (grounds), the features of the last tap (L-CAM-Fm), or the tokens of a text.

    Example:
        >>> import ttame
        >>> ttame.training_settings("few-shot").objective.kind
        'kept-share'
    """

    kind: str = ""
    masked: MaskedImage | MaskedOnGrounds | MaskedFeatures | MaskedTokens = MaskedImage()

    bounded: ClassVar[bool] = False
    """Whether the loss cannot grow without end; a range test then does not stop where it does."""

    explains: ClassVar[tuple[str, ...]] = ("images",)
    """The kinds of classifiers that it can train for."""

    def in_validation(self) -> Self:
        """The same objective for held-out images, where it would take too long."""
        return self

    @abc.abstractmethod
    def loss(self, batch: ObjectiveBatch) -> tuple[LossParts, Tensor]:
        """The loss of a batch.

        Returns:
            Its parts, whose sum is minimised, and the maps of the batch's labels, (B, 1, h, w)
            before any activation.
        """
