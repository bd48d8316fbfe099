"""The base of all classifiers, by a kind of its own: one that classifies lists of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import AnyClassifier, Batch, FoundMaps
from ttame.errors import ClassifierError, ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.activation.grad_cam import GradCam
from ttame.features.tap_choice import NAMED, TapChoice
from ttame.networks.network_trace import trace_network
from ttame.outputs import OUTPUTS


class Numbers(AnyClassifier[Sequence[float], dict[str, object]]):
    """Classifies four numbers, each a channel of one place, by a linear layer."""

    kind = "texts"

    def __init__(self, weights: Tensor) -> None:
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, len(weights), bias=False))
        network[1].weight.data = weights
        self.network, self.name, self.outputs = network, "numbers", OUTPUTS["softmax"]
        self.outputs_reason, self.class_names, self.examined = "", ("no", "yes"), ()
        self.trace = trace_network(network, (1, 1), 4)
        self.tap_choice = TapChoice((), "CNN", NAMED)
        self.notices, self.memory_format = (), torch.contiguous_format

    def taken(self, given: Sequence[float]) -> Batch:
        return Batch(torch.tensor(given).reshape(1, 4, 1, 1), (tuple(given),))

    def result(self, found: FoundMaps, batch: Batch) -> dict[str, object]:
        return {"maps": found.maps, "of": batch.remembered, "method": found.method}

    def attributions(self, result: dict[str, object]) -> Tensor:
        raise NotImplementedError

    @property
    def grounds(self) -> tuple[str, ...]:
        return ("zero",)

    def ground(self, images: Tensor, name: str) -> Tensor:
        return torch.zeros_like(images)

    def refuse_others(self, images: object) -> None:
        if not isinstance(images, Tensor):
            raise ClassifierError("no tensor")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Explainer[Numbers]):
    """The sum of the inputs, for every target."""

    card = MethodCard(
        "sum", "Sum", "baseline", "any", "1 forward", "none", targets=EVERY_TARGET,
        explains=("texts",),
    )  # fmt: skip

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        scores = self.classifier.logits(images)
        targets = request.targets(scores)
        maps = images.sum(dim=1, keepdim=True).expand(-1, targets.shape[1], -1, -1)
        return RawMaps(scores, targets, maps)


@pytest.fixture
def numbers() -> Numbers:
    return Numbers(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 2.0]]))


def test_what_is_given_and_what_comes_out_are_the_affair_of_the_kind(numbers: Numbers) -> None:
    result = Sum(numbers)([1.0, 2.0, 3.0, 4.0], "all")
    assert torch.equal(result["maps"], torch.full((1, 2, 1, 1), 10.0))
    assert result["of"] == ((1.0, 2.0, 3.0, 4.0),)
    assert result["method"] == "sum"


def test_scores_are_those_of_the_network(numbers: Numbers) -> None:
    batch = numbers.taken([1.0, 2.0, 3.0, 4.0]).images
    assert numbers.logits(batch).tolist() == [[1.0, 8.0]]
    assert numbers.probabilities(batch)[0, 1].item() == pytest.approx(1 / (1 + 2.718281828**-7))
    doubled = numbers.with_network(nn.Sequential(numbers.network, nn.Linear(2, 2, bias=False)))
    assert type(doubled) is Numbers
    assert doubled.network is not numbers.network
    with pytest.raises(ClassifierError, match="no tensor"):
        numbers.logits("four")


def test_a_method_for_another_kind_is_refused_with_those_that_explain_it(
    numbers: Numbers,
) -> None:
    with pytest.raises(ExplainerError) as refused:
        GradCam(numbers)  # type: ignore[arg-type]
    assert "grad_cam for numbers, a classifier of texts" in str(refused.value)
    assert "allowed: classifiers of images; try: transformer_attribution" in str(refused.value)
