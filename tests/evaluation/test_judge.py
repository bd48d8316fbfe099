"""A second classifier: what it is shown, when it is refused, and what stands in the table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.evaluation.evaluated import explainers, photo_folder, run
from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import EvaluationError
from ttame.evaluation.judge import refuse_other_classes, shown_to_judge
from ttame.evaluation.row_store import RowStore
from ttame.images.preprocessing import Preprocessing


class Brightness(nn.Module):
    """Two scores, of how bright and how dark the normalised picture is."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 3, padding=1)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.bias.zero_()
            self.features.weight[0, :, 1, 1] = scale / 3
            self.features.weight[1, :, 1, 1] = -scale / 3

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean(dim=(2, 3))


def plain(size: int, mean: float = 0.0, std: float = 1.0) -> Preprocessing:
    return Preprocessing((size, size), size, (mean,) * 3, (std,) * 3)


def two(size: int = 16, names: tuple[str, ...] = (), **settings: object) -> Classifier:
    preprocessing = settings.pop("preprocessing", plain(size))
    settings = {"taps": ["features"], **settings}
    return Classifier(Brightness(), preprocessing, class_names=names or None, **settings)  # type: ignore[arg-type]


def other_cnn() -> Classifier:
    """The tiny network with other weights."""
    network = tiny_cnn().network
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return Classifier(network, tiny_cnn().preprocessing, name="other")


def test_the_judge_sees_the_same_picture_in_its_own_way() -> None:
    own = two(16, preprocessing=Preprocessing.imagenet(16))
    judge = two(24, preprocessing=plain(24, 0.5, 0.25))
    shown: list[Tensor] = []

    def probabilities(images: Tensor) -> Tensor:
        shown.append(images)
        return judge.probabilities(images)

    pixels = torch.rand(2, 3, 16, 16)
    found = shown_to_judge(own, judge, probabilities)(own.preprocessing.normalise(pixels))
    expected = F.interpolate(pixels, (24, 24), mode="bilinear", antialias=True)
    torch.testing.assert_close(shown[0], (expected - 0.5) / 0.25, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, judge.probabilities(shown[0]))


@pytest.mark.parametrize(
    ("classifier", "judge", "message"),
    [
        (two(), tiny_cnn(), "classes, not 2"),
        (two(names=("cat", "dog")), two(names=("cat", "Hound")), "class 1 is 'Hound', not 'dog'"),
        (two(), two(outputs="sigmoid"), "its outputs are sigmoid, not softmax"),
    ],
)
def test_other_classes_are_refused(classifier: Classifier, judge: Classifier, message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as problem:
        refuse_other_classes(classifier, judge)
    assert "\n" not in str(problem.value)


def test_the_same_classes_are_taken() -> None:
    refuse_other_classes(two(names=("cat", "dog")), two(24, names=("Cat", "dog")))
    refuse_other_classes(two(names=("cat", "dog")), two())


def test_judged_columns_stand_next_to_the_others(tmp_path: Path) -> None:
    photos, classifier = photo_folder(tmp_path / "photos", 4), tiny_cnn()
    other = other_cnn()
    metrics = ["deletion", "mean_map", "average_drop"]
    options = {"metrics": metrics, "methods": explainers(classifier, ("grad_cam",))}
    before = {name: value.clone() for name, value in other.network.state_dict().items()}
    found = run(photos, tmp_path / "out", classifier, judge=other, **options)
    alone = run(photos, tmp_path / "alone", classifier, **options)
    keys = [column.key for column in alone.columns]
    assert [column.key for column in found.columns] == [
        *keys, *(f"judged.{key}" for key in keys if key != "mean_map"),
    ]  # fmt: skip
    (row,), (row_alone,) = found.methods, alone.methods
    assert {key: row.scores[key] for key in keys} == dict(row_alone.scores)
    assert "deletion" in row.curves and "judged.deletion" in row.curves
    assert any("judged." in note and other.name in note for note in found.notes)
    assert not any("judged." in note for note in alone.notes)
    for name, value in other.network.state_dict().items():
        assert torch.equal(value, before[name])
    _, _, values = RowStore(tmp_path / "out").values("grad_cam")
    assert (values["deletion"] != values["judged.deletion"]).any()


def test_results_of_another_judge_are_not_continued(tmp_path: Path) -> None:
    photos, classifier = photo_folder(tmp_path / "photos", 2), tiny_cnn()
    judge, same = other_cnn(), other_cnn()
    options = {"metrics": ["average_drop"], "methods": explainers(classifier, ("random",))}
    run(photos, tmp_path / "out", classifier, judge=judge, **options)
    run(photos, tmp_path / "out", classifier, judge=same, resume=True, **options)
    for changed in (None, classifier):
        with pytest.raises(EvaluationError, match="another (judge|list of metrics)"):
            run(photos, tmp_path / "out", classifier, judge=changed, resume=True, **options)
