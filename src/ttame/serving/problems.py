"""What a refused request gets: problem+json, as RFC 9457 describes it."""

from __future__ import annotations

import http
from typing import Any

from ttame.errors import (
    ClassifierError,
    ClassSelectionError,
    ImageError,
    MemoryLimitError,
    NonFiniteMapError,
    TtameError,
    UnknownNameError,
)

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """A request that is not answered.

    Attributes:
        status: the HTTP status.
        detail: one line: what came, what is allowed, what to do.
        retry_after: seconds after which it may work; ``None`` if it never will.
        allow: methods of HTTP that the address takes, if it does not take this one.

    Example:
        >>> Problem(413, "a request of 30 MB").content()["title"]
        'Content Too Large'
    """

    def __init__(
        self, status: int, detail: str, *, retry_after: int | None = None, allow: str = ""
    ) -> None:
        super().__init__(detail)
        self.allow = allow
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    def content(self) -> dict[str, Any]:
        """The body of the answer."""
        return {
            "type": "about:blank",
            "title": _title(self.status),
            "status": self.status,
            "detail": self.detail,
        }

    def headers(self) -> dict[str, str]:
        """Those that belong to the status."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        found |= {"Allow": self.allow} if self.allow else {}
        return {**found, **({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})}


_TITLES = {413: "Content Too Large", 422: "Unprocessable Content", 499: "Client Closed Request"}
"""Where Python's word for it changed with its version."""


def _title(status: int) -> str:
    return _TITLES.get(status) or http.HTTPStatus(status).phrase


def problem_of(error: TtameError) -> Problem:
    """The answer to a request that ttame refuses.

    Example:
        >>> problem_of(ClassSelectionError("unknown class 'ct'", remedy="cat")).content()["detail"]
        "unknown class 'ct'; try: cat"
    """
    if isinstance(error, MemoryLimitError):
        return Problem(503, str(error), retry_after=5)
    refused = (ImageError, ClassSelectionError, UnknownNameError)
    if isinstance(error, refused):
        return Problem(422, str(error))
    if isinstance(error, NonFiniteMapError | ClassifierError):
        return Problem(500, str(error))
    return Problem(422, str(error))
