"""A network where one is expected."""

from __future__ import annotations

from torch import nn

from ttame.errors import ClassifierError, kind_of


def refuse_other_than_module(value: object, role: str = "network") -> None:
    """Raise unless a value is a network.

    Args:
        value: that somebody passed.
        role: what for, in messages.

    Raises:
        ClassifierError: it is something else; of what has a network inside, that one is named.

    Example:
        >>> refuse_other_than_module(nn.Linear(1, 1))
    """
    if isinstance(value, nn.Module):
        return
    inside = isinstance(getattr(value, "network", None), nn.Module)
    raise ClassifierError(
        f"{kind_of(value)} as {role}",
        allowed="a torch.nn.Module",
        remedy="classifier.network, which it explains" if inside else "",
    )
