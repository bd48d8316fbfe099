"""The example without torch and ttame."""

from __future__ import annotations

import dataclasses
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from PIL.ExifTags import Base

from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.explainers.known_explainers import make_explainer
from ttame.exporting.export_explainer import export_explainer

EXAMPLE = Path(__file__).parents[3] / "examples" / "deploy" / "explain_photo.py"

WITHOUT = """
import runpy, sys
for blocked in ("torch", "ttame", "torchvision", "timm"):
    sys.modules[blocked] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "why.onnx"
    export_explainer(make_explainer("cam", tiny_cnn()), path)
    return path


def photo_in(folder: Path, size: tuple[int, int], orientation: int = 1) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    Image.fromarray(pixels).save(folder / "photo.png", exif=exif)
    return folder / "photo.png"


def says_the_same(said: str, classifier: Classifier, photo: Path) -> None:
    expected = make_explainer("cam", classifier)([photo], "top3")
    lines = []
    for index in expected.classes[0].tolist():
        value = float(expected.probabilities[0, index])
        lines.append(f"{value:.4f} {classifier.class_label(index)}")
    assert said.splitlines() == lines
    for place in range(3):
        with Image.open(photo.parent / f"why_{place}.png") as picture:
            assert picture.size == (32, 32)


def test_it_says_what_ttame_says(exported: Path, tmp_path: Path) -> None:
    photo = photo_in(tmp_path, (41, 60))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, EXAMPLE, exported, "photo.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    says_the_same(done.stdout, tiny_cnn(), photo)


@pytest.mark.parametrize("resize", [33, (40, 35), "pad"])
@pytest.mark.parametrize(("size", "orientation"), [((60, 41), 1), ((30, 57), 6)])
def test_each_way_to_resize_and_photos_that_were_turned(
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    resize: Any,
    size: tuple[int, int],
    orientation: int,
) -> None:
    model = onnx.load(exported)
    (facts,) = [each for each in model.metadata_props if each.key == "ttame"]
    said = json.loads(facts.value)
    said["preprocessing"]["resize"] = resize
    facts.value = json.dumps(said)
    onnx.save(model, tmp_path / "why.onnx")
    photo = photo_in(tmp_path, size, orientation)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "why.onnx", "photo.png"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    classifier = tiny_cnn()
    preprocessing = dataclasses.replace(classifier.preprocessing, resize=resize)
    changed = Classifier(
        classifier.network, preprocessing=preprocessing, class_names=classifier.class_names
    )
    says_the_same(capsys.readouterr().out, changed, photo)
