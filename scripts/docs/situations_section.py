"""The section of the compatibility page about situations: one table of all of them."""

from __future__ import annotations

from scripts.docs.precision_situations import PRECISIONS, tolerance
from scripts.docs.situations import SITUATIONS, Situation
from scripts.docs.situations_of_other_tasks import OTHER_TASKS
from scripts.docs.situations_of_outputs import INS_AND_OUTS

ALL = (*SITUATIONS, *INS_AND_OUTS, *OTHER_TASKS, *PRECISIONS)
"""Every situation: a network somewhere, with its outputs, its input and what is around it."""

HEAD = "a trained head"


def compared(situation: Situation) -> tuple[str, ...]:
    """The methods whose maps are compared: the named ones, and a head where there is Grad-CAM."""
    has_head = situation.works and "grad_cam" in situation.methods and situation not in PRECISIONS
    return situation.methods + ((HEAD,) if has_head else ())


def _row(situation: Situation) -> str:
    if not situation.works:
        methods = f"refused: {', '.join(situation.methods)}"
        return f"| {situation.title} | refused | {methods} | {situation.said} |"
    shares: dict[str, list[str]] = {}
    for method in compared(situation):
        shares.setdefault(f"{tolerance(situation, method):.2%}", []).append(method)
    within = "; ".join(f"{', '.join(methods)}: {share}" for share, methods in shares.items())
    return f"| {situation.title} | works | {within} | {situation.said} |"


def as_markdown() -> str:
    """The section of the page."""
    works = sum(each.works for each in ALL)
    return "\n".join(
        [
            "## Situations",
            "",
            f"{len(ALL)} situations, of which {works} work; the others are refused in one line, "
            "with these words in it.",
            "Of each that works, Grad-CAM and occlusion are compared with slow formulas in plain "
            "PyTorch, and other maps with those",
            "of a plain float32 network that computes the same; *how far* is the largest "
            "difference allowed, as a share of the",
            "largest value. Every row is a test in `tests/scripts/docs`. Autocast around a call is "
            "left while ttame explains,",
            "and compiled networks run as they were written.",
            "",
            "| situation | outcome | compared, and how far | in which words |",
            "|---|---|---|---|",
            *map(_row, ALL),
        ]
    )
