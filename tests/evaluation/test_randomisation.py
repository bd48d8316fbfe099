"""The randomisation check: what ignores the network fails, what explains it passes."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn

from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError
from ttame.evaluation.randomisation import (
    THRESHOLD,
    layers_of,
    map_similarity,
    randomisation_check,
    randomised_copies,
    stages_of,
)
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.images.preprocessing import Preprocessing


def blobs(count: int = 12) -> tuple[Tensor, Tensor]:
    """Pictures of noise with one bright square each, in different corners."""
    generator = torch.Generator().manual_seed(5)
    images = 0.3 * torch.randn(count, 3, 32, 32, generator=generator)
    places = torch.randint(0, 24, (count, 2), generator=generator).tolist()
    for image, (y, x) in zip(images, places, strict=True):
        image[:, y : y + 8, x : x + 8] += 3
    return images, torch.randint(0, 7, (count,), generator=generator)


def structured_cnn() -> Classifier:
    """The tiny CNN with weights unlike those that re-initialisation draws."""
    classifier = tiny_cnn()
    torch.manual_seed(11)
    with torch.no_grad():
        for module in classifier.network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                inputs = module.weight[0].numel()
                module.weight.copy_(2 * torch.randn_like(module.weight) / inputs**0.5)
    return classifier


@dataclasses.dataclass(frozen=True, eq=False)
class FixedPicture(Explainer):
    """The same picture, whatever the network."""

    card = MethodCard(
        name="fixed", title="Fixed", family="baseline", networks="any", cost="none", paper="none"
    )

    picture: Tensor

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        logits = self.classifier.logits(images)
        targets = request.targets(logits)
        return RawMaps(logits, targets, self.picture.expand(*targets.shape, -1, -1))


@pytest.mark.parametrize("method", ["random", "centre_gaussian"])
def test_what_ignores_the_network_fails(method: str) -> None:
    classifier = tiny_cnn()
    images, classes = blobs(3)
    score = randomisation_check(lambda c: make_explainer(method, c), classifier, images, classes)
    assert not score.passed
    assert score.similarity == pytest.approx(1, abs=1e-5)
    assert [similarity for _, similarity in score.steps] == pytest.approx([1.0] * 5, abs=1e-5)


@pytest.mark.parametrize("picture", [torch.randn(4, 4), torch.zeros(4, 4)], ids=["drawn", "blank"])
def test_a_fixed_picture_fails(picture: Tensor) -> None:
    images, classes = blobs(3)
    score = randomisation_check(lambda c: FixedPicture(c, picture), tiny_cnn(), images, classes)
    assert not score.passed and score.similarity == pytest.approx(1, abs=1e-5)


def test_a_negative_of_itself_is_no_other_map() -> None:
    classifier, (images, classes) = tiny_cnn(), blobs(2)
    picture = torch.randn(4, 4)

    def explainer(given: Classifier) -> Explainer:
        return FixedPicture(given, picture if given is classifier else -picture)

    score = randomisation_check(explainer, classifier, images, classes)
    assert score.similarity == pytest.approx(-1, abs=1e-5) and not score.passed


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "input_x_gradient"])
def test_what_explains_the_network_passes(method: str) -> None:
    images, classes = blobs()
    score = randomisation_check(
        lambda c: make_explainer(method, c), structured_cnn(), images, classes
    )
    assert score.passed and abs(score.similarity) < THRESHOLD
    assert [layers for layers, _ in score.steps] == [1, 2, 3, 4, 5]
    assert score.similarity == score.steps[-1][1]


def test_a_head_is_kept_and_judged_by_whether_it_reads_the_network() -> None:
    classifier, (images, classes) = structured_cnn(), blobs()
    head = new_attention_explainer(classifier, seed=3).head
    score = randomisation_check(lambda c: AttentionExplainer(c, head), classifier, images, classes)
    # The first stage changes only the last linear layer, which no feature depends on.
    assert score.steps[0][1] == pytest.approx(1, abs=1e-5)
    assert abs(score.similarity) < 0.9

    blind = copy.deepcopy(head)
    with torch.no_grad():
        for parameter in blind.parameters():
            parameter.zero_()
    score = randomisation_check(lambda c: AttentionExplainer(c, blind), classifier, images, classes)
    assert not score.passed


def test_the_threshold_decides() -> None:
    images, classes = blobs(3)
    arguments = (lambda c: make_explainer("random", c), tiny_cnn(), images, classes)
    assert not randomisation_check(*arguments, threshold=1.0).passed or (
        randomisation_check(*arguments, threshold=1.0).similarity < 1
    )
    assert randomisation_check(*arguments, threshold=1.01).passed


def test_more_layers_become_random_from_the_output_down() -> None:
    classifier = tiny_cnn()
    before = copy.deepcopy(classifier.network.state_dict())
    names = layers_of(classifier.network)
    assert names == ["0", "1", "3", "5", "10"]
    for layers, randomised in randomised_copies(classifier, seed=2):
        after = randomised.network.state_dict()
        for place, name in enumerate(names):
            if name == "1":
                continue  # A fresh batch norm is what re-initialising it makes.
            same = torch.equal(after[f"{name}.weight"], before[f"{name}.weight"])
            assert same == (place < len(names) - layers)
        assert randomised.recipe is None and randomised.taps == classifier.taps
    for name, tensor in classifier.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_copies_stand_alone_and_repeat() -> None:
    classifier = tiny_cnn()
    state = torch.get_rng_state()
    first = [copy_.fingerprint() for _, copy_ in list(randomised_copies(classifier, seed=1))]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    again = [copy_.fingerprint() for _, copy_ in randomised_copies(classifier, seed=1)]
    other = [copy_.fingerprint() for _, copy_ in randomised_copies(classifier, seed=2)]
    # Nine, not eleven: a batch norm that was never trained stays what it is.
    assert first == again and len({*first, *other, classifier.fingerprint()}) == 9


def test_batch_norms_start_anew() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(2, 3)  # type: ignore[union-attr]
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(32))
    *_, (_, last) = randomised_copies(classifier)
    fresh = last.network[1]  # type: ignore[index]
    assert fresh.running_mean.tolist() == fresh.bias.tolist() == [0] * 8
    assert fresh.running_var.tolist() == fresh.weight.tolist() == [1] * 8


class Scale(nn.Module):
    """Parameters that no ``reset_parameters`` knows of, and frozen statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(2, 4, 4000).reshape(8, 500))
        self.temperature = nn.Parameter(torch.tensor(3.0))
        self.register_buffer("running_mean", torch.full((8,), 5.0))
        self.register_buffer("running_var", torch.full((8,), 5.0))

    def forward(self, features: Tensor) -> Tensor:
        return features * self.gain.mean(dim=1)[:, None, None] * self.temperature


def test_other_parameters_become_noise_of_their_own_mean_and_spread() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), Scale(), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(32))
    *_, (layers, last) = randomised_copies(classifier)
    scale, before = last.network[1], network[1].requires_grad_(False)  # type: ignore[index]
    scale.requires_grad_(False)
    assert layers == 4
    assert float(scale.gain.mean()) == pytest.approx(3, abs=0.05)
    assert float(scale.gain.std()) == pytest.approx(float(before.gain.std()), rel=0.05)
    assert abs(float((scale.gain - before.gain).mean())) < 0.05
    assert not torch.equal(scale.gain, before.gain) and float(scale.temperature) != 3
    assert scale.running_mean.tolist() == [0] * 8 and scale.running_var.tolist() == [1] * 8


@pytest.mark.parametrize("kind", TINY)
def test_every_kind_of_network_is_copied(kind: str) -> None:
    classifier = TINY[kind]()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    stages = list(randomised_copies(classifier))
    assert 2 <= len(stages) <= 6
    assert stages[-1][0] == len(layers_of(classifier.network))
    for _, randomised in stages:
        assert bool(randomised.logits(images).isfinite().all())


def test_layers_of_one_shape_get_different_weights() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(32))
    *_, (_, last) = randomised_copies(classifier)
    assert not torch.equal(last.network[2].weight, last.network[4].weight)  # type: ignore[index]


def test_stages() -> None:
    assert stages_of(1) == (1,)
    assert stages_of(161) == (1, 33, 65, 97, 129, 161)
    assert all(len(stages_of(count)) == min(count, 6) for count in range(1, 40))


def test_maps_that_break_down_have_changed() -> None:
    ramp, other = torch.arange(4.0).reshape(1, 2, 2), torch.tensor([[[3.0, 1.0], [2.0, 0.0]]])
    assert map_similarity(ramp, torch.full((1, 2, 2), torch.nan)).tolist() == [0.0]
    assert map_similarity(torch.zeros(1, 2, 2), torch.full((1, 2, 2), torch.nan)).tolist() == [0.0]
    assert map_similarity(ramp, torch.tensor([[[0.0, 1.0], [2.0, torch.inf]]])).tolist() == [0.0]
    assert map_similarity(ramp, torch.full((1, 2, 2), 7.0)).tolist() == [0.0]
    assert map_similarity(torch.full((1, 2, 2), 7.0), ramp).tolist() == [0.0]
    # Ranks 0 1 2 3 and 3 1 2 0: 1 − 6·(9 + 0 + 0 + 9) / (4·15)
    assert map_similarity(ramp, other).tolist() == pytest.approx([-0.8])


def test_a_map_that_is_not_finite_counts_as_changed() -> None:
    classifier, (images, classes) = tiny_cnn(), blobs(10)

    def explainer(given: Classifier) -> Explainer:
        ramp = torch.arange(16.0).reshape(4, 4)
        return FixedPicture(given, ramp if given is classifier else ramp / 0)

    score = randomisation_check(explainer, classifier, images, classes)
    assert score.similarity == 0 and score.passed


def test_a_network_without_layers_or_that_cannot_be_copied_is_refused() -> None:
    classifier = tiny_cnn()
    classifier.network = nn.Flatten()
    with pytest.raises(ClassifierError, match="no layers to randomise"):
        next(randomised_copies(classifier))
    classifier = tiny_cnn()
    classifier.network.of_a_graph = torch.ones(1, requires_grad=True) * 2  # type: ignore[assignment]
    with pytest.raises(ClassifierError, match="cannot be copied"):
        next(randomised_copies(classifier))
