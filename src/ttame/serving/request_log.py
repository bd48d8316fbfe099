"""What is written down of requests: one line of JSON each, and nothing of a photo."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

LOG = logging.getLogger("ttame.serving")
"""Where the server says what it does."""


class JsonLines(logging.Formatter):
    """Each record as one line of JSON.

    Example:
        >>> record = logging.makeLogRecord({"msg": "request", "status": 200, "created": 0.0})
        >>> JsonLines().format(record)
        '{"time": "1970-01-01T00:00:00Z", "event": "request", "status": 200}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "event": record.getMessage(),
        }
        said |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        said.pop("color_message", None)
        return json.dumps(said, default=str)


def log_to(stream: TextIO | None = None) -> None:
    """Write the lines to a stream, the error stream if not given; uvicorn's and asyncio's too."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    # Damaged forms are refused, which says enough.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    for name in ("ttame.serving", "uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
