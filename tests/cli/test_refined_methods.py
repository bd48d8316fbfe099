"""Refined maps from the command line: ``--refine`` and ``METHOD+refinedSTEPS``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.cli.test_explain import TINY, described
from tests.datasets.noise_photos import save_photo
from ttame.cli.chosen_explainers import choose_methods
from ttame.cli.method_options import parse_method_options, parse_methods
from ttame.results.evaluation import Evaluation
from ttame.testing import tiny_classifier


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index in range(2):
        save_photo(tmp_path / "photos" / f"{index}.png", index, (64, 72))
    return tmp_path / "photos"


def test_explain_with_refined_maps(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "why"
    asked = ["--methods", "grad_cam,cam+refined1@3", "--refine", "2", "-o", str(out)]
    assert run(["explain", str(photos / "0.png"), *TINY, *asked], monkeypatch) == 0
    first, second = described(out)["methods"]
    assert first["name"] == "grad_cam+refined2"
    assert second["name"] == "cam+refined1@3+refined2"


def test_a_row_of_an_evaluation(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    methods = ["--methods", "grad_cam,grad_cam+refined2", "--metrics", "average_drop"]
    arguments = ["evaluate", "--data", str(photos), *TINY, "--out", str(out), *methods]
    assert run(arguments, monkeypatch) == 0
    plain, refined = Evaluation.load(out / "results.json").methods
    assert (plain.name, refined.name) == ("grad_cam", "grad_cam+refined2")
    assert refined.title == "Grad-CAM, refined in 2 steps"
    # Two grounds at each of two steps; what the two cost apart from that is the same.
    assert refined.cost.forward - plain.cost.forward >= 4
    assert refined.cost.backward - plain.cost.backward >= 4


def test_options_are_those_of_the_method() -> None:
    names = parse_methods("grad_cam+refined3@2x3")
    assert names == ["grad_cam+refined3@2x3"]
    assert parse_method_options(["rectified=false"], names) == {"grad_cam": {"rectified": False}}
    made, left_out = choose_methods(names, tiny_classifier(), ["grad_cam.rectified=false"], False)
    (label,) = made
    assert label == names[0] == made[label].method and not left_out
    assert made[label].options["rectified"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "grad_cam+refined"], "refinement ''; allowed: steps, or steps@grid"),
        (["--methods", "grad_cma+refined3"], "try: grad_cam"),
        (["--methods", "all+refined3"], "all+refined3; allowed: METHOD+refinedSTEPS"),
        (["--refine", "many", "--methods", "grad_cam"], "refinement 'many'"),
        (
            ["--refine", "3", "--methods", "input_x_gradient"],
            "its maps are of pixels, which could be fitted one by one; try: a grid behind the "
            "steps: 3@14",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    said: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "why"
    assert run(["explain", str(photos), *TINY, "-o", str(out), *arguments], monkeypatch) == 2
    found = " ".join(capsys.readouterr().err.split())
    assert said in found and not out.exists()
