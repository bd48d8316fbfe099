"""``explainer.attribute``, and other people's metrics that run on it unchanged."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.tiny_networks import TINY, tiny_cnn
from ttame.compat import quantus_explain_func
from ttame.errors import ClassSelectionError, ImageError
from ttame.explainers.known_explainers import make_explainer
from ttame.images.saliency_maps import resize_maps

METHODS = ["grad_cam", "input_x_gradient", "eigen_cam"]


@pytest.mark.parametrize("method", METHODS)
def test_attributions_are_the_raw_map_at_the_size_of_the_image(method: str) -> None:
    explainer = make_explainer(method, tiny_cnn())
    images = torch.randn(2, 3, 32, 48)
    attributions = explainer.attribute(images, 3)
    assert attributions.shape == images.shape
    assert attributions.dtype == torch.float32
    assert not attributions.requires_grad
    raw = resize_maps(explainer(images, 3).maps, (32, 48))
    assert_close(attributions.sum(dim=1, keepdim=True), raw, 1e-6)
    assert torch.equal(attributions[:, 0], attributions[:, 2])


def test_targets_are_given_as_to_captum() -> None:
    explainer = make_explainer("grad_cam", tiny_cnn())
    images = torch.randn(3, 3, 32, 32)
    three = explainer.attribute(images, target=3)
    for same in (torch.tensor(3), torch.tensor([3]), [3, 3, 3], torch.full((3,), 3)):
        assert torch.equal(explainer.attribute(images, target=same), three)
    each = explainer.attribute(images, target=[0, 3, 1])
    assert torch.equal(each[1], three[1])
    assert not torch.equal(each[0], three[0])
    top = explainer(images).classes[:, 0]
    assert torch.equal(explainer.attribute(images), explainer.attribute(images, top))
    with pytest.raises(ClassSelectionError, match="class index 7"):
        explainer.attribute(images, target=7)
    with pytest.raises(ClassSelectionError, match="2 classes per image.*allowed: one"):
        explainer.attribute(images, "top2")
    with pytest.raises(ImageError, match="torch.uint8"):
        explainer.attribute(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_a_tuple_of_inputs_gives_a_tuple() -> None:
    explainer = make_explainer("grad_cam", tiny_cnn())
    images = torch.randn(2, 3, 32, 32)
    (attributions,) = explainer.attribute((images,), 1)
    assert torch.equal(attributions, explainer.attribute(images, 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", ["cnn", "timm vit"])
def test_captums_metrics_run(method: str, network: str) -> None:
    metrics = pytest.importorskip("captum.metrics")
    classifier = TINY[network]()
    explainer = make_explainer(method, classifier)
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    targets = torch.tensor([1, 4])
    sensitivity = metrics.sensitivity_max(
        explainer.attribute, images, target=targets, n_perturb_samples=3
    )
    assert sensitivity.shape == (2,)
    assert (sensitivity > 0).all() and torch.isfinite(sensitivity).all()

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        noise = 0.01 * torch.randn_like(inputs)
        return noise, inputs - noise

    network_only = classifier.network.eval()
    infidelity = metrics.infidelity(
        network_only,
        perturb,
        images,
        explainer.attribute(images, targets),
        target=targets,
        n_perturb_samples=5,
    )
    assert infidelity.shape == (2,)
    assert torch.isfinite(infidelity).all()


def test_captums_infidelity_prefers_the_gradient_to_a_wrong_map() -> None:
    """The metric sees our numbers: turned upside down they explain small changes worse."""
    metrics = pytest.importorskip("captum.metrics")
    classifier = tiny_cnn()
    explainer = make_explainer("smooth_grad", classifier, samples=1, noise=0, signed=True)
    images = torch.randn(2, 3, 32, 32)
    gradient = explainer.attribute(images, 2)

    def brighten(inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The same step in all colours, so that their slopes add up as in the map."""
        step = 0.01 * torch.randn_like(inputs[:, :1]).expand_as(inputs)
        return step, inputs - step

    scores = [
        metrics.infidelity(classifier.network.eval(), brighten, images, attributions, target=2)
        for attributions in (gradient, -gradient)
    ]
    assert (scores[0] < 0.1 * scores[1]).all()


@pytest.fixture
def quantus() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantus")


@pytest.fixture
def batch() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    return {
        "x_batch": generator.standard_normal((2, 3, 32, 32)).astype(np.float32),
        "y_batch": np.array([1, 4]),
        "device": "cpu",
    }


@pytest.mark.filterwarnings("ignore")  # of Quantus, about its own defaults
@pytest.mark.parametrize("method", METHODS)
def test_quantuss_metrics_run(quantus: Any, batch: dict[str, Any], method: str) -> None:
    classifier = tiny_cnn()
    model = classifier.network.eval()
    explain = quantus_explain_func(method, preprocessing=classifier.preprocessing)
    images, targets = torch.from_numpy(batch["x_batch"]), torch.from_numpy(batch["y_batch"])
    ready = make_explainer(method, classifier).attribute(images, targets).numpy()
    quiet = {"disable_warnings": True, "display_progressbar": False}
    for metric in (
        quantus.PixelFlipping(features_in_step=256, **quiet),
        quantus.Sparseness(**quiet),
        quantus.MaxSensitivity(nr_samples=2, **quiet),
        quantus.FaithfulnessCorrelation(nr_runs=5, subset_size=100, **quiet),
    ):
        computed = metric(model=model, a_batch=None, explain_func=explain, **batch)
        given = metric(model=model, a_batch=ready, explain_func=explain, **batch)
        assert len(computed) == len(given) > 0
        assert np.isfinite(np.asarray(computed, dtype=float)).all()
    flipped = quantus.PixelFlipping(features_in_step=256, **quiet)
    np.testing.assert_allclose(
        np.asarray(flipped(model=model, a_batch=None, explain_func=explain, **batch)),
        np.asarray(flipped(model=model, a_batch=ready, explain_func=explain, **batch)),
        rtol=1e-4,
    )


@pytest.mark.filterwarnings("ignore")
def test_quantuss_randomised_models_are_the_ones_explained(
    quantus: Any, batch: dict[str, Any]
) -> None:
    """A function that clung to the original network would score a perfect similarity of 1."""
    model = tiny_cnn().network.eval()
    metric = quantus.MPRT(disable_warnings=True, display_progressbar=False, seed=3)
    explain = quantus_explain_func("input_x_gradient")
    scores = metric(model=model, a_batch=None, explain_func=explain, **batch)
    assert all(float(np.max(values)) < 0.9 for values in list(scores.values())[-1:])
