"""Randomness that belongs to one image, whatever batch or process measures it."""

from __future__ import annotations

import hashlib

import torch


def image_generator(seed: int, number: int, purpose: str) -> torch.Generator:
    """A generator on the CPU, whose draws are the same for every device.

    Args:
        seed: the seed of the protocol.
        number: the number of the image in the data set.
        purpose: what is drawn; other purposes get other numbers.

    Example:
        >>> first = torch.rand(3, generator=image_generator(0, 7, "squares"))
        >>> again = torch.rand(3, generator=image_generator(0, 7, "squares"))
        >>> torch.equal(first, again)
        True
    """
    digest = hashlib.sha256(f"{seed} {number} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
