"""Methods that say which places of an image speak for a class.

>>> from ttame.explainers import EXPLAINERS, method_options
>>> EXPLAINERS["grad_cam"].card.paper
'Selvaraju et al., arXiv 1610.02391'

Importing this package loads nothing heavy; the first use of a name does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ttame.explainers.known_explainers import (
        EXPLAINERS,
        make_explainer,
        method_options,
        methods_for,
    )

__all__ = ["EXPLAINERS", "make_explainer", "method_options", "methods_for"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("ttame.explainers.known_explainers"), name)
    raise AttributeError(f"module 'ttame.explainers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
