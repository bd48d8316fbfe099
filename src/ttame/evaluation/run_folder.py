"""The folder of an evaluation: taken before anything is measured, written to in the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttame.evaluation.row_store import RowStore
from ttame.evaluation.run_identity import (
    MethodFacts,
    check_identity,
    make_folder,
    note_methods,
)
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.trained.head_provenance import full_provenance
from ttame.files.atomic_writing import whole_file
from ttame.files.leftovers import remove_leftovers_below
from ttame.files.sole_use import FolderUse
from ttame.results.evaluation import Evaluation


def begin_run(
    out: Path,
    use: FolderUse,
    identity: Mapping[str, Any],
    methods: Mapping[str, Explainer[Any]],
    *,
    resume: bool,
) -> None:
    """Take the folder before anything in it is looked at, and clear up what a killed run left.

    Args:
        out: the folder.
        use: the use of it.
        identity: what all rows in it must share.
        methods: label to explainer.
        resume: whether results may be there already.

    Raises:
        EvaluationError: it holds other results, or results and ``resume`` is false.
        OutputError: it cannot be made, or another run is writing it.
    """
    make_folder(out)
    use.take()
    check_identity(out, identity, resume=resume)
    remove_leftovers_below(out)
    facts = {
        label: MethodFacts(method.card.title, method.card.family, full_provenance(method))
        for label, method in methods.items()
    }
    note_methods(out, facts)


def write_results(out: Path, evaluation: Evaluation) -> None:
    """Write ``rows.parquet`` and ``results.json``, each whole or not at all.

    Raises:
        OutputError: the disk is full or the place is not writable.
    """
    RowStore(out).join([method.name for method in evaluation.methods])
    with whole_file(out / "results.json") as temporary:
        temporary.write_text(evaluation.to_json() + "\n", encoding="utf-8")
