"""Class scores of CLIP-like networks: an image's embedding next to the embeddings of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.errors import ClassifierError

_SHORTEST = 1e-12
"""Length below which an embedding has no direction."""


class ZeroShotScores(nn.Module):
    """Scores of C classes that texts describe: ``scale · cos(image, text_c) + bias``.

    The embedding of the image is divided by its length, by an RMS norm, and one linear layer does
    the rest: its rows are the embeddings of the texts, each of length ``scale``, over ``√D``. So
    the rows tell the classes apart as those of any classifier's last layer do, and methods of
    relevance treat the length as they treat the divisor of any other norm: as a constant.

    Args:
        image_tower: maps (B, 3, H, W) to (B, D), or to an output with ``.image_embeds`` or
            ``.pooler_output``, or to a tuple that begins with them. It is used as it is.
        text_embeddings: (C, D) float, of any length but 0.
        scale: positive; ``exp(logit_scale)`` of the model.
        bias: added to every score; ``logit_bias`` of SigLIP.

    Example:
        >>> tower = nn.Sequential(nn.Conv2d(3, 2, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> scores = ZeroShotScores(tower, torch.eye(2), scale=10.0)
        >>> found = scores(torch.ones(1, 3, 8, 8))
        >>> round(float(found.detach().square().sum()), 3)
        100.0
    """

    def __init__(
        self, image_tower: nn.Module, text_embeddings: Tensor, *, scale: float, bias: float = 0.0
    ) -> None:
        width = text_embeddings.shape[1]
        rows = F.normalize(text_embeddings.detach().double(), dim=1) * (scale / width**0.5)
        self._keep(image_tower, rows, rows.new_full((len(rows),), bias) if bias else None)

    @classmethod
    def of_rows(cls, image_tower: nn.Module, rows: Mapping[str, Tensor]) -> ZeroShotScores:
        """The same scores again.

        Args:
            image_tower: the image tower of the same model.
            rows: what :meth:`rows` gave.
        """
        made = cls.__new__(cls)
        made._keep(image_tower, rows["weight"], rows.get("bias"))
        return made

    def rows(self) -> dict[str, Tensor]:
        """``weight``, (C, D), and ``bias``, (C,), if there is one: all but the image tower."""
        return dict(self.classes.state_dict())

    def _keep(self, image_tower: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        width = weight.shape[1]
        like = next((p for p in image_tower.parameters() if p.is_floating_point()), None)
        dtype = torch.float32 if like is None else like.dtype
        device = weight.device if like is None else like.device
        self.image_tower = image_tower
        # Of a squared length, over the width.
        epsilon = _SHORTEST**2 / width
        self.unit_length = nn.RMSNorm(width, eps=epsilon, elementwise_affine=False)
        # Without initial values: torch's random numbers are the user's.
        with torch.device("meta"):
            classes = nn.Linear(width, len(weight), bias=bias is not None, dtype=dtype)
        self.classes = classes.to_empty(device=device).requires_grad_(False)
        self.classes.weight.copy_(weight)
        if bias is not None:
            self.classes.bias.copy_(bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C)."""
        embedding = embedding_of(self.image_tower(images), self.classes.in_features)
        scores: Tensor = self.classes(self.unit_length(embedding))
        return scores


def embedding_of(output: Any, width: int) -> Tensor:
    """The (B, D) embedding in what an image tower returned.

    Args:
        output: a tensor, an output with ``.image_embeds`` or ``.pooler_output``, or a tuple that
            begins with one.
        width: D of the text embeddings.

    Raises:
        ClassifierError: there is none, or it is of another width.

    Example:
        >>> embedding_of((torch.zeros(1, 4), None), 4).shape
        torch.Size([1, 4])
    """
    for name in ("image_embeds", "pooler_output"):
        if isinstance(getattr(output, name, None), Tensor):
            output = getattr(output, name)
            break
    else:
        if isinstance(output, list | tuple) and output:
            output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ClassifierError(
            f"an image tower that returns {came}",
            allowed="(B, D) embeddings, or an output with .image_embeds or .pooler_output",
        )
    if output.shape[1] != width:
        raise ClassifierError(
            f"image embeddings of {output.shape[1]} numbers for text embeddings of {width}",
            allowed="both towers of the same model, projections included",
            remedy="the whole model as image tower, or its CLIPVisionModelWithProjection",
        )
    return output
