"""The one place where an image is multiplied by a mask."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ttame.images.preprocessing import Preprocessing

MaskingSpace = Literal["raw", "normalised"]


def mask_images(
    images: Tensor, masks: Tensor, preprocessing: Preprocessing, space: MaskingSpace
) -> Tensor:
    """Multiply images by masks, and say what "removed" looks like.

    * ``"raw"``: ``normalise(mask ⊙ denormalise(images))``. A removed pixel is black. TAME, the
      CNN half of T-TAME, and the published evaluation.
    * ``"normalised"``: ``mask ⊙ images``. A removed pixel has the mean colour of the data set.
      T-TAME's Vision Transformer script.

    Args:
        images: (B, 3, H, W) float, normalised, as the network takes them.
        masks: (B, 1, H, W) float in [0, 1].
        preprocessing: holds the mean and standard deviation of the normalisation.
        space: where the multiplication happens.

    Returns:
        (B, 3, H, W), normalised, differentiable in both arguments.

    Example:
        >>> import torch
        >>> preprocessing = Preprocessing.imagenet(8)
        >>> images = torch.ones(1, 3, 8, 8)
        >>> mask_images(images, torch.zeros(1, 1, 8, 8), preprocessing, "normalised").max()
        tensor(0.)
    """
    masks = masks.to(images.dtype)
    if space == "normalised":
        return images * masks
    # normalise(mask ⊙ denormalise(x)) = mask ⊙ (x + mean/std) − mean/std: one pass over the
    # pixels instead of four, which matters in the training loop.
    offset = preprocessing.black(images)
    return (images - offset) * masks + offset


def show_on_ground(images: Tensor, masks: Tensor, ground: Tensor) -> Tensor:
    """``mask ⊙ images + (1 − mask) ⊙ ground``: what a mask hides is the ground.

    Args:
        images: (B, C, H, W) float.
        masks: (B, 1, H, W) float in [0, 1].
        ground: (B, C, H, W), see :mod:`ttame.images.hidden_pixels`.

    Returns:
        (B, C, H, W), differentiable in all arguments.

    Example:
        >>> import torch
        >>> images, masks = torch.ones(1, 3, 2, 2), torch.full((1, 1, 2, 2), 0.25)
        >>> float(show_on_ground(images, masks, torch.full_like(images, 5)).mean())
        4.0
    """
    return ground + masks.to(images.dtype) * (images - ground)
