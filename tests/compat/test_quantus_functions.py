"""The function that Quantus calls, without Quantus."""

from __future__ import annotations

import numpy as np
import torch

from tests.tiny_networks import tiny_cnn
from ttame.compat import quantus_explain_func
from ttame.explainers.known_explainers import make_explainer


def test_it_returns_what_attribute_returns() -> None:
    classifier = tiny_cnn()
    inputs = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    explain = quantus_explain_func(
        "integrated_gradients", preprocessing=classifier.preprocessing, steps=3
    )
    maps = explain(classifier.network, inputs, np.array([1, 4]), device="cpu")
    explainer = make_explainer("integrated_gradients", classifier, steps=3)
    expected = explainer.attribute(torch.from_numpy(inputs), [1, 4]).numpy()
    assert isinstance(maps, np.ndarray)
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-7)


def test_it_explains_the_model_it_is_given() -> None:
    classifier = tiny_cnn()
    inputs = np.ones((1, 3, 32, 32), np.float32)
    explain = quantus_explain_func("grad_cam", rectified=False)
    before = explain(model=classifier.network, inputs=inputs, targets=np.array([2]))
    with torch.no_grad():
        classifier.network[-1].weight.neg_()  # type: ignore[index,union-attr,operator]
    after = explain(model=classifier.network, inputs=inputs, targets=np.array([2]))
    np.testing.assert_allclose(after, -before, rtol=1e-5)
    top = explain(classifier.network, inputs)
    assert top.shape == (1, 3, 32, 32)
