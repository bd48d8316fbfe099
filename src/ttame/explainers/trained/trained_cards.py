"""The facts about the methods that are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttame.errors import UnknownNameError
from ttame.explainers.contract.method_card import LINEAR_TARGETS, MethodCard

if TYPE_CHECKING:
    from ttame.classifiers.any_classifier import Kind

_PUBLISHED = (
    "our own implementation of the paper's formulas, Apache-2.0; the published code is for "
    "non-commercial use"
)
P_TAME = "p_tame"
"""The method that reads another network's features, and is nothing without one."""

_OURS = "our own method after the paper's idea, Apache-2.0; head and loss are not the paper's"


def _card(
    name: str,
    title: str,
    paper: str,
    licence_note: str = _PUBLISHED,
    explains: tuple[Kind, ...] = ("images",),
    networks: str = "any with feature maps or patch tokens, after training",
    cost: str = "1 forward and the head, all classes",
) -> MethodCard:
    return MethodCard(
        name=name,
        title=title,
        family="trained",
        networks=networks,
        cost=cost,
        paper=paper,
        targets=LINEAR_TARGETS,
        licence_note=licence_note,
        explains=explains,
    )


TRAINED_CARDS: dict[str, MethodCard] = {
    card.name: card
    for card in (
        _card("t_tame", "T-TAME", "Ntrougkas et al., arXiv 2403.04523"),
        _card("tame", "TAME", "Ntrougkas et al., arXiv 2301.07407"),
        _card("l_cam_img", "L-CAM-Img", "Gkartzonika et al., arXiv 2209.11189"),
        _card("l_cam_fm", "L-CAM-Fm", "Gkartzonika et al., arXiv 2209.11189"),
        _card(
            "few_shot",
            "Few-shot T-TAME",
            "ours, after Ntrougkas et al., arXiv 2403.04523",
            _OURS,
            ("images", "texts"),
        ),
        _card(
            P_TAME,
            "P-TAME",
            "Ntrougkas et al., arXiv 2501.17813",
            networks="any, after training with the features of another network",
            cost="1 forward, 1 of the other network and the head, all classes",
        ),
    )
}
"""Name to facts, for every method whose explainer is trained."""


def trained_card(name: str) -> MethodCard:
    """The card of a trained method.

    Raises:
        UnknownNameError: no such method.
    """
    if name not in TRAINED_CARDS:
        raise UnknownNameError.of("trained method", name, TRAINED_CARDS)
    return TRAINED_CARDS[name]
