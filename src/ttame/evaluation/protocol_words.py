"""A protocol in sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from ttame.metrics.metric import Metric
from ttame.metrics.protocol import Protocol, percent


def protocol_in_words(protocol: Protocol, metrics: Sequence[Metric]) -> tuple[tuple[str, str], ...]:
    """What was done, as pairs of a heading and a sentence.

    Example:
        >>> from ttame.metrics.known_protocols import known_protocol
        >>> protocol_in_words(known_protocol("t-tame"), ())[0]
        ('Class', "each image's top-1 class is explained and scored")
    """
    read = {setting for metric in metrics for setting in metric.reads}
    return tuple(
        (what, words(protocol, read)) for what, setting, words in _SAID if setting in (None, *read)
    )


def _class(protocol: Protocol, _: Set[str]) -> str:
    if protocol.explained_class == "top-1":
        return "each image's top-1 class is explained and scored"
    return "the class that the data names is explained and scored"


def _map(protocol: Protocol, _: Set[str]) -> str:
    if protocol.map_scaling == "grid":
        return (
            f"scaled to [0, 1] on its own grid, then enlarged to the image ({protocol.upsampling})"
        )
    return f"enlarged to the image ({protocol.upsampling}), then scaled to [0, 1]"


def _masks(protocol: Protocol, read: Set[str]) -> str:
    removed = "black" if protocol.masked_in == "raw" else "the mean colour of the data set"
    multiplied = f"multiply {protocol.masked_in} pixels, so that what is removed is {removed}"
    if "kept_shares" not in read:
        return multiplied
    kept = ", ".join(percent(share) for share in protocol.kept_shares)
    values = "its values as they are" if protocol.mask == "soft" else "1"
    ties = (
        "pixels that equal the threshold stay"
        if protocol.ties == "kept"
        else "exactly the share stays, equal values in one fixed order"
    )
    return (
        f"{multiplied}; of the map, the top {kept} % of the pixels keep {values} and the others "
        f"become 0; {ties}"
    )


def _removal(protocol: Protocol, _: Set[str]) -> str:
    shares = ", ".join(percent(share) for share in protocol.removed_shares)
    return f"ROAD and perturbation curves remove {shares} % of the pixels"


def _road(protocol: Protocol, _: Set[str]) -> str:
    scored = (
        "the score is whether the class is still top-1"
        if protocol.road_score == "accuracy"
        else "the score is the class's probability"
    )
    return (
        "removed pixels become the weighted mean of their neighbours, with noise of "
        f"{protocol.road_noise}; {scored}"
    )


def _insertion_and_deletion(protocol: Protocol, _: Set[str]) -> str:
    size, sigma = protocol.blur
    return (
        f"{protocol.step} pixels at a time; insertion starts from the image blurred by "
        f"{size}x{size} pixels, sigma {sigma:g}"
    )


def _adcc(protocol: Protocol, _: Set[str]) -> str:
    return f"averaged over images: {protocol.adcc_average}"


def _equal_values(protocol: Protocol, _: Set[str]) -> str:
    return f"are ordered once for all methods, by seed {protocol.seed}"


_SAID: tuple[tuple[str, str | None, Callable[[Protocol, Set[str]], str]], ...] = (
    ("Class", None, _class),
    ("Map", None, _map),
    ("Masks", "masked_in", _masks),
    ("Removal", "removed_shares", _removal),
    ("ROAD", "road_noise", _road),
    ("Insertion and deletion", "step", _insertion_and_deletion),
    ("ADCC", "adcc_average", _adcc),
    ("Equal values", None, _equal_values),
)
"""Heading, the setting without whose readers nothing is said, and the sentence."""
