from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.classifiers.small_networks import SMALL, Answering, Flattening, small_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError, ImageError
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.images.preprocessing import Preprocessing


def everything_of(network: nn.Module) -> dict[str, Any]:
    """Whatever a borrower could leave changed."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modes": {name: module.training for name, module in network.named_modules()},
        "hooks": {
            (name, kind): list(getattr(module, kind).items())
            for name, module in network.named_modules()
            for kind in hooks
        },
        "flags": {name: p.requires_grad for name, p in network.named_parameters()},
        "gradients": {name: p.grad for name, p in network.named_parameters()},
        "places": {name: tensor.data_ptr() for name, tensor in network.state_dict().items()},
        "strides": {name: tensor.stride() for name, tensor in network.state_dict().items()},
        "dicts": {name: sorted(vars(module)) for name, module in network.named_modules()},
    }


def users_network() -> nn.Sequential:
    """In the middle of somebody's training: mixed modes and flags, a gradient, a hook."""
    network = small_cnn().train()
    network[1].eval()
    network[4].bias.requires_grad_(False)
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    network[3].register_forward_hook(lambda *_: None)
    return network


def assert_untouched(
    network: nn.Module, before: dict[str, Any], weights: dict[str, Tensor]
) -> None:
    after = everything_of(network)
    gradients, gradients_before = after.pop("gradients"), before.pop("gradients")
    assert all(gradients[name] is gradient for name, gradient in gradients_before.items())
    assert after == before
    assert all(torch.equal(weights[name], t) for name, t in network.state_dict().items())


def test_the_network_is_left_as_found() -> None:
    network = users_network()
    before, weights = everything_of(network), copy.deepcopy(network.state_dict())
    explainer = new_attention_explainer(Classifier(network, preprocessing=SMALL))
    explainer(torch.randn(2, 3, 32, 32), classes="all")
    assert_untouched(network, before, weights)


@pytest.mark.parametrize("layer", [1, 3, 8])
def test_the_network_is_left_as_found_when_a_layer_raises(layer: int) -> None:
    network = users_network()
    classifier = Classifier(network, preprocessing=SMALL)
    explainer = new_attention_explainer(classifier)

    def fail(*_: Any) -> None:
        raise RuntimeError("midway")

    network[layer].register_forward_hook(fail)
    before, weights = everything_of(network), copy.deepcopy(network.state_dict())
    with pytest.raises(ClassifierError, match="midway"):
        explainer(torch.randn(2, 3, 32, 32))
    with pytest.raises(ClassifierError, match="midway"):
        Classifier(network, preprocessing=SMALL)
    assert_untouched(network, before, weights)


def test_four_threads_give_what_one_gives() -> None:
    network = users_network()
    explainer = new_attention_explainer(Classifier(network, preprocessing=SMALL))
    batches = [torch.randn(2, 3, 32, 32) for _ in range(4)]
    alone = [explainer(batch, classes="all").maps for batch in batches]
    before, weights = everything_of(network), copy.deepcopy(network.state_dict())
    together: dict[int, list[Tensor]] = {index: [] for index in range(4)}
    start = threading.Barrier(4)

    def explain(index: int) -> None:
        start.wait()
        for _ in range(15):
            together[index].append(explainer(batches[index], classes="all").maps)

    threads = [threading.Thread(target=explain, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_untouched(network, before, weights)
    for index, maps in together.items():
        assert len(maps) == 15
        assert all(torch.equal(found, alone[index]) for found in maps)


def test_gradients_reach_the_images_and_nothing_else() -> None:
    network = small_cnn().train()
    classifier = Classifier(network, preprocessing=SMALL)
    images = torch.randn(1, 3, 32, 32, requires_grad=True)
    reading = classifier.read_features(images)
    (reading.logits.sum() + sum(f.sum() for f in reading.feature_maps)).backward()
    assert images.grad is not None
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not classifier.logits(images.detach()).requires_grad


def test_channels_last_only_where_the_network_allows_it() -> None:
    allowed = Classifier(small_cnn(), preprocessing=SMALL)
    refused = Classifier(Flattening(), preprocessing=SMALL)
    assert allowed.memory_format == torch.channels_last
    assert refused.memory_format == torch.contiguous_format
    images = torch.randn(2, 3, 32, 32)
    refused.logits(images.to(memory_format=torch.channels_last))
    network = allowed.network.eval()
    torch.testing.assert_close(allowed.logits(images), network(images))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    classifier = Classifier(small_cnn().to(dtype), preprocessing=SMALL)
    explanation = new_attention_explainer(classifier)(torch.randn(2, 3, 32, 32))
    assert classifier.dtype == dtype
    assert explanation.maps.dtype == torch.float32
    assert torch.isfinite(explanation.maps).all()


@pytest.mark.parametrize("size", [(32, 32), (48, 32), (40, 64)])
def test_other_input_sizes(size: tuple[int, int]) -> None:
    classifier = Classifier(small_cnn(), preprocessing=Preprocessing(size, size))
    assert [tap.grid for tap in classifier.taps] == [(size[0] // d, size[1] // d) for d in (2, 4)]
    maps = new_attention_explainer(classifier)(torch.randn(1, 3, *size)).maps
    assert maps.shape[2:] == (size[0] // 2, size[1] // 2)


def compiled_outside() -> nn.Module:
    return torch.compile(small_cnn(), backend="eager")  # type: ignore[return-value]


def compiled_in_place() -> nn.Module:
    network = small_cnn()
    network.compile(backend="eager")
    return network


def compiled_inside() -> nn.Module:
    return nn.Sequential(torch.compile(small_cnn()[:6], backend="eager"), *small_cnn()[6:])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [compiled_outside, compiled_in_place, compiled_inside])
def test_compiled_networks_are_read(make: Any) -> None:
    network = make()
    network(torch.randn(2, 3, 32, 32))  # compiled before we come
    classifier = Classifier(network, preprocessing=SMALL)
    images = torch.randn(2, 3, 32, 32)
    reading = classifier.read_features(images)
    assert [tap.grid for tap in classifier.taps] == [(16, 16), (8, 8)]
    assert [maps.shape[1] for maps in reading.feature_maps] == [8, 16]
    assert network.training


def test_a_compiled_network_has_the_fingerprint_of_its_own() -> None:
    network = small_cnn()
    compiled = Classifier(torch.compile(network, backend="eager"), preprocessing=SMALL)
    assert compiled.fingerprint() == Classifier(network, preprocessing=SMALL).fingerprint()
    assert compiled.name == "Sequential"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
def test_torchscript_is_refused() -> None:
    script = torch.jit.trace(small_cnn().eval(), torch.zeros(1, 3, 32, 32))
    with pytest.raises(ClassifierError, match="TorchScript"):
        Classifier(script, preprocessing=SMALL)


def test_what_is_no_network_or_has_wrong_names_is_refused() -> None:
    with pytest.raises(ClassifierError, match="a function as network"):
        Classifier(lambda x: x, preprocessing=SMALL)  # type: ignore[arg-type]
    with pytest.raises(ClassifierError, match="2 class names for 5 classes"):
        Classifier(small_cnn(), preprocessing=SMALL, class_names=["a", "b"])
    with pytest.raises(ClassifierError, match="a list of names"):
        Classifier(small_cnn(), preprocessing=SMALL, class_names="abcde")


def test_dict_like_outputs_are_understood() -> None:
    classifier = Classifier(Answering(lambda y: {"logits": y}), preprocessing=SMALL)
    assert classifier.probabilities(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert classifier.class_label(3) == "class 3"


@pytest.mark.parametrize(
    ("images", "came"),
    [
        (np.zeros((1, 3, 32, 32)), "an ndarray"),
        (torch.zeros(3, 32, 32), "shape (3, 32, 32)"),
        (torch.zeros(1, 1, 32, 32), "shape (1, 1, 32, 32)"),
        (torch.zeros(0, 3, 32, 32), "shape (0, 3, 32, 32)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images: Any, came: str) -> None:
    classifier = Classifier(small_cnn(), preprocessing=SMALL)
    with pytest.raises(ImageError) as caught:
        classifier.logits(images)
    assert came in str(caught.value)


def test_photos_of_any_kind_are_prepared(tmp_path: Path) -> None:
    classifier = Classifier(small_cnn(), preprocessing=SMALL)
    photo = Image.new("L", (50, 40), 128)
    photo.save(tmp_path / "grey.png")
    both = classifier.prepare([photo, tmp_path / "grey.png"])
    assert both.shape == (2, 3, 32, 32)
    assert torch.equal(both[0], both[1])
    assert classifier.prepare(str(tmp_path / "grey.png")).shape == (1, 3, 32, 32)
    with pytest.raises(ImageError, match="empty list"):
        classifier.prepare([])


def test_with_taps_shares_the_network() -> None:
    classifier = Classifier(small_cnn(), preprocessing=SMALL)
    other = classifier.with_taps(["5"])
    assert other.network is classifier.network
    assert [tap.layer for tap in other.taps] == ["5"]
    assert len(classifier.taps) == 2


def test_a_classifier_without_preprocessing_is_refused() -> None:
    network = small_cnn()
    with pytest.raises(ClassifierError, match=r"None as preprocessing.*Preprocessing\.imagenet"):
        Classifier(network, preprocessing=None)  # type: ignore[arg-type]


def test_a_network_that_was_made_in_inference_mode_is_refused() -> None:
    with torch.inference_mode():
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        )
    with pytest.raises(ClassifierError, match=r"torch\.inference_mode.*torch\.no_grad"):
        Classifier(network, preprocessing=Preprocessing.imagenet(16))


@pytest.mark.parametrize(
    "names", [np.array(["a", "b", "c", "d", "e"]), (letter for letter in "abcde"), list("abcde")]
)
def test_class_names_may_come_in_any_sequence(names: Any) -> None:
    classifier = Classifier(small_cnn(), preprocessing=SMALL, class_names=names)
    assert classifier.class_names == ("a", "b", "c", "d", "e")


def test_class_names_that_are_no_texts_are_refused() -> None:
    with pytest.raises(ClassifierError, match=r"class name 0, an int; allowed: texts.*str\(name\)"):
        Classifier(small_cnn(), preprocessing=SMALL, class_names=range(5))  # type: ignore[arg-type]
