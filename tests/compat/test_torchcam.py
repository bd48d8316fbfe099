"""torchcam's extractors without torchcam: one hook, gone afterwards, and no mixed-up images."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
import torch

from tests.conftest import assert_close
from tests.explainers.test_every_explainer import assert_unchanged, state_of
from tests.tiny_networks import tiny_cnn
from ttame.compat import torchcam
from ttame.errors import ExplainerError, TapError
from ttame.explainers.known_explainers import make_explainer

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_hook_goes_with_the_extractor() -> None:
    model = tiny_cnn().network.eval()
    before = state_of(model)
    with torchcam.GradCAM(model, "6") as extractor:
        assert len(model._forward_pre_hooks) == 1
        with torch.no_grad():
            scores = model(IMAGES)
        (maps,) = extractor([1, 3], scores)
    assert_unchanged(before, model)
    closed = torchcam.GradCAM(model, "6")
    closed.remove_hooks()
    torchcam.GradCAM(model, "6")
    gc.collect()
    assert_unchanged(before, model)
    expected = make_explainer("grad_cam", tiny_cnn(), layer="6")
    assert maps.shape == expected(IMAGES, [1, 3]).maps[:, 0].shape


def test_raw_maps_are_the_methods_own() -> None:
    classifier = tiny_cnn()
    model = classifier.network.eval()
    with torchcam.LayerCAM(model, ["4", model.get_submodule("6")]) as extractor:
        maps = extractor(2, model(IMAGES), normalized=False)
        again = extractor(2, model(IMAGES))
    for name, raw, scaled in zip(("4", "6"), maps, again, strict=True):
        expected = make_explainer("layer_cam", classifier, layer=name)(IMAGES, 2).maps[:, 0]
        assert_close(raw, expected, 1e-6)
        lowest, highest = raw.amin(dim=(1, 2)), raw.amax(dim=(1, 2))
        assert_close(scaled.amax(dim=(1, 2)), (highest - lowest) / (highest - lowest + 1e-8), 1e-6)


def test_scores_of_other_images_are_refused() -> None:
    model = tiny_cnn().network.eval()
    with torchcam.GradCAM(model, "6") as extractor:
        with pytest.raises(ExplainerError, match="has not run since.*try: scores = model"):
            extractor(1, torch.zeros(2, 7))
        scores = model(IMAGES)
        model(IMAGES.flip(0))
        with pytest.raises(ExplainerError, match="does not give in evaluation mode"):
            extractor(1, scores)
        with pytest.raises(ExplainerError, match="does not give in evaluation mode"):
            extractor(1, scores[:1])


def test_every_thread_has_its_own_images() -> None:
    model = tiny_cnn().network.eval()
    found: dict[int, Any] = {}
    with torchcam.GradCAM(model, "6") as extractor:
        expected = [extractor(1, model(IMAGES[n : n + 1]))[0] for n in (0, 1)]
        together = threading.Barrier(2, timeout=60)

        def work(number: int) -> None:
            scores = model(IMAGES[number : number + 1])
            together.wait()
            found[number] = extractor(1, scores)[0]

        threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    for number in (0, 1):
        assert torch.equal(found[number], expected[number])


def test_layers() -> None:
    model = tiny_cnn().network
    assert torchcam.GradCAM(model, input_shape=(3, 32, 32)).target_names == ["6"]
    with pytest.raises(TapError, match="'60' does not exist"):
        torchcam.GradCAM(model, "60")
    with pytest.raises(TapError, match="no layer with a feature map; try: target_layer"):
        torchcam.last_spatial_layer(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4)), (8, 8)
        )
