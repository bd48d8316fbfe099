"""``ttame.explain``: what it writes and returns, and what is left of it when it is stopped."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import ttame
from tests.colour_findings import colour_classifier, finding, red_and_green
from tests.explaining.explaining_material import StoppedError, Stopping, content_of, methods
from tests.training.training_material import (
    in_two_processes,
    noise_photos,
    photo_folder,
    start_process,
    tiny_cnn,
)
from ttame.errors import (
    ClassSelectionError,
    DatasetError,
    ExplainerError,
    ImageError,
    OutputError,
)
from ttame.results.explained_photos import ExplainedPhotos
from ttame.results.explanation import Explanation

PHOTOS = 7


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven photos in a folder, and one that is torn."""
    folder = photo_folder(tmp_path / "photos", PHOTOS)
    (folder / "002x.png").write_bytes(b"torn")
    return folder


def explain(photos: Any, out: Path, **options: Any) -> ExplainedPhotos:
    """By two methods, two photos at a time."""
    return ttame.explain(photos, methods(tiny_cnn()), out, **{"batch_size": 2, **options})


def stopped(photos: Any, out: Path, first: int = 5, **options: Any) -> None:
    with pytest.raises(StoppedError):
        explain(photos, out, listener=Stopping(first), **options)


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_what_was_written_is_returned_photo_by_photo(photos: Path, tmp_path: Path) -> None:
    told = Stopping()
    found = explain(photos, tmp_path / "why", classes="top2", listener=told)
    assert found.folder == tmp_path / "why"
    assert found.methods == ("grad_cam", "random")
    assert found.explained == PHOTOS
    (torn,) = found.skipped
    assert torn[0] == str(photos / "002x.png") and "not a readable image" in torn[1]
    assert told.skipped == [torn[0]]
    classifier = tiny_cnn()
    rows = list(found.rows())
    assert [Path(row.name).name for row in rows] == [f"{n:03}.png" for n in range(PHOTOS)]
    for row in rows:
        image = classifier.prepare([row.name])
        probabilities = classifier.probabilities(image)[0]
        best = probabilities.topk(2)
        assert [each.name for each in row.classes] == [f"class {i}" for i in best.indices.tolist()]
        assert row.prediction == row.classes[0]
        assert row.classes[1].probability == pytest.approx(float(best.values[1]), abs=1e-6)
        assert row.no_evidence == ()
        for method, path in row.files["maps"].items():
            saved = Explanation.load(found.folder / path)
            assert saved.method == method
            assert torch.equal(saved.classes[0], best.indices)
    assert hidden(tmp_path) == []
    assert ExplainedPhotos.read(tmp_path / "why") == found


def test_one_explainer_and_photos_by_name(photos: Path, tmp_path: Path) -> None:
    explainer = methods(tiny_cnn())["grad_cam"]
    found = ttame.explain([photos / "001.png", photos], explainer, tmp_path / "why")
    assert found.explained == PHOTOS + 1
    assert found.methods == ("grad_cam",)
    assert [len(row.classes) for row in found.rows()] == [3] * (PHOTOS + 1)
    # The photo that comes twice has two files.
    assert {"001.jpg", "001-2.jpg"} <= {p.name for p in (tmp_path / "why/pictures").iterdir()}
    one = ttame.explain(str(photos / "003.png"), explainer, tmp_path / "one", classes=4)
    (row,) = one.rows()
    assert row.classes[0].name == "class 4"


def test_a_photo_that_was_named_must_be_readable(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"002x\.png is not a readable image"):
        explain([photos / "000.png", photos / "002x.png"], tmp_path / "why")
    with pytest.raises(ImageError, match="none of the 2 photos is readable"):
        explain(torn_photos(tmp_path / "two", 2), tmp_path / "why")
    # Of several batches, too, nothing is kept that nobody can go on with.
    with pytest.raises(ImageError, match="none of the 5 photos is readable"):
        explain(torn_photos(tmp_path / "five", 5), tmp_path / "why")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["five", "photos", "two"]


def torn_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.png").write_bytes(b"torn")
    return folder


def test_a_stopped_run_goes_on_and_writes_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    explain(photos, tmp_path / "whole")
    out = tmp_path / "why"
    stopped(photos, out)
    assert not out.exists()
    stopped(photos, out, first=7, resume=True)
    told = Stopping()
    found = explain(photos, out, resume=True, listener=told)
    # Two batches of the first run, one of the second.
    assert told.started == [(8, 6)]
    assert [first for _, first, _ in told.begun] == [7, 7]
    assert content_of(out) == content_of(tmp_path / "whole")
    assert found.explained == PHOTOS and len(found.skipped) == 1
    assert hidden(tmp_path) == []


def test_a_second_run_into_the_same_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    refused = []

    class BeginAnother(Stopping):
        ways: tuple[dict[str, bool], ...] = ({}, {"resume": True}, {"overwrite": True})

        def begin(self, method: str, first: int, count: int) -> None:
            for options in self.ways:
                with pytest.raises(OutputError, match=r"another run is writing .*try: waiting"):
                    explain(photos, tmp_path / "out", **options)
                refused.append(options)

    listener = BeginAnother()
    explain(photos, tmp_path / "out", listener=listener)
    found, before = content_of(tmp_path / "out"), len(refused)
    assert before >= 3
    listener.ways = ({"overwrite": True}, {"overwrite": True, "resume": True})
    explain(photos, tmp_path / "out", listener=listener, overwrite=True)
    assert content_of(tmp_path / "out") == found and len(refused) > before
    assert hidden(tmp_path) == []


def test_a_finished_run_has_nothing_to_resume(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    found = explain(photos, out, resume=True)
    before = content_of(out)
    told = Stopping()
    assert explain(photos, out, resume=True, listener=told) == found
    assert told.started == []
    assert content_of(out) == before
    for other in ({"classes": "top2"}, {"classes": 3}):
        with pytest.raises(OutputError, match="exists"):
            explain(photos, out, resume=True, **other)
    with pytest.raises(OutputError, match="exists"):
        explain(noise_photos(3), out, resume=True)
    with pytest.raises(OutputError, match="exists"):
        ttame.explain(photos, methods(tiny_cnn(), ["random"]), out, classes="top1", resume=True)


def contrasted(photos: Any, out: Path, **options: Any) -> ExplainedPhotos:
    """By one method, two photos at a time, class 1 rather than class 0."""
    grad_cam = methods(tiny_cnn(), ["grad_cam"])
    return ttame.explain(
        photos, grad_cam, out, **{"batch_size": 2, "classes": 1, "rather_than": "0", **options}
    )


def test_what_a_class_was_compared_with_is_noted_and_resumed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    found = contrasted(photos, out)
    described = json.loads((out / "explanations.json").read_text())
    assert described["rather_than"] == {"index": 0, "name": "class 0"}
    assert found.rather_than == "class 0"
    assert ExplainedPhotos.read(out).rather_than == "class 0"
    before, told = content_of(out), Stopping()
    assert contrasted(photos, out, resume=True, listener=told) == found
    assert told.started == []
    for other in ({"rather_than": "2"}, {"rather_than": None}, {"classes": 2}):
        with pytest.raises(OutputError, match="exists"):
            contrasted(photos, out, resume=True, **other)
    assert content_of(out) == before


def test_folders_of_before_it_was_noted_are_not_mistaken(photos: Path, tmp_path: Path) -> None:
    def forget(out: Path) -> None:
        path = out / "explanations.json"
        described = path.read_text()
        start = described.index('"rather_than"')
        end = described.index('"preprocessing"')
        path.write_text(described[:start] + described[end:])
        assert "rather_than" not in json.loads(path.read_text())

    plain, contrast, told = tmp_path / "plain", tmp_path / "contrast", Stopping()
    found = contrasted(photos, plain, rather_than=None)
    forget(plain)
    resumed = contrasted(photos, plain, rather_than=None, resume=True, listener=told)
    assert (resumed, told.started) == (found, [])
    contrasted(photos, contrast)
    forget(contrast)
    for rather_than in (None, "0"):
        with pytest.raises(OutputError, match="exists"):
            contrasted(photos, contrast, rather_than=rather_than, resume=True)


def test_unfinished_contrasts_go_on_with_the_same_class_only(photos: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "why", Stopping()
    with pytest.raises(StoppedError):
        contrasted(photos, out, listener=Stopping(5))
    for other in ("2", None):
        with pytest.raises(OutputError, match=f"another class to compare with: 0, not {other}"):
            contrasted(photos, out, rather_than=other, resume=True)
    contrasted(photos, out, resume=True, listener=told)
    assert told.started == [(8, 4)]


def test_unfinished_work_is_neither_lost_nor_mixed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    stopped(photos, out)
    (kept,) = hidden(tmp_path)
    with pytest.raises(OutputError, match="has not finished; try: resume=True"):
        explain(photos, out)
    for change, words in (
        ({"classes": "top2"}, "another choice of classes: top1, not top2"),
        ({"batch_size": 3}, "another batch size: 2, not 3"),
        ({"scale": "viridis"}, "another way of drawing: .*'inferno'.*, not .*'viridis'"),
        ({"pictures": "none"}, "another way of drawing"),
    ):
        with pytest.raises(OutputError, match=words):
            explain(photos, out, resume=True, **change)
    with pytest.raises(OutputError, match="another classifier's weights"):
        ttame.explain(photos, methods(tiny_cnn(1)), out, batch_size=2, resume=True)
    with pytest.raises(OutputError, match="another choice of methods"):
        ttame.explain(photos, methods(tiny_cnn(), ["random"]), out, batch_size=2, resume=True)
    with pytest.raises(OutputError, match="another set of photos"):
        explain(noise_photos(8), out, resume=True)
    assert hidden(tmp_path) == [kept]
    assert not out.exists()
    told = Stopping()
    explain(photos, out, overwrite=True, listener=told)
    assert told.started == [(8, 0)]
    assert hidden(tmp_path) == []


def test_nothing_stays_of_a_run_that_finished_no_batch(photos: Path, tmp_path: Path) -> None:
    stopped(photos, tmp_path / "why", first=1)
    stopped(photos, tmp_path / "why", first=1, batch_size=20)
    assert hidden(tmp_path) == []


def test_the_old_result_stays_until_the_new_one_is_complete(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    explain(photos, out, classes="top2")
    old = content_of(out)
    with pytest.raises(OutputError, match="exists"):
        explain(photos, out)
    stopped(photos, out, overwrite=True)
    assert content_of(out) == old
    told = Stopping()
    explain(photos, out, overwrite=True, resume=True, listener=told)
    assert told.started == [(8, 4)]
    explain(photos, tmp_path / "whole")
    assert content_of(out) == content_of(tmp_path / "whole")


def test_the_replaced_result_is_not_taken_for_the_new_one(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the exchange of the two folders and the removal of the old one."""
    out = tmp_path / "why"
    explain(photos, out, classes="top2")
    monkeypatch.setattr("ttame.files.growing_folder.remove", lambda place: None)
    explain(photos, out, overwrite=True)
    new = content_of(out)
    monkeypatch.undo()
    assert len(hidden(tmp_path)) == 1
    told = Stopping()
    explain(photos, out, resume=True, listener=told)
    assert told.started == []
    assert content_of(out) == new
    explain(photos, out, overwrite=True, resume=True, listener=told)
    assert told.started == [(8, 0)]
    assert content_of(out) == new
    assert hidden(tmp_path) == []


def explain_until_killed(photos: Path, out: Path) -> None:
    class Waiting(Stopping):
        def begin(self, method: str, first: int, count: int) -> None:
            if first == 5:
                time.sleep(60)

    torch.set_num_threads(1)  # As the tests: the network's bias is computed, and rounded.
    explain(photos, out, listener=Waiting())


def test_a_killed_process_is_gone_on_with(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    process = start_process(explain_until_killed, photos, out)
    second = ".why.ttame-*/batches/000001.jsonl"
    until = time.monotonic() + 60
    while not list(tmp_path.glob(second)):
        assert time.monotonic() < until and process.is_alive()
        time.sleep(0.02)
    # A living run's work is not taken from it.
    with pytest.raises(OutputError, match="another run is writing"):
        explain(photos, out, resume=True, listener=Stopping(1))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    told = Stopping()
    explain(photos, out, resume=True, listener=told)
    assert told.started == [(8, 4)]
    explain(photos, tmp_path / "whole")
    assert content_of(out) == content_of(tmp_path / "whole")


def explain_together(photos: Path, folder: Path) -> tuple[ExplainedPhotos, int]:
    told = Stopping()
    found = explain(photos, folder / "why", listener=told)
    with pytest.raises(OutputError, match="exists"):
        explain(photos, folder / "why")
    return found, told.started[0][0]


def test_two_processes_write_what_one_writes(photos: Path, tmp_path: Path) -> None:
    (first, own), (second, others) = in_two_processes(explain_together, photos, tmp_path)
    assert first == second
    assert (own, others) == (4, 4)
    explain(photos, tmp_path / "whole")
    assert content_of(tmp_path / "why") == content_of(tmp_path / "whole")
    assert hidden(tmp_path) == []


def test_what_cannot_be_is_refused_before_any_work(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    with pytest.raises(ClassSelectionError):
        explain(photos, out, classes="top9")
    with pytest.raises(ExplainerError, match="batch_size 0"):
        explain(photos, out, batch_size=0)
    with pytest.raises(DatasetError):
        explain([], out)
    with pytest.raises(DatasetError):
        explain(tmp_path / "nowhere", out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("kept")
    with pytest.raises(OutputError, match="nothing that ttame wrote"):
        explain(photos, tmp_path / "mine", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "photos"]


def test_a_damaged_batch_is_named(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    stopped(photos, out)
    (batch,) = tmp_path.glob(".why.ttame-*/batches/000001.jsonl")
    batch.write_bytes(b"image {not json\n")
    with pytest.raises(OutputError, match=r"000001\.jsonl is damaged .*; try: deleting it"):
        explain(photos, out, resume=True)
    batch.unlink()
    explain(photos, out, resume=True)
    explain(photos, tmp_path / "whole")
    assert content_of(out) == content_of(tmp_path / "whole")


def test_photos_of_a_dataset_have_files_too(tmp_path: Path) -> None:
    found = explain([Image.new("RGB", (9, 9), (90, 0, 0)), *noise_photos(1)], tmp_path / "why")
    assert [row.name for row in found.rows()] == ["item 0 of list", "item 1 of list"]
    assert (tmp_path / "why/pictures/item_1_of_list").is_dir()


def test_findings_have_a_threshold_and_there_may_be_none(tmp_path: Path) -> None:
    """By hand: red is 0.963 and green 0.679 on the first photo; the second is black."""
    classifier = colour_classifier()
    grad_cam = ttame.make_explainer("grad_cam", classifier, layer="pool")
    photos = [red_and_green(), torch.zeros(3, 64, 64, dtype=torch.uint8)]
    found_by = {0.5: ["red", "green"], 0.9: ["red"]}
    for threshold, names in found_by.items():
        out = tmp_path / str(threshold)
        given = {} if threshold == 0.5 else {"threshold": threshold}
        first, second = ttame.explain(photos, grad_cam, out, **given).rows()
        assert first.found is not None and [each.name for each in first.found] == names
        assert first.found[0].probability == pytest.approx(finding(40 / 64), abs=1e-5)
        assert [each.probability for each in first.classes] == pytest.approx(
            [finding(40 / 64), finding(24 / 64), finding(0)], abs=1e-5
        )
        assert second.found == () and second.prediction.probability < 0.05
        page = (out / "index.html").read_text(encoding="utf-8")
        assert page.count("none of them: no finding reaches") == 1
        assert page.count(">not found<") == 3 + 3 - len(names)
        assert f"counts as found from\n      {threshold:.1%} on" in page
        with (out / "explanations.csv").open(encoding="utf-8", newline="") as file:
            marks = [row["found"] for row in csv.DictReader(file)]
        assert marks == ["yes", "yes" if "green" in names else "no", "no", "no", "no", "no"]
        about = content_of(out)["explanations.json"]
        assert b'"outputs": "sigmoid"' in about or '"outputs": "sigmoid"' in str(about)


def test_a_threshold_is_for_findings(tmp_path: Path) -> None:
    for outputs, threshold, words in (
        ("softmax", 0.5, "exactly one is true; try: outputs='sigmoid'"),
        ("sigmoid", 1.5, "threshold 1.5; allowed: a number between 0 and 1"),
    ):
        random = ttame.make_explainer("random", colour_classifier(outputs))
        with pytest.raises(ClassSelectionError, match=words):
            ttame.explain([red_and_green()], random, tmp_path / "out", threshold=threshold)
