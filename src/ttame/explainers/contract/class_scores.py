"""What a perturbation method reads off the logits: the logit of a class or its probability."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

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


def class_scores(
    logits: Tensor, classes: Tensor, score: ScoreKind, outputs: Outputs = SOFTMAX
) -> Tensor:
    """The scores of chosen classes.

    Args:
        logits: (n, C), any floating dtype.
        classes: (n, K) int64.
        score: logits as they are, or their probabilities.
        outputs: of the classifier, which know the probabilities.

    Returns:
        (n, K) float32.

    Example:
        >>> import torch
        >>> class_scores(torch.zeros(1, 4), torch.tensor([[2]]), "probability")
        tensor([[0.2500]])
    """
    logits = logits.float()
    scores = outputs.probabilities(logits) if score == "probability" else logits
    return scores.gather(1, classes)
