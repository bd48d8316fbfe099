"""Everything that decides how a head is trained, and the published presets; loads nothing heavy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from ttame.errors import (
    TrainingError,
    TtameError,
    UnknownNameError,
    setting,
)
from ttame.explainers.trained.head_settings import (
    AttentionHeadSettings,
    HeadSettings,
    LCamHeadSettings,
    MinMaxMaps,
    SharedHeadSettings,
    StandardMaps,
)
from ttame.explainers.trained.known_head_settings import HEAD_SETTINGS
from ttame.explainers.trained.settings_part import (
    ABOVE_ZERO,
    BELOW_ONE,
    ZERO_OR_MORE,
    SettingsPart,
    changed,
    leaves_of,
    number,
    one_of,
    option,
    parts_in_files,
    switches,
)
from ttame.training.attention_objective import TTameObjective
from ttame.training.kept_share_objective import KeptShareObjective
from ttame.training.objective import (
    MaskedFeatures,
    MaskedImage,
    MaskedOnGrounds,
    MaskedTokens,
    Objective,
)
from ttame.training.optimiser_settings import AdamW, Sgd

_OBJECTIVE_FILES = (
    "attention_objective",
    "kept_share_objective",
    "ranking_objective",
)
"""The files of this folder that define an objective: one line each."""

OBJECTIVES = parts_in_files("ttame.training", _OBJECTIVE_FILES, Objective)  # type: ignore[type-abstract]
"""Kind to class."""


@dataclasses.dataclass(frozen=True)
class DataSettings(SettingsPart):
    """Which images are seen, and how.

    Attributes:
        augmentation: Augmentation of the training images: none, 'random crop and flip', 'random
            zoom and flip' (of 35 % to 100 % of the photo), or 'by family', which is none for CNNs
            and crops and flips for Vision Transformers, as in T-TAME's scripts.
        held_out_share: Share of the images to validate on; they are never trained on.
        held_out_at_most: Maximum number of images to validate on.
    """

    augmentation: Literal["none", "random crop and flip", "random zoom and flip", "by family"] = (
        "by family"
    )
    held_out_share: float = number(0.1, BELOW_ONE)
    held_out_at_most: int = number(500, ABOVE_ZERO)


@dataclasses.dataclass(frozen=True)
class RunSettings(SettingsPart):
    """How long, how much at a time, and with what.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per optimiser step, over all processes and accumulated parts.
        seed: Seed of initial weights, order of images, held-out part and augmentation.
        gradient_accumulation: Number of parts that each batch is split into, to save memory. Batch
            norm and the regularisation then see the parts.
        mixed_precision: Precision of the activations; fp16 was used for the published heads.
        workers: Number of processes that read photos.
        checkpoint_every: Optimiser steps between checkpoints.
    """

    epochs: int = number(8, ABOVE_ZERO)
    batch_size: int = number(32, ABOVE_ZERO)
    seed: int = number(0, ZERO_OR_MORE)
    gradient_accumulation: int = number(1, ABOVE_ZERO)
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    workers: int = number(2, ZERO_OR_MORE)
    checkpoint_every: int = number(100, ABOVE_ZERO)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.gradient_accumulation:
            raise TrainingError(
                f"a batch of {self.batch_size} in {self.gradient_accumulation} parts",
                allowed=f"a batch size that {setting('gradient_accumulation')} divides",
            )


@dataclasses.dataclass(frozen=True)
class TrainingSettings(SettingsPart):
    """How a head is trained; each part holds what it alone reads.

    Attributes:
        preset: The name of the preset that these settings started from.
        method: The registry name of the explainer that comes out.
        head: The head to train.
        objective: The loss: t-tame keeps the prediction with a small and smooth mask (published),
            kept-share keeps it at every share of the picture, ranking sorts the places by insertion
            and deletion.
        data: Which images are seen, and how.
        optimiser: SGD with Nesterov momentum (published), or AdamW.
        run: How long, how much at a time, and with what.

    Raises:
        TrainingError: a value that cannot work.
        UnknownNameError: a name that is not among the allowed ones.

    Example:
        >>> objective = TTameObjective(area_weight=1.0)
        >>> settings = TrainingSettings(objective=objective, run=RunSettings(epochs=3))
        >>> settings.objective.area_weight, settings.head.kind, settings.run.epochs
        (1.0, 't-tame', 3)
    """

    preset: str = "t-tame"
    method: str = "t_tame"
    head: HeadSettings = one_of(AttentionHeadSettings(), HEAD_SETTINGS)  # noqa: RUF009
    objective: Objective = one_of(TTameObjective(), OBJECTIVES)  # noqa: RUF009
    data: DataSettings = DataSettings()
    optimiser: Sgd | AdamW = dataclasses.field(default=Sgd())
    run: RunSettings = RunSettings()

    def changed(self, **changes: Any) -> TrainingSettings:
        """The same settings but for some, by their flat names.

        Raises:
            UnknownNameError: no such setting, or a name that is not among the allowed ones.
            TrainingError: a value that cannot work, or a setting that nothing would read; the
                message says what would.

        Example:
            >>> TrainingSettings().changed(optimiser="adamw", epochs=2).optimiser
            AdamW(kind='adamw', learning_rate=0.001, bias_learning_rate_factor=1.0, weight_decay=0.0005)
        """  # noqa: E501 - one line of output
        made, unread = changed(self, changes)
        for name, value in unread.items():
            raise _unread(made, name, value)
        return made


PRESETS: dict[str, TrainingSettings] = {
    "t-tame": TrainingSettings(),
    "tame": TrainingSettings(
        preset="tame",
        method="tame",
        objective=TTameObjective(masked=MaskedImage("image", "raw")),
        data=DataSettings("random crop and flip"),
        optimiser=Sgd(bias_learning_rate_factor=2.0),
    ),
    "l-cam-img": TrainingSettings(
        preset="l-cam-img",
        method="l_cam_img",
        head=LCamHeadSettings(),
        objective=TTameObjective(masked=MaskedImage("image", "normalised")),
        data=DataSettings("random crop and flip"),
        optimiser=Sgd(learning_rate=1e-4),
        run=RunSettings(epochs=26),
    ),
    "l-cam-fm": TrainingSettings(
        preset="l-cam-fm",
        method="l_cam_fm",
        head=LCamHeadSettings(),
        objective=TTameObjective(masked=MaskedFeatures()),
        data=DataSettings("random crop and flip"),
        optimiser=Sgd(learning_rate=1e-4),
        run=RunSettings(epochs=26),
    ),
    "p-tame": TrainingSettings(
        preset="p-tame",
        method="p_tame",
        objective=TTameObjective(
            cross_entropy_weight=0.161, area_weight=0.839, smoothness_weight=1e-4
        ),
        optimiser=AdamW(learning_rate=1e-4, weight_decay=0.0),
        run=RunSettings(epochs=1),
    ),
    "few-shot": TrainingSettings(
        preset="few-shot",
        method="few_shot",
        head=SharedHeadSettings(
            maps=MinMaxMaps(), details=0.5, without=("embedding",), contrast=True
        ),
        objective=KeptShareObjective(masked=MaskedOnGrounds(), random_masks=16, random_weight=5.0),
        data=DataSettings("random zoom and flip"),
        optimiser=AdamW(learning_rate=1e-3),
        run=RunSettings(epochs=6),
    ),
    "few-shot-quick": TrainingSettings(
        preset="few-shot-quick",
        method="few_shot",
        head=SharedHeadSettings(maps=MinMaxMaps(), details=0.5),
        objective=KeptShareObjective(masked=MaskedImage("image", "raw")),
        data=DataSettings("random zoom and flip"),
        optimiser=AdamW(learning_rate=5e-3),
        run=RunSettings(epochs=10),
    ),
    "few-shot-text": TrainingSettings(
        preset="few-shot-text",
        method="few_shot",
        head=SharedHeadSettings(maps=StandardMaps(), blur=1.0),
        objective=KeptShareObjective(
            masked=MaskedTokens(),
            hard=1.0,
            removing=0.5,
            measure="difference",
            shares="logarithmic",
            runner_up=0.25,
            random_masks=16,
            random_measure="log-odds",
        ),
        data=DataSettings("none"),
        optimiser=AdamW(learning_rate=3e-3),
        run=RunSettings(epochs=4, batch_size=16),
    ),
}
"""Name to settings. ``t-tame``: arXiv 2403.04523 and its scripts. ``tame``: arXiv 2301.07407, with
the learning rate of its VGG-16 script (ResNet-50: 1e-4, 4 epochs). ``l-cam-img``, ``l-cam-fm``:
arXiv 2209.11189. ``p-tame``: arXiv 2501.17813 as far as it is known here: Adam, its rate, one
epoch, and weights from the ranges that were found (cross entropy 0.073 to 0.161, area 0.839 to
0.978, smoothness up to 1e-4); that power, map selection and schedule are T-TAME's is assumed.
``few-shot``: ours, for a few hundred to a few thousand images; ``few-shot-quick`` does not ask what
random masks leave of the class, and takes a third to half of the time; ``few-shot-text`` for as
many texts."""


DEFAULT_PRESET = "few-shot"


def training_settings(preset: str = DEFAULT_PRESET, **changes: Any) -> TrainingSettings:
    """The settings of a preset, with some of them changed.

    Args:
        preset: where they start.
        changes: settings by their names, in whichever part they are: ``learning_rate=0.01``,
            ``objective="t-tame"``, ``without="gate"``.

    Raises:
        UnknownNameError: no such preset or setting, or a name that is not among the allowed ones.
        TrainingError: a value that cannot work, or a setting that nothing would read.

    Example:
        >>> training_settings("tame", epochs=2).optimiser.bias_learning_rate_factor
        2.0
    """
    if isinstance(preset, Mapping):
        raise TrainingError(
            "a table as the preset of training settings",
            allowed="settings by their names",
            remedy="training_settings(**table)",
        )
    if preset not in PRESETS:
        raise UnknownNameError.of("preset", preset, PRESETS)
    return PRESETS[preset].changed(**changes)


def _unread(settings: TrainingSettings, name: str, value: Any) -> TtameError:
    """What to say of a setting that nothing reads; what is advised has been tried."""
    known = {flat for flat, *_ in leaves_of(TrainingSettings)}
    if name not in known:
        return UnknownNameError.of("training setting", name, known)
    found = list(switches(settings, name))
    reader, kind, _ = found[0]
    # Another head wants another learning rate and so on, which presets have.
    advice = [(part, new, {part: new}) for part, _, new in found if part != "head"]
    works = [
        setting(part, new)
        for part, new, new_kind in advice
        if _fits(settings, name, value, new_kind)
    ]
    works += [
        setting("preset", other) for other in PRESETS if _fits(PRESETS[other], name, value, {})
    ]
    leaving = f"leaving {setting(name)} out"
    return TrainingError(
        f"{option(name)} {value} with {option(reader)} {kind}, which does not use it",
        remedy=f"{leaving}, or {works[0]}" if works else leaving,
    )


def _fits(settings: TrainingSettings, name: str, value: Any, kinds: dict[str, str]) -> bool:
    try:
        return not changed(settings, {**kinds, name: value})[1]
    except TtameError:
        return False
