"""What a network's outputs mean: how they become class scores and probabilities."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.errors import (
    ClassifierError,
    UnknownNameError,
    setting,
)

SMALLEST_PROBABILITY = 1e-12
"""Below it the logarithm of a probability that a network returned is cut off."""


class Outputs(ABC):
    """What the numbers that a network returns mean; one object per classifier, never changed.

    *Scores* are what explanations differentiate and propagate, (B, C): logits, or what stands for
    them. *Probabilities* are what metrics, training and pages speak of, (B, C) in [0, 1].

    Attributes:
        kind: the name on the command line and in saved explainers.
        exclusive: whether exactly one class is true of an image, so that the probabilities of all
            classes add up to 1.
        in_words: one clause to read.
        reads_logits: whether the network returns logits rather than probabilities.
        contrasts: whether classes compete in a softmax over scores that each class has of its own,
            so that what speaks for a class can be told from what speaks for its rivals.

    Example:
        >>> outputs = outputs_of_kind("binary")
        >>> scores = outputs.scores(torch.tensor([[2.0]]))
        >>> scores, outputs.probabilities(scores)
        (tensor([[-1.,  1.]]), tensor([[0.1192, 0.8808]]))
    """

    kind: ClassVar[str]
    exclusive: bool
    in_words: ClassVar[str]
    reads_logits: ClassVar[bool] = True
    contrasts: ClassVar[bool] = False

    def number_of_classes(self, width: int) -> int:
        """C, for a network that returns ``width`` numbers for every image."""
        return width

    def scores(self, output: Tensor) -> Tensor:
        """Turn (B, N) outputs, as the network returned them, into (B, C) scores."""
        return output

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the C classes, from those that the user gave; empty if there are none."""
        return names

    @abstractmethod
    def log_probabilities(self, scores: Tensor) -> Tensor:
        """The logarithms of the probabilities of (B, C) scores, in their dtype."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """The (B, C) float32 probabilities, in [0, 1], of (B, C) scores."""
        return self.log_probabilities(scores.float()).exp()

    def class_rows(self, rows: Tensor) -> Tensor | None:
        """The rows of a last linear layer, per class.

        Args:
            rows: (N, ...), one row of a linear layer per number that the network returns.

        Returns:
            (C, ...): the rows of the same layer if it gave scores instead; ``None`` where scores
            are not linear in what the network returns.
        """
        return rows

    def problem_with(self, output: Tensor) -> ClassifierError | None:
        """Why these outputs cannot mean this; ``None`` if they can.

        Args:
            output: (B, N), what the network returned for a few images.
        """
        del output
        return None


class SoftmaxOutputs(Outputs):
    """Logits whose softmax over the classes gives the probabilities; one class is true."""

    kind = "softmax"
    exclusive = True
    in_words = "logits, of which a softmax makes probabilities: one class is true of an image"
    contrasts = True

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """``z − log Σ exp(z)``."""
        return F.log_softmax(scores, dim=-1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """``exp(z) / Σ exp(z)``, (B, C) float32."""
        return scores.float().softmax(dim=-1)

    def problem_with(self, output: Tensor) -> ClassifierError | None:
        """A single number, whose softmax is always 1, or numbers that are probabilities already."""
        if output.shape[1] < 2:
            return ClassifierError(
                "the network returns a single number per image, whose softmax is always 1",
                allowed="logits of at least two classes",
                remedy=f"{setting('outputs', 'binary')} where it is the logit of yes and no",
            )
        if _are_shares(output):
            return ClassifierError(
                "the network returns probabilities (they are positive and add up to 1)",
                allowed="logits",
                remedy="the network without its last softmax, or "
                + setting("outputs", "softmax probabilities"),
            )
        return None


class SigmoidOutputs(Outputs):
    """Logits of independent findings: the sigmoid of each is its probability."""

    kind = "sigmoid"
    exclusive = False
    in_words = "logits of independent findings: any number of them may be true of an image"

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """``−log(1 + exp(−z))``."""
        return F.logsigmoid(scores)

    def probabilities(self, scores: Tensor) -> Tensor:
        """``1 / (1 + exp(−z))``, (B, C) float32."""
        return scores.float().sigmoid()


class BinaryOutputs(SoftmaxOutputs):
    """One logit z of yes and no.

    The scores are ``−z/2`` for no, class 0, and ``z/2`` for yes, class 1: their softmax is
    ``1 − σ(z)`` and ``σ(z)``, and both answers can be explained.
    """

    kind = "binary"
    in_words = "one logit of yes and no; class 0 is no, class 1 is yes"
    contrasts = False

    def number_of_classes(self, width: int) -> int:
        """2."""
        return 2 if width == 1 else width

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """``no`` and ``yes``, or ``not NAME`` and NAME where one name was given."""
        if len(names) == 1:
            return (f"not {names[0]}", names[0])
        return names or ("no", "yes")

    def scores(self, output: Tensor) -> Tensor:
        """``(−z/2, z/2)``; two numbers are such scores already."""
        return output if output.shape[1] == 2 else torch.cat([output * -0.5, output * 0.5], dim=1)

    def class_rows(self, rows: Tensor) -> Tensor | None:
        """``(−w/2, w/2)``."""
        return torch.cat([rows * -0.5, rows * 0.5])

    def problem_with(self, output: Tensor) -> ClassifierError | None:
        """Several numbers."""
        if output.shape[1] == 1:
            return None
        return ClassifierError(
            f"the network returns {output.shape[1]} numbers per input for binary outputs",
            allowed="one logit",
            remedy=f"{setting('outputs', 'softmax')} where one class is true, "
            f"{setting('outputs', 'sigmoid')} where several may be",
        )


class SoftmaxProbabilities(SoftmaxOutputs):
    """Probabilities that add up to 1; scores are their logarithms."""

    kind = "softmax probabilities"
    in_words = "probabilities of classes of which one is true; scores are their logarithms"
    reads_logits = False
    contrasts = False

    def scores(self, output: Tensor) -> Tensor:
        """``log p``, cut off at 1e-12, or where the dtype cannot tell p from 0."""
        smallest = max(SMALLEST_PROBABILITY, torch.finfo(output.dtype).tiny)
        return output.clamp_min(smallest).log()

    def class_rows(self, rows: Tensor) -> Tensor | None:
        """``None``: a logarithm is not linear."""
        del rows
        return None

    def problem_with(self, output: Tensor) -> ClassifierError | None:
        """Numbers that are not such probabilities."""
        if output.shape[1] > 1 and _are_shares(output):
            return None
        return ClassifierError(
            "the network returns numbers that are not probabilities which add up to 1",
            allowed="the output of a softmax",
            remedy=f"{setting('outputs', 'softmax')} for logits",
        )


class SigmoidProbabilities(SigmoidOutputs):
    """Probabilities of independent findings; scores are their log odds."""

    kind = "sigmoid probabilities"
    in_words = "probabilities of independent findings; scores are their log odds"
    reads_logits = False

    def scores(self, output: Tensor) -> Tensor:
        """``log(p / (1 − p))``, with p cut off where its dtype cannot tell it from 0 or 1."""
        return output.logit(eps=torch.finfo(output.dtype).eps)

    def class_rows(self, rows: Tensor) -> Tensor | None:
        """``None``: log odds are not linear."""
        del rows
        return None

    def problem_with(self, output: Tensor) -> ClassifierError | None:
        """Numbers outside [0, 1]."""
        if bool(((output >= 0) & (output <= 1)).all()):
            return None
        return ClassifierError(
            "the network returns numbers outside 0 to 1, which are not probabilities",
            allowed="the output of a sigmoid",
            remedy=f"{setting('outputs', 'sigmoid')} for logits",
        )


@dataclasses.dataclass(frozen=True)
class OwnOutputs(Outputs):
    """Outputs whose meaning two functions of the user define.

    Such outputs cannot be saved with an explainer; the classifier must be passed when it is
    loaded.

    Attributes:
        to_scores: (B, N) outputs to (B, C) scores, differentiable.
        to_probabilities: (B, C) scores to (B, C) probabilities in [0, 1].
        exclusive: whether exactly one class is true of an image.

    Example:
        >>> cosines = OwnOutputs(lambda output: 20 * output, lambda scores: scores.softmax(dim=1))
        >>> cosines.probabilities(cosines.scores(torch.tensor([[0.1, 0.1]])))
        tensor([[0.5000, 0.5000]])
    """

    to_scores: Callable[[Tensor], Tensor]
    to_probabilities: Callable[[Tensor], Tensor]
    exclusive: bool = True
    kind: ClassVar[str] = "own"
    in_words: ClassVar[str] = "outputs that two functions of yours turn into probabilities"
    reads_logits: ClassVar[bool] = False

    def scores(self, output: Tensor) -> Tensor:
        """The scores that ``to_scores`` returns."""
        return self.to_scores(output)

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """The logarithm of the probabilities, cut off at 1e-12."""
        return self.to_probabilities(scores).clamp_min(SMALLEST_PROBABILITY).log()

    def probabilities(self, scores: Tensor) -> Tensor:
        """The probabilities that ``to_probabilities`` returns."""
        return self.to_probabilities(scores.float())

    def class_rows(self, rows: Tensor) -> Tensor | None:
        """``None``: nothing is known of a user's function."""
        del rows
        return None


SOFTMAX = SoftmaxOutputs()
"""What is assumed of a classifier unless something else is said."""

OUTPUTS: dict[str, Outputs] = {
    outputs.kind: outputs
    for outputs in (
        SOFTMAX,
        SigmoidOutputs(),
        BinaryOutputs(),
        SoftmaxProbabilities(),
        SigmoidProbabilities(),
    )
}
"""Kind to outputs; all but a user's own functions."""


def outputs_of_kind(kind: str | Outputs) -> Outputs:
    """The outputs of a name; ready ones as they are.

    Raises:
        UnknownNameError: no such kind.

    Example:
        >>> outputs_of_kind("sigmoid").exclusive
        False
    """
    if isinstance(kind, Outputs):
        return kind
    name: Any = kind.replace("-", " ") if isinstance(kind, str) else kind
    if name not in OUTPUTS:
        raise UnknownNameError.of("kind of outputs", str(kind), OUTPUTS)
    return OUTPUTS[name]


class Rivals(NamedTuple):
    """How probable a softmax finds classes, and the others where the most probable one is out.

    Attributes:
        shares: (B, C), ``p``: the softmax of the scores.
        top: (B, 1) int64, the most probable class t.
        without_top: (B, C), the softmax of all scores but that of t, which has 0.
    """

    shares: Tensor
    top: Tensor
    without_top: Tensor


def rivals(scores: Tensor) -> Rivals:
    """What any class competes with in a softmax, without a softmax for each class.

    The softmax over all classes but k is ``p_j / (1 − p_k)``, which rounding destroys where p_k
    is close to 1. Only the most probable class can be that probable, and its rivals get a softmax
    of their own; for all other classes p_k is at most a half.

    Args:
        scores: (B, C), C at least 2.

    Example:
        >>> found = rivals(torch.tensor([[60.0, 1.0, 1.0]]))
        >>> float(found.shares[0, 0]), found.top.tolist(), found.without_top.tolist()
        (1.0, [[0]], [[0.0, 0.5, 0.5]])
    """
    top = scores.argmax(dim=1, keepdim=True)
    is_top = torch.arange(scores.shape[1], device=scores.device) == top
    others = scores.masked_fill(is_top, -torch.inf)
    return Rivals(scores.softmax(dim=1), top, others.softmax(dim=1))


def _are_shares(output: Tensor) -> bool:
    """Whether the numbers of each row are shares of 1."""
    total = output.float().sum(dim=1)
    return bool((output >= 0).all()) and bool(((total - 1).abs() < 1e-3).all())
