"""Writes the notebooks of ``examples/`` and runs them: python -m scripts.notebooks [NAME ...]

NAME is the beginning of a file's name, such as 03; without one, all are written, which takes some
minutes. What the cells show is kept in the notebooks. A test runs the same cells in seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scripts.notebooks.sources_of_notebooks import EXAMPLES, cells_of, sources

SECONDS_PER_CELL = 1800  # On a busy machine; a quiet one needs a minute or two.


def main(words: list[str] | None = None) -> None:
    """Write the notebooks that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m scripts.notebooks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="the beginning of a name")
    names = parser.parse_args(words).names
    chosen = [source for source in sources() if source.stem.startswith(tuple(names or [""]))]
    if not chosen:
        parser.error(f"there are: {', '.join(source.stem for source in sources())}")
    EXAMPLES.mkdir(exist_ok=True)
    for source in chosen:
        path = write_notebook(source)
        print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)", flush=True)


def write_notebook(source: Path) -> Path:
    """Make a notebook of a source, run it, and write it with what its cells show."""
    import nbformat
    from nbclient import NotebookClient

    notebook = _notebook(source)
    NotebookClient(notebook, timeout=SECONDS_PER_CELL, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":  # Other packages warn about what a notebook may lack.
            cell.outputs = [shown for shown in cell.outputs if shown.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            if "image/jpeg" in shown:  # Pillow offers both; notebooks stay small with one.
                shown.pop("image/png", None)
    path = EXAMPLES / f"{source.stem}.ipynb"
    nbformat.write(notebook, path)
    return path


def _notebook(source: Path) -> Any:
    from nbformat import v4

    cells = []
    for number, cell in enumerate(cells_of(source.read_text(encoding="utf-8"))):
        make = v4.new_code_cell if cell.kind == "code" else v4.new_markdown_cell
        cells.append(make(cell.text, id=f"cell-{number}"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


if __name__ == "__main__":
    main()
