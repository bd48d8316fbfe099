from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from ttame.errors import OutputError
from ttame.files.growing_folder import RESULT
from ttame.reporting.unfinished_report import unfinished_report

IDENTITY: dict[str, Any] = {
    "classifier": "net",
    "classifier_fingerprint": "12ab",
    "preprocessing": "224 pixels",
    "data": "34cd",
    "methods": [{"label": "cam"}],
    "classes": "top1",
    "rather_than": None,
    "batch_size": 8,
}


def stop(out: Path, *, batches: int = 1, **options: Any) -> None:
    """Leave a run behind that was stopped after so many batches."""
    options = {"identity": IDENTITY, "overwrite": False, "resume": False, **options}
    with contextlib.suppress(KeyError), unfinished_report(out, **options) as place:
        (place / "batches").mkdir(exist_ok=True)
        for number in range(batches):
            (place / "batches" / f"{number:06d}.jsonl").write_text("")
        raise KeyError("stopped")


def left(out: Path) -> list[Path]:
    return [path for path in out.parent.iterdir() if path.name.startswith(".")]


def test_the_same_run_goes_on_in_the_same_place(tmp_path: Path) -> None:
    out = tmp_path / "why"
    stop(out)
    (kept,) = left(out)
    with unfinished_report(out, IDENTITY, overwrite=False, resume=True) as place:
        assert place == kept
        (place / RESULT / "index.html").write_text("page")
    assert (out / "index.html").read_text() == "page"
    assert left(out) == []


@pytest.mark.parametrize(
    ("entry", "value", "words", "option"),
    [
        ("classifier", "other", "classifier: net, not other", "classifier"),
        ("classifier_fingerprint", "56ef", "classifier's weights: 12ab, not 56ef", "weights"),
        ("preprocessing", "32 pixels", "preprocessing: 224 pixels", "preprocessing"),
        ("data", "0", "set of photos: 34cd, not 0", "photos"),
        ("methods", [], "choice of methods", "explainers"),
        ("classes", [3], r"choice of classes: top1, not \[3\]", "classes"),
        ("rather_than", 7, "class to compare with: None, not 7", "rather_than"),
        ("batch_size", 9, "batch size: 8, not 9", "batch_size"),
    ],
)
def test_what_differs_is_named_with_its_option(
    entry: str, value: object, words: str, option: str, tmp_path: Path
) -> None:
    out = tmp_path / "why"
    stop(out)
    (kept,) = left(out)
    with (
        pytest.raises(OutputError, match=f"another {words}.*the same {option} as before"),
        unfinished_report(out, {**IDENTITY, entry: value}, overwrite=False, resume=True),
    ):
        pytest.fail("must not begin")
    assert left(out) == [kept]


def test_without_resume_unfinished_work_is_in_the_way(tmp_path: Path) -> None:
    out = tmp_path / "why"
    stop(out)
    with (
        pytest.raises(OutputError, match="has not finished; try: resume=True"),
        unfinished_report(out, IDENTITY, overwrite=False, resume=False),
    ):
        pytest.fail("must not begin")
    with unfinished_report(out, IDENTITY, overwrite=True, resume=False) as place:
        assert not (place / "batches").exists()
    assert left(out) == []


def test_nothing_stays_where_nothing_is_worth_it(tmp_path: Path) -> None:
    stop(tmp_path / "none", batches=0)
    stop(tmp_path / "no identity", identity={})
    assert left(tmp_path / "none") == []
