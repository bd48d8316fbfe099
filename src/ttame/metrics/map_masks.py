"""Maps as masks, the way a protocol says."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ttame.images.pixel_masking import mask_images
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import keep_above_quantile, resize_maps, to_unit_range
from ttame.metrics.measuring_batch import Probabilities, of_classes
from ttame.metrics.pixel_ranking import most_relevant_first, removed_pixels
from ttame.metrics.protocol import Protocol


def map_values(maps: Tensor, size: tuple[int, int], protocol: Protocol) -> Tensor:
    """Raw maps as values in [0, 1] at the size of the images.

    Args:
        maps: (B, h, w) raw.
        size: (H, W) of the images in pixels.
        protocol: its ``map_scaling`` and ``upsampling``.

    Returns:
        (B, H, W) float32 in [0, 1]; 0 everywhere where the map is constant.

    Example:
        >>> import torch
        >>> map_values(torch.tensor([[[1.0, 2.0], [3.0, 5.0]]]), (2, 2), Protocol("example"))
        tensor([[[0.0000, 0.2500],
                 [0.5000, 1.0000]]])
    """
    values = maps.float()
    if protocol.map_scaling == "grid":
        # Bicubic interpolation leaves the range that it interpolates.
        return _resized(to_unit_range(values), size, protocol).clamp(0, 1)
    return to_unit_range(_resized(values, size, protocol))


def share_masks(maps: Tensor, size: tuple[int, int], kept: float, protocol: Protocol) -> Tensor:
    """Masks that keep the most relevant share of the pixels.

    Args:
        maps: (B, h, w) raw.
        size: (H, W) of the images in pixels.
        kept: share of the pixels, in (0, 1].
        protocol: its ``mask`` and ``ties``, besides those of :func:`map_values`.

    Returns:
        (B, H, W) float32 in [0, 1].

    Example:
        >>> import torch
        >>> maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])
        >>> share_masks(maps, (2, 2), 0.5, Protocol("example"))
        tensor([[[0.0000, 0.0000],
                 [0.5000, 1.0000]]])
        >>> share_masks(maps, (2, 2), 0.5, Protocol("example", mask="binary"))
        tensor([[[0., 0.],
                 [1., 1.]]])
    """
    values = map_values(maps, size, protocol)
    if protocol.ties == "trimmed":
        first = removed_pixels(most_relevant_first(values, protocol.seed), kept, size)
        return first.float() if protocol.mask == "binary" else values.masked_fill(~first, 0)
    if protocol.mask == "binary":
        # Shifted, so that a kept value of 0 is told from a removed one.
        return (keep_above_quantile(values + 1, 1 - kept) > 0).float()
    return keep_above_quantile(values, 1 - kept)


def masked_confidence(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    kept: float,
    protocol: Protocol,
) -> Tensor:
    """(B,) probability of the explained class where only the most relevant share is left."""
    masked = masked_images(images, maps, preprocessing, kept, protocol)
    return of_classes(probabilities(masked), classes)


def masked_images(
    images: Tensor, maps: Tensor, preprocessing: Preprocessing, kept: float, protocol: Protocol
) -> Tensor:
    """(B, 3, H, W) images of which only the most relevant share is left."""
    size = (int(images.shape[2]), int(images.shape[3]))
    masks = share_masks(maps, size, kept, protocol)
    return mask_images(images, masks[:, None], preprocessing, protocol.masked_in)


def ranking_of(maps: Tensor, size: tuple[int, int], protocol: Protocol) -> Tensor:
    """(B, H·W) pixels of raw maps as the protocol scales and resizes them, most relevant first."""
    return most_relevant_first(map_values(maps, size, protocol), protocol.seed)


def _resized(maps: Tensor, size: tuple[int, int], protocol: Protocol) -> Tensor:
    if protocol.upsampling == "bilinear":
        return resize_maps(maps[:, None], size)[:, 0]
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]
