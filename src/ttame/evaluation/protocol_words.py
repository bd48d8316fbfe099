"""A protocol in sentences."""

from __future__ import annotations

from collections.abc import Sequence

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
    removed = "black" if protocol.masked_in == "raw" else "the mean colour of the data set"
    kept = ", ".join(percent(share) for share in protocol.kept_shares)
    shares = ", ".join(percent(share) for share in protocol.removed_shares)
    values = "its values as they are" if protocol.mask == "soft" else "1"
    ties = (
        "pixels that equal the threshold stay"
        if protocol.ties == "kept"
        else "exactly the share stays, equal values in one fixed order"
    )
    scaling = (
        f"scaled to [0, 1] on its own grid, then enlarged to the image ({protocol.upsampling})"
        if protocol.map_scaling == "grid"
        else f"enlarged to the image ({protocol.upsampling}), then scaled to [0, 1]"
    )
    words = [
        (
            "Class",
            "each image's top-1 class is explained and scored"
            if protocol.explained_class == "top-1"
            else "the class that the data names is explained and scored",
        ),
        ("Map", scaling),
        (
            "Masks",
            f"multiply {protocol.masked_in} pixels, so that what is removed is {removed}"
            + (
                f"; of the map, the top {kept} % of the pixels keep {values} and the others "
                f"become 0; {ties}"
                if "kept_shares" in read
                else ""
            ),
        ),
        ("Removal", f"ROAD and perturbation curves remove {shares} % of the pixels"),
        (
            "ROAD",
            "removed pixels become the weighted mean of their neighbours, with noise of "
            f"{protocol.road_noise}; "
            + (
                "scored is whether the class is still top-1"
                if protocol.road_score == "accuracy"
                else "scored is the class's probability"
            ),
        ),
        (
            "Insertion and deletion",
            f"{protocol.step} pixels at a time; insertion starts from the image blurred by "
            f"{protocol.blur[0]}x{protocol.blur[0]} pixels, sigma {protocol.blur[1]:g}",
        ),
        ("ADCC", f"averaged over images: {protocol.adcc_average}"),
        ("Equal values", f"are ordered once for all methods, by seed {protocol.seed}"),
    ]
    # Of a setting that no metric reads, nothing is said.
    said_of = {
        "Masks": "masked_in",
        "Removal": "removed_shares",
        "ROAD": "road_noise",
        "Insertion and deletion": "step",
        "ADCC": "adcc_average",
    }
    return tuple((what, how) for what, how in words if what not in said_of or said_of[what] in read)
