"""Sums of a class's logits over its region."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError
from ttame.explainers.known_explainers import make_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.networks.region_scores import ScoresOfRegions, pixel_logits, predicted_regions


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()


def test_sums_and_averages_by_loops() -> None:
    net, images = network(), torch.randn(2, 3, 8, 8)
    logits = net(images).detach()
    regions = predicted_regions(net, images[:1])
    own = ScoresOfRegions(net)(images).detach()
    fixed = ScoresOfRegions(net, regions)(images).detach()
    mean = ScoresOfRegions(net, regions[1], average=True)(images).detach()
    for b in range(2):
        for k in range(4):
            values, of_first, of_one = [], [], []
            for y in range(8):
                for x in range(8):
                    if int(logits[b, :, y, x].argmax()) == k:
                        values.append(logits[b, k, y, x])
                    if int(logits[0, :, y, x].argmax()) == k:
                        of_first.append(logits[b, k, y, x])
                    if int(logits[0, :, y, x].argmax()) == 1:
                        of_one.append(logits[b, k, y, x])
            assert float(own[b, k]) == pytest.approx(float(sum(values)), abs=1e-4)
            assert float(fixed[b, k]) == pytest.approx(float(sum(of_first)), abs=1e-4)
            assert float(mean[b, k]) == pytest.approx(float(sum(of_one)) / len(of_one), abs=1e-4)


def test_grad_cam_of_a_region() -> None:
    net, images = network(), torch.randn(1, 3, 8, 8)
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[2:5, 3:7] = True
    classifier = Classifier(
        ScoresOfRegions(net, region), preprocessing=Preprocessing.imagenet(8), taps=["network.1"]
    )
    features = net[:2](images).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(net[2](features)[0, 2, 2:5, 3:7].sum(), features)
    expected = (slopes.mean((2, 3), keepdim=True) * features).sum(1).relu().detach()
    found = make_explainer("grad_cam", classifier)(images, 2).maps[:, 0]
    assert torch.allclose(found, expected, atol=1e-5) and float(expected.max()) > 0


def test_logits_of_every_library_are_found_and_enlarged() -> None:
    logits = torch.randn(1, 5, 4, 4)
    for output in (logits, {"out": logits, "aux": None}, SimpleNamespace(logits=logits)):
        assert pixel_logits(output, (4, 4)) is logits
    enlarged = nn.functional.interpolate(logits, (8, 6), mode="bilinear")
    assert torch.equal(pixel_logits(logits, (8, 6)), enlarged)
    with pytest.raises(ClassifierError, match=r"returns \(1, 5\)"):
        pixel_logits(torch.zeros(1, 5), (4, 4))


@pytest.mark.parametrize(
    ("region", "said"),
    [
        (torch.ones(8, 8), "torch.float32"),
        (torch.zeros(8, 8, dtype=torch.bool), "an empty region"),
        (torch.ones(4, 8, dtype=torch.bool), r"of shape \(4, 8\) for 4 classes"),
        (torch.ones(5, 8, 8, dtype=torch.bool), r"of shape \(5, 8, 8\) for 4 classes"),
    ],
)
def test_regions_that_do_not_fit_are_refused(region: torch.Tensor, said: str) -> None:
    with pytest.raises(ClassifierError, match=said):
        ScoresOfRegions(network(), region)(torch.zeros(1, 3, 8, 8))
