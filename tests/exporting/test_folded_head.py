"""The folded head against the head itself, which is tested against its formula."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.explainers.trained.test_shared_head import (
    CLASSES,
    GRIDS,
    KINDS,
    every_kind,
    features_for,
    random_head,
    weights_for,
)
from ttame.explainers.trained.shared_head import SharedHead
from ttame.exporting.folded_head import FoldedSharedHead
from ttame.exporting.shared_head_maps import Features


def folded_maps(
    head: SharedHead, features: list[Tensor], classes: Tensor | None, rows: Tensor | None
) -> Tensor:
    inputs = head.inputs
    evidence = None if inputs.pooled is None else Features(features[inputs.pooled])
    folded = FoldedSharedHead(head, rows)
    maps: Tensor = folded([features[place] for place in inputs.branched], classes, rows, evidence)
    return maps


@every_kind
@pytest.mark.parametrize(("details", "blur"), [(1.0, 0.0), (0.3, 0.0), (0.3, 1.3)])
@torch.no_grad()
def test_it_says_what_the_head_says(kind: str, details: float, blur: float) -> None:
    torch.manual_seed(len(kind))
    head = random_head(kind)
    head.settings = dataclasses.replace(head.settings, details=details, blur=blur)
    features, rows = features_for(head), weights_for(head)
    for classes in (torch.tensor([[3, 0, 3], [1, 4, 2]]), None):
        expected = head.explained(head(features, classes, class_weights=rows))
        assert_close(folded_maps(head, features, classes, rows), expected, 1e-9)
        assert expected.shape[1] == (CLASSES if classes is None else 3)
        assert float(expected.std()) > 1e-3


@pytest.mark.parametrize("grid", [(2, 2), (4, 5), (1, 3), (60, 3), (8, 10)])
@torch.no_grad()
def test_grids_of_any_sizes_meet(grid: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal ones, whole and broken factors, and one that is shrunk to 56 rows."""
    torch.manual_seed(0)
    monkeypatch.setitem(GRIDS, 3, grid)
    head = random_head("whole")
    features, rows = features_for(head), weights_for(head)
    classes = torch.tensor([[0, 4], [2, 2]])
    expected = head.explained(head(features, classes, class_weights=rows))
    assert_close(folded_maps(head, features, classes, rows), expected, 1e-9)


@pytest.mark.parametrize("blur", [0.0, 1.3])
@torch.no_grad()
def test_the_prior_contrasts_as_the_head_does(blur: float) -> None:
    inputs, settings = KINDS["whole"]
    settings = dataclasses.replace(settings, contrast=True, blur=blur, details=0.5)
    head = SharedHead(inputs, CLASSES, settings).double().eval()
    torch.nn.init.uniform_(head.prior_norm.weight, 0.5, 2)
    features, rows = features_for(head), weights_for(head)
    assert rows is not None
    logits = torch.tensor([[80.0, 1.0, 0.0, -3.0, 2.0], [0.3, 0.1, -0.2, 0.5, 0.4]]).double()
    folded = FoldedSharedHead(head, rows)
    for classes in (torch.tensor([[3, 0, 3], [1, 4, 2]]), None):
        maps = head(features, classes, class_weights=rows, logits=logits)
        given = [features[place] for place in inputs.branched]
        assert inputs.pooled is not None
        found = folded(given, classes, rows, Features(features[inputs.pooled]), logits)
        assert_close(found, head.explained(maps), 1e-9)


@torch.no_grad()
def test_the_head_may_change_afterwards() -> None:
    head = random_head("min-maxed")
    features, rows = features_for(head), weights_for(head)
    assert rows is not None and head.inputs.pooled is not None
    folded = FoldedSharedHead(head, rows)
    given = [features[place] for place in head.inputs.branched]
    evidence = Features(features[head.inputs.pooled])
    before = folded(given, torch.tensor([[1], [2]]), rows, evidence)
    for tensor in (*head.parameters(), *head.buffers()):
        tensor.zero_()
    assert torch.equal(folded(given, torch.tensor([[1], [2]]), rows, evidence), before)
    assert not any(parameter.requires_grad for parameter in folded.parameters())


@pytest.mark.parametrize("kind", ["whole", "without class layer"])
@torch.no_grad()
def test_embeddings_and_features_of_zero_are_no_nan(kind: str) -> None:
    head = random_head(kind)
    for tensor in head.parameters():
        tensor.zero_()
    rows = weights_for(head)
    features = [torch.zeros_like(one) for one in features_for(head)]
    maps = folded_maps(head, features, torch.tensor([[1], [2]]), None if rows is None else rows * 0)
    assert bool((maps == 0).all())
