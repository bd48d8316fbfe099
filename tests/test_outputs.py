import math

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError, UnknownNameError
from ttame.images.preprocessing import Preprocessing
from ttame.outputs import OUTPUTS, OwnOutputs, outputs_of_kind, rivals

GOOD: dict[str, Tensor] = {
    "softmax": torch.tensor([[0.0, math.log(3), -2.0], [1.0, 1.0, 1.0]]),
    "sigmoid": torch.tensor([[0.0, math.log(3), -2.0], [1.0, 1.0, 1.0]]),
    "binary": torch.tensor([[math.log(3)], [-1.0]]),
    "softmax probabilities": torch.tensor([[0.25, 0.75, 0.0], [0.2, 0.2, 0.6]]),
    "sigmoid probabilities": torch.tensor([[0.5, 0.75, 0.1], [1.0, 1.0, 0.0]]),
}
"""Outputs that may mean each kind."""


@pytest.mark.parametrize("kind", OUTPUTS)
def test_probabilities_of_every_kind(kind: str) -> None:
    outputs = outputs_of_kind(kind)
    assert outputs.problem_with(GOOD[kind]) is None
    scores = outputs.scores(GOOD[kind].double())
    found = outputs.probabilities(scores)
    assert found.shape == (2, outputs.number_of_classes(GOOD[kind].shape[1]))
    assert found.dtype == torch.float32
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    if outputs.exclusive:
        assert_close(found.sum(dim=1), torch.ones(2), 1e-6)
    logarithms = outputs.log_probabilities(scores)
    assert_close(logarithms.exp().float(), found, 1e-6)


def test_the_formulas_by_hand() -> None:
    def of(kind: str) -> list[float]:
        outputs = outputs_of_kind(kind)
        found = outputs.probabilities(outputs.scores(GOOD[kind]))[0]
        return [round(float(value), 4) for value in found]

    total = 1 + 3 + math.exp(-2)
    assert of("softmax") == [round(part / total, 4) for part in (1, 3, math.exp(-2))]
    assert of("sigmoid") == [0.5, 0.75, round(1 / (1 + math.exp(2)), 4)]
    assert of("binary") == [0.25, 0.75]
    assert of("softmax probabilities") == [0.25, 0.75, 0.0]
    assert of("sigmoid probabilities") == [0.5, 0.75, 0.1]


def test_scores_of_a_binary_logit_are_half_of_it_for_both_answers() -> None:
    outputs = outputs_of_kind("binary")
    assert outputs.scores(torch.tensor([[3.0]])).tolist() == [[-1.5, 1.5]]
    rows = outputs.class_rows(torch.tensor([[2.0, 4.0]]))
    assert rows is not None
    assert rows.tolist() == [[-1.0, -2.0], [1.0, 2.0]]


@pytest.mark.parametrize(
    ("kind", "output", "words"),
    [
        ("softmax", [[2.0]], "single number.*outputs='binary'"),
        ("softmax", [[0.25, 0.75]], "add up to 1.*outputs='softmax probabilities'"),
        ("binary", [[1.0, 2.0]], "returns 2 numbers"),
        ("softmax probabilities", [[0.5, 0.9]], "not probabilities"),
        ("softmax probabilities", [[1.0]], "not probabilities"),
        ("sigmoid probabilities", [[0.5, 1.5]], "outside 0 to 1"),
    ],
)
def test_outputs_that_cannot_mean_it_are_refused(
    kind: str, output: list[list[float]], words: str
) -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 8, 3, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor(output) + 0 * self.features(images).mean()

    with pytest.raises(ClassifierError, match=words):
        Classifier(Constant(), preprocessing=Preprocessing.imagenet(16), outputs=kind)


def test_names_and_own_functions() -> None:
    assert outputs_of_kind("softmax-probabilities") is OUTPUTS["softmax probabilities"]
    with pytest.raises(UnknownNameError, match="sigmoid"):
        outputs_of_kind("sigmoids")
    own = OwnOutputs(lambda output: 2 * output, lambda scores: scores.sigmoid(), exclusive=False)
    assert outputs_of_kind(own) is own
    assert_close(own.probabilities(own.scores(torch.zeros(1, 2))), torch.full((1, 2), 0.5), 1e-6)
    assert_close(own.log_probabilities(torch.zeros(1, 2)), torch.full((1, 2), math.log(0.5)), 1e-6)


def test_saturated_probabilities_have_finite_scores() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for kind in ("softmax probabilities", "sigmoid probabilities"):
            scores = OUTPUTS[kind].scores(torch.tensor([[0.0, 1.0]], dtype=dtype))
            assert bool(scores.isfinite().all()), (kind, dtype)


def test_rivals_are_the_softmax_of_all_others() -> None:
    scores = torch.tensor([[0.3, -1.0, 2.0], [90.0, 1.0, 1.5]])
    found = rivals(scores)
    assert found.top.tolist() == [[2], [0]]
    assert_close(found.shares, scores.softmax(dim=1), 1e-7)
    expected = torch.zeros(2, 3)
    expected[0, [0, 1]] = scores[0, [0, 1]].softmax(dim=0)
    expected[1, [1, 2]] = scores[1, [1, 2]].softmax(dim=0)
    assert_close(found.without_top, expected, 1e-6)


def test_only_classes_of_a_softmax_over_logits_contrast() -> None:
    assert [kind for kind, outputs in OUTPUTS.items() if outputs.contrasts] == ["softmax"]
    assert not OwnOutputs(lambda output: output, lambda scores: scores).contrasts
