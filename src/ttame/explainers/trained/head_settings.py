"""The settings of trained heads; loads nothing heavy."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from ttame.errors import TrainingError, setting
from ttame.explainers.trained.settings_part import (
    BELOW_ONE,
    UP_TO_ONE,
    ZERO_OR_MORE,
    SettingsPart,
    number,
)

HeadPart = Literal["prior", "embedding", "gate"]


class MapsOfAnyKind(SettingsPart):
    """What all scales of maps say: whether they are for images, texts, or both."""

    explains: ClassVar[tuple[str, ...]] = ("images", "texts")


@dataclasses.dataclass(frozen=True)
class RawMaps(MapsOfAnyKind):
    """Explanations hold the head's output as it is, as T-TAME's test protocol takes it."""

    kind: Literal["raw"] = "raw"


@dataclasses.dataclass(frozen=True)
class SigmoidMaps(MapsOfAnyKind):
    """Explanations hold the sigmoid of the head's output."""

    kind: Literal["sigmoid"] = "sigmoid"


@dataclasses.dataclass(frozen=True)
class StandardMaps(MapsOfAnyKind):
    """Explanations hold the sigmoid of the output in units of each map's standard deviation.

    A place at the mean of its map has a half. Objectives that draw the share which is kept only
    teach the order of places: however large the output has become, the sigmoid does not saturate.
    """

    kind: Literal["standard"] = "standard"


@dataclasses.dataclass(frozen=True)
class MinMaxMaps(MapsOfAnyKind):
    """Every map goes from 0 to 1, raised to a power that training finds.

    Attributes:
        mean_map: The mean of min-max maps, over picture and images: the operating point between
            hiding much and keeping the prediction. Maps are raised to the power that gives it;
            their ranking of places does not depend on it.
    """

    kind: Literal["min-max"] = "min-max"
    mean_map: float = number(0.55, BELOW_ONE)

    # Of texts, their least and largest value and their mean would be those of padding.
    explains: ClassVar[tuple[str, ...]] = ("images",)


MapScale = RawMaps | SigmoidMaps | StandardMaps | MinMaxMaps


@dataclasses.dataclass(frozen=True)
class HeadSettings(SettingsPart):
    """The settings that all kinds of heads have; ``HEAD_SETTINGS`` has the kinds.

    Attributes:
        maps: What explanations hold: the head's raw output (published), its sigmoid, that in units
            of the map's standard deviation (standard), or, of a few-shot head, its min-max over the
            picture.

    Example:
        >>> SharedHeadSettings(maps=MinMaxMaps()).maps.kind
        'min-max'
    """

    kind: str = ""
    maps: MapScale = RawMaps()

    head_file: ClassVar[str] = ""
    """The file of this folder with the head that is made of these settings."""

    has_min_max_maps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.maps, MinMaxMaps) and not self.has_min_max_maps:
            raise TrainingError(
                f"maps min-max for a head of kind {self.kind}",
                allowed="a few-shot head, which has an exponent to learn",
                remedy=setting("maps", "raw"),
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that a head is to have, where some can be left out."""
        return ()


@dataclasses.dataclass(frozen=True)
class AttentionHeadSettings(HeadSettings):
    """The published head, the same in TAME and T-TAME, and its published ablations.

    Attributes:
        kind: ``"no-skip"``: the branch goes straight to class channels;
            ``"no-skip-no-batch-norm"``; ``"sigmoid-in-branch"``.
        class_token: Drop the class token, or multiply every patch token by it (a variant of
            T-TAME's code for Vision Transformers).
        last_tap_only: Use only the classifier's last tap.
    """

    kind: Literal["t-tame", "no-skip", "no-skip-no-batch-norm", "sigmoid-in-branch"] = "t-tame"
    class_token: Literal["drop", "multiply"] = "drop"
    last_tap_only: bool = False

    head_file: ClassVar[str] = "attention_head"


@dataclasses.dataclass(frozen=True)
class LCamHeadSettings(HeadSettings):
    """L-CAM's head: one 1×1 convolution of the last tap.

    Attributes:
        class_token: Drop the class token, or multiply every patch token by it.
    """

    kind: Literal["l-cam"] = "l-cam"
    class_token: Literal["drop", "multiply"] = "drop"

    head_file: ClassVar[str] = "l_cam_head"


@dataclasses.dataclass(frozen=True)
class SharedHeadSettings(HeadSettings):
    """The few-shot head, whose classes share all weights.

    Attributes:
        without: Parts to leave out of a few-shot head. The embedding stays where the classifier
            offers no prior, since nothing else would then depend on the class.
        details: The share of short-range differences that a few-shot head's explanations keep,
            from 0 to 1. Training itself sees all of them; see
            :func:`ttame.images.map_details.with_details`.
        last_tap_only: Use only the classifier's last tap.
        blur: The standard deviation of the prior's blur, in places of its grid: of texts, tokens. 0
            for a seventh of the picture's side.
        contrast: The prior also holds the evidence for a class against that for the classes which
            would be said instead. It needs a prior and logits of which a softmax makes
            probabilities, and is turned off without.

    Example:
        >>> SharedHeadSettings(maps=MinMaxMaps(), without=("embedding",)).parts
        ('prior', 'gate')
    """

    kind: Literal["few-shot"] = "few-shot"
    without: tuple[HeadPart, ...] = ()
    details: float = number(1.0, UP_TO_ONE)
    last_tap_only: bool = False
    blur: float = number(0.0, ZERO_OR_MORE)
    contrast: bool = False

    head_file: ClassVar[str] = "shared_head"
    has_min_max_maps: ClassVar[bool] = True

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the head is to have, of prior, embedding and gate."""
        return tuple(part for part in ("prior", "embedding", "gate") if part not in self.without)
