"""Everything that decides how a head is trained, and the published presets."""

from __future__ import annotations

import dataclasses
import math
import shlex
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ttame.errors import TrainingError, UnknownNameError
from ttame.explainers.trained.head_settings import (
    ClassTokenUse,
    HeadSettings,
    HeadVariant,
    MapScale,
)
from ttame.explainers.trained.idle_settings import idle_settings

MapSelection = Literal["random", "diagonal", "max"]
MixedPrecision = Literal["no", "fp16", "bf16"]
Optimiser = Literal["sgd", "adamw"]
Objective = Literal["t-tame", "kept-share"]
HeadPart = Literal["nothing", "prior", "embedding", "gate"]


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a head is trained.

    Attributes:
        preset: the name of the preset that these settings started from.
        method: the registry name of the explainer that comes out.
        head: the head's variant.
        class_token: drop it, or multiply every patch token by it.
        maps: what explanations hold: the head's ``"raw"`` output (published), its ``"sigmoid"``,
            or, of a few-shot head, its ``"min-max"`` over the picture.
        without: a part that a few-shot head is to lack, for ablations; other heads lack
            ``"nothing"``.
        last_tap_only: use only the classifier's last tap (L-CAM).
        masked: what the mask multiplies: the ``"image"``, or the ``"features"`` of the last tap
            (L-CAM-Fm).
        masking_space: ``"raw"`` makes removed pixels black, ``"normalised"`` gives them the mean
            colour; ``"by family"`` is raw for CNNs and normalised for Vision Transformers, as
            T-TAME's scripts do it.
        augmentation: ``"none"``, ``"random crop and flip"``, ``"random zoom and flip"`` (of 35 % to
            100 % of the photo), or ``"by family"``: none for CNNs,
            crops and flips for Vision Transformers, as T-TAME's scripts do it.
        objective: ``"t-tame"`` keeps the prediction with a small and smooth mask (published);
            ``"kept-share"`` keeps it at every share of the picture; see
            :mod:`ttame.training.kept_share_objective`.
        mean_map: of min-max maps: the mean over picture and images that they are to have, the
            operating point between hiding much and keeping the prediction. Maps are raised to the
            power that gives it; their ranking of places does not depend on it.
        details: of a few-shot head's explanations: the share of short-range differences that they
            keep, from 0 to 1. Training itself sees all of them.
        map_selection: of the t-tame objective: which maps area and smoothness shape. ``"random"``
            (the published default): each image's maps for the labels of the whole batch.
            ``"diagonal"``: the own label's only. ``"max"``: as many maps as the batch has images,
            those of highest logit.
        cross_entropy_weight, area_weight, area_power, smoothness_weight, border_weight: of the
            t-tame objective; see :mod:`ttame.training.attention_objective`. The published
            constants belong to a batch of 32: smoothness sums B² maps and divides by 2B.
        epochs: passes over the training part.
        batch_size: images per optimiser step, over all processes and accumulated parts.
        optimiser: ``"sgd"`` with Nesterov momentum (published), or ``"adamw"``, which has no
            momentum to set.
        learning_rate: the peak of the one-cycle schedule.
        bias_learning_rate_factor: of biases, against weights. Biases have no weight decay.
        momentum: Nesterov, in the learning-rate range test. In a training the one-cycle schedule
            moves it from 0.95 to 0.85 and back, as in the published runs.
        weight_decay: of weights, batch norm's included.
        held_out_share: of the images; never trained on, validated every epoch.
        held_out_at_most: the most images that are held out, however many there are.
        seed: of initial weights, order, held-out part and augmentation.
        mixed_precision: ``"fp16"`` was used for the published heads.
        gradient_accumulation: parts into which a batch is split to save memory. Batch norm and
            the regularisation then see the parts.
        workers: processes that read photos.
        checkpoint_every: optimiser steps between checkpoints.

    Raises:
        TrainingError: a value that cannot work.
        UnknownNameError: a name that is not among the allowed ones.

    Example:
        >>> settings = training_settings("few-shot", epochs=3)
        >>> settings.method, settings.objective, settings.epochs
        ('few_shot', 'kept-share', 3)
    """

    preset: str = "t-tame"
    method: str = "t_tame"
    head: HeadVariant = "t-tame"
    class_token: ClassTokenUse = "drop"
    maps: MapScale = "raw"
    without: HeadPart = "nothing"
    last_tap_only: bool = False
    masked: Literal["image", "features"] = "image"
    masking_space: Literal["raw", "normalised", "by family"] = "by family"
    augmentation: Literal["none", "random crop and flip", "random zoom and flip", "by family"] = (
        "by family"
    )
    objective: Objective = "t-tame"
    mean_map: float = 0.55
    details: float = 1.0
    map_selection: MapSelection = "random"
    cross_entropy_weight: float = 1.5
    area_weight: float = 2.0
    area_power: float = 0.3
    smoothness_weight: float = 0.01
    border_weight: float = 0.3
    epochs: int = 8
    batch_size: int = 32
    optimiser: Optimiser = "sgd"
    learning_rate: float = 1e-3
    bias_learning_rate_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    held_out_share: float = 0.1
    held_out_at_most: int = 500
    seed: int = 0
    mixed_precision: MixedPrecision = "no"
    gradient_accumulation: int = 1
    workers: int = 2
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        _check_kinds(self)
        _check_range(self, "above 0", lambda value: value > 0, _ABOVE_ZERO)
        _check_range(self, "0 or more", lambda value: value >= 0, _ZERO_OR_MORE)
        _check_range(self, "above 0 and below 1", lambda value: 0 < value < 1, _BELOW_ONE)
        _check_head(self)
        _check_idle(self)
        if self.batch_size % self.gradient_accumulation:
            raise TrainingError(
                f"a batch of {self.batch_size} in {self.gradient_accumulation} parts",
                allowed="a batch size that --gradient-accumulation divides",
            )

    @property
    def head_settings(self) -> HeadSettings:
        """The part that decides how the head is built."""
        return HeadSettings(
            self.head,
            self.class_token,
            self.maps,
            prior=self.without != "prior",
            embedding=self.without != "embedding",
            gate=self.without != "gate",
            details=self.details,
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file."""
        return dataclasses.asdict(self)


PRESETS: dict[str, Callable[[], TrainingSettings]] = {
    "t-tame": TrainingSettings,
    "tame": lambda: TrainingSettings(
        preset="tame",
        method="tame",
        masking_space="raw",
        augmentation="random crop and flip",
        bias_learning_rate_factor=2.0,
    ),
    "l-cam-img": lambda: TrainingSettings(
        preset="l-cam-img",
        method="l_cam_img",
        head="l-cam",
        last_tap_only=True,
        masking_space="normalised",
        augmentation="random crop and flip",
        learning_rate=1e-4,
        epochs=26,
    ),
    "l-cam-fm": lambda: TrainingSettings(
        preset="l-cam-fm",
        method="l_cam_fm",
        head="l-cam",
        last_tap_only=True,
        masked="features",
        augmentation="random crop and flip",
        learning_rate=1e-4,
        epochs=26,
    ),
    "few-shot": lambda: TrainingSettings(
        preset="few-shot",
        method="few_shot",
        head="few-shot",
        objective="kept-share",
        maps="min-max",
        details=0.5,
        masking_space="raw",
        augmentation="random zoom and flip",
        optimiser="adamw",
        learning_rate=5e-3,
        epochs=10,
    ),
}
"""Name to settings. ``t-tame``: arXiv 2403.04523 and its scripts. ``tame``: arXiv 2301.07407, with
the learning rate of its VGG-16 script (ResNet-50: 1e-4, 4 epochs). ``l-cam-img``, ``l-cam-fm``:
arXiv 2209.11189. ``few-shot``: ours, for a few hundred to a few thousand images."""


DEFAULT_PRESET = "few-shot"


def training_settings(preset: str = DEFAULT_PRESET, **changes: Any) -> TrainingSettings:
    """The settings of a preset, with some of them changed.

    Raises:
        UnknownNameError: no such preset or setting.
        TrainingError: a value that cannot work.

    Example:
        >>> training_settings("tame", epochs=2).bias_learning_rate_factor
        2.0
    """
    if preset not in PRESETS:
        raise UnknownNameError.of("preset", preset, PRESETS)
    known = {field.name for field in dataclasses.fields(TrainingSettings)}
    for name in changes:
        if name not in known:
            raise UnknownNameError.of("training setting", name, known)
    return dataclasses.replace(PRESETS[preset](), **changes)


def train_command(
    settings: TrainingSettings, model: Sequence[str], data: Sequence[str], folder: str
) -> str:
    """The ``ttame train`` command that has these settings; for cards and messages.

    Args:
        settings: what differs from the preset is written out.
        model: the words that name the classifier.
        data: one or several places.
        folder: the output.

    Example:
        >>> settings = training_settings("tame", epochs=2)
        >>> train_command(settings, ["--model", "timm/x"], ["photos"], "out")
        'ttame train --model timm/x --data photos --out out --preset tame --epochs 2'
    """
    words = ["ttame", "train", *model]
    for place in data:
        words += ["--data", place]
    words += ["--out", folder, "--preset", settings.preset]
    for name, value in _changes(settings).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def python_call(settings: TrainingSettings) -> str:
    """The call of :func:`ttame.train_explainer` that has these settings; for cards.

    Example:
        >>> python_call(training_settings("tame"))
        "ttame.train_explainer(classifier, data, folder, ttame.training_settings('tame'))"
    """
    changes = [f", {name}={value!r}" for name, value in _changes(settings).items()]
    made = f"ttame.training_settings({settings.preset!r}{''.join(changes)})"
    return f"ttame.train_explainer(classifier, data, folder, {made})"


def can_be_typed(settings: TrainingSettings) -> bool:
    """Whether the command line has an option for all that differs from the preset."""
    return not {"last_tap_only", "masked"} & set(_changes(settings))


def _changes(settings: TrainingSettings) -> dict[str, Any]:
    """What differs from the preset."""
    start = TrainingSettings() if settings.preset not in PRESETS else PRESETS[settings.preset]()
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {
        name: value
        for name, value in values.items()
        if name not in ("preset", "method") and value != getattr(start, name)
    }


_ABOVE_ZERO = (
    "epochs",
    "batch_size",
    "learning_rate",
    "area_power",
    "held_out_at_most",
    "gradient_accumulation",
    "checkpoint_every",
)
_ZERO_OR_MORE = (
    "cross_entropy_weight",
    "area_weight",
    "smoothness_weight",
    "border_weight",
    "bias_learning_rate_factor",
    "weight_decay",
    "seed",
    "workers",
)
_BELOW_ONE = ("momentum", "held_out_share", "mean_map")


def _check_kinds(settings: TrainingSettings) -> None:
    """Refuse names that are not among the allowed ones, and numbers of another kind.

    Raises:
        UnknownNameError: a name; the message has near matches.
        TrainingError: a number.
    """
    for name, kind in typing.get_type_hints(TrainingSettings).items():
        value = getattr(settings, name)
        option = name.replace("_", "-")
        if typing.get_origin(kind) is Literal:
            if value not in typing.get_args(kind):
                raise UnknownNameError.of(option, str(value), typing.get_args(kind))
        elif kind is int and (isinstance(value, bool) or not isinstance(value, int)):
            raise TrainingError(f"{option} {value!r}", allowed="a whole number")
        elif kind is float and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TrainingError(f"{option} {value!r}", allowed="a number")


def _check_head(settings: TrainingSettings) -> None:
    """Refuse settings of one kind of head for another.

    Raises:
        TrainingError: names both.
    """
    few_shot = settings.head == "few-shot"
    if settings.without != "nothing" and not few_shot:
        raise TrainingError(
            f"without {settings.without} for a head of variant {settings.head}",
            allowed="a few-shot head, which has such parts",
            remedy="--preset few-shot",
        )
    if settings.maps == "min-max" and not few_shot:
        raise TrainingError(
            f"maps min-max for a head of variant {settings.head}",
            allowed="a few-shot head",
            remedy="--maps raw",
        )
    if not 0 <= settings.details <= 1 or (settings.details < 1 and not few_shot):
        raise TrainingError(
            f"details {settings.details} for a head of variant {settings.head}",
            allowed="0 to 1 for a few-shot head, 1 for others",
        )
    if settings.class_token != "drop" and few_shot:
        raise TrainingError(
            f"class-token {settings.class_token} for a few-shot head", allowed="class-token drop"
        )


def _check_idle(settings: TrainingSettings) -> None:
    """Refuse a changed setting that nothing would read, instead of letting it do nothing.

    Raises:
        TrainingError: names what would read it.
    """
    idle = idle_settings(settings.as_json())
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in idle and value != field.default:
            option = field.name.replace("_", "-")
            reader, wanted = idle[field.name]
            raise TrainingError(
                f"{option} {value} with {reader} {getattr(settings, reader)}, which has no use "
                "for it",
                remedy=f"leaving --{option} out, or --{reader} {wanted}",
            )


def _check_range(
    settings: TrainingSettings, allowed: str, fits: Callable[[float], bool], names: tuple[str, ...]
) -> None:
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and fits(value)):
            option = name.replace("_", "-")
            raise TrainingError(f"{option} {value}", allowed=allowed, remedy=f"--{option} N")
