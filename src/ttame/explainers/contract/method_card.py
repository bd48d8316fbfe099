"""What a user wants to know about a method before using it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ttame.classifiers.any_classifier import Kind
    from ttame.classifiers.targets import TargetKind

MethodFamily = Literal[
    "class activation",
    "gradient",
    "perturbation",
    "attention",
    "relevance propagation",
    "baseline",
    "trained",
]

LINEAR_TARGETS: tuple[TargetKind, ...] = ("classes", "weightings")
"""Of methods whose maps are weighted sums over classes."""

EVERY_TARGET: tuple[TargetKind, ...] = ("classes", "weightings", "functions")
"""Of methods that differentiate or perturb a number, and of those that do not look at it."""

LRP_LICENCE_NOTE = (
    "layer-wise relevance propagation is reported to be patented; its authors allow personal and "
    "scientific use free of charge: check before commercial use"
)


@dataclasses.dataclass(frozen=True)
class MethodCard:
    """The facts about an explanation method.

    Attributes:
        name: in the registry and on the command line, e.g. ``"grad_cam"``.
        title: as the paper writes it, e.g. ``"Grad-CAM"``.
        family: what kind of method it is.
        networks: which networks it applies to, in words.
        cost: forward and backward passes of the classifier per image, in words; C is the number of
            channels, N of places, K of classes asked for.
        paper: authors, place or arXiv number.
        class_specific: whether maps differ between classes; otherwise one map serves all.
        targets: the kinds of :class:`ttame.Target` that it takes.
        random: whether a seed matters.
        map_is: where the map's values live: on a tap's ``"grid"`` or on the input's ``"pixels"``.
        explains: what kinds of classifiers it is for: of ``"images"``, of ``"texts"``.
        licence_note: what a commercial user should know about rights; empty for most.

    Example:
        >>> import ttame
        >>> card = ttame.EXPLAINERS["grad_cam"].card
        >>> card.title, card.family
        ('Grad-CAM', 'class activation')
    """

    name: str
    title: str
    family: MethodFamily
    networks: str
    cost: str
    paper: str
    class_specific: bool = True
    targets: tuple[TargetKind, ...] = ("classes",)
    random: bool = False
    map_is: Literal["grid", "pixels"] = "grid"
    licence_note: str = ""
    explains: tuple[Kind, ...] = ("images",)

    @property
    def maps_in_words(self) -> str:
        """What kind of maps come out.

        Example:
            >>> MethodCard("m", "M", "gradient", "any", "1 forward", "A, 2020").maps_in_words
            "one for each class, on the features' grid"
        """
        which = "one for each class" if self.class_specific else "one for all classes"
        where = "of the input's pixels" if self.map_is == "pixels" else "on the features' grid"
        return f"{which}, {where}" + (", random: has a seed" if self.random else "")

    @property
    def targets_in_words(self) -> str:
        """What can be explained.

        Example:
            >>> print(MethodCard("m", "M", "gradient", "any", "1", "A").targets_in_words)
            classes
        """
        if not self.class_specific:
            return "the same map for every target"
        *first, last = self.targets
        return f"{', '.join(first)} and {last}" if first else last

    @property
    def networks_in_words(self) -> str:
        """Networks, and whether also those that classify texts.

        Example:
            >>> MethodCard("m", "M", "gradient", "any", "1", "A").networks_in_words
            'any'
        """
        return self.networks + ("; also of texts" if "texts" in self.explains else "")

    @property
    def explains_in_words(self) -> str:
        """What it explains.

        Example:
            >>> print(MethodCard("m", "M", "gradient", "any", "1", "A").explains_in_words)
            images
        """
        return " and ".join(self.explains)
