"""``ttame export``, as it is typed."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_commands import TINY_NETWORK, run
from ttame.cli.export import divided
from ttame.errors import ExplainerError

NETWORK = [*("64" if word == "32" else word for word in TINY_NETWORK), "--weights", "none"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file and what was said of it."""
    out = tmp_path_factory.mktemp("written") / "why.onnx"
    arguments = ["export", *NETWORK, "--methods", "cam", "--out", str(out)]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        assert run(arguments, patch) == 0
        assert run(arguments, patch) == 2  # it exists
    return out, said.getvalue()


def test_a_file_is_written_and_described(written: tuple[Path, str]) -> None:
    out, said = written
    assert "timm/resnet10t with cam" in said and "takes pixels (B, H, W, 3) uint8" in said
    assert "gives logits, probabilities, classes, maps" in said
    assert out.stat().st_size > 10_000


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(2):
        pixels = generator.integers(0, 256, (80, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_the_file_explains_and_is_measured(
    written: tuple[Path, str],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its classifier is loaded as it was, without --model."""
    file = str(written[0])
    explained = ["explain", str(photos), "--explainer", file, "--out", str(tmp_path / "why")]
    assert run([*explained, "--pictures", "none"], monkeypatch) == 0
    about = json.loads((tmp_path / "why" / "explanations.json").read_text(encoding="utf-8"))
    assert "timm/resnet10t" in json.dumps(about) and '"precision": "float32"' in json.dumps(about)
    measured = ["evaluate", "--data", str(photos), "--methods", f"{file},cam"]
    measured += ["--metrics", "map_complexity", "--out", str(tmp_path / "measured")]
    assert run(measured, monkeypatch) == 0
    results = json.loads((tmp_path / "measured" / "results.json").read_text(encoding="utf-8"))
    of_file, of_method = (
        [score["value"] for score in method["scores"].values()] for method in results["methods"]
    )
    assert of_file == pytest.approx(of_method, rel=1e-4) and of_file[0] > 0.01


def test_an_exported_file_is_not_exported_again(
    written: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["export", "--explainer", str(written[0]), "--out", str(tmp_path / "b.onnx")]
    assert run(arguments, monkeypatch) == 2
    assert "is an exported file already" in capsys.readouterr().err


def test_photos_that_round_do_not_measure() -> None:
    paths = [Path(str(number)) for number in range(8)]
    rounding, measuring = divided(paths, [])
    assert [path.name for path in measuring] == ["0", "4"]
    assert [path.name for path in rounding] == ["1", "2", "3", "5", "6", "7"]
    assert divided(paths, paths[:1]) == (paths, paths[:1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "why.tflite"], "allowed: onnx, pt2, openvino"),
        (["--out", "why.pt2", "--methods", "cam,class_evidence"], "2 methods in one file"),
        (["--out", "why.pt2", "--methods", "cam", "--top-k", "many"], "a number, or all"),
        (["--out", "why.pt2", "--methods", "grad_cam"], "grad_cam cannot be exported"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["export", *NETWORK, *arguments]
    assert run(typed, monkeypatch) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_any_size_is_for_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}

    def export_explainer(_explainer: object, _out: Path, **given: object) -> None:
        asked.update(given)
        raise ExplainerError("enough")

    monkeypatch.setattr("ttame.exporting.export_explainer.export_explainer", export_explainer)
    arguments = ["export", *NETWORK, "--methods", "cam", "--out", str(tmp_path / "why.onnx")]
    assert run([*arguments, "--dynamic-size"], monkeypatch) == 2
    assert asked["takes"] == "photos"
    assert run([*arguments, "--dynamic-size", "--takes", "images"], monkeypatch) == 2
    assert "--takes photos" in capsys.readouterr().err
