"""What was put out is what is read, whatever happens to it afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.features.reused_layers import RectifiedByAFunction, classifier_of
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import find_linear_end
from ttame.errors import TapError
from ttame.explainers.known_explainers import make_explainer
from ttame.features.feature_taps import RectifiedOutput
from ttame.networks.pass_counter import counting_passes

METHODS = [
    "grad_cam", "layer_cam", "recipro_cam", "eigen_cam", "score_cam", "ablation_cam", "iia", "cam",
    "class_evidence",
]  # fmt: skip


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def in_place_or_not() -> list[Classifier]:
    """The same function of the images, twice."""
    return [
        classifier_of(RectifiedByAFunction(in_place=in_place).eval(), taps=["features"])
        for in_place in (True, False)
    ]


@pytest.mark.parametrize("with_gradients", [False, True])
def test_the_output_is_read_before_anything_works_on_it_in_place(with_gradients: bool) -> None:
    changed, plain = in_place_or_not()
    found, expected = (
        classifier.read_features(images().requires_grad_(with_gradients))
        for classifier in (changed, plain)
    )
    assert bool((expected.feature_maps[0] < 0).any())
    assert torch.equal(found.feature_maps[0], expected.feature_maps[0])
    assert torch.equal(found.logits, expected.logits)
    if with_gradients:
        gradients = [
            torch.autograd.grad(reading.logits[:, 1].sum(), reading.layer_outputs)[0]
            for reading in (found, expected)
        ]
        assert float(gradients[1].abs().max()) > 0
        assert torch.equal(gradients[0], gradients[1])
        # A negative value is rectified, so that nothing depends on it.
        assert not gradients[0][found.layer_outputs[0] < 0].any()


@pytest.mark.parametrize("method", METHODS)
def test_a_method_gives_the_same_map_in_place_or_not(method: str) -> None:
    changed, plain = in_place_or_not()
    found, expected = (make_explainer(method, one)(images(), 1).maps for one in (changed, plain))
    assert float(expected.abs().max()) > 0
    assert_close(found, expected, 1e-6)


def test_only_a_network_that_needs_it_runs_again_for_gradients() -> None:
    for classifier, passes in zip(in_place_or_not(), (2, 1), strict=True):
        with counting_passes() as counted:
            classifier.read_features(images().requires_grad_())
        assert counted.forward == 2 * passes
        with counting_passes() as counted:
            classifier.read_features(images())
        assert counted.forward == 2


def test_a_rectified_average_is_a_linear_end() -> None:
    for classifier in in_place_or_not():
        end = find_linear_end(classifier)
        assert end is not None and isinstance(end.features, RectifiedOutput)
        assert end.features.to_config() == "rectified:features"
        explanation = make_explainer("cam", classifier)(images(), "all")
        bias = classifier.network.get_submodule("fc").bias
        assert_close(explanation.maps.mean(dim=(2, 3)) + bias, explanation.logits, 1e-5)
        with pytest.raises(
            TapError, match=r"rectified:features, which is not an output.*'features'"
        ):
            make_explainer("grad_cam", classifier, layer="rectified:features")


class ChangedBeforeItsNorm(nn.Module):
    """The average of a layer's output is normalised, and the output is spoilt in between."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1))
        self.norm, self.fc = nn.LayerNorm(6), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        average = features.mean((2, 3))
        features.zero_()
        logits: Tensor = self.fc(self.norm(average))
        return logits


def test_shares_are_those_of_what_was_put_out() -> None:
    classifier = classifier_of(ChangedBeforeItsNorm().eval(), taps=["features.0"])
    end = find_linear_end(classifier)
    assert end is not None and str(end.features) == "normalised:features:norm"
    reading = classifier.with_taps([end.features]).read_features(images())
    shares = reading.feature_maps[0]
    assert_close(classifier.network.get_submodule("fc")(shares.mean((2, 3))), reading.logits, 1e-5)


def test_no_hook_stays_after_copies_were_passed_on() -> None:
    changed, _ = in_place_or_not()
    changed.read_features(images().requires_grad_())
    assert not any(module._forward_hooks for module in changed.network.modules())
