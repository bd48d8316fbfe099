from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ttame.errors import OutputError
from ttame.files.record_files import write_records
from ttame.results.explained_photos import ClassProbability, ExplainedPhotos

ABOUT = {"methods": [{"name": "cam"}, {"name": "rise"}], "methods_left_out": {"tame": "untrained"}}
CLASS = {
    "name": "cat",
    "probability": 0.25,
    "maps": {"cam": {"has_evidence": True}, "rise": {"has_evidence": False}},
}
RECORD: dict[str, Any] = {
    "name": "a.png",
    "prediction": {"name": "dog", "probability": 0.75},
    "classes": [CLASS],
    "files": {"maps": {}, "pictures": []},
}


def written(folder: Path, record: dict[str, Any], **more: Any) -> ExplainedPhotos:
    lists = {"images": [record], "not_explained": [{"name": "b.png", "reason": "torn"}]}
    write_records(folder / "explanations.json", {**ABOUT, **more}, lists)
    return ExplainedPhotos.read(folder)


def test_everything_is_read_back(tmp_path: Path) -> None:
    found = written(tmp_path, RECORD)
    assert (found.methods, found.explained) == (("cam", "rise"), 1)
    assert found.skipped == (("b.png", "torn"),)
    assert found.left_out == {"tame": "untrained"}
    (row,) = found.rows()
    assert row.prediction == ClassProbability("dog", 0.75)
    assert row.classes == (ClassProbability("cat", 0.25),)
    assert row.no_evidence == (("rise", "cat"),)


def test_what_classes_were_compared_with_is_read_where_it_was_noted(tmp_path: Path) -> None:
    assert written(tmp_path, RECORD).rather_than is None  # as files of before are
    assert written(tmp_path, RECORD, rather_than=None).rather_than is None
    assert written(tmp_path, RECORD, rather_than={"index": 1, "name": "dog"}).rather_than == "dog"
    with pytest.raises(OutputError, match="cannot be read"):
        written(tmp_path, RECORD, rather_than="dog")


@pytest.mark.parametrize("missing", ["name", "prediction", "classes"])
def test_what_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    found = written(tmp_path, {name: RECORD[name] for name in RECORD if name != missing})
    with pytest.raises(OutputError, match=f"cannot be read .*'{missing}' is missing"):
        list(found.rows())


def test_another_json_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "explanations.json").write_text(json.dumps({"images": []}))
    with pytest.raises(OutputError, match="no list of images"):
        ExplainedPhotos.read(tmp_path)


def test_a_notebook_shows_a_link_to_the_page_and_who_is_missing(tmp_path: Path) -> None:
    page = written(tmp_path, RECORD)._repr_html_()
    assert "1 explained photo<" in page and "cam, rise" in page and "b.png (torn)" in page
    assert f'href="{tmp_path}/index.html"' in page
    many = ExplainedPhotos(tmp_path, ("cam",), 1200, tuple((f"{n}.png", "torn") for n in range(9)))
    assert "1,200 explained photos<" in many._repr_html_() and "and 4 more" in many._repr_html_()
