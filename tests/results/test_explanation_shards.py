"""Reading shards back: what is damaged, gone or of others is refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ttame
from tests.explaining.explaining_material import methods
from tests.training.training_material import noise_photos, tiny_cnn
from ttame.errors import OutputError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photos in three shards."""
    out = tmp_path_factory.mktemp("data") / "why"
    grad_cam = methods(tiny_cnn(), ["grad_cam"])
    ttame.explain_to_shards(
        noise_photos(5), grad_cam, out, batch_size=1, shard_size=2, workers=0, progress=False
    )
    return out


def changed(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a byte of a shard": (
        "shards/000001.parquet",
        lambda content: content[:99] + b"?" + content[100:],
        r"000001\.parquet cannot be read \(it is not as it was written\)",
    ),
    "a torn shard": (
        "shards/000001.parquet",
        lambda content: content[:100],
        r"000001\.parquet cannot be read \(it is not as it was written\)",
    ),
    "a torn index": (
        "explanations_index.json",
        lambda content: content[: content.index(b'"shard": 1')],
        r"explanations_index\.json cannot be read",
    ),
    "a record without a digest": (
        "explanations_index.json",
        lambda content: content.replace(b'"sha256"', b'"sha"'),
        r"explanations_index\.json cannot be read \(broken at 'sha256'",
    ),
    "a torn manifest": (
        "explanations_manifest.json",
        lambda content: content[:200],
        r"explanations_manifest\.json cannot be read \(not JSON",
    ),
    "a manifest of another version": (
        "explanations_manifest.json",
        lambda content: content.replace(b'"schema_version": 1', b'"schema_version": 2'),
        "has schema 2; allowed: schema 1",
    ),
    "a number of photos below zero": (
        "explanations_manifest.json",
        lambda content: content.replace(b'"explained": 5', b'"explained": -5'),
        "a number of photos that cannot be",
    ),
    "another number of classes": (
        "explanations_manifest.json",
        lambda content: content.replace(b'"number_of_classes": 5', b'"number_of_classes": 6'),
        "its columns are not the expected ones",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_refused_in_one_line(kind: str, written: Path, tmp_path: Path) -> None:
    name, change, words = DAMAGE[kind]
    folder = shutil.copytree(written, tmp_path / "why")
    assert len(list(ttame.load_explanations(folder))) == 5
    changed(folder / name, change)
    with pytest.raises(OutputError, match=words) as refused:
        list(ttame.load_explanations(folder))
    assert "\n" not in str(refused.value)


def test_a_shard_that_is_gone_is_named_when_it_is_its_turn(written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path / "why")
    (folder / "shards" / "000002.parquet").unlink()
    found = ttame.load_explanations(folder)
    assert [photo.number for _, photo in zip(range(4), found, strict=False)] == [0, 1, 2, 3]
    assert found.photo(1).name == "item 1 of list"
    with pytest.raises(OutputError, match=r"000002\.parquet cannot be read"):
        found.photo(4)


def test_an_index_cannot_lead_out_of_the_folder(written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path / "why")
    index = folder / "explanations_index.json"
    changed(index, lambda content: content.replace(b"shards/000000", b"../../000000"))
    assert ttame.load_explanations(folder).photo(0).number == 0
    (folder / "shards" / "000000.parquet").unlink()
    shutil.copy(written / "shards" / "000000.parquet", tmp_path / "000000.parquet")
    with pytest.raises(OutputError, match="cannot be read"):
        ttame.load_explanations(folder).photo(0)


def test_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"explanations_manifest\.json cannot be read \(No such"):
        ttame.load_explanations(tmp_path)


def test_they_say_what_they_are(written: Path) -> None:
    said = repr(ttame.load_explanations(written))
    assert said == f"<5 photos explained by grad_cam in {written}>"


def test_the_manifest_says_what_the_maps_depend_on(written: Path) -> None:
    manifest = json.loads((written / "explanations_manifest.json").read_text())
    classifier = tiny_cnn()
    assert manifest["classifier_fingerprint"] == classifier.fingerprint()
    (method,) = manifest["methods"]
    assert method["provenance"] == methods(classifier, ["grad_cam"])["grad_cam"].provenance()
    assert (manifest["photos"], manifest["explained"], manifest["photos_per_shard"]) == (5, 5, 2)
