"""Loading with transformers without its progress bars and reports.

What they say either ends in an error of ttame's own, such as weights that are missing, or is of no
use to who explains a network. Bars of downloads are the hub's, and stay.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from ttame.networks.loans import Lent, Loan, lock

_quiet: set[_Quiet] = set()
"""Who is loading now, in all threads."""

_before: dict[str, Any] = {}
"""What was set before the first of them began."""


def loading_quietly() -> contextlib.AbstractContextManager[None]:
    """Let transformers be quiet while the block loads; afterwards it is as talkative as before.

    Example:
        >>> from transformers.utils import logging as theirs
        >>> before = theirs.get_verbosity()
        >>> with loading_quietly():
        ...     theirs.get_verbosity() == theirs.ERROR
        True
        >>> theirs.get_verbosity() == before
        True
    """
    return Lent(_Quiet())


class _Quiet(Loan[None]):
    def begin(self) -> None:
        from transformers.utils import logging as theirs

        with lock:
            if not _quiet:
                logger = logging.getLogger("transformers")
                _before.update(level=logger.level)
                logger.setLevel(logging.ERROR)
                # Versions before 5 have no bars when they load, and no such hook.
                hooking = getattr(theirs, "set_tqdm_hook", None)
                if hooking is not None:
                    _before.update(hook=hooking(_without_bar))
            _quiet.add(self)

    def undo(self) -> None:
        from transformers.utils import logging as theirs

        with lock:
            if _quiet <= {self} and _before:
                if "hook" in _before:
                    theirs.set_tqdm_hook(_before["hook"])
                logging.getLogger("transformers").setLevel(_before["level"])
                _before.clear()
            _quiet.discard(self)


def _without_bar(factory: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    return factory(*args, **{**kwargs, "disable": True})
