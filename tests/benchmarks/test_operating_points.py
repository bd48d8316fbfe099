"""Maps at equal means: what is kept, and what is measured."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from benchmarks import operating_points as benchmark
from benchmarks.line_chart import LABEL_GAP, Line, line_chart
from tests.evaluation.evaluated import photo_folder
from tests.tiny_networks import tiny_cnn
from ttame.datasets.open_photos import open_photos
from ttame.datasets.prepared_images import PreparedImages
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import save_explainer
from ttame.explainers.trained.known_head_settings import head_settings


def test_trained_explainers_are_kept_under_their_weights(tmp_path: Path) -> None:
    classifier = tiny_cnn()
    settings = head_settings("few-shot")
    first, second = (
        new_attention_explainer(classifier, settings, method="few_shot", seed=seed)
        for seed in (0, 1)
    )
    names = {benchmark.kept_name("few_shot", explainer) for explainer in (first, second)}
    assert len(names) == 2
    assert benchmark.kept_name("few_shot", first) in names
    sigmoid = head_settings("few-shot", maps="sigmoid")
    other = new_attention_explainer(classifier, sigmoid, method="few_shot")
    other.head.load_state_dict(first.head.state_dict(), strict=False)
    assert benchmark.kept_name("few_shot", other) not in names
    assert benchmark.kept_name("cam", make_explainer("cam", classifier)) == "cam"
    save_explainer(second, tmp_path / "mine")
    chosen = benchmark.chosen_explainer("few_shot", classifier, str(tmp_path / "mine"))
    assert benchmark.kept_name("few_shot", chosen) == benchmark.kept_name("few_shot", second)
    assert benchmark.chosen_explainer("cam", classifier, "nowhere").method == "cam"


def test_maps_are_kept_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "KEPT_MAPS", tmp_path / "kept")
    classifier = tiny_cnn()
    images = torch.rand(3, 3, 32, 32)
    maps = benchmark.kept_maps(make_explainer("cam", classifier), images, "tiny-cam")
    assert maps.shape == (3, 4, 4)
    again = benchmark.kept_maps(make_explainer("random", classifier), images, "tiny-cam")
    assert torch.equal(maps, again)


def test_points_have_the_mean_that_was_asked_for(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    classifier = tiny_cnn()
    photos = open_photos(photo_folder(tmp_path, 4))
    views = benchmark.measured_views(
        classifier, PreparedImages(photos, classifier.preprocessing, range(4))
    )
    assert views.images.shape == (4, 3, 32, 32) and views.classes.shape == (4, 1)
    flat = benchmark.point_at(views, torch.rand(4, 4, 4), 0.99)
    deep = benchmark.point_at(views, torch.rand(4, 4, 4), 0.2)
    assert flat.exponent < 0.2 < 1 < deep.exponent
    assert len(flat.drop) == len(benchmark.SHARES)
    assert flat.drop[0] < 2
    points = {"few_shot": [deep] * 4, "cam": [flat] * 4}
    body = benchmark.page_section(points, 4)
    assert "4 photos" in body and body.count("| `cam` |") == 3
    better = flat.drop[0] < deep.drop[0]
    assert better == ("`cam` at mean 35% (drop)" in benchmark.verdict(points, 0, 1.0))


@pytest.mark.parametrize("model", list(benchmark.METHODS))
def test_every_method_exists(model: str) -> None:
    assert set(benchmark.METHODS[model]) <= set(EXPLAINERS)
    assert benchmark.METHODS[model][0] == benchmark.TRAINED


def test_labels_of_a_chart_do_not_touch() -> None:
    lines = [Line(f"method {number}", [(0, 1), (1, 2 + number / 100)]) for number in range(8)]
    drawing = line_chart([("Drop", lines), ("Increase", lines)], "mean", "method 3")
    places: dict[str, float] = {}
    for row in drawing.splitlines():
        if ">method" in row:
            name = row.split(">")[1].split("<")[0]
            places[name] = float(row.split(' y="')[1].split('"')[0])
            assert ("bold" in row) == (name == "method 3")
    assert len(places) == 8
    # The higher a line ends, the higher its label stands.
    assert sorted(places, key=places.__getitem__) == [f"method {n}" for n in range(7, -1, -1)]
    ordered = sorted(places.values())
    assert min(b - a for a, b in itertools.pairwise(ordered)) >= LABEL_GAP - 0.11
