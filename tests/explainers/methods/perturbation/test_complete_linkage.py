from __future__ import annotations

import pytest
import torch

from ttame.explainers.methods.perturbation.complete_linkage import complete_linkage


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.5, 0.9, 3.0])
def test_scipy_agrees(threshold: float) -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    generator = torch.Generator().manual_seed(int(100 * threshold))
    vectors = torch.rand(60, 4, generator=generator, dtype=torch.float64)
    distances = torch.cdist(vectors, vectors)
    ours = complete_linkage(distances, threshold)
    upper = distances[torch.triu_indices(60, 60, offset=1).unbind()]
    tree = hierarchy.linkage(upper.numpy(), "complete")
    theirs = torch.from_numpy(hierarchy.fcluster(tree, threshold, "distance"))
    assert torch.equal(ours[:, None] == ours, theirs[:, None] == theirs)


def test_by_hand() -> None:
    places = torch.tensor([0.0, 1.0, 1.75, 5.0])
    distances = (places[:, None] - places).abs()
    # 1 and 1.75 go together first; 0 is 1.75 from the farther of them.
    assert complete_linkage(distances, 1.75).tolist() == [0, 1, 1, 2]
    assert complete_linkage(distances, 1.76).tolist() == [0, 0, 0, 1]
    assert complete_linkage(distances, 0.75).tolist() == [0, 1, 2, 3]
    assert complete_linkage(distances[:1, :1], 1.0).tolist() == [0]


def test_the_argument_is_not_changed() -> None:
    distances = torch.rand(5, 5)
    distances = distances + distances.T
    before = distances.clone()
    complete_linkage(distances, 1.0)
    assert torch.equal(distances, before)
