"""What speaks for a class at a place, against what speaks for the classes it competes with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ttame.outputs import Rivals, rivals


def against_rivals(
    maps: Tensor,
    evidence_for: Callable[[Tensor], Tensor],
    class_weights: Tensor,
    scores: Tensor,
    classes: Tensor | None = None,
) -> Tensor:
    """The evidence for each class less that for its rivals, wherever evidence comes from.

    Args:
        maps: (B, K, h, w), the evidence for the classes.
        evidence_for: gives the evidence (B, 2, h, w) for (B, 2, D) mixtures of class weights.
        class_weights: (C, D), the rows of the last linear layer.
        scores: (B, C), of which a softmax makes probabilities.
        classes: (K,) or (B, K) int64, whose maps these are; ``None`` for all C.

    Returns:
        (B, K, h, w); see :func:`contrasted`.

    Example:
        >>> features = torch.tensor([[[[5.0]], [[2.0]], [[1.0]]]])
        >>> def evidence_for(rows):
        ...     return torch.einsum("bkd,bdhw->bkhw", rows, features)
        >>> scores = torch.tensor([[5.0, 2.0, 2.0]])
        >>> against_rivals(features, evidence_for, torch.eye(3), scores)[0, 0]
        tensor([[3.5000]])
    """
    found = rivals(scores)
    return contrasted(maps, evidence_for(rival_rows(class_weights, found)), found, classes)


def rival_rows(class_weights: Tensor, rivals: Rivals) -> Tensor:
    """Two mixtures of class weights for each image, from which every class's rivals follow.

    Args:
        class_weights: (C, D), the rows ``w_j`` of the last linear layer.
        rivals: of the images, see :func:`ttame.outputs.rivals`.

    Returns:
        (B, 2, D): ``Σ_j p_j w_j``, and the same without the most probable class.
    """
    shares = torch.stack([rivals.shares, rivals.without_top], dim=1)
    return shares.to(class_weights.dtype) @ class_weights


def contrasted(
    maps: Tensor, of_rivals: Tensor, rivals: Rivals, classes: Tensor | None = None
) -> Tensor:
    """The evidence for each class less that for the classes which would be said instead.

    ::

        (w_k − Σ_{j≠k} q_j w_j) · A,    q = softmax of the scores without that of k

    To first order it is what a place gives to ``log(p_k / (1 − p_k))``. It takes no sum over the
    classes for every k: with ``s = Σ_j p_j w_j`` the rivals of k are ``(s − p_k w_k) / (1 − p_k)``,
    but for the most probable class, whose p_k may be 1 and whose rivals are given.

    Args:
        maps: (B, K, h, w), ``w_k · A``.
        of_rivals: (B, 2, h, w), the same of :func:`rival_rows`.
        rivals: of the images.
        classes: (K,) or (B, K) int64, whose maps these are; ``None`` for all C.

    Returns:
        (B, K, h, w).

    Example:
        >>> from ttame.outputs import rivals
        >>> weights, features = torch.eye(3), torch.tensor([[[[5.0]], [[2.0]], [[1.0]]]])
        >>> found = rivals(torch.tensor([[5.0, 2.0, 2.0]]))
        >>> of_rivals = (rival_rows(weights, found) @ features.flatten(2))[..., None]
        >>> contrasted(features, of_rivals, found).flatten()[0]  # 5 − (2 + 1) / 2
        tensor(3.5000)
    """
    if classes is None:
        shares = rivals.shares
        classes = torch.arange(shares.shape[1], device=shares.device)
    else:
        shares = rivals.shares.gather(1, classes.expand(len(rivals.shares), -1))
    share = shares[:, :, None, None].to(maps.dtype)
    of_all, without_top = of_rivals[:, :1], of_rivals[:, 1:]
    # Of all classes but the most probable one the divisor is a half or more.
    others = (of_all - share * maps) / (1 - share).clamp_min(0.5)
    is_top = (classes == rivals.top)[:, :, None, None]
    return maps - torch.where(is_top, without_top, others)
