"""One small explainer and the file that it was written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny_networks import tiny_cnn
from ttame.explainers.trained.attention_explainer import AttentionExplainer, new_attention_explainer
from ttame.explainers.trained.head_settings import SharedHeadSettings
from ttame.exporting.export_explainer import export_explainer
from ttame.exporting.exported_facts import ExportedFacts


@pytest.fixture(scope="session")
def explainer() -> AttentionExplainer:
    """A few-shot head on a CNN; untrained, which changes nothing here."""
    return new_attention_explainer(tiny_cnn(), SharedHeadSettings(), method="few_shot")


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Two of different shapes."""
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8))
        for size in ((40, 56), (64, 45))
    ]


@pytest.fixture(scope="session")
def exported(
    explainer: AttentionExplainer,
    photos: list[Image.Image],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, ExportedFacts]:
    """The explainer as an ONNX file, and what that says of itself."""
    path = tmp_path_factory.mktemp("exported") / "why.onnx"
    facts = export_explainer(
        explainer, path, choose_classes=True, dynamic_batch=True, photos=photos
    )
    return path, facts
