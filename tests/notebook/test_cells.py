from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from ttame.notebook.cells import in_notebook


@pytest.mark.parametrize(
    ("shell", "expected"),
    [(None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=object()), True)],
)
def test_only_a_kernel_is_a_notebook(
    shell: object, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal with IPython has a shell, but no kernel."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook() is expected


def test_nothing_is_imported_to_find_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    assert "IPython" not in sys.modules
