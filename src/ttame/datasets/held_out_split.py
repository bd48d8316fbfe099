"""Which photos are kept back to validate on."""

from __future__ import annotations

import random

from ttame.errors import DatasetError, TrainingError


def split_held_out(length: int, share: float, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split ``length`` photos at random into a part to train on and a held-out part.

    The split depends on nothing but the arguments: neither on torch's or numpy's generators nor
    on their versions.

    Args:
        length: how many photos there are.
        share: the share of the photos that are held out, above 0 and below 1. At least one photo is
            held out and at least one is left, if there are two.
        seed: another seed holds out other photos.

    Returns:
        (indices to train on, held-out indices), each sorted, together every index once. A single
        photo is trained on, and nothing is held out.

    Raises:
        DatasetError: there are no photos.
        TrainingError: ``share`` is outside (0, 1).

    Example:
        >>> kept, held_out = split_held_out(10, 0.2, seed=0)
        >>> len(kept), len(held_out), sorted(kept + held_out) == list(range(10))
        (8, 2, True)
    """
    if length < 1:
        raise DatasetError(f"{length} photos to split", allowed="at least one")
    if not 0 < share < 1:
        raise TrainingError(f"held-out share {share}", allowed="above 0 and below 1", remedy="0.05")
    n_held_out = min(max(round(length * share), 1), length - 1)
    # Python promises the same random() for the same seed in every version, but not the same
    # shuffle() or sample().
    draw = random.Random(seed)
    by_chance = sorted(range(length), key=lambda _: draw.random())
    return tuple(sorted(by_chance[n_held_out:])), tuple(sorted(by_chance[:n_held_out]))
