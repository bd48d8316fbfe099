"""The files of explanations, finished and not: read as ``ttame.explain`` reads them."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

import torch

from benchmarks.reliability.mutations import mutate_bytes, mutate_json, mutate_lines
from ttame.classifiers.classifier import Classifier
from ttame.datasets.name_list import NameList
from ttame.explainers.known_explainers import make_explainer
from ttame.explaining.explained_batch import Silence
from ttame.files.growing_folder import RESULT, unfinished_folders
from ttame.reporting.batch_records import finished_batches
from ttame.reporting.explain import explain
from ttame.reporting.growing_report import GrowingReport
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.report_contents import ReportFacts
from ttame.reporting.unfinished_report import unfinished_report
from ttame.results.explained_photos import ExplainedPhotos
from ttame.testing import tiny_classifier

_NUMBER = 10**9 + 7
"""Stands for the number that a file system gives to a folder."""


class _Stop(Silence):
    def begin(self, method: str, first: int, count: int) -> None:
        if first > 2:
            raise KeyboardInterrupt


@functools.cache
def report_files() -> Mapping[str, bytes]:
    """Name to content of ``explanations.json``, and of what a stopped run left."""
    classifier = _classifier()
    photos = list(torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8))
    explainer = make_explainer("grad_cam", classifier)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        explain(photos, explainer, out, classes="top2", batch_size=2)
        whole = (out / "explanations.json").read_bytes()
        other = Path(folder) / "other"
        try:
            explain(photos, explainer, other, classes="top2", batch_size=2, listener=_Stop())
        except KeyboardInterrupt:
            (left,) = unfinished_folders(other, lambda place: bool(finished_batches(place)))
        batch = finished_batches(left)[0].read_bytes()
        identity = json.loads((left / "explaining.json").read_bytes())
    described = json.dumps({**identity, "folder": _NUMBER}).encode()
    return {"explanations.json": whole, "batch": batch, "explaining.json": described}


@functools.cache
def _classifier() -> Classifier:
    return tiny_classifier(size=32, classes=3)


def read_explanations(path: Path) -> None:
    """Read a finished report, and use what it says as the command does."""
    found = ExplainedPhotos.read(path.parent)
    assert found.explained >= 0
    assert all(name.isprintable() in (True, False) for name in (*found.methods, *found.left_out))
    for photo in found.rows():
        shares = [of.probability for of in (photo.prediction, *photo.classes)]
        assert all(f"{100 * share:.1f}" for share in shares)
        assert all(name.isascii() in (True, False) for name in (photo.name, *photo.files))


def read_batches(path: Path) -> None:
    """Join the batches of a report, as a resumed run does in the end."""
    place = path.parents[1]
    (place / RESULT).mkdir(exist_ok=True)
    names = NameList(iter(["0", "1", "2"]))
    facts = ReportFacts(
        _classifier().preprocessing,
        methods={"grad_cam": {}},
        labels={"grad_cam": MethodLabel("Grad-CAM", one_map=False, of_pixels=False)},
    )
    GrowingReport(place, names, facts).complete()


def read_identity(path: Path) -> None:
    """Go on with a report that another run left."""
    place = path.parent
    (place / RESULT).mkdir(exist_ok=True)
    (place / "batches").mkdir(exist_ok=True)
    (place / "batches" / "000000.jsonl").write_bytes(b"")
    number = (place / RESULT).stat().st_ino
    path.write_bytes(path.read_bytes().replace(str(_NUMBER).encode(), str(number).encode()))
    wanted = json.loads(report_files()["explaining.json"])
    with unfinished_report(place.parent / "out", wanted, overwrite=False, resume=True) as went_on:
        if went_on == place:
            raise_stopped()


def raise_stopped() -> None:
    """End a run as a full disk would, so that its folder stays."""
    from ttame.errors import OutputError

    raise OutputError("stopped")


def mutate_records(content: bytes, chance: Random) -> bytes:
    """Damage lines of which each is a word and a JSON object, or is JSON for the most part."""
    lines = content.split(b"\n")
    kind = chance.randrange(3)
    if kind == 0:
        return mutate_bytes(content, chance)
    if kind == 1:
        return mutate_lines(content, chance)
    number = chance.randrange(len(lines))
    start, end = lines[number].find(b"{"), lines[number].rfind(b"}") + 1
    if 0 <= start < end:
        try:
            record = mutate_json(lines[number][start:end], chance)
        except ValueError:
            return mutate_bytes(content, chance)
        lines[number] = lines[number][:start] + record + lines[number][end:]
    return b"\n".join(lines)
