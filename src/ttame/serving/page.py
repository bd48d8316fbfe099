"""The page: what a browser shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import APIRouter

from ttame.serving.engine import Engine


def page_routes(engine: Engine, samples: Sequence[Path]) -> APIRouter:
    """The routes of the page."""
    return APIRouter(include_in_schema=False)
