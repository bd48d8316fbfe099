"""Seconds as people read them."""

from __future__ import annotations


def duration_in_words(seconds: float) -> str:
    """Write a duration as minutes and seconds, with hours if there are any.

    Example:
        >>> duration_in_words(75.4), duration_in_words(3600)
        ('1:15', '1:00:00')
    """
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
