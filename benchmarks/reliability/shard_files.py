"""The files of explanations in shards, finished and not: read as ``ttame`` reads them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from ttame.datasets.name_list import NameList
from ttame.explainers.known_explainers import make_explainer
from ttame.explaining.explained_batch import Silence
from ttame.files.growing_folder import unfinished_folders
from ttame.files.writing_behind import WritingBehind
from ttame.reporting.explain_to_shards import explain_to_shards
from ttame.reporting.growing_shards import GrowingShards, Shards, finished_shards, has_shards
from ttame.results.explanation_shards import INDEX, MANIFEST, load_explanations
from ttame.testing import tiny_classifier


class _Stop(Silence):
    def begin(self, method: str, first: int, count: int) -> None:
        if first > 6:
            raise KeyboardInterrupt


@functools.cache
def shard_files() -> Mapping[str, bytes]:
    """Name to content of manifest, index and shard, and of what a stopped run left."""
    photos = list(torch.randint(256, (7, 3, 32, 32), dtype=torch.uint8))
    explainer = make_explainer("grad_cam", tiny_classifier(size=32, classes=3))
    sizes = {"classes": "top2", "batch_size": 2, "shard_size": 4, "workers": 0}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        explain_to_shards(photos, explainer, out, **sizes)  # type: ignore[arg-type]
        files = {name: (out / name).read_bytes() for name in (MANIFEST, INDEX)}
        files["shard"] = (out / "shards" / "000000.parquet").read_bytes()
        other = Path(folder) / "other"
        try:
            explain_to_shards(photos, explainer, other, listener=_Stop(), **sizes)  # type: ignore[arg-type]
        except KeyboardInterrupt:
            (left,) = unfinished_folders(other, has_shards)
        files["batch"] = (left / "batches" / "000002.parquet").read_bytes()
        files["finished"] = (left / "finished" / "000000.json").read_bytes()
    return files


def read_manifest_or_index(path: Path) -> None:
    """Read a folder whose manifest or index is given, and use all that it says."""
    folder = path.parent
    for name in {MANIFEST, INDEX} - {path.name}:
        (folder / name).write_bytes(shard_files()[name])
    (folder / "shards").mkdir(exist_ok=True)
    for number in range(2):
        (folder / "shards" / f"{number:06d}.parquet").write_bytes(shard_files()["shard"])
    found = load_explanations(folder)
    assert len(found) >= 0 and list(found.manifest.layout.maps)
    assert all(name.isprintable() in (True, False) for name, _ in found.skipped())
    # The second shard of the valid folder is another one.
    first = next(found.records(), None)
    if first is not None and first.shard == 0:
        found.photo(1)


def read_shard(path: Path) -> None:
    """Read a shard that the index says is right."""
    folder = path.parents[1]
    (folder / MANIFEST).write_bytes(shard_files()[MANIFEST])
    index = json.loads(shard_files()[INDEX])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record = {**index["shards"][0], "sha256": digest}
    lines = ["{", '  "schema_version": 1,', '  "shards": [', json.dumps(record), "  ]", "}"]
    (folder / INDEX).write_text("\n".join(lines))
    for photo in load_explanations(folder):
        (explanation,) = photo.explanations.values()
        assert f"{photo.number:d} {photo.name}"
        assert explanation.heatmaps((8, 8)).shape[-1] == 8
        assert explanation.class_probabilities.shape == explanation.has_evidence.shape


def read_batch(path: Path) -> None:
    """Go on with a run that left a batch: close its shard."""
    place = path.parents[1]
    for name in ("result", "finished"):
        shutil.rmtree(place / name, ignore_errors=True)
    with WritingBehind() as writing:
        names = NameList(iter("0123456"))
        GrowingShards(place, names, Shards(1, 2, 1), writing).close_shards([0])
    for shard in finished_shards(place):
        assert shard.record.bytes >= 0
    path.unlink(missing_ok=True)


def read_finished(path: Path) -> None:
    """Look at what a run left of a shard."""
    for shard in finished_shards(path.parents[1]):
        assert dataclasses.asdict(shard.record)["file"] is not None
        if shard.layout is not None:
            assert json.dumps(dataclasses.asdict(shard.layout))
