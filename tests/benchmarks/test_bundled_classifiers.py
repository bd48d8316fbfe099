"""Figures of classifiers, from hand-made logits to tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import bundled_classifiers as benchmark
from tests.datasets.noise_photos import noise
from tests.tiny_networks import CLASSES, tiny_cnn
from ttame.datasets.photo_source import PhotoSource


class Noise(PhotoSource):
    """Photos with the labels given; without one, the name tells the class."""

    def __init__(self, labels: list[int | None]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def key(self, index: int) -> str:
        return f"photos/{index + 1:03d}_n01_kind.jpg"

    name = key

    def read(self, index: int) -> Image.Image:
        return noise(index, (40, 40))

    def label(self, index: int) -> int | None:
        return self.labels[index]


def test_figures_by_hand() -> None:
    # The best classes are 6, 5, 4, 3, 2, 1, 0 in turn.
    logits = torch.arange(7.0)[None].repeat(3, 1)
    teacher = logits.clone()
    teacher[1, 5], teacher[2, 0] = 9.0, 9.0
    labels = torch.tensor([6, 2, 1])
    figures = benchmark.figures_of(logits, teacher, labels, torch.tensor([1, 2, 0, 3, 4, 5, 6]))
    assert figures["top-1"].tolist() == [100, 0, 0]
    assert figures["top-5"].tolist() == [100, 100, 0]
    assert figures["agreement"].tolist() == [100, 0, 0]
    assert figures["in top-5"].tolist() == [100, 100, 0]
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=teacher),
        torch.distributions.Categorical(logits=logits),
    )
    assert torch.allclose(figures["divergence"], expected, atol=1e-6)
    assert figures["divergence"][0].abs() < 1e-6


def test_figures_among_the_classes_that_occur() -> None:
    logits = torch.tensor([[9.0, 3.0, 2.0, 8.0, 1.0, 0.0, 7.0]])
    labels = torch.tensor([1])
    figures = benchmark.figures_of(logits, logits, labels, torch.tensor([5, 1, 2, 4, 0]))
    assert figures["top-1 of known"] == 0
    figures = benchmark.figures_of(logits, logits, labels, torch.tensor([5, 1, 2, 4, 4]))
    assert figures["top-1"] == 0 and figures["top-1 of known"] == 100
    assert "top-1 of known" not in benchmark.figures_of(logits, logits, labels)


def test_intervals_hold_the_mean_and_shrink_with_the_number() -> None:
    few = torch.tensor([[0.0], [100.0]] * 20)
    many = few.repeat(25, 1)
    narrow, wide = (benchmark.with_intervals(values)[0] for values in (many, few))
    assert narrow["mean"] == wide["mean"] == 50
    assert narrow["low"] < 50 < narrow["high"]
    # A binomial's interval: 1.96 standard errors to each side.
    assert wide["high"] - wide["low"] == pytest.approx(2 * 1.96 * 50 / 40**0.5, rel=0.2)
    assert (narrow["high"] - narrow["low"]) * 5 == pytest.approx(
        wide["high"] - wide["low"], rel=0.2
    )
    assert benchmark.with_intervals(few) == benchmark.with_intervals(few)


def test_labels_are_classes_rows_or_names(tmp_path: Path) -> None:
    assert benchmark.label_of(Noise([4]), 0) == 4
    assert benchmark.label_of(Noise([None, None]), 1) == 2
    file = tmp_path / "classes.csv"
    file.write_text('label,wnid,imagenet1k_index,name\n1,n2,30,"frog, big"\n0,n1,7,fish\n')
    assert benchmark.classes_of_rows(file).tolist() == [7, 30]


def test_a_set_is_measured_and_shown() -> None:
    teacher, student = tiny_cnn(), tiny_cnn()
    with torch.no_grad():
        student.network[-1].weight.neg_()
        student.network[-1].bias.neg_()
    photos = Noise([0, 1, 2, 0, 1, 2])
    own = [int(teacher.logits(teacher.prepare(noise(i, (40, 40)))).argmax()) for i in range(6)]
    networks = {benchmark.TEACHER: teacher, benchmark.STUDENT: student}
    rows = torch.tensor([own[0], *(kind for kind in range(CLASSES) if kind != own[0])])
    found = benchmark.measured_set("Noise", networks, photos, None, rows)
    assert (found["images"], found["known_classes"]) == (6, CLASSES)
    right = sum(int(rows[i % 3]) == own[i] for i in range(6))
    assert 0 < right < 6
    of_teacher = found["networks"][benchmark.TEACHER]
    assert of_teacher["top-1"]["mean"] == pytest.approx(100 * right / 6, abs=0.01)
    assert of_teacher["agreement"]["mean"] == 100
    assert of_teacher["divergence"]["mean"] == 0
    assert found["networks"][benchmark.STUDENT]["agreement"]["mean"] == 0
    assert found["networks"][benchmark.STUDENT]["divergence"]["mean"] > 0
    page = benchmark.figures_in_tables({"sets": [found]})
    assert "### Noise, 6 photos" in page
    assert f"| top-1 % of {CLASSES} | top-5 % of {CLASSES} |" in page
    assert f"| {benchmark.TEACHER} | {100 * right / 6:.1f} ± " in page


def test_a_limit_is_spread_over_the_set() -> None:
    networks = {benchmark.TEACHER: tiny_cnn(), benchmark.STUDENT: tiny_cnn()}
    read: list[int] = []

    class Watched(Noise):
        def read(self, index: int) -> Image.Image:
            read.append(index)
            return super().read(index)

    found = benchmark.measured_set("Noise", networks, Watched([0] * 10), 3)
    assert found["images"] == 3
    assert read == [0, 3, 6]
    assert found["known_classes"] is None
