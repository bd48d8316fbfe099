from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.tiny_networks import TINY
from ttame.errors import ClassSelectionError, ExplainerError, ImageError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import AttentionExplainer, new_attention_explainer
from ttame.explainers.trained.head_settings import AttentionHeadSettings, SharedHeadSettings
from ttame.exporting.explainable_classifier import ExplainableClassifier
from ttame.exporting.photo_fitting import fitted, laid_on
from ttame.networks.weights_files import weight_fingerprint
from ttame.testing import tiny_classifier


def images_for(explainer: Explainer, count: int) -> Tensor:
    torch.manual_seed(count)
    return torch.randn(count, 3, *explainer.classifier.preprocessing.input_size)


@pytest.fixture(scope="module")
def module(explainer: AttentionExplainer) -> ExplainableClassifier:
    return ExplainableClassifier(explainer)


KINDS: dict[str, Callable[[], Explainer]] = {
    "cam": lambda: make_explainer("cam", tiny_classifier()),
    "few-shot on a class token": lambda: new_attention_explainer(
        tiny_classifier("vit", size=32), SharedHeadSettings()
    ),
    "t-tame on windows": lambda: new_attention_explainer(
        TINY["timm swin"](), AttentionHeadSettings()
    ),
    "rollout": lambda: make_explainer("attention_rollout", tiny_classifier("vit", size=32)),
    "raw attention": lambda: make_explainer("raw_attention", tiny_classifier("vit", size=32)),
    "class evidence": lambda: make_explainer("class_evidence", tiny_classifier("vit", size=32)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_explainer_says(kind: str) -> None:
    explainer = KINDS[kind]()
    before = weight_fingerprint(explainer.classifier.network)
    module = ExplainableClassifier(explainer, top_k=3)
    for count in (1, 3):
        images = images_for(explainer, count)
        said, expected = module(images), explainer(images, "top3")
        for name in ("logits", "probabilities", "classes"):
            assert torch.equal(getattr(said, name), getattr(expected, name)), name
        assert_close(said.maps, expected.maps, 1e-5)
        every = explainer(images, "all")
        asked = module(images, every.classes)
        assert torch.allclose(asked.maps, every.maps, rtol=1e-5, atol=1e-6)
    assert weight_fingerprint(explainer.classifier.network) == before
    assert not any(part._forward_hooks for part in explainer.classifier.network.modules())


@pytest.mark.parametrize(
    ("method", "kind"),
    [("class_embedding", "vit"), ("recipro_cam", "cnn"), ("vit_recipro_cam", "vit")],
)
def test_methods_with_a_short_way_behind_one_pass(method: str, kind: Literal["vit", "cnn"]) -> None:
    explainer = make_explainer(method, tiny_classifier(kind, size=32))
    module = ExplainableClassifier(explainer, top_k=2, batch_size=2)
    for seed in (0, 1):
        images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        said, expected = module(images), explainer(images, "top2")
        assert torch.equal(said.logits, expected.logits)
        assert torch.allclose(said.maps, expected.maps, rtol=1e-5, atol=1e-7)
        assert torch.equal(module(images, said.classes.flip(1)).maps, said.maps.flip(1))
    with pytest.raises(ExplainerError, match="any number of images"):
        ExplainableClassifier(explainer)


def test_all_classes_are_explained_in_their_order(explainer: AttentionExplainer) -> None:
    images = images_for(explainer, 2)
    said = ExplainableClassifier(explainer, "all")(images)
    assert said.classes.tolist() == [list(range(7))] * 2
    assert torch.allclose(said.maps, explainer(images, "all").maps, atol=1e-6)


def test_a_negative_class_asks_for_a_place(
    module: ExplainableClassifier, explainer: AttentionExplainer
) -> None:
    images = images_for(explainer, 2)
    said = module(images, torch.tensor([[-2, 4], [-1, -7]]))
    order = said.logits.argsort(dim=1, descending=True)
    assert said.classes.tolist() == [[int(order[0, 1]), 4], [int(order[1, 0]), int(order[1, 6])]]


def test_pixels_are_normalised_inside(explainer: AttentionExplainer) -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    preprocessing = explainer.classifier.preprocessing
    images = preprocessing.normalise(pixels.permute(0, 3, 1, 2).float() / 255)
    module = ExplainableClassifier(explainer, takes="pixels")
    assert torch.allclose(module(pixels).maps, explainer(images, "top3").maps, atol=1e-6)
    with pytest.raises(ImageError, match="uint8"):
        module(pixels.float())


def test_maps_of_photos_lie_on_the_photos(explainer: AttentionExplainer) -> None:
    """As by hand: fitted, explained, and laid on the photo."""
    preprocessing = explainer.classifier.preprocessing
    module = ExplainableClassifier(explainer, takes="photos")
    for size in ((40, 90), (33, 20)):
        photos = torch.randint(256, (2, *size, 3), dtype=torch.uint8)
        found = module(photos, torch.tensor([[0, 6], [3, 1]]))
        images = preprocessing.normalise(fitted(photos, preprocessing) / 255)
        expected = explainer(images, [[0, 6], [3, 1]])
        assert_close(found.logits, expected.logits, 1e-5)
        assert_close(found.maps, laid_on(expected.maps, photos, preprocessing.crop), 1e-5)
    for wrong in (torch.zeros(1, 3, 40, 40, dtype=torch.uint8), torch.zeros(1, 0, 4, 3)):
        with pytest.raises(ImageError, match=r"photos of shape.*\(B, height, width, 3\)"):
            module(wrong)
    with pytest.raises(ImageError, match=r"float32 photos.*uint8"):
        module(torch.zeros(1, 40, 40, 3))


def test_nothing_in_it_has_a_hook(module: ExplainableClassifier) -> None:
    parts = list(module.modules())
    assert len(parts) > 5
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in parts)


def test_it_stays_in_eval_mode_and_needs_no_gradients(module: ExplainableClassifier) -> None:
    assert not any(part.training for part in module.train().modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_it_goes_through_compilation_and_export(
    module: ExplainableClassifier, explainer: AttentionExplainer
) -> None:
    images = images_for(explainer, 2)
    expected = module(images)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images).maps, expected.maps)
    program = torch.export.export(module, (images,), strict=False)
    assert torch.equal(program.module()(images).maps, expected.maps)


def test_half_precision_is_the_network_s_alone(explainer: AttentionExplainer) -> None:
    module = ExplainableClassifier(explainer).to(torch.bfloat16)
    dtypes = {name: value.dtype for name, value in module.named_parameters()}
    assert {dtype for name, dtype in dtypes.items() if "head" in name} == {torch.float32}
    assert {dtype for name, dtype in dtypes.items() if "network" in name} == {torch.bfloat16}
    images = images_for(explainer, 2)
    said = module(images)
    # The same network in bfloat16, explained by hooks.
    network = copy.deepcopy(explainer.classifier.network).to(torch.bfloat16)
    classifier = copy.copy(explainer.classifier)
    classifier.network = network
    expected = AttentionExplainer(classifier, explainer.head, method="few_shot")(images, "top3")
    assert torch.equal(said.logits, expected.logits)
    # By hooks, the head sees class weights in bfloat16.
    assert_close(said.maps, expected.maps, 2e-3)
    back = module.float()(images)
    assert back.maps.dtype == torch.float32 and not torch.equal(back.logits, said.logits)


def test_weights_go_through_safetensors(
    module: ExplainableClassifier, explainer: AttentionExplainer
) -> None:
    images = images_for(explainer, 2)
    expected = module(images)
    other = ExplainableClassifier(explainer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    assert not torch.equal(other(images).logits, expected.logits)
    other.load_state_dict(load(save(module.state_dict())))
    assert torch.equal(other(images).maps, expected.maps)


def test_it_runs_in_several_threads_at_once(
    module: ExplainableClassifier, explainer: AttentionExplainer
) -> None:
    batches = [images_for(explainer, count) for count in (1, 2, 3, 4)]
    expected = [module(images).maps for images in batches]
    found: dict[int, list[Tensor]] = {}

    def work(number: int) -> None:
        found[number] = [module(batches[number]).maps for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for number in range(4):
        assert all(torch.equal(maps, expected[number]) for maps in found[number])


@pytest.mark.parametrize("top_k", [0, 8, True, "top3"])
def test_a_number_of_classes_that_cannot_be_is_refused(
    explainer: AttentionExplainer, top_k: object
) -> None:
    with pytest.raises(ExplainerError, match="1 to 7"):
        ExplainableClassifier(explainer, top_k)  # type: ignore[arg-type]


@pytest.mark.parametrize(("classes", "explained"), [(2, 2), (3, 3), (5, 3)])
def test_the_default_fits_a_network_of_two_classes(classes: int, explained: int) -> None:
    cam = make_explainer("cam", tiny_classifier(classes=classes))
    prediction = ExplainableClassifier(cam)(torch.zeros(1, 3, 16, 16))
    assert prediction.classes.shape == (1, explained)


def test_a_classifier_is_no_explainer(explainer: AttentionExplainer) -> None:
    with pytest.raises(ExplainerError, match="a Classifier as explainer"):
        ExplainableClassifier(explainer.classifier)  # type: ignore[arg-type]


def test_odd_input_is_refused(module: ExplainableClassifier) -> None:
    with pytest.raises(ImageError, match=r"\(B, 3, 32, 32\)"):
        module(torch.zeros(1, 3, 31, 32))
    with pytest.raises(ClassSelectionError, match="int64"):
        module(torch.zeros(1, 3, 32, 32), torch.zeros(1, 2))


def test_later_changes_of_the_network_do_not_reach_it(explainer: AttentionExplainer) -> None:
    classifier = tiny_classifier()
    module = ExplainableClassifier(make_explainer("cam", classifier))
    images = torch.randn(1, 3, 16, 16)
    before = module(images).logits
    nn.init.zeros_(next(classifier.network.parameters()))
    assert torch.equal(module(images).logits, before)
