"""The example without torch and ttame."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.tiny_networks import tiny_cnn
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


def test_it_says_what_ttame_says(tmp_path: Path) -> None:
    explainer = make_explainer("cam", tiny_cnn())
    pixels = np.random.default_rng(0).integers(0, 256, (41, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    export_explainer(explainer, tmp_path / "why.onnx")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, EXAMPLE, "why.onnx", "photo.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = explainer([tmp_path / "photo.png"], "top3")
    for place, line in enumerate(done.stdout.splitlines()):
        index = int(expected.classes[0, place])
        value = float(expected.probabilities[0, index])
        assert line == f"{value:.4f} {explainer.classifier.class_label(index)}"
        with Image.open(tmp_path / f"why_{place}.png") as picture:
            assert picture.size == (32, 32)
    assert len(done.stdout.splitlines()) == 3
