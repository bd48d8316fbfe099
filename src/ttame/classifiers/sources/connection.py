"""Whether a host can be reached, asked once and quickly, before a library retries for a minute."""

from __future__ import annotations

import contextlib
import socket
import urllib.parse
import urllib.request

from ttame.networks.loans import Lent, Loan, lock

PATIENCE_IN_SECONDS = 3.0
"""How long one connection attempt may take."""


def is_reachable(url: str) -> bool:
    """Whether the host of ``url``, or the proxy in front of it, accepts a connection.

    Example:
        >>> is_reachable("https://no-such-host.invalid")
        False
    """
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname or "", port), PATIENCE_IN_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


_offline: set[_Offline] = set()
"""Who needs the hub to be offline now; nobody's if the user wants it himself."""


def hub_without_retries() -> contextlib.AbstractContextManager[bool]:
    """Let the Hugging Face hub answer from its cache while the block runs, if it is unreachable.

    The hub's client would otherwise try each file six times, half a minute in all.

    Yields:
        Whether the hub can be reached.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE and not _offline:
        return contextlib.nullcontext(False)
    if is_reachable(constants.ENDPOINT):
        return contextlib.nullcontext(True)
    return Lent(_Offline())


class _Offline(Loan[bool]):
    def begin(self) -> bool:
        from huggingface_hub import constants

        with lock:
            _offline.add(self)
            constants.HF_HUB_OFFLINE = True
        return False

    def undo(self) -> None:
        from huggingface_hub import constants

        with lock:
            if _offline == {self}:
                constants.HF_HUB_OFFLINE = False
            _offline.discard(self)
