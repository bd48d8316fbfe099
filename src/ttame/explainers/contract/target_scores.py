"""What a perturbation method reads off the scores: a target of them or of their probabilities."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.errors import ExplainerError
from ttame.outputs import SOFTMAX, Outputs

ScoreKind = Literal["logit", "probability"]


def checked_score(score: ScoreKind) -> ScoreKind:
    """The score, if it is one.

    Raises:
        ExplainerError: it is not.
    """
    if score not in get_args(ScoreKind):
        raise ExplainerError(f"score {score!r}", allowed=" or ".join(get_args(ScoreKind)))
    return score


def target_scores(
    logits: Tensor, targets: ExplainedTargets, score: ScoreKind, outputs: Outputs = SOFTMAX
) -> Tensor:
    """The values of chosen targets.

    Args:
        logits: (n, C), any floating dtype.
        targets: K of each of the n images.
        score: of logits as they are, or of their probabilities; a function always gets the logits.
        outputs: the outputs of the classifier, which know the probabilities.

    Returns:
        (n, K) float32.

    Example:
        >>> import torch
        >>> from ttame.classifiers.explained_targets import ExplainedClasses
        >>> class_2 = ExplainedClasses(torch.tensor([[2]]))
        >>> target_scores(torch.zeros(1, 4), class_2, "probability")
        tensor([[0.2500]])
    """
    logits = logits.float()
    if score == "probability":
        return targets.of_probabilities(logits, outputs.probabilities)
    return targets.of(logits)
