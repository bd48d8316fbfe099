"""What a batch costs, against image-by-image computations that call the classifier themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.explainers.slow_masks import slow_hard_mask, slow_soft_mask
from tests.training.training_material import noise_photos, quick, tiny_cnn, tiny_vit
from ttame.classifiers.classifier import Classifier
from ttame.explainers.trained.head import Head
from ttame.explainers.trained.known_heads import plan_head
from ttame.explainers.trained.shared_head import SharedHead
from ttame.training.attention_objective import MapSelection, objective
from ttame.training.batch_loss import BatchPlace, batch_loss
from ttame.training.kept_share_objective import KeptShareObjective, random_masks
from ttame.training.training_settings import TrainingSettings

IMAGES = 6


def varied_vit() -> Classifier:
    """One that sees several classes in these images."""
    classifier = tiny_vit()
    logits = classifier.logits(classifier.prepare(noise_photos(IMAGES))).detach()
    with torch.no_grad():
        classifier.network.head.bias.sub_(logits.mean(dim=0))  # type: ignore[union-attr,operator]
    return classifier


NETWORKS: dict[str, Callable[[], Classifier]] = {"cnn": tiny_cnn, "vit": varied_vit}


def prepared(
    settings: TrainingSettings, network: Callable[[], Classifier] = tiny_cnn
) -> tuple[Classifier, Head, Tensor]:
    """A classifier, a head unlike an untrained one, and images of several classes."""
    plan = plan_head(network(), settings.head)
    head = plan.make(3)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    images = plan.classifier.prepare(noise_photos(IMAGES))
    assert len(plan.classifier.logits(images).argmax(dim=1).unique()) > 1
    return plan.classifier, head.eval(), images


def place(seed: int = 0, **where: object) -> BatchPlace:
    return BatchPlace(torch.Generator().manual_seed(seed), **where)  # type: ignore[arg-type]


def map_of(classifier: Classifier, head: Head, image: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """The logits of an image and one of its maps, alone."""
    with torch.no_grad():
        reading = classifier.read_features(image[None])
        maps = head.maps(classifier, reading, None)
    return reading.logits[0], maps[0, index]


def visible(classifier: Classifier, image: Tensor, mask: Tensor, space: str) -> Tensor:
    """An image behind the mask of a coarser grid, by the formulas."""
    grid = (int(image.shape[1]), int(image.shape[2]))
    enlarged = F.interpolate(mask[None, None], size=grid, mode="bilinear", align_corners=False)[0]
    if space == "normalised":
        return enlarged * image
    mean = torch.tensor(classifier.preprocessing.mean).reshape(3, 1, 1)
    std = torch.tensor(classifier.preprocessing.std).reshape(3, 1, 1)
    return (enlarged * (image * std + mean) - mean) / std


# The objective of T-TAME


@pytest.mark.parametrize("selection", ["random", "diagonal", "max"])
@pytest.mark.parametrize(("kind", "space"), [("cnn", "raw"), ("vit", "normalised")])
def test_the_published_loss_by_hand(selection: MapSelection, kind: str, space: str) -> None:
    settings = quick(map_selection=selection)
    classifier, head, images = prepared(settings, NETWORKS[kind])
    found = batch_loss(classifier, head, images, settings.objective, place())

    labels = classifier.logits(images).argmax(dim=1)
    selected, logits, own = [], [], []
    for image, label in zip(images, labels.tolist(), strict=True):
        before, map_ = map_of(classifier, head, image, label)
        chosen = {
            "random": labels.tolist(),
            "diagonal": [label],
            "max": before.argsort(descending=True).tolist()[:IMAGES],
        }[selection]
        selected.append(
            torch.stack([map_of(classifier, head, image, index)[1].sigmoid() for index in chosen])
        )
        own.append(map_[None])
        masked = visible(classifier, image, map_.sigmoid(), space)
        logits.append(classifier.logits(masked[None])[0])
    expected = objective(
        torch.stack(selected), torch.stack(logits).log_softmax(dim=1), labels, settings.objective
    )
    assert found.parts.as_floats() == pytest.approx(expected.as_floats(), rel=1e-4)
    assert list(found.parts.as_floats()) == ["loss", "cross_entropy", "area", "smoothness"]
    assert torch.equal(found.labels, labels)
    torch.testing.assert_close(found.maps.detach(), torch.stack(own), rtol=1e-4, atol=1e-5)


def test_the_published_loss_draws_nothing() -> None:
    settings = quick()
    classifier, head, images = prepared(settings)
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()
    batch_loss(classifier, head, images, settings.objective, BatchPlace(generator))
    assert torch.equal(generator.get_state(), state)


def test_a_share_of_a_batch_is_regularised_for_the_labels_of_all() -> None:
    """Two processes of three images each see, on average, what one of six sees."""
    settings = quick()
    classifier, head, images = prepared(settings)
    whole = batch_loss(classifier, head, images, settings.objective, place())
    shares = [
        batch_loss(
            classifier,
            head,
            images[first : first + 3],
            settings.objective,
            place(gather_labels=lambda _: whole.labels, first_image=first),
        )
        for first in (0, 3)
    ]
    for name, value in whole.parts.as_floats().items():
        halves = [share.parts.as_floats()[name] for share in shares]
        assert sum(halves) / 2 == pytest.approx(value, rel=1e-4), name
    own = torch.cat([share.maps for share in shares])
    torch.testing.assert_close(own, whole.maps, rtol=1e-4, atol=1e-5)


# The kept-share objective


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("space", ["raw", "normalised"])
@pytest.mark.parametrize("preset", ["few-shot-quick", "t-tame"])
def test_the_kept_share_loss_by_hand(preset: str, kind: str, space: str) -> None:
    """A head of either kind can be trained with it; the masks are drawn as elsewhere."""
    settings = quick(preset, objective="kept-share", masking_space=space)
    classifier, head, images = prepared(settings, NETWORKS[kind])
    found = batch_loss(classifier, head, images, settings.objective, place(4))

    own, before = [], []
    for image in images:
        logits, _ = map_of(classifier, head, image, 0)
        label = int(logits.argmax())
        own.append(map_of(classifier, head, image, label)[1][None])
        before.append(float(logits.double().softmax(dim=0)[label]))
    generator = torch.Generator().manual_seed(4)
    masks, _ = random_masks(torch.stack(own), KeptShareObjective(), generator)
    drops = []
    for image, map_, mask, label, whole in zip(
        images, own, masks, found.labels.tolist(), before, strict=True
    ):
        values, mean = map_.double().flatten().tolist(), float(mask.double().mean())
        hard = float(mask.max()) < 1
        slow = slow_hard_mask(values, mean, 0.3) if hard else slow_soft_mask(values, mean)
        slowly = torch.tensor(slow, dtype=torch.float32).reshape(mask.shape[1:])
        masked = visible(classifier, image, slowly, space)
        kept = float(classifier.logits(masked[None])[0].double().softmax(dim=0)[label])
        drops.append(max(1 - kept / whole, -0.5))
    expected = sum(drops) / IMAGES
    assert found.parts.as_floats() == pytest.approx(
        {"loss": expected, "drop": expected}, rel=1e-3, abs=1e-4
    )
    assert max(drops) > min(drops) + 0.05
    torch.testing.assert_close(found.maps.detach(), torch.stack(own), rtol=1e-4, atol=1e-5)


def kept_share(seed: int) -> float:
    settings = quick("few-shot-quick")
    classifier, head, images = prepared(settings)
    return float(
        batch_loss(classifier, head, images, settings.objective, place(seed)).parts.total.detach()
    )


def test_the_generator_decides_what_is_kept() -> None:
    losses = [kept_share(seed) for seed in (1, 1, 2, 3)]
    assert losses[0] == losses[1]
    assert len(set(losses)) == 3


def test_a_map_that_ranks_the_other_way_costs_something_else() -> None:
    settings = quick("few-shot-quick")
    classifier, head, images = prepared(settings)
    assert isinstance(head, SharedHead)
    with torch.no_grad():
        before = batch_loss(classifier, head, images, settings.objective, place()).parts.total
        head.prior_norm.weight.mul_(-20)
        after = batch_loss(classifier, head, images, settings.objective, place()).parts.total
    assert abs(float(after - before)) > 1e-3


# Both


@pytest.mark.parametrize("preset", ["t-tame", "few-shot-quick"])
def test_the_head_learns_and_the_classifier_does_not(preset: str) -> None:
    settings = quick(preset)
    classifier, head, images = prepared(settings)
    before = copy.deepcopy(classifier.network.state_dict())
    classifier.network.requires_grad_(True)
    loss = batch_loss(classifier, head.train(), images, settings.objective, place())
    assert loss.parts.total.requires_grad and loss.parts.total.ndim == 0
    loss.parts.total.backward()
    assert not images.requires_grad
    for name, parameter in classifier.network.named_parameters():
        assert parameter.grad is None, name
    for name, tensor in classifier.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("preset", ["t-tame", "few-shot-quick"])
def test_the_whole_images_are_read_without_a_graph(preset: str) -> None:
    """Whatever the images are, the classifier's features cost no memory for a way back."""
    settings = quick(preset)
    classifier, head, images = prepared(settings)
    loss = batch_loss(classifier, head, images.requires_grad_(), settings.objective, place())
    assert not loss.reading.logits.requires_grad
    assert not any(features.requires_grad for features in loss.reading.feature_maps)


@pytest.mark.parametrize("preset", ["t-tame", "few-shot-quick"])
def test_a_step_of_the_head_lowers_the_loss_it_was_told(preset: str) -> None:
    """Along its gradient, the loss of the same draw changes as the gradient says."""
    settings = quick(preset)
    classifier, head, images = prepared(settings)
    loss = batch_loss(classifier, head, images, settings.objective, place()).parts.total
    gradients = torch.autograd.grad(loss, list(head.parameters()))
    square = sum(float(gradient.square().sum()) for gradient in gradients)
    step = 0.002 / square
    with torch.no_grad():
        for parameter, gradient in zip(head.parameters(), gradients, strict=True):
            parameter.sub_(step * gradient)
    lower = batch_loss(classifier, head, images, settings.objective, place()).parts.total
    assert float((loss - lower).detach()) == pytest.approx(0.002, rel=0.25)


class Counting(nn.Module):
    """A head's wrapper, as accelerators make them."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head, self.calls = head, 0

    def forward(self, *inputs: object, **options: object) -> Tensor:
        self.calls += 1
        maps: Tensor = self.head(*inputs, **options)
        return maps


@pytest.mark.parametrize("preset", ["t-tame", "few-shot-quick"])
def test_a_wrapped_head_is_the_one_that_is_called(preset: str) -> None:
    """Once: batch norm's statistics move once a step."""
    settings = quick(preset)
    classifier, head, images = prepared(settings)
    head.train()
    wrapper = Counting(head)
    batch_loss(classifier, head, images, settings.objective, place(wrapped_head=wrapper))
    assert wrapper.calls == 1
    batch_loss(classifier, head, images, settings.objective, place())
    assert wrapper.calls == 1
    counts = [
        int(buffer) for name, buffer in head.named_buffers() if name.endswith("batches_tracked")
    ]
    assert set(counts) == {2}


@pytest.mark.parametrize("preset", ["t-tame", "few-shot-quick"])
def test_the_classifier_looks_twice(preset: str) -> None:
    settings = quick(preset)
    classifier, head, images = prepared(settings)
    batches: list[int] = []
    hook = classifier.network.register_forward_pre_hook(
        lambda _module, inputs: batches.append(len(inputs[0]))
    )
    batch_loss(classifier, head, images, settings.objective, place())
    hook.remove()
    assert batches == [IMAGES, IMAGES]
