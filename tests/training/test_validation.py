"""Validation on masked images, against an independent slow computation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.training.training_material import noise_photos, quick, tiny_cnn, tiny_vit
from ttame.classifiers.classifier import Classifier
from ttame.datasets.prepared_images import PreparedImages
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.errors import ImageError
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.attention_head import AttentionHead
from ttame.training.attention_objective import MapSelection
from ttame.training.training_settings import TrainingSettings
from ttame.training.validation import mean_figures, measure_batches

PHOTOS = 10  # batches of 4, 4 and 2


def held_out(classifier: Classifier) -> PreparedImages:
    return PreparedImages(WrappedDataset(noise_photos(PHOTOS)), classifier.preprocessing)


def random_head(classifier: Classifier) -> AttentionHead:
    head = new_attention_explainer(classifier, seed=5).head
    with torch.no_grad():
        for name, buffer in head.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 2)
        head.fusion.weight.mul_(4)
    return head


def slowly(
    classifier: Classifier, head: AttentionHead, settings: TrainingSettings
) -> dict[str, float]:
    """Image by image and map by map, with the formulas of the papers in float64."""
    photos = noise_photos(PHOTOS)
    mean = torch.tensor(classifier.preprocessing.mean).reshape(3, 1, 1)
    std = torch.tensor(classifier.preprocessing.std).reshape(3, 1, 1)
    sums: dict[str, float] = {}
    for first in range(0, PHOTOS, 4):
        images = [classifier.prepare(photo)[0] for photo in photos[first : first + 4]]
        with torch.no_grad():
            labels = [int(classifier.logits(image[None]).argmax()) for image in images]
            for image, label in zip(images, labels, strict=True):
                reading = classifier.read_features(image[None])
                raw = head(list(reading.feature_maps))[0].double()
                selected = {
                    "random": labels,
                    "diagonal": [label],
                    "max": reading.logits[0].argsort(descending=True).tolist()[: len(images)],
                }[settings.objective.map_selection]
                figures = regularisation(raw.sigmoid()[selected], 1)

                mask = enlarge(raw[label].sigmoid())
                visible = mask * image if classifier.name == "tiny vit" else None
                if visible is None:
                    visible = (mask * (image * std + mean) - mean) / std
                probabilities = classifier.logits(visible[None].float())[0].double().softmax(0)
                figures["cross_entropy"] = 1.5 * -math.log(float(probabilities[label]))

                shown = raw[label] - raw[label].min()
                shown = enlarge(shown / shown.max())
                figures["mean_map_value"] = float(shown.mean())
                black = (shown * (image * std + mean) - mean) / std
                before = float(classifier.logits(image[None])[0].double().softmax(0)[label])
                after = float(classifier.logits(black[None].float())[0].double().softmax(0)[label])
                figures["average_drop"] = 100 * max(0, before - after) / before
                figures["increase_in_confidence"] = 100 * (after > before)
                figures["loss"] = sum(
                    figures[name] for name in ("cross_entropy", "area", "smoothness")
                )
                for name, value in figures.items():
                    sums[name] = sums.get(name, 0) + value / PHOTOS
    return sums


def regularisation(maps: Tensor, images: int) -> dict[str, float]:
    """Area and smoothness of the selected maps of one image, weighted."""
    powers = [(float(value) + 0.0005) ** 0.3 for value in maps.flatten()]
    variation = 0.0
    for one in maps.tolist():
        rows, columns = len(one), len(one[0])
        for i in range(rows):
            for j in range(columns):
                variation += (one[i][j + 1] - one[i][j]) ** 2 if j + 1 < columns else 0
                variation += (one[i + 1][j] - one[i][j]) ** 2 if i + 1 < rows else 0
                edges = (i == 0) + (i == rows - 1) + (j == 0) + (j == columns - 1)
                variation += 0.3 * edges * one[i][j] ** 2
    return {
        "area": 2 * sum(powers) / len(powers),
        "smoothness": 0.01 * variation / (2 * images),
    }


def figures_of(
    classifier: Classifier, head: AttentionHead, photos: PreparedImages, settings: TrainingSettings
) -> dict[str, float]:
    return mean_figures(measure_batches(classifier, head, photos, settings))


def enlarge(mask: Tensor) -> Tensor:
    return F.interpolate(mask[None, None], size=(16, 16), mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("selection", ["random", "diagonal", "max"])
def test_the_figures_equal_a_slow_computation(selection: MapSelection) -> None:
    classifier = tiny_cnn()
    head, settings = random_head(classifier), quick(map_selection=selection)
    found = figures_of(classifier, head, held_out(classifier), settings)
    assert found == pytest.approx(slowly(classifier, head, settings), rel=1e-4)
    labels = {int(classifier.logits(classifier.prepare(p)).argmax()) for p in noise_photos(PHOTOS)}
    assert len(labels) > 1
    assert 0 < found["average_drop"] < 100


def test_the_figures_of_a_vit_equal_a_slow_computation() -> None:
    classifier = tiny_vit()
    head, settings = random_head(classifier), quick()
    found = figures_of(classifier, head, held_out(classifier), settings)
    assert found == pytest.approx(slowly(classifier, head, settings), rel=1e-4)


def test_every_figure_depends_on_the_head() -> None:
    classifier = tiny_cnn()
    head = random_head(classifier)
    before = figures_of(classifier, head, held_out(classifier), quick())
    with torch.no_grad():
        head.fusion.weight.neg_()
    after = figures_of(classifier, head, held_out(classifier), quick())
    for name, value in before.items():
        assert after[name] != value, name


def test_the_head_and_its_statistics_stay_as_they_are() -> None:
    classifier = tiny_cnn()
    head = random_head(classifier).train()
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    figures_of(classifier, head, held_out(classifier), quick())
    assert head.training
    for name, tensor in head.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_shares_of_processes_add_up_to_the_whole(processes: int) -> None:
    classifier = tiny_cnn()
    head, settings = random_head(classifier), quick()
    shares = [
        measure_batches(
            classifier, head, held_out(classifier), settings, process=process, processes=processes
        )
        for process in range(processes)
    ]
    together = [batch for share in reversed(shares) for batch in share]
    assert sorted(batch.number for batch in together) == [0, 1, 2]
    assert mean_figures(together) == figures_of(classifier, head, held_out(classifier), settings)


class Torn(WrappedDataset):
    def read(self, index: int):  # type: ignore[no-untyped-def]
        if index == 5:
            raise ImageError(f"{self.name(index)} is torn")
        return super().read(index)


def test_unreadable_held_out_photos_are_named() -> None:
    classifier = tiny_cnn()
    images = PreparedImages(Torn(noise_photos(PHOTOS)), classifier.preprocessing)
    measured = measure_batches(classifier, random_head(classifier), images, quick())
    assert [batch.skipped for batch in measured] == [{}, {"item 5 of list": "is torn"}, {}]


def test_workers_change_nothing(tmp_path: Path) -> None:
    classifier = tiny_cnn()
    head = random_head(classifier)
    alone = figures_of(classifier, head, held_out(classifier), quick())
    assert figures_of(classifier, head, held_out(classifier), quick(workers=1)) == alone
