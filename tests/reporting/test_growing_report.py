from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from ttame.datasets.name_list import NameList
from ttame.errors import ImageError, OutputError
from ttame.files.growing_folder import RESULT
from ttame.images.preprocessing import Preprocessing
from ttame.reporting.batch_records import finished_batches
from ttame.reporting.growing_report import GrowingReport
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.report_contents import ReportFacts
from ttame.results.explanation import Explanation

NAMES = NameList(["a/cat.png", "b/cat.png", "torn.png", "dog.png"])
FACTS = ReportFacts(
    Preprocessing.imagenet(8), methods={"cam": {}}, labels={"cam": MethodLabel("CAM")}
)


def explanation() -> Explanation:
    """Of two photos."""
    return Explanation(
        torch.rand(2, 1, 2, 2), torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 3), (8, 8),
        method="cam",
    )  # fmt: skip


def report(place: Path) -> GrowingReport:
    (place / RESULT).mkdir(parents=True, exist_ok=True)
    return GrowingReport(place, NAMES, FACTS)


def write(place: Path) -> GrowingReport:
    """Batch 1 before batch 0, as two processes may."""
    growing, photo = report(place), Image.new("RGB", (9, 8))
    with growing.batch(1) as batch:
        batch.skip(2, "it is torn")
        batch.add(3, photo, [explanation()], 0)
    with growing.batch(0) as batch:
        for number in (0, 1):
            batch.add(number, photo, [explanation()], number)
    return growing


def test_batches_are_joined_in_the_order_of_the_photos(tmp_path: Path) -> None:
    growing = write(tmp_path)
    assert growing.finished() == {0, 1}
    growing.complete()
    described = json.loads((tmp_path / RESULT / "explanations.json").read_text())
    assert [image["name"] for image in described["images"]] == ["a/cat.png", "b/cat.png", "dog.png"]
    (skipped,) = described["not_explained"]
    assert (skipped["name"], skipped["reason"]) == ("torn.png", "it is torn")
    pictures = {path.name for path in (tmp_path / RESULT / "pictures").iterdir()}
    assert len(pictures) == 3  # both cats have a file of their own


def test_a_batch_that_failed_is_not_finished(tmp_path: Path) -> None:
    growing = report(tmp_path)
    with pytest.raises(KeyError), growing.batch(0) as batch:
        batch.skip(2, "it is torn")
        raise KeyError("mine")
    assert growing.finished() == set()
    assert finished_batches(tmp_path) == []


def test_a_report_of_nothing_is_refused_and_leaves_no_work(tmp_path: Path) -> None:
    growing = report(tmp_path)
    with growing.batch(0) as batch:
        batch.skip(0, "it is torn")
    with pytest.raises(ImageError, match="none of the 4 photos is readable"):
        growing.complete()
    assert growing.finished() == set()


def test_a_damaged_batch_is_named(tmp_path: Path) -> None:
    growing = write(tmp_path)
    finished_batches(tmp_path)[0].write_bytes(b"image {")
    with pytest.raises(OutputError, match="000000.jsonl is damaged.*try: deleting it"):
        growing.complete()
