"""Refined maps: the loss falls, for each image and class alone, and nothing else is touched."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.explainers.test_every_explainer import assert_unchanged, state_of
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.targets import Target
from ttame.errors import ClassSelectionError, ExplainerError, on_command_line
from ttame.explainers.contract.explainer import Explainer, RefinedExplainer
from ttame.explainers.contract.map_refinement import (
    MaskingTask,
    Refinement,
    parse_refinement,
    top_masks,
)
from ttame.explainers.known_explainers import make_explainer
from ttame.networks.pass_counter import counting_passes
from ttame.results.explanation import Explanation


@functools.cache
def grad_cam(network: str) -> Explainer:
    return make_explainer("grad_cam", TINY[network]())


def images_of(explainer: Explainer, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    size = explainer.classifier.preprocessing.input_size
    return torch.randn(count, 3, *size, generator=generator)


def losses(explainer: Explainer, images: Tensor, found: Explanation) -> Tensor:
    """Kept and removed shares that no step was made for, on a ground of their own as well."""
    refinement = Refinement(steps=1, grounds=("blur", "mean"))
    labels = found.classes[:, 0]
    p = explainer.classifier.probabilities(images).gather(1, labels[:, None])[:, 0]
    task = MaskingTask.of(explainer.classifier, images, labels, p, refinement)
    with torch.no_grad():
        return torch.stack(
            [
                task.loss(found.maps[:, 0], share, removing=removing)
                for share in (0.15, 0.35, 0.55, 0.75)
                for removing in (False, True)
            ]
        ).mean(dim=0)


@pytest.mark.parametrize("network", ["cnn", "timm vit"])
def test_the_loss_falls_and_the_network_is_left_as_found(network: str) -> None:
    explainer = grad_cam(network)
    images = images_of(explainer)
    before = state_of(explainer.classifier.network)
    refined = explainer.refined(steps=30)
    found = refined(images)
    assert_unchanged(before, explainer.classifier.network)
    start = explainer(images)
    assert found.maps.shape == start.maps.shape and not found.maps.requires_grad
    assert (losses(refined, images, found) < losses(explainer, images, start) - 0.001).all()


def test_no_steps_are_the_identity_and_a_map_keeps_its_scale() -> None:
    explainer = grad_cam("cnn")
    images = images_of(explainer)
    start = explainer(images, "top2").maps
    assert torch.equal(explainer.refined(steps=0)(images, "top2").maps, start)
    refined = explainer.refined(steps=2)(images, "top2").maps
    assert not torch.equal(refined, start)
    assert_close(refined.mean(dim=(2, 3)), start.mean(dim=(2, 3)), 1e-5)
    coarse = explainer.refined(steps=0, grid=(2, 4))(images, "top2").maps
    height, width = start.shape[2:]
    by_hand = start.reshape(2, 2, 2, height // 2, 4, width // 4).mean(dim=(3, 5))
    assert_close(coarse, by_hand, 1e-6)


def test_maps_depend_on_the_class_the_seed_and_the_ground_but_not_on_the_batch() -> None:
    explainer = make_explainer(
        "centre_gaussian",
        TINY["cnn"](),
    )
    images = images_of(explainer)

    def maps(**settings: Any) -> Tensor:
        return explainer.refined(steps=3, grid=(4, 4), **settings)(images, [[1, 3]] * 2).maps

    found = maps()
    assert not torch.allclose(found[:, 0], found[:, 1])
    assert torch.equal(found, maps())
    assert not torch.allclose(found, maps(seed=1))
    for ground in ("black", "mean", "blur", "noise"):
        assert not torch.allclose(found, maps(grounds=(ground,)))
    alone = explainer.refined(steps=3, grid=(4, 4))(images[1:], 3, memory_budget=1).maps
    assert_close(alone[0, 0], found[1, 1], 1e-4)


def test_every_step_asks_once_for_each_ground_and_progress_ends_with_both_parts() -> None:
    explainer = make_explainer("rise", TINY["cnn"](), masks=10, cells=2)
    images = images_of(explainer)
    told: list[tuple[int, int]] = []
    refined = explainer.refined(steps=3, grid=(4, 4), grounds=("black", "mean"))
    refined(images, "top2", progress=lambda done, total: told.append((done, total)))
    passes = 3 * 2 * len(images) * 2
    totals = {total for _, total in told}
    assert totals == {10 + passes}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (10 + passes, 10 + passes)
    with counting_passes() as of_both:
        refined(images, "top2")
    with counting_passes() as of_method:
        explainer(images, "top2")
    tried_out = 1
    assert of_both.forward - of_method.forward == passes + tried_out
    assert of_both.backward - of_method.backward == passes + tried_out


def test_fewer_steps_are_the_beginning_of_more() -> None:
    shares = Refinement(steps=5).shares()
    assert shares[:2] == Refinement(steps=2).shares()
    assert min(shares) >= 0.1 and max(shares) <= 0.9 and len(set(shares)) == 5


def test_a_mask_shows_the_share_that_is_asked_for() -> None:
    maps = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for share in (0.25, 0.5, 0.75):
        masks = top_masks(maps, share)
        assert ((masks > 0.5).float().mean(dim=(1, 2, 3)) == share).all()
        assert torch.equal(masks.flatten(1).argsort(), maps.flatten(1).argsort())
    assert torch.isfinite(top_masks(torch.zeros(1, 1, 4, 4), 0.5)).all()


def test_the_loss_by_hand() -> None:
    classifier = TINY["cnn"]()
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    labels, p = torch.tensor([2]), classifier.probabilities(images)[:, 2]
    task = MaskingTask.of(classifier, images, labels, p, Refinement(steps=1, grounds=("mean",)))
    maps = torch.linspace(-1, 1, 16).reshape(1, 4, 4)
    mask = top_masks(torch.nn.functional.interpolate(maps[None], (32, 32), mode="bilinear"), 0.5)
    kept = classifier.probabilities(images * mask)[:, 2]
    rest = classifier.probabilities(images * (1 - mask))[:, 2]
    assert_close(task.loss(maps, 0.5, removing=False), 1 - kept / p, 1e-6)
    assert_close(task.loss(maps, 0.5, removing=True), rest / p, 1e-6)


def test_it_says_what_it_is() -> None:
    explainer = grad_cam("cnn")
    refined = explainer.refined(grounds=("noise",), grid=(7, 9))
    assert isinstance(refined, RefinedExplainer)
    assert refined.method == "grad_cam+refined10@7x9"
    assert refined.card.title == "Grad-CAM, refined in 10 steps"
    assert refined.card.cost.endswith("then 10 forward and backward per class")
    assert refined.provenance() == {
        **explainer.provenance(),
        "refined_steps": 10,
        "refined_grounds": "noise",
        "refined_grid": "7 x 9",
        "refined_rate": 0.1,
        "refined_seed": 0,
    }
    other: Classifier = TINY["timm vit"]()
    again = refined.for_classifier(other)
    assert again.classifier.name == other.name and again.method == refined.method
    with pytest.raises(ClassSelectionError, match="does not take weightings.*classes"):
        refined(images_of(explainer), target=Target.contrast(0, 1))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": -1}, "-1 steps.*0, 1, 2"),
        ({"steps": True}, "True steps"),
        ({"grounds": ()}, "grounds ().*black, mean, blur, noise"),
        ({"grounds": ("white",)}, "white"),
        ({"grid": (1, 4)}, r"grid \(1, 4\).*at least 2"),
        ({"rate": 0.0}, "rate 0.0.*above 0"),
    ],
)
def test_settings_outside_of_what_is_allowed(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ExplainerError, match=said):
        grad_cam("cnn").refined(**settings)


def test_maps_of_pixels_need_a_grid() -> None:
    explainer = make_explainer("input_x_gradient", TINY["cnn"]())
    with pytest.raises(ExplainerError, match=r"pixels.*try: grid=\(14, 14\)") as caught:
        explainer.refined(steps=4)
    assert on_command_line(caught.value).endswith("try: a grid behind the steps: 4@14")
    assert explainer.refined(steps=1, grid=(3, 3))(images_of(explainer)).maps.shape[2:] == (3, 3)


def test_what_is_typed() -> None:
    assert parse_refinement(" 12@7x9 ") == Refinement(steps=12, grid=(7, 9))
    for text in ("", "ten", "3@", "-1", "1.5", "3@1"):
        with pytest.raises(ExplainerError):
            parse_refinement(text)


def test_every_other_step_removes_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, bool]] = []
    loss = MaskingTask.loss

    def noted(task: MaskingTask, maps: Tensor, share: float, *, removing: bool) -> Tensor:
        asked.append((share, removing))
        return loss(task, maps, share, removing=removing)

    monkeypatch.setattr(MaskingTask, "loss", noted)
    explainer = grad_cam("cnn")
    explainer.refined(steps=4)(images_of(explainer, 1))
    assert [removing for _, removing in asked] == [False, True, False, True]
    assert [share for share, _ in asked] == Refinement(steps=4).shares()
