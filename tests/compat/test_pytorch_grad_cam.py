"""Maps as pytorch-grad-cam returns them: its golden tensors, its calls, its users' mistakes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.methods.activation.test_activation_gradients import LAYERS, golden_case
from tests.explainers.test_every_explainer import assert_unchanged, state_of
from tests.tiny_networks import TINY, tiny_cnn
from ttame import compat
from ttame.errors import ClassSelectionError, ExplainerError, ImageError

PUBLISHED = {
    "gradcam": compat.GradCAM,
    "gradcam_plusplus": compat.GradCAMPlusPlus,
    "xgradcam": compat.XGradCAM,
    "hirescam": compat.HiResCAM,
    "layercam": compat.LayerCAM,
    "gradcam_elementwise": compat.GradCAMElementWise,
    "scorecam": compat.ScoreCAM,
    "ablationcam": compat.AblationCAM,
}


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("name", PUBLISHED)
def test_maps_are_those_of_the_library(name: str, case: str) -> None:
    golden, classifier, classes = golden_case(case)
    model = classifier.network
    layer = model.get_submodule(LAYERS[case])
    targets = [compat.ClassifierOutputTarget(category) for category in classes]
    with PUBLISHED[name](model=model, target_layers=[layer]) as cam:
        maps = cam(input_tensor=golden["input.images"], targets=targets)
    assert maps.dtype == np.float32
    tolerance = 2e-4 if (case, name) == ("cams_vit", "xgradcam") else 2e-5
    assert_close(torch.from_numpy(maps), golden[f"output.{name}.map"], tolerance)
    assert cam.outputs is not None
    assert_close(cam.outputs, golden["output.logits"], 1e-5)


@pytest.mark.parametrize("method", [compat.EigenCAM, compat.EigenGradCAM])
@pytest.mark.parametrize("case", LAYERS)
def test_main_components_are_the_librarys_maps_or_those_of_the_other_sign(
    case: str, method: Any
) -> None:
    golden, classifier, classes = golden_case(case)
    layer = classifier.network.get_submodule(LAYERS[case])
    maps = method(classifier.network, [layer])(golden["input.images"], classes)
    name = f"output.{method.__name__.lower()}.map"
    names = (name, f"{name}_negated")
    for index, ours in enumerate(torch.from_numpy(maps)):
        assert min(float((ours - golden[name][index]).abs().max()) for name in names) < 2e-5


def test_full_grad_is_the_librarys() -> None:
    golden, classifier, classes = golden_case("cams_cnn")
    maps = compat.FullGrad(classifier.network, [])(golden["input.images"], classes)
    assert_close(torch.from_numpy(maps), golden["output.fullgrad.map"], 2e-5)


def test_several_layers_are_averaged_as_in_the_library() -> None:
    golden, classifier, classes = golden_case("cams_cnn")
    model: Any = classifier.network
    cam = compat.GradCAM(model=model, target_layers=[model.relu2, model.relu3])
    maps = torch.from_numpy(cam(golden["input.images"], classes))
    assert_close(maps, golden["output.gradcam_two_layers.map"], 2e-5)


@pytest.mark.parametrize("network", TINY)
def test_any_network_needs_neither_layout_nor_evaluation_mode(network: str) -> None:
    classifier = TINY[network]()
    model = classifier.network.train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = state_of(model)
    layer = model.get_submodule(classifier.taps[-1].layer)
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    maps = compat.GradCAM(model, [layer])(images)
    assert_unchanged(before, model)
    assert maps.shape == (2, *classifier.preprocessing.input_size)
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_a_reshape_transform_is_not_needed_but_used() -> None:
    golden, classifier, classes = golden_case("cams_vit")
    layer = classifier.network.get_submodule(LAYERS["cams_vit"])
    images = golden["input.images"]
    called: list[torch.Size] = []

    def as_the_tutorial_writes_it(tensor: Tensor) -> Tensor:
        called.append(tensor.shape)
        result = tensor[:, 1:, :].reshape(tensor.size(0), 4, 4, tensor.size(2))
        return result.transpose(2, 3).transpose(1, 2)

    def mirrored(tensor: Tensor) -> Tensor:
        return as_the_tutorial_writes_it(tensor).flip(3)

    plain = compat.GradCAM(classifier.network, [layer])(images, classes)
    given = compat.GradCAM(classifier.network, [layer], as_the_tutorial_writes_it)
    np.testing.assert_allclose(given(images, classes), plain, atol=1e-6)
    assert called
    flipped = compat.GradCAM(classifier.network, [layer], reshape_transform=mirrored)
    np.testing.assert_allclose(flipped(images, classes), plain[:, :, ::-1], atol=1e-6)


@dataclasses.dataclass
class TargetOfTheOtherLibrary:
    category: int

    def __call__(self, model_output: Tensor) -> Tensor:
        return model_output[self.category]


def test_targets_may_be_objects_of_any_library_ints_or_left_out() -> None:
    classifier = tiny_cnn()
    cam = compat.GradCAM(classifier.network, [classifier.network.get_submodule("4")])
    images = torch.randn(2, 3, 32, 32)
    by_number = cam(images, [2, 5])
    by_function = cam(images, [TargetOfTheOtherLibrary(n) for n in (2, 5)])
    np.testing.assert_allclose(by_function, by_number, atol=1e-5)
    assert np.array_equal(by_number, cam(images, torch.tensor([2, 5])))
    assert not np.array_equal(by_number, cam(images, [5, 2]))
    top = classifier.logits(images).argmax(dim=1).tolist()
    assert np.array_equal(cam(images), cam(images, top))
    with pytest.raises(ClassSelectionError, match="1.* for 2 images"):
        cam(images, [2])
    with pytest.raises(ClassSelectionError, match="a function as target.*281"):
        cam(images, [lambda output: output[0], 1])
    with pytest.raises(ClassSelectionError, match="class index 7"):
        cam(images, [7, 7])


def test_images_of_several_sizes_go_through_one_object() -> None:
    model = tiny_cnn().network
    cam = compat.GradCAM(model, ["6"])
    assert cam(torch.randn(1, 3, 32, 32)).shape == (1, 32, 32)
    assert cam(torch.randn(2, 3, 40, 64)).shape == (2, 40, 64)


def test_a_map_without_evidence_is_black() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    nn.init.constant_(model[4].weight, -1)  # type: ignore[arg-type]
    maps = compat.GradCAM(model, [model[1]])(torch.randn(1, 3, 16, 16), [0])
    assert np.array_equal(maps, np.zeros((1, 16, 16), dtype=np.float32))


def test_errors_pass_through_the_context() -> None:
    model = tiny_cnn().network
    with pytest.raises(ZeroDivisionError), compat.GradCAM(model, ["6"]):
        1 / 0  # noqa: B018


def test_other_mistakes_are_one_clear_error() -> None:
    model = tiny_cnn().network
    with pytest.raises(ExplainerError, match="no target layers"):
        compat.GradCAM(model, [])
    cam = compat.GradCAM(model, model.get_submodule("6"))  # type: ignore[arg-type]
    score_cam = compat.ScoreCAM(model, ["6"])
    with pytest.raises(
        ExplainerError, match="eigen_smooth=True for Score-CAM.*try: eigen_smooth=F"
    ):
        score_cam(torch.randn(1, 3, 32, 32), eigen_smooth=True)
    with pytest.raises(ImageError, match="input_tensor"):
        cam(torch.randn(3, 32, 32))
    with pytest.raises(ImageError, match="input_tensor ndarray|input_tensor"):
        cam(np.zeros((1, 3, 32, 32)))  # type: ignore[arg-type]


def test_functions_must_be_as_many_as_the_images() -> None:
    cam = compat.GradCAM(tiny_cnn().network, ["6"])
    with pytest.raises(ClassSelectionError, match="1 targets for 2 images; allowed: one per image"):
        cam(torch.randn(2, 3, 32, 32), [lambda scores: scores[0]])


def test_smoothing_leaves_the_outputs_of_the_images_themselves() -> None:
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 32, 32)
    cam = compat.GradCAM(classifier.network, ["6"])
    mirrored = cam(images.flip(3), aug_smooth=True)[:, :, ::-1]
    np.testing.assert_allclose(cam(images, aug_smooth=True), mirrored, atol=1e-5)
    assert cam.outputs is not None
    assert_close(cam.outputs, classifier.logits(images), 1e-5)
