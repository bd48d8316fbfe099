"""All methods read, differentiate by and exchange the same run of a layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.features.reused_layers import Mirrored, ReusedPool, ReusedRelu, classifier_of
from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import TapError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.passes.tapped_output import exchanging_output, tapped_output
from ttame.features.feature_taps import RectifiedOutput

METHODS = [
    "grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam", "layer_cam", "eigen_cam",
    "score_cam", "recipro_cam", "ablation_cam",
]  # fmt: skip


class EachItsOwn(nn.Module):
    """The same function as a network that reuses a layer, with a copy of it for each run."""

    def __init__(self, network: ReusedPool | ReusedRelu) -> None:
        super().__init__()
        self.a, self.b, self.c, self.fc = network.a, network.b, network.c, network.fc
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(3))
        pools = isinstance(network, ReusedPool)
        self.pools = nn.ModuleList(nn.MaxPool2d(2) if pools else nn.Identity() for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        for conv, relu, pool in zip((self.a, self.b, self.c), self.relus, self.pools, strict=True):
            images = pool(relu(conv(images)))
        logits: Tensor = self.fc(images.mean((2, 3)))
        return logits


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["pool", "relu"])
def test_a_run_of_a_reused_layer_is_read_like_a_layer_of_its_own(kind: str, method: str) -> None:
    network = (ReusedPool() if kind == "pool" else ReusedRelu()).eval()
    reused, apart = classifier_of(network), classifier_of(EachItsOwn(network).eval())
    for run, own in ((f"{kind}#0", 0), (f"{kind}#1", 1), (kind, 2)):
        explainer = make_explainer(method, reused, layer=run)
        found = explainer(images(), 1)
        expected = make_explainer(method, apart, layer=f"{kind}s.{own}")(images(), 1)
        assert found.provenance["layer"] == run
        assert_close(found.maps, expected.maps, 1e-6)
        assert_close(found.logits, expected.logits, 1e-6)
    # What is chosen when nobody names a layer is the last run.
    assert str(make_explainer(method, reused).classifier.taps[0]) == kind


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "layer_cam", "eigen_cam"])
def test_a_network_that_looks_twice_is_explained_in_the_photos_own_coordinates(method: str) -> None:
    plain = tiny_cnn()
    averaged = Classifier(Mirrored(plain.network).eval(), preprocessing=plain.preprocessing)
    layer = str(plain.taps[-1])
    photo = torch.randn(2, 3, *plain.preprocessing.input_size)
    for run, seen in (("#0", photo), ("#1", photo.flip(-1)), ("", photo)):
        found = make_explainer(method, averaged, layer=f"body.{layer}{run}")(photo, 1).maps
        expected = make_explainer(method, plain, layer=layer)(seen, 1).maps
        # The answer is a mean of two, so that gradients are half.
        assert_close(found * (1 if method == "eigen_cam" else 2), expected, 1e-5)
        assert float(expected.abs().max()) > 0


def test_what_is_read_beside_the_network_cannot_be_exchanged() -> None:
    classifier = tiny_cnn()
    (tap,) = classifier.with_taps(classifier.taps[-1:]).taps
    beside = classifier.with_taps([RectifiedOutput.like(tap)])
    with pytest.raises(TapError, match=f"rectified:{tap}, which is not an output.*'{tap}'"):
        tapped_output(beside)
    with pytest.raises(TapError, match="not an output of a layer"):
        exchanging_output(beside, lambda output: output)
