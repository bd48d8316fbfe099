"""Checks of options that several methods share."""

from __future__ import annotations

from collections.abc import Sequence

from ttame.errors import ExplainerError


def check_choice(method: str, option: str, came: object, allowed: Sequence[str]) -> None:
    """Refuse a value that is none of the allowed words.

    Raises:
        ExplainerError: it is none of them.
    """
    if came not in allowed:
        raise ExplainerError(
            f"{option}={came!r} for {method}", allowed=" or ".join(repr(word) for word in allowed)
        )


def check_count(method: str, option: str, came: object, least: int = 1) -> None:
    """Refuse what is not a whole number of at least ``least``.

    Raises:
        ExplainerError: it is none.
    """
    if isinstance(came, bool) or not isinstance(came, int) or came < least:
        raise ExplainerError(
            f"{option}={came!r} for {method}", allowed=f"a whole number of at least {least}"
        )
