"""``ttame.explain_to_shards``: what it writes, and what is left of it when it is stopped."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import ttame
from tests.explaining.explaining_material import StoppedError, Stopping, content_of, methods
from tests.training.training_material import (
    in_two_processes,
    noise_photos,
    photo_folder,
    start_process,
    tiny_cnn,
)
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import ExplainerError, ImageError, OutputError
from ttame.explaining import explain_stream
from ttame.results.explanation import Explanation
from ttame.results.explanation_shards import ExplanationShards

PHOTOS = 11


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven photos in a folder, and one that is torn."""
    folder = photo_folder(tmp_path_factory.mktemp("data") / "photos", PHOTOS)
    (folder / "002x.png").write_bytes(b"torn")
    return folder


def explain(photos: Any, out: Path, **options: Any) -> ExplanationShards:
    """By two methods, two photos at a time, four per shard: three shards."""
    given = {"batch_size": 2, "shard_size": 3, "workers": 0, **options}
    return ttame.explain_to_shards(photos, methods(tiny_cnn()), out, **given)


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run writes that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole") / "why"
    explain(photos, out)
    return out


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_what_was_written_is_what_the_methods_say_of_each_photo(photos: Path, whole: Path) -> None:
    found = ttame.load_explanations(whole)
    classifier = tiny_cnn()
    explainers = methods(classifier)
    rows = list(found)
    assert [row.number for row in rows] == [0, 1, 2, *range(4, 12)] and len(found) == PHOTOS
    for row in rows:
        image = classifier.prepare([row.name])
        cam = explainers["grad_cam"](image, "top1")
        said = row.explanations["grad_cam"]
        torch.testing.assert_close(said.logits, cam.logits)
        torch.testing.assert_close(said.probabilities, cam.probabilities)
        assert torch.equal(said.classes, cam.classes)
        span = cam.maps.amax() - cam.maps.amin()
        assert (said.maps - cam.maps).abs().max() <= 5e-4 * span + 1e-12
        assert (said.method, said.crop, said.image_size) == ("grad_cam", cam.crop, (16, 16))
        assert said.provenance == {**cam.provenance} and list(row.explanations) == [
            "grad_cam",
            "random",
        ]
    ((name, reason),) = found.skipped()
    assert name == str(photos / "002x.png") and "not a readable image" in reason
    assert found.photo(7).name == rows[6].name
    with pytest.raises(OutputError, match="photo 3 is not in"):
        found.photo(3)
    assert [batch.numbers for batch in found.batches()][:3] == [[0, 1], [2], [4, 5]]
    assert [(record.first, record.explained) for record in found.records()] == [
        (0, 3),
        (4, 4),
        (8, 4),
    ]


def test_the_page_shows_a_sample_and_says_so(whole: Path) -> None:
    page = (whole / "sample" / "index.html").read_text(encoding="utf-8")
    assert "12 of 11 explained photos" not in page
    assert "11 of 11 explained photos: why did tiny say that?" in page
    assert json.loads((whole / "explanations_manifest.json").read_text())["explained"] == PHOTOS


def test_what_was_compared_is_named(tmp_path: Path) -> None:
    classifier = tiny_cnn()
    grad_cam = methods(classifier, ["grad_cam"])
    found = ttame.explain_to_shards(
        noise_photos(2), grad_cam, tmp_path / "why", classes=[1, 3], rather_than="0", workers=0
    )
    image = classifier.prepare(noise_photos(1))
    expected = grad_cam["grad_cam"](image, target=ttame.Target.contrast(torch.tensor([[1, 3]]), 0))
    said = found.photo(0).explanations["grad_cam"]
    assert said.target_labels == expected.target_labels
    span = expected.maps.amax((2, 3)) - expected.maps.amin((2, 3))
    assert ((said.maps - expected.maps).abs().amax((2, 3)) <= 5e-4 * span + 1e-12).all()


@pytest.mark.parametrize("first", [3, 5, 7, 11])
def test_a_stopped_run_goes_on_and_writes_the_same_bytes(
    photos: Path, whole: Path, tmp_path: Path, first: int
) -> None:
    out = tmp_path / "why"
    with pytest.raises(StoppedError):
        explain(photos, out, listener=Stopping(first))
    assert not out.exists()
    told = Stopping()
    explain(photos, out, resume=True, listener=told)
    assert told.started == [(12, first - 1)]
    assert content_of(out) == content_of(whole)
    assert hidden(tmp_path) == []


def test_a_shard_that_was_not_closed_is_closed(photos: Path, whole: Path, tmp_path: Path) -> None:
    """Killed after a shard's last batch, after the shard, and after the note that it is whole."""
    out = tmp_path / "why"
    with pytest.raises(StoppedError):
        explain(photos, out, listener=Stopping(7))
    (place,) = tmp_path.glob(".why.ttame-*.part")
    done = place / "finished" / "000000.json"
    assert done.is_file() and [path.name for path in (place / "batches").iterdir()] == [
        "000002.parquet"
    ]
    # As if the last batch of the second shard had been written, but not the shard.
    with pytest.raises(StoppedError):
        explain(photos, out, resume=True, listener=Stopping(9))
    told = Stopping()
    explain(photos, out, resume=True, listener=told)
    assert told.started == [(12, 8)]
    assert content_of(out) == content_of(whole)


def explain_until_killed(photos: Path, out: Path) -> None:
    torch.set_num_threads(1)  # As the tests: the network's bias is computed, and rounded.

    class Slow(Stopping):
        def begin(self, method: str, first: int, count: int) -> None:
            time.sleep(0.05)

    explain(photos, out, resume=True, listener=Slow())


def test_killed_at_random_moments_nothing_but_the_batch_in_flight_is_lost(
    photos: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "why"
    chance = random.Random(time.time_ns())
    kept = 0
    for _ in range(3):
        process = start_process(explain_until_killed, photos, out)
        until = time.monotonic() + 60
        wanted = kept + chance.randrange(3)
        while not out.exists() and finished_photos(tmp_path) < wanted:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.1))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join(60)
        if out.exists():
            break
        assert finished_photos(tmp_path) >= kept
        kept = finished_photos(tmp_path)
    told = Stopping()
    explain(photos, out, resume=True, listener=told)
    assert content_of(out) == content_of(whole)
    assert hidden(tmp_path) == []


def finished_photos(folder: Path) -> int:
    """At least so many batches of a run are finished."""
    batches = {path.stem for path in folder.glob(".why.ttame-*/batches/[0-9]*.parquet")}
    shards = {path.stem for path in folder.glob(".why.ttame-*/finished/[0-9]*.json")}
    return len(batches | {f"{2 * int(s) + k:06d}" for s in shards for k in range(2)})


def explain_together(photos: Path, folder: Path) -> tuple[int, int]:
    told = Stopping()
    found = explain(photos, folder / "why", listener=told)
    return len(found), told.started[0][0]


def test_two_processes_write_what_one_writes(photos: Path, whole: Path, tmp_path: Path) -> None:
    answers = in_two_processes(explain_together, photos, tmp_path)
    # The first process has the first and the third shard.
    assert answers == [(PHOTOS, 8), (PHOTOS, 4)]
    assert content_of(tmp_path / "why") == content_of(whole)
    assert hidden(tmp_path) == []


def test_other_processes_read_the_same_photos(photos: Path, whole: Path, tmp_path: Path) -> None:
    explain(photos, tmp_path / "why", workers=2)
    assert content_of(tmp_path / "why") == content_of(whole)


class MadePhotos(PhotoSource):
    """Photos that exist only while they are read; says how many there are at a time."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pictures = noise_photos(3)
        self.read_before: list[weakref.ref[Image.Image]] = []
        self.most = 0

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> str:
        return f"photo {index}"

    def name(self, index: int) -> str:
        return self.key(index)

    def read(self, index: int) -> Image.Image:
        photo = self.pictures[index % 3].copy()
        self.read_before.append(weakref.ref(photo))
        self.most = max(self.most, living(self.read_before))
        return photo

    def label(self, index: int) -> int | None:
        return None


def living(things: list[Any]) -> int:
    return sum(thing() is not None for thing in things)


def test_no_photo_and_no_map_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[weakref.ref[Any]] = []
    counts = []
    really = explain_stream.explained

    def noted(*arguments: Any) -> list[Explanation]:
        found = really(*arguments)
        given.extend(weakref.ref(thing) for each in found for thing in (each, each.maps))
        counts.append(living(given))
        return found

    monkeypatch.setattr(explain_stream, "explained", noted)
    photos = MadePhotos(40)
    explain(photos, tmp_path / "why", shard_size=8)
    assert len(counts) == 20
    # Of two methods explanations and maps: one batch is new, one is written, two may wait, and one
    # may be waited for.
    assert max(counts) <= 5 * 4
    assert photos.most <= 2
    gc.collect()
    assert living(given) == 0


def test_other_work_is_not_mixed_with_what_is_there(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    with pytest.raises(StoppedError):
        explain(photos, out, listener=Stopping(5))
    with pytest.raises(OutputError, match="has not finished; try: resume=True"):
        explain(photos, out)
    for change, words in (
        ({"classes": "top2"}, "another choice of classes: top1, not top2"),
        ({"batch_size": 3}, "another batch size: 2, not 3"),
        ({"shard_size": 4}, "another shard size: 3, not 4"),
    ):
        with pytest.raises(OutputError, match=words):
            explain(photos, out, resume=True, **change)
    with pytest.raises(OutputError, match="another format"):
        ttame.explain(photos, methods(tiny_cnn()), out, batch_size=2, resume=True)
    explain(photos, out, overwrite=True)
    told = Stopping()
    assert len(explain(photos, out, resume=True, listener=told)) == PHOTOS
    assert told.started == []
    with pytest.raises(OutputError, match="exists"):
        explain(photos, out, resume=True, classes="top2")


def test_what_cannot_be_is_refused(photos: Path, tmp_path: Path) -> None:
    for wrong in ({"shard_size": 0}, {"workers": -1}, {"batch_size": 0}):
        with pytest.raises(ExplainerError):
            explain(photos, tmp_path / "why", **wrong)
    folder = tmp_path / "torn"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(b"torn")
    with pytest.raises(ImageError, match="none of the 5 photos is readable"):
        explain(folder, tmp_path / "why")
    assert hidden(tmp_path) == []


def test_a_damaged_batch_is_named(photos: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "why"
    with pytest.raises(StoppedError):
        explain(photos, out, listener=Stopping(7))
    (batch,) = tmp_path.glob(".why.ttame-*/batches/000002.parquet")
    batch.write_bytes(batch.read_bytes()[:-10])
    with pytest.raises(OutputError, match=r"000002\.parquet is damaged .*; try: deleting it"):
        explain(photos, out, resume=True)
    batch.unlink()
    explain(photos, out, resume=True)
    assert content_of(out) == content_of(whole)
