"""The notebooks of ``examples/`` run, are those of their sources, and show what they showed."""

from __future__ import annotations

import ast
import json
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from scripts.notebooks.sources_of_notebooks import EXAMPLES, cells_of, sources

MOST_BYTES = 400_000

QUICK = {
    "02": {"range(8)": "range(2)", "epochs=2, batch_size=8": "epochs=1, batch_size=3"},
    "03": {"range(2)": "range(1)", '"road_most_relevant_first", "road_least_relevant_first", ': ""},
    "04": {"torch.rand(600": "torch.rand(50", "range(8)": "range(1)"},
    "06": {"steps=8": "steps=2"},
    "07": {
        'ttame.load_explainer("efficientnet_lite0")': (
            'ttame.make_explainer("cam", __import__("ttame.testing").testing.tiny_classifier())'
        )
    },
}
"""What takes long, made shorter; each of them must be found."""

SHOWN = ("_repr_html_", "_repr_png_")


def notebook_of(source: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / f"{source.stem}.ipynb").read_text("utf-8"))
    return found


def test_there_are_notebooks() -> None:
    assert len(sources()) == 7
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == {path.stem for path in sources()}


def test_sources_are_cut_into_cells() -> None:
    cells = list(cells_of("# Title\n\ntext\n\n```python\na = 1\n\nb = 2\n```\n\n```sh\nls\n```\n"))
    assert [(cell.kind, cell.text) for cell in cells] == [
        ("markdown", "# Title\n\ntext"), ("code", "a = 1\n\nb = 2"), ("markdown", "```sh\nls\n```"),
    ]  # fmt: skip


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.stem)
def test_a_notebook_is_that_of_its_source_and_keeps_what_it_showed(source: Path) -> None:
    """If not, python -m scripts.notebooks writes it anew."""
    cells = notebook_of(source)["cells"]
    written = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    assert written == [
        (cell.kind, cell.text) for cell in cells_of(source.read_text(encoding="utf-8"))
    ]
    assert (EXAMPLES / f"{source.stem}.ipynb").stat().st_size <= MOST_BYTES
    outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    assert not [out for shown in outputs for out in shown if out["output_type"] == "error"]
    assert any("image/" in json.dumps(out.get("data", {})) for out in _first_shown(outputs))


def _first_shown(outputs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the first cells show, until something is shown: a notebook opens with a picture."""
    return next(shown for shown in outputs[:2] if shown)


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.stem)
def test_the_cells_of_a_notebook_run(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mpl.use("Agg")
    text = source.read_text(encoding="utf-8")
    for shown, shorter in QUICK.get(source.stem[:2], {}).items():
        assert shown in text
        text = text.replace(shown, shorter)
    names: dict[str, Any] = {}
    displayed = [_run(cell.text, names) for cell in cells_of(text) if cell.kind == "code"]
    assert sum(displayed) >= 1


def _run(code: str, names: dict[str, Any]) -> bool:
    """Run a cell as a notebook does: what the last line is worth is shown."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if not isinstance(last, ast.Expr):
        return False
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    shown = [getattr(value, way)() for way in SHOWN if hasattr(value, way)]
    assert value is None or shown
    return bool(shown)
