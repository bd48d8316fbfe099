"""Rows that are kept in the repository: a new method is measured, and the old ones are not."""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path

import pytest

from benchmarks.leaderboard_archive import keep, restore
from tests.evaluation.evaluated import explainers, photo_folder, run
from tests.tiny_networks import tiny_cnn
from ttame.evaluation.row_store import RowStore


def test_an_evaluation_goes_on_from_kept_rows(tmp_path: Path) -> None:
    photos, classifier = photo_folder(tmp_path / "photos", 3), tiny_cnn()
    first = explainers(classifier, ("grad_cam",))
    out = tmp_path / "lite0"
    before = run(photos, out, classifier, methods=first, metrics=["average_drop"])
    archive = keep(out, tmp_path / "kept" / "lite0.tar.xz")
    again = keep(out, tmp_path / "again.tar.xz")
    assert archive.read_bytes() == again.read_bytes()

    restored = restore("lite0", tmp_path / "kept", tmp_path / "runs")
    assert not (restored / "maps").exists()
    rows = restored / "rows" / "grad_cam" / "000000.parquet"
    untouched = rows.stat().st_mtime_ns
    both = explainers(classifier, ("grad_cam", "random"))
    after = run(photos, restored, classifier, methods=both, metrics=["average_drop"], resume=True)
    assert rows.stat().st_mtime_ns == untouched
    assert [method.name for method in after.methods] == ["grad_cam", "random"]
    found, expected = (
        evaluation.methods[0].scores["average_drop@50"].value for evaluation in (after, before)
    )
    assert found == expected
    assert RowStore(restored).photos("grad_cam") == RowStore(out).photos("grad_cam")


def test_nothing_is_overwritten_and_nothing_half_unpacked(tmp_path: Path) -> None:
    (tmp_path / "runs" / "lite0").mkdir(parents=True)
    kept = tmp_path / "kept"
    kept.mkdir()
    with pytest.raises(SystemExit, match="does not exist"):
        restore("lite0", kept, tmp_path / "runs")
    with pytest.raises(SystemExit, match="no evaluation"):
        keep(tmp_path / "runs" / "lite0")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    for name in ("lite0", "other"):
        (kept / f"{name}.tar.xz").write_bytes(lzma.compress(packed.getvalue()))
    with pytest.raises(SystemExit, match="exists"):
        restore("lite0", kept, tmp_path / "runs")
    with pytest.raises(tarfile.OutsideDestinationError):
        restore("other", kept, tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["lite0"]
    assert not (tmp_path / "outside").exists() and not (tmp_path / "runs" / "outside").exists()
