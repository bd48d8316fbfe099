"""Every architecture of the table: taps, an explanation, and the page in the docs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scripts.docs.compatibility_page import (
    ARCHITECTURES,
    NUMBER_OF_CLASSES,
    PAGE,
    Architecture,
    Row,
    as_markdown,
    make_row,
)
from ttame.classifiers.classifier import Classifier
from ttame.errors import TapError
from ttame.explainers.trained.attention_explainer import new_attention_explainer

# Some libraries warn while they run, about their own deprecated calls.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

_ROWS: dict[int, Row] = {}


def row_of(architecture: Architecture) -> Row:
    """Built once a process: the explanation and the page need the same networks."""
    if id(architecture) not in _ROWS:
        _ROWS[id(architecture)] = make_row(architecture)
    return _ROWS[id(architecture)]


def name_of(architecture: Architecture) -> str:
    return architecture.name


def size_of(architecture: Architecture) -> tuple[int, int]:
    size = architecture.size
    return (size, size) if isinstance(size, int) else size


def test_the_table_is_broad_enough() -> None:
    sources = [architecture.source for architecture in ARCHITECTURES]
    assert len(ARCHITECTURES) >= 32
    assert min(sources.count(source) for source in ("torchvision", "timm", "hf")) >= 5


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=name_of)
def test_an_architecture_is_tapped_and_explained(architecture: Architecture) -> None:
    row = row_of(architecture)
    if architecture.taps:
        assert row.failure is not None
        assert "taps=[" in str(row.failure)
        classifier = architecture.load(architecture.taps)
    else:
        assert row.classifier is not None, row.failure
        classifier = row.classifier
    images = torch.randn(2, 3, *size_of(architecture), generator=torch.manual_seed(1))
    check_taps(classifier)
    check_explanation(classifier, images)
    check_places(classifier, images)


def check_taps(classifier: Classifier) -> None:
    """One to three taps, from the first to the last, from fine to coarse."""
    taps = classifier.taps
    records = classifier.trace.by_name()
    orders = [records[tap.layer].order for tap in taps]
    places = [tap.grid[0] * tap.grid[1] for tap in taps]
    assert 1 <= len(taps) <= 3
    assert orders == sorted(orders)
    assert places == sorted(places, reverse=True)
    assert min(min(tap.grid) for tap in taps) >= 2


def check_explanation(classifier: Classifier, images: Tensor) -> None:
    explainer = new_attention_explainer(classifier)
    explanation = explainer(images, classes="top2")
    assert explanation.maps.shape == (2, 2, *classifier.taps[0].grid)
    assert explanation.logits.shape == (2, NUMBER_OF_CLASSES)
    assert torch.isfinite(explanation.maps).all()
    single = explainer(images[1:], classes=explanation.classes[1:])
    scale = explanation.maps.abs().max()
    assert (single.maps[0] - explanation.maps[1]).abs().max() <= 3e-4 * scale


def check_places(classifier: Classifier, images: Tensor) -> None:
    """A change in the upper right quarter of the image shows most there in the first tap.

    This fails if tokens are read in another order than row by row, or at a wrong offset.
    """
    height, width = images.shape[2] // 2, images.shape[3] // 2
    changed = images[:1].clone()
    changed[..., :height, width:] += torch.randn_like(changed[..., :height, width:])
    with torch.no_grad():
        maps = classifier.read_features(torch.cat([images[:1], changed])).feature_maps[0]
    change = (maps[1] - maps[0]).abs().mean(dim=0)
    rows, columns = change.shape[0] // 2, change.shape[1] // 2
    quarters = torch.stack(
        [
            part.mean()
            for half in (change[:rows], change[-rows:])
            for part in (half[:, :columns], half[:, -columns:])
        ]
    )
    assert int(quarters.argmax()) == 1, quarters
    left, right = quarters[0], quarters[1]
    assert right > 1.1 * left, quarters


def test_the_page_is_up_to_date() -> None:
    page = as_markdown([row_of(architecture) for architecture in ARCHITECTURES])
    assert PAGE.read_text(encoding="utf-8") == page, (
        "write it again: python -m scripts.docs compatibility"
    )


def test_a_network_without_feature_maps_says_what_would_work() -> None:
    from ttame.images.preprocessing import Preprocessing

    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 4))
    with pytest.raises(TapError, match="feature maps or patch tokens"):
        Classifier(flat, preprocessing=Preprocessing.imagenet(16))
