"""The loop: which photos come together, what of them is asked, and who is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from tests.explaining.explaining_material import StoppedError, Stopping, methods
from tests.training.training_material import noise_photos, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.errors import ClassSelectionError, ExplainerError, ImageError
from ttame.explainers.contract.explainer import Explainer
from ttame.explaining import explain_photos
from ttame.explaining.explain_photos import Explaining, explain_batches
from ttame.explaining.explained_batch import classes_for_all
from ttame.images.preprocessing import Preprocessing
from ttame.processes import Share
from ttame.results.explanation import Explanation


class Photos(WrappedDataset):
    """Photos of which some are torn."""

    def __init__(self, count: int, torn: Sequence[int] = ()) -> None:
        super().__init__(noise_photos(count))
        self.torn = torn

    def read(self, index: int) -> Image.Image:
        if index in self.torn:
            raise ImageError(f"{self.name(index)} is torn")
        return super().read(index)


class Notes:
    """A writer that keeps everything; a batch is finished when its block has ended."""

    def __init__(self, finished: Sequence[int] = ()) -> None:
        self.done = set(finished)
        self.added: dict[int, list[tuple[int, list[Explanation], int]]] = {}
        self.skipped: list[int] = []

    def finished(self) -> set[int]:
        return set(self.done)

    @contextlib.contextmanager
    def batch(self, number: int) -> Iterator[Notes]:
        self.added[number] = self.now = []
        yield self
        self.done.add(number)

    def add(
        self, number: int, photo: Image.Image, explanations: Sequence[Explanation], index: int
    ) -> None:
        self.now.append((number, list(explanations), index))

    def skip(self, number: int, reason: str) -> None:
        self.skipped.append(number)

    def numbers(self) -> dict[int, list[int]]:
        return {batch: [number for number, _, _ in added] for batch, added in self.added.items()}


def explaining(
    photos: Photos, explainers: dict[str, Explainer], classes: Any = "top1", size: int = 3
) -> Explaining:
    return Explaining(photos, explainers, classes, size)


def test_batches_hold_their_photos_whoever_is_torn_or_finished() -> None:
    task = explaining(Photos(8, torn=[1, 6, 7]), methods(tiny_cnn()))
    notes, told = Notes(), Stopping()
    explain_batches(task, notes, listener=told)
    assert notes.numbers() == {0: [0, 2], 1: [3, 4, 5], 2: []}
    assert notes.skipped == [1, 6, 7]
    assert told.started == [(8, 0)]
    assert told.begun == [(m, *n) for n in [(1, 2), (4, 3)] for m in ("grad_cam", "random")]
    assert told.skipped == [f"item {number} of list" for number in (1, 6, 7)]
    later, told = Notes(finished=[0, 2]), Stopping()
    explain_batches(task, later, listener=told)
    assert later.numbers() == {1: [3, 4, 5]}
    assert told.started == [(8, 5)]


def test_processes_share_the_batches_and_leave_none_out() -> None:
    task = explaining(Photos(11), methods(tiny_cnn(), ["random"]), size=2)
    found: dict[int, list[int]] = {}
    for process in range(3):
        notes = Notes()
        explain_batches(task, notes, share=Share(process, 3))
        assert not found.keys() & notes.numbers().keys()
        found |= notes.numbers()
    assert sorted(number for numbers in found.values() for number in numbers) == list(range(11))


def test_every_photo_is_explained_as_if_it_came_alone() -> None:
    classifier = tiny_cnn()
    photos = Photos(4)
    notes = Notes()
    explain_batches(explaining(photos, methods(classifier), "top2"), notes)
    for added in notes.added.values():
        for number, (cam, random), index in added:
            image = classifier.preprocessing.prepare(photos.read(number))[None]
            alone = methods(classifier)["grad_cam"](image, "top2")
            assert torch.equal(cam.classes[index], alone.classes[0])
            torch.testing.assert_close(cam.maps[index], alone.maps[0], atol=1e-6, rtol=1e-4)
            # The first method chose; the others explain the same.
            assert torch.equal(random.classes, cam.classes)
            assert random.method == "random"


def test_labels_name_the_explanations() -> None:
    explainer = methods(tiny_cnn())["grad_cam"]
    notes = Notes()
    explain_batches(explaining(Photos(3), {"mine": explainer}), notes)
    assert notes.added[0][0][1][0].method == "mine"
    assert explainer.method == "grad_cam"
    with pytest.raises(StoppedError):
        explain_batches(explaining(Photos(3), {"mine": explainer}), Notes(), listener=Stopping(1))


def test_a_batch_that_failed_is_not_finished() -> None:
    notes = Notes()
    with pytest.raises(StoppedError):
        explain_batches(
            explaining(Photos(9), methods(tiny_cnn())), notes, listener=Stopping(first=4)
        )
    assert notes.done == {0}


def test_large_photos_come_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_photos, "MOST_OPEN_PIXELS", 2 * 20 * 18)
    told = Stopping()
    task = explaining(Photos(5), methods(tiny_cnn(), ["random"]), size=5)
    explain_batches(task, Notes(), listener=told)
    assert told.begun == [("random", 1, 2), ("random", 3, 2), ("random", 5, 1)]


def two_classes() -> Classifier:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    names = ["cat", "tench, Tinca tinca"]
    return Classifier(
        network, preprocessing=Preprocessing.imagenet(16), class_names=names, taps=["0"]
    )


def test_what_is_explained_by_default_is_what_there_is() -> None:
    assert classes_for_all(None, tiny_cnn(), 1) == "top3"
    assert classes_for_all(None, two_classes(), 1) == "top2"
    assert classes_for_all(None, two_classes(), 2) == "top1"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("top2", "top2"),
        ("all", [0, 1]),
        (1, [1]),
        ([1, 0], [1, 0]),
        ("Tinca tinca", [1]),
        (["tench", "cat"], [1, 0]),
        (torch.tensor([[0, 1]]), [0, 1]),
    ],
)
def test_classes_of_all_photos(selection: Any, expected: Any) -> None:
    chosen = classes_for_all(selection, two_classes(), 1)
    assert (chosen if isinstance(chosen, str) else chosen[0].tolist()) == expected


@pytest.mark.parametrize("selection", ["top3", "dog", [2], [], [[0], [1]]])
def test_classes_that_there_are_not(selection: Any) -> None:
    with pytest.raises(ClassSelectionError):
        classes_for_all(selection, two_classes(), 1)


def test_chosen_classes_are_asked_of_every_photo() -> None:
    classifier = tiny_cnn()
    task = explaining(Photos(5), methods(classifier), classes_for_all([3, 1], classifier, 2))
    notes = Notes()
    explain_batches(task, notes)
    for added in notes.added.values():
        for _, explanations, index in added:
            assert all(each.classes[index].tolist() == [3, 1] for each in explanations)


def test_methods_of_two_networks_are_refused() -> None:
    cam, random = methods(tiny_cnn())["grad_cam"], methods(tiny_cnn(1))["random"]
    with pytest.raises(ExplainerError, match="random explains another network than grad_cam"):
        explaining(Photos(2), {"grad_cam": cam, "random": random}).refuse_different_networks()
    with pytest.raises(ExplainerError, match="no method"):
        explaining(Photos(2), {}).refuse_different_networks()
