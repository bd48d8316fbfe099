"""A digit at a random place on a texture, beside a scrambled one that says nothing, or a second."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 64
"""Pixels of an image's side."""

DIGIT = 16
"""Pixels of a digit's side: a sixteenth of the picture."""

LATTICE = 8
"""Digits start at multiples of it: 49 places, of which 4 come near the centre."""

CLASSES = 10

Share = Literal["training", "held out"]


class Digits(NamedTuple):
    """Handwritten digits: (N, 8, 8) float32 ink in [0, 1] and (N,) int64 labels."""

    ink: Tensor
    labels: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class PlantedImages:
    """Images of digits, and where they are.

    Attributes:
        pixels: (B, 3, 64, 64) float32 in [0, 1].
        labels: (B,) int64, which digit.
        digits: (B, 64, 64) bool, the box of the digit.
        decoys: (B, 64, 64) bool, the box of the other thing: a scrambled digit, or a second one.
        decoy_labels: (B,) int64, of what digit the other thing was made.
        textures: (B, 3, 64, 64) float32, the pictures before anything was planted.
    """

    pixels: Tensor
    labels: Tensor
    digits: Tensor
    decoys: Tensor
    decoy_labels: Tensor
    textures: Tensor

    def without(self, boxes: Tensor) -> Tensor:
        """(B, 3, 64, 64) the pictures with the bare texture in the boxes, (B, 64, 64) bool."""
        return torch.where(boxes[:, None], self.textures, self.pixels)


@functools.cache
def handwritten_digits(share: Share) -> Digits:
    """Three quarters of scikit-learn's digits to train on, or the quarter that is held out."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    held_out = torch.arange(len(loaded.target)) % 4 == 3
    kept = held_out if share == "held out" else ~held_out
    ink = torch.from_numpy(loaded.images).float() / 16
    return Digits(ink[kept], torch.from_numpy(loaded.target).long()[kept])


def plant_digits(share: Share, count: int, generator: torch.Generator) -> PlantedImages:
    """Draw images of one digit and one decoy, as many of each digit as of any other.

    Texture, colour of the ink, both places and the scrambled digit are drawn without a look at
    the label, so that nothing but the digit tells it.

    Args:
        share: of the handwritten digits.
        count: B.
        generator: all randomness comes from it.
    """
    labels = torch.arange(count) % CLASSES
    decoy_labels = torch.randint(CLASSES, (count,), generator=generator)
    decoys = _scrambled(_drawn(share, decoy_labels, generator), generator)
    return _planted(share, labels, decoys, decoy_labels, generator)


def plant_two_digits(share: Share, count: int, generator: torch.Generator) -> PlantedImages:
    """Draw images of two different digits; arguments as for :func:`plant_digits`."""
    labels = torch.arange(count) % CLASSES
    others = (labels + torch.randint(1, CLASSES, (count,), generator=generator)) % CLASSES
    return _planted(share, labels, _drawn(share, others, generator), others, generator)


def _planted(
    share: Share, labels: Tensor, decoys: Tensor, decoy_labels: Tensor, generator: torch.Generator
) -> PlantedImages:
    count = len(labels)
    textures = _textures(count, generator)
    colours = 0.75 + 0.25 * torch.rand(count, 1, 1, 3, generator=generator)
    digit_places, decoy_places = _places(count, generator)
    pictures = textures.permute(0, 2, 3, 1).clone()
    decoy_boxes = _paste(pictures, decoys, colours, decoy_places)
    digit_boxes = _paste(pictures, _drawn(share, labels, generator), colours, digit_places)
    pixels = pictures.permute(0, 3, 1, 2).contiguous()
    return PlantedImages(pixels, labels, digit_boxes, decoy_boxes, decoy_labels, textures)


def _textures(count: int, generator: torch.Generator) -> Tensor:
    """(B, 3, 64, 64) in [0, 0.6]: soft colour gradients under fine grain."""
    blobs = 0.5 * torch.rand(count, 3, 4, 4, generator=generator)
    grain = 0.1 * torch.rand(count, 1, SIZE, SIZE, generator=generator)
    return F.interpolate(blobs, size=(SIZE, SIZE), mode="bilinear", align_corners=False) + grain


def _places(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Top left corners of digit and decoy, (B, 2) int64 each; their boxes do not overlap."""
    steps = torch.arange(0, SIZE - DIGIT + 1, LATTICE)
    corners = torch.cartesian_prod(steps, steps)
    first = corners[torch.randint(len(corners), (count,), generator=generator)]
    free = ((corners - first[:, None]).abs() >= DIGIT).any(dim=2)
    drawn = torch.rand(count, len(corners), generator=generator) * free
    return first, corners[drawn.argmax(dim=1)]


def _drawn(share: Share, labels: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 8, 8) the ink of a random digit for every label."""
    digits = handwritten_digits(share)
    fits = digits.labels == labels[:, None]
    return digits.ink[(torch.rand(fits.shape, generator=generator) * fits).argmax(dim=1)]


def _scrambled(ink: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 8, 8) digits cut into 16 pieces of 2×2 that are put together in random order."""
    count = len(ink)
    pieces = ink.reshape(count, 4, 2, 4, 2).transpose(2, 3).reshape(count, 16, 2, 2)
    order = torch.rand(count, 16, generator=generator).argsort(dim=1)
    pieces = pieces[torch.arange(count)[:, None], order]
    return pieces.reshape(count, 4, 4, 2, 2).transpose(2, 3).reshape(count, 8, 8)


def _paste(pictures: Tensor, ink: Tensor, colours: Tensor, corners: Tensor) -> Tensor:
    """Draw on (B, 64, 64, 3) pictures, in place; return the (B, 64, 64) bool boxes."""
    side = torch.arange(DIGIT)
    image = torch.arange(len(ink))[:, None, None]
    rows = (corners[:, :1] + side)[:, :, None]
    columns = (corners[:, 1:] + side)[:, None, :]
    opacity = F.interpolate(ink[:, None], size=(DIGIT, DIGIT), mode="bilinear")[:, 0, :, :, None]
    below = pictures[image, rows, columns]
    pictures[image, rows, columns] = torch.lerp(below, colours, opacity)
    boxes = torch.zeros(pictures.shape[:3], dtype=torch.bool)
    boxes[image, rows, columns] = True
    return boxes
