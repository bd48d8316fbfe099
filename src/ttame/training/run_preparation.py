"""Setting a training run up, or picking one up where its checkpoint left it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch.utils.data import Dataset

from ttame.classifiers.any_classifier import Explainable, Kind
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.features_from import taken_apart
from ttame.datasets.held_out_split import split_held_out
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.datasets.prepared_images import Augmentation, PreparedImages
from ttame.errors import (
    DatasetError,
    ExplainerError,
    ImageError,
    TrainingError,
    either,
    setting,
)
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.trained_cards import P_TAME
from ttame.features.feature_taps import LayerOutput
from ttame.files.sole_use import FolderUse
from ttame.processes import (
    LONGEST_WAIT,
    check_joined,
    launched_processes,
    on_main_process,
    together,
)
from ttame.training.batch_order import BatchOrder
from ttame.training.checkpoint import RunIdentity, load_checkpoint
from ttame.training.gradient_mean import average_in_order
from ttame.training.objective import MaskedFeatures
from ttame.training.optimisation import make_optimiser, make_schedule
from ttame.training.train_command import command_of_run, data_names
from ttame.training.training_folder import TrainingFolder
from ttame.training.training_material import OwnMaterial, TrainingMaterial
from ttame.training.training_run import TrainingRun
from ttame.training.training_settings import DataSettings, TrainingSettings

TrainingData = str | Path | Sequence[Any] | PhotoSource | Dataset[Any] | OwnMaterial
"""Whatever ``open_photos`` opens, or data that prepare themselves, such as texts."""

_FEWEST_STEPS = 2
"""The one-cycle schedule of a single step is only its end, where the rate is next to nothing."""


def prepare_run(
    classifier: Explainable,
    data: TrainingData,
    folder: Path,
    settings: TrainingSettings,
    use: FolderUse,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> TrainingRun:
    """Set a run up, or pick one up. Nothing is written or removed before all checks have passed.

    Args:
        classifier: to explain.
        data: the photos.
        folder: the folder of the training.
        settings: the settings of the training.
        use: the use of ``folder``; taken here, and given up by the caller.
        resume: go on from a checkpoint.
        overwrite: replace what is there.

    Raises:
        OutputError: the folder holds something and neither ``resume`` nor ``overwrite`` is set,
            or another run is writing it.
        DatasetError: no readable images.
        TrainingError: fewer images than a batch, or a batch that the processes cannot share.
        ExplainerError: the method does not fit the classifier.
        ResumeError: the checkpoint belongs to another run.
    """
    place = TrainingFolder(folder)
    accelerator = make_accelerator(settings)

    def check() -> None:
        use.take()
        place.check(resume=resume, overwrite=overwrite)

    def begin() -> None:
        place.make()
        check()  # Another run may have begun here meanwhile.
        place.begin(resume=resume)

    on_main_process(accelerator, check)
    run = new_run(classifier, data, place, settings, accelerator)
    if resume and place.checkpoint_file.exists():
        together(accelerator, lambda: run.restore(load_checkpoint(place.checkpoint_file)))
    on_main_process(accelerator, begin)
    return run


def new_run(
    classifier: Explainable,
    data: TrainingData,
    folder: TrainingFolder,
    settings: TrainingSettings,
    accelerator: Accelerator,
) -> TrainingRun:
    """Make all parts of a run that begins at step 0. Touches no folder.

    Raises:
        DatasetError: no readable images.
        TrainingError: fewer images than a batch, or a batch that the processes cannot share.
        ExplainerError: the method does not fit the classifier.
    """
    bare = together(accelerator, lambda: _new_run(classifier, data, folder, settings, accelerator))
    # Wrapping talks to the other processes, so it comes after everything that may fail in one.
    head, optimiser = accelerator.prepare(bare.bare_head, bare.optimiser)
    average_in_order(head)
    # The accelerator makes the head's own forward pass one of mixed precision. Only the loop is
    # to run in it, which asks for it, not validation or the finished explainer.
    accelerator.unwrap_model(head, keep_fp32_wrapper=False)
    return dataclasses.replace(bare, head=head, optimiser=optimiser)


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Find devices and processes.

    Raises:
        TrainingError: the device has no such precision, or this process used another one before.
        TtameError: it was started as one of several that do not see each other.
    """
    try:
        accelerator = Accelerator(
            # Without being told, Accelerate takes several CPU processes for independent ones.
            cpu=launched_processes() > 1 and not torch.accelerator.is_available(),
            mixed_precision=settings.run.mixed_precision,
            gradient_accumulation_steps=settings.run.gradient_accumulation,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
        )
    except ValueError as problem:
        raise TrainingError(
            f"mixed precision {settings.run.mixed_precision} ({problem})",
            remedy=f"a new process, or {setting('mixed_precision', 'no')}",
        ) from problem
    check_joined(accelerator)
    return accelerator


def augmentation(classifier: Classifier, settings: DataSettings) -> Augmentation:
    """Resolve ``"by family"``: crops and flips for Vision Transformers, none for all others."""
    if settings.augmentation != "by family":
        return settings.augmentation
    return "random crop and flip" if classifier.family == "Vision Transformer" else "none"


def _new_run(
    classifier: Explainable,
    data: TrainingData,
    folder: TrainingFolder,
    settings: TrainingSettings,
    accelerator: Accelerator,
) -> TrainingRun:
    """A run whose head and optimiser the accelerator has not wrapped yet."""
    _check_kind(classifier, data, settings)
    _check_method(classifier, settings)
    material = _material(classifier, data, settings, folder)
    order = BatchOrder(
        images=len(material.training),
        batch_size=settings.run.batch_size,
        parts=settings.run.gradient_accumulation,
        processes=accelerator.num_processes,
        process=accelerator.process_index,
        seed=settings.run.seed,
    )
    _check_batches(order, classifier.kind)
    _check_steps(order, settings, classifier.kind)
    explainer = new_attention_explainer(
        classifier, settings.head, method=settings.method, seed=settings.run.seed
    )
    # A few-shot head reads more of the classifier than its taps.
    classifier, head = explainer.seen, explainer.head.train()
    # Last, so that a network which is refused stays where it is.
    classifier.network.to(accelerator.device)
    if explainer.features_from is not None:
        explainer.features_from.network.to(accelerator.device)
    head.to(accelerator.device)
    optimiser = make_optimiser(head, settings.optimiser)
    return TrainingRun(
        settings=settings,
        classifier=classifier,
        folder=folder,
        identity=RunIdentity(
            settings=settings.as_json(),
            data=material.fingerprint,
            classifier=classifier.fingerprint(),
            taps=tuple(tap.to_config() for tap in classifier.taps),
            preprocessing=_as_read_from_json(classifier.inputs_as_json()),
            features_from=_identity_of(explainer.features_from),
        ),
        accelerator=accelerator,
        head=head,
        bare_head=head,
        optimiser=optimiser,
        schedule=make_schedule(
            optimiser, settings.optimiser, order.steps_per_epoch * settings.run.epochs
        ),
        training_images=material.training,
        held_out=material.held_out,
        order=order,
        data_names=material.names,
        command=material.command,
        skipped=dict(material.skipped),
    )


def _material(
    classifier: Explainable, data: TrainingData, settings: TrainingSettings, folder: TrainingFolder
) -> TrainingMaterial:
    if isinstance(data, OwnMaterial):
        return data.material(classifier, settings, str(folder.path))
    assert isinstance(classifier, Classifier)
    command = command_of_run(classifier, data, settings, folder.path)
    photos = open_photos(data)
    training, held_out, skipped = _split(photos, classifier, settings)
    fingerprint = photos.fingerprint()
    return TrainingMaterial(training, held_out, fingerprint, skipped, data_names(data), command)


_TRAINING_OTHERS: dict[Kind, str] = {
    "images": "",
    "texts": "ttame.text.train(classifier, texts, folder)",
}
"""Kind of classifier to what trains for it, where :func:`train_explainer` does not."""

_PRESET: dict[Kind, str] = {"images": "few-shot", "texts": "few-shot-text"}
"""Kind of classifier to a preset with an objective for it."""


def _check_kind(classifier: Explainable, data: object, settings: TrainingSettings) -> None:
    """Refuse data or an objective for photos with a classifier of texts, and the reverse."""
    kind = classifier.kind
    of_data = data.kind if isinstance(data, OwnMaterial) else "images"
    if of_data != kind:
        raise TrainingError(
            f"{of_data} to train for {classifier.name}, a classifier of {kind}",
            allowed=kind,
            remedy=_TRAINING_OTHERS[kind],
        )
    objective = settings.objective
    if kind not in objective.explains or objective.masked.explains != kind:
        raise TrainingError(
            f"an objective of kind {objective.kind} that masks {objective.masked.kind}, for "
            f"{classifier.name}, a classifier of {kind}",
            remedy=setting("preset", _PRESET[kind]),
        )
    maps = settings.head.maps
    if kind not in maps.explains:
        raise TrainingError(
            f"maps {maps.kind} of {kind}",
            allowed="raw, sigmoid, standard",
            remedy=setting("maps", "standard"),
        )


def _check_method(classifier: Explainable, settings: TrainingSettings) -> None:
    """Refuse what would fail in the first step."""
    masks_features = isinstance(settings.objective.masked, MaskedFeatures)
    _, other = taken_apart(classifier)
    if settings.method == P_TAME and other is None:
        raise TrainingError(
            "p-tame without another network whose features its head is to read",
            remedy=either(
                "features_from=ttame.load_classifier('timm/resnet18')",
                "--features-from timm/resnet18",
            ),
        )
    if masks_features and other is not None:
        raise ExplainerError(
            f"masking the features of {other.name}, on which the scores of {classifier.name} do "
            "not depend",
            remedy=setting("preset", "l-cam-img"),
        )
    if not classifier.taps:
        raise ExplainerError(
            f"a head that reads features of {classifier.name}, which has no taps",
            remedy=either("features_from=another network", "--features-from NETWORK"),
        )
    last = classifier.taps[-1]
    if masks_features and last.layout == "tokens":
        raise ExplainerError(
            f"masking the features of {last}, which are tokens",
            allowed="a CNN",
            remedy=either("training_settings('l-cam-img')", "--preset l-cam-img"),
        )
    if masks_features and not isinstance(last, LayerOutput):
        raise ExplainerError(
            f"masking the features of {last}, which is not an output of a layer",
            allowed="a layer whose output the logits depend on",
            remedy=setting("taps", [last.layer]),
        )


def _split(
    photos: PhotoSource, classifier: Classifier, settings: TrainingSettings
) -> tuple[PreparedImages, PreparedImages | None, dict[str, str]]:
    """Images to train on, held-out ones if any is readable, and what was found unreadable.

    Raises:
        DatasetError: none of the images to train on is readable.
    """
    share = min(settings.data.held_out_share, settings.data.held_out_at_most / len(photos))
    training, held_out = split_held_out(len(photos), share, settings.run.seed)
    images = PreparedImages(
        photos,
        classifier.preprocessing,
        training,
        augmentation=augmentation(classifier, settings.data),
        seed=settings.run.seed,
    )
    skipped = dict(images[0].skipped)
    if not held_out:
        return images, None, skipped
    held_out_images = PreparedImages(photos, classifier.preprocessing, held_out)
    try:
        first = held_out_images[0]
    except DatasetError:
        # A small held-out part may consist of bad photos; that is no reason not to train.
        return images, None, {**skipped, **_unreadable(photos, held_out)}
    return images, held_out_images, {**skipped, **dict(first.skipped)}


def _unreadable(photos: PhotoSource, indices: Sequence[int]) -> dict[str, str]:
    """Name to reason of the photos that cannot be read."""
    reasons = {}
    for index in indices:
        name = photos.name(index)
        try:
            photos.read(index)
        except ImageError as problem:
            reasons[name] = problem.problem.removeprefix(name).strip()
    return reasons


def _check_batches(order: BatchOrder, kind: str) -> None:
    at_once = order.parts * order.processes
    if order.images < order.batch_size:
        fitting = order.images // at_once * at_once
        raise TrainingError(
            f"{order.images} {kind} to train on, fewer than a batch of {order.batch_size}",
            remedy=setting("batch_size", fitting) if fitting else f"more {kind}",
        )
    if order.batch_size % at_once:
        raise TrainingError(
            f"a batch of {order.batch_size} for {order.processes} processes and "
            f"{order.parts} accumulated parts",
            allowed=f"a multiple of {at_once}",
        )


def _check_steps(order: BatchOrder, settings: TrainingSettings, kind: str) -> None:
    """Refuse a schedule that is over before it begins."""
    steps = order.steps_per_epoch * settings.run.epochs
    if steps < _FEWEST_STEPS:
        raise TrainingError(
            f"{steps} optimiser step, of {order.images} {kind} in batches of {order.batch_size}, "
            "in which nothing is learned",
            allowed=f"at least {_FEWEST_STEPS}",
            remedy=f"a smaller {setting('batch_size')} or more {setting('epochs')}",
        )


def _identity_of(other: Classifier | None) -> dict[str, Any]:
    """What must be the same of the network whose features are read, when a run is resumed."""
    if other is None:
        return {}
    facts = {"fingerprint": other.fingerprint(), "preprocessing": other.inputs_as_json()}
    return _as_read_from_json(facts)


def _as_read_from_json(content: Mapping[str, Any]) -> dict[str, Any]:
    """With lists for tuples, to compare with what a file holds."""
    return dict(json.loads(json.dumps(content)))
