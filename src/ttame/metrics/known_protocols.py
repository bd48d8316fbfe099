"""The protocols of papers, and one of our own, as presets."""

from __future__ import annotations

from ttame.errors import UnknownNameError
from ttame.metrics.protocol import Protocol

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="t-tame",
            title="T-TAME: Average Drop and Increase in Confidence at three shares, and ROAD",
            source="Ntrougkas et al., arXiv 2403.04523",
            metrics=(
                "average_drop",
                "increase_in_confidence",
                "mean_map",
                "road_most_relevant_first",
                "road_least_relevant_first",
            ),
        ),
        Protocol(
            name="chefer",
            title="Positive and negative perturbation",
            source="Chefer et al., arXiv 2012.09838",
            metrics=("positive_perturbation", "negative_perturbation"),
            mask="binary",
            removed_shares=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        ),
        Protocol(
            name="chefer-target",
            title="Positive and negative perturbation, of the labelled class",
            source="Chefer et al., arXiv 2012.09838, the target rows of its table",
            metrics=("positive_perturbation", "negative_perturbation"),
            explained_class="label",
            mask="binary",
            removed_shares=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        ),
        Protocol(
            name="adcc",
            title="Average Drop, coherency and complexity in one number",
            source="Poppi et al., arXiv 2104.10252",
            metrics=("average_drop", "increase_in_confidence", "adcc", "coherency", "complexity"),
            masked_in="normalised",
            map_scaling="pixels",
            kept_shares=(1.0,),
        ),
        Protocol(
            name="rise",
            title="Insertion and deletion",
            source="Petsiuk et al., arXiv 1806.07421",
            metrics=("insertion", "deletion"),
            masked_in="normalised",
        ),
        Protocol(
            name="road",
            title="Remove and debias",
            source="Rong et al., arXiv 2202.00449",
            metrics=("road_most_relevant_first", "road_least_relevant_first"),
            removed_shares=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        ),
        Protocol(
            name="held-ground",
            title="Held ground: what cannot be fitted on every ground at once",
            source="ours, fixed before any head was chosen by it",
            metrics=(
                "held_ground",
                "insertion",
                "insertion_on_mean",
                "insertion_on_noise",
                "deletion",
                "deletion_to_blur",
                "deletion_to_noise",
                "road_most_relevant_first",
                "road_least_relevant_first",
                "hard_mask_kept",
                "hard_mask_removed",
                "saco",
                "agreement_under_shifts",
                "agreement_under_noise",
            ),
            annotated_metrics=("pointing_game", "energy_inside"),
            gate_images=4,
            masked_in="normalised",
            mask="binary",
            ties="trimmed",
            kept_shares=(0.5, 0.3, 0.15, 0.05),
            removed_shares=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
            road_score="probability",
            step=5018,
        ),
    )
}
"""Name to protocol."""

DEFAULT_PROTOCOL = "t-tame"


def known_protocol(name: str) -> Protocol:
    """A preset by its name.

    Raises:
        UnknownNameError: there is none; with near matches.

    Example:
        >>> known_protocol("t-tame").kept_shares
        (1.0, 0.5, 0.15)
    """
    if name not in PROTOCOLS:
        raise UnknownNameError.of("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
