"""``METHOD+refined10``: methods whose maps are refined, as they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttame.errors import ExplainerError

if TYPE_CHECKING:
    from ttame.explainers.contract.explainer import Explainer

REFINED = "+refined"
"""Between a method and the steps that its maps are refined by."""


def split_refinement(entry: str) -> tuple[str, str | None]:
    """A name among the methods, and the refinement behind it.

    Example:
        >>> split_refinement("grad_cam+refined10@7"), split_refinement("cam")
        (('grad_cam', '10@7'), ('cam', None))
    """
    name, plus, refinement = entry.rpartition(REFINED)
    return (name, refinement) if plus and name else (entry, None)


def refine_each(explainers: dict[str, Explainer], refinement: str | None) -> dict[str, Explainer]:
    """The explainers with refined maps, under labels that say so; as they are for ``None``.

    Raises:
        ExplainerError: the refinement cannot be read, or an explainer's maps cannot be refined.
    """
    if refinement is None:
        return explainers
    from ttame.explainers.contract.map_refinement import parse_refinement

    how = parse_refinement(refinement)
    return {
        label + how.suffix: each.refined(how.steps, grid=how.grid)
        for label, each in explainers.items()
    }


def checked_refinement(entry: str) -> str:
    """The name in front of a refinement that can be read.

    Raises:
        ExplainerError: it cannot be read, or it stands behind ``all``.

    Example:
        >>> checked_refinement("cam+refined3")
        'cam'
    """
    from ttame.explainers.contract.map_refinement import parse_refinement

    name, refinement = split_refinement(entry)
    if refinement is not None:
        if name == "all":
            raise ExplainerError(entry, allowed=f"METHOD{REFINED}STEPS, one by one")
        parse_refinement(refinement)
    return name
