"""The public names for texts."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ttame


def test_public_names_are_complete_and_importable() -> None:
    assert set(ttame.text.__all__) == set(ttame.text._HOMES)
    assert dir(ttame.text) == sorted(ttame.text.__all__)
    for name in ttame.text.__all__:
        assert getattr(ttame.text, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ttame.text.nothing  # noqa: B018


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import ttame.text, sys; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert printed.strip() == "set()"
