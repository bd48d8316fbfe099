"""The explanations of any number of photos, in shards that are read one after the other."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ttame.errors import OutputError
from ttame.files.bounded_reading import UnreadableFileError, read_bounded
from ttame.files.json_files import checked_as, read_json_object
from ttame.files.parquet_files import checked_table, naming_damage, opened_parquet
from ttame.files.record_files import read_about, read_records
from ttame.images.photo_crop import PhotoCrop
from ttame.results.explanation import Explanation
from ttame.results.shard_tables import PhotoRows, ShardLayout, photos_of

MANIFEST = "explanations_manifest.json"
INDEX = "explanations_index.json"
SHARDS = "shards"
SCHEMA_VERSION = 1
_LARGEST_SHARD = 16 * 2**30  # bytes


@dataclasses.dataclass(frozen=True)
class ShardMethod:
    """A method of a run.

    Attributes:
        name: its label.
        title: for people.
        provenance: what its maps depend on; of a trained explainer with the digest of its weights.
        map_size: (h, w) of its maps.
        of_pixels: whether values belong to single pixels.
    """

    name: str
    title: str
    provenance: dict[str, Any]
    map_size: tuple[int, int]
    of_pixels: bool


@dataclasses.dataclass(frozen=True)
class ShardsManifest:
    """What a folder of shards is of: ``explanations_manifest.json``.

    Attributes:
        schema_version: the schema version of manifest, index and shards.
        classifier: name of the explained network.
        classifier_fingerprint: the fingerprint of its weights.
        outputs: what its numbers mean, such as ``"softmax"``.
        exclusive: whether exactly one class is true of a photo.
        class_names: C names, or empty.
        number_of_classes: C.
        explained_classes: K, maps per photo and method.
        rather_than: the class that the explained ones were compared with, if there is one.
        image_size: (H, W) of the network's input.
        preprocessing: in words.
        crop: which part of a photo the network saw.
        methods: in order.
        left_out: methods that did not take part, to the reason why.
        photos: in the data.
        explained: of these, how many could be read.
        photos_per_shard: consecutive photos of the data; the last shard may have fewer.
        run: everything that a run must have in common with this one to be the same.
    """

    schema_version: int
    classifier: str
    classifier_fingerprint: str
    outputs: str
    exclusive: bool
    class_names: tuple[str, ...]
    number_of_classes: int
    explained_classes: int
    rather_than: str | None
    image_size: tuple[int, int]
    preprocessing: str
    crop: PhotoCrop
    methods: tuple[ShardMethod, ...]
    left_out: dict[str, str]
    photos: int
    explained: int
    photos_per_shard: int
    run: dict[str, Any]

    @property
    def layout(self) -> ShardLayout:
        """Of every shard."""
        maps = {method.name: method.map_size for method in self.methods}
        return ShardLayout(self.number_of_classes, self.explained_classes, maps)


@dataclasses.dataclass(frozen=True)
class ShardRecord:
    """A shard, as the index has it.

    Attributes:
        shard: its number.
        file: its path within the folder.
        first: number of the first photo that belongs to it.
        explained: how many photos it has.
        skipped: number, name and reason of each photo that could not be read.
        bytes: the bytes of the file.
        sha256: of the file.
    """

    shard: int
    file: str
    first: int
    explained: int
    skipped: tuple[tuple[int, str, str], ...]
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True, eq=False)
class PhotoExplanations:
    """What was found about one photo.

    Attributes:
        number: the number of the photo in the data, from 0.
        name: what the data call it, such as its path.
        explanations: method to explanation, a batch of one; their maps were kept in half precision
            of each map's own range, so that they are right to 0.05 % of it.

    Example:
        >>> explanation = Explanation(
        ...     torch.ones(1, 1, 7, 7), torch.tensor([[2]]), torch.zeros(1, 5), (224, 224))
        >>> photo = PhotoExplanations(41, "cat.jpg", {"grad_cam": explanation})
        >>> photo.explanations["grad_cam"].class_probabilities
        tensor([[0.2000]])
    """

    number: int
    name: str
    explanations: Mapping[str, Explanation]


class ExplanationShards:
    """The explanations in a folder of shards, read shard by shard.

    Attributes:
        folder: with ``explanations_manifest.json``, ``explanations_index.json`` and ``shards/``.
        manifest: what the explanations are of.

    Example:
        >>> import tempfile, ttame
        >>> from ttame.testing import tiny_classifier
        >>> grad_cam = ttame.make_explainer("grad_cam", tiny_classifier(size=32))
        >>> photos = list(torch.randint(256, (5, 3, 32, 32), dtype=torch.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = ttame.explain_to_shards(photos, grad_cam, folder + "/why", workers=0)
        ...     print(len(found), found.photo(3).name)
        ...     for photo in found:
        ...         assert photo.explanations["grad_cam"].maps.shape[:2] == (1, 3)
        5 item 3 of list
    """

    def __init__(self, folder: Path, manifest: ShardsManifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def __repr__(self) -> str:
        methods = ", ".join(method.name for method in self.manifest.methods)
        return f"<{len(self)} photos explained by {methods} in {self.folder}>"

    def __len__(self) -> int:
        """How many photos were explained."""
        return self.manifest.explained

    def __iter__(self) -> Iterator[PhotoExplanations]:
        """The photos in the order of the data; memory holds one shard at a time.

        Raises:
            OutputError: a shard or the index is damaged or gone.
        """
        for rows in self.batches():
            yield from _each(rows)

    def batches(self) -> Iterator[PhotoRows]:
        """The photos in the batches in which they were explained: faster than one by one.

        Raises:
            OutputError: a shard or the index is damaged or gone.

        Example:
            >>> import tempfile, ttame
            >>> from ttame.testing import tiny_classifier
            >>> grad_cam = ttame.make_explainer("grad_cam", tiny_classifier(size=32))
            >>> photos = list(torch.randint(256, (5, 3, 32, 32), dtype=torch.uint8))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     found = ttame.explain_to_shards(
            ...         photos, grad_cam, folder + "/why", batch_size=2, workers=0)
            ...     for batch in found.batches():
            ...         print(batch.numbers, len(batch.explanations["grad_cam"]))
            [0, 1] 2
            [2, 3] 2
            [4] 1
        """
        for record in self.records():
            yield from self._rows(record)

    def photo(self, number: int) -> PhotoExplanations:
        """One photo, by its number in the data.

        Raises:
            OutputError: it was skipped, or there is none; a shard is damaged.
        """
        for record in self.records():
            if record.shard == number // self.manifest.photos_per_shard:
                for rows in self._rows(record, number):
                    return list(_each(rows))[rows.numbers.index(number)]
        raise OutputError(
            f"photo {number} is not in {self.folder}",
            allowed=f"0 to {self.manifest.photos - 1}, but for those that could not be read",
        )

    def skipped(self) -> Iterator[tuple[str, str]]:
        """Name and reason of each photo that could not be read.

        Raises:
            OutputError: the index is damaged or gone.
        """
        for record in self.records():
            yield from ((name, reason) for _, name, reason in record.skipped)

    def records(self) -> Iterator[ShardRecord]:
        """The shards as the index has them.

        Raises:
            OutputError: the index is damaged or gone.
        """
        path = self.folder / INDEX
        for content in read_records(path, "shards"):
            try:
                yield checked_as(ShardRecord, content)
            except UnreadableFileError as problem:
                raise _damaged(path, problem) from problem

    def _rows(self, record: ShardRecord, wanted: int | None = None) -> Iterator[PhotoRows]:
        """The photos of a shard, or of the batch with one of them."""
        if not record.explained:
            return
        path = self.folder / SHARDS / Path(record.file).name
        try:
            content = read_bounded(path, _LARGEST_SHARD)
            if hashlib.sha256(content).hexdigest() != record.sha256:
                raise UnreadableFileError("it is not as it was written")
            yield from _rows_of(content, self.manifest, wanted)
        except UnreadableFileError as problem:
            raise _damaged(path, problem) from problem


def load_explanations(folder: Path | str) -> ExplanationShards:
    """Open what :func:`ttame.explain_to_shards`, or ``ttame explain --format shards``, wrote.

    Args:
        folder: its ``out``.

    Returns:
        The explanations, to be iterated: photo by photo, one shard in memory at a time.

    Raises:
        OutputError: there are none, or the manifest is damaged.

    Example:
        >>> import tempfile, ttame
        >>> from ttame.testing import tiny_classifier
        >>> grad_cam = ttame.make_explainer("grad_cam", tiny_classifier(size=32))
        >>> photos = list(torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = ttame.explain_to_shards(photos, grad_cam, folder + "/why", workers=0)
        ...     for photo in load_explanations(folder + "/why"):
        ...         print(photo.number, photo.name, photo.explanations["grad_cam"])
        0 item 0 of list <Explanation by grad_cam: maps 1 x 3 x 8 x 8>
        1 item 1 of list <Explanation by grad_cam: maps 1 x 3 x 8 x 8>
        2 item 2 of list <Explanation by grad_cam: maps 1 x 3 x 8 x 8>
    """
    path = Path(folder) / MANIFEST
    try:
        content = read_json_object(path)
        version = content.get("schema_version")
        if version != SCHEMA_VERSION:
            raise OutputError(f"{path} has schema {version}", allowed=f"schema {SCHEMA_VERSION}")
        manifest = checked_as(ShardsManifest, content)
        _check(manifest)
        read_about(Path(folder) / INDEX, "shards")
    except UnreadableFileError as problem:
        raise _damaged(path, problem) from problem
    return ExplanationShards(Path(folder), manifest)


def _check(manifest: ShardsManifest) -> None:
    """Refuse what cannot be, before something is made of it."""
    manifest.layout.refuse_impossible()
    if not all(1 <= size < 2**31 for size in (*manifest.image_size, manifest.photos_per_shard)):
        raise UnreadableFileError("sizes that cannot be")
    if not 0 <= manifest.explained <= manifest.photos < 2**31:
        raise UnreadableFileError("a number of photos that cannot be")
    if len(manifest.layout.maps) < len(manifest.methods):
        raise UnreadableFileError("two methods of one name")
    if len(manifest.class_names) not in (0, manifest.number_of_classes):
        raise UnreadableFileError("a number of class names that differs from that of classes")


def _rows_of(
    content: bytes, manifest: ShardsManifest, wanted: int | None = None
) -> Iterator[PhotoRows]:
    """The row groups of a shard, or the one with a photo; one is in memory at a time."""
    layout = manifest.layout
    like = _like(manifest)
    with naming_damage():
        file = opened_parquet(content)
        layout.refuse_other_sizes(file)
        groups: Sequence[int] = range(file.metadata.num_row_groups)
        if wanted is not None:
            groups = [group for group in groups if wanted in _numbers_in(file, group)]
    for group in groups:
        with naming_damage():
            table = file.read_row_group(group, use_threads=False)
            rows = photos_of(layout, checked_table(table, layout.schema()), like)
            if manifest.rather_than is not None:
                rows = _labelled(rows, manifest)
        yield rows


def _numbers_in(file: Any, group: int) -> list[int]:
    numbers: list[int] = file.read_row_group(group, ["number"], use_threads=False)[0].to_pylist()
    return numbers


def _like(manifest: ShardsManifest) -> dict[str, Explanation]:
    """Method to an explanation of no photo."""
    classes, count = manifest.number_of_classes, manifest.explained_classes
    return {
        method.name: Explanation(
            maps=torch.zeros(0, count, *method.map_size),
            classes=torch.zeros(0, count, dtype=torch.int64),
            logits=torch.zeros(0, classes),
            image_size=manifest.image_size,
            class_names=manifest.class_names,
            method=method.name,
            provenance=method.provenance,
            exclusive=manifest.exclusive,
            crop=manifest.crop,
            of_pixels=method.of_pixels,
        )
        for method in manifest.methods
    }


def _labelled(rows: PhotoRows, manifest: ShardsManifest) -> PhotoRows:
    """With what is explained in words, where it is not the classes themselves."""
    found = {}
    for method, explanation in rows.explanations.items():
        labels = tuple(
            tuple(f"{explanation.class_label(i)} rather than {manifest.rather_than}" for i in row)
            for row in explanation.classes.tolist()
        )
        found[method] = dataclasses.replace(explanation, target_labels=labels)
    return rows._replace(explanations=found)


def _each(rows: PhotoRows) -> Iterator[PhotoExplanations]:
    for place, (number, name) in enumerate(zip(rows.numbers, rows.names, strict=True)):
        one = {method: found[place] for method, found in rows.explanations.items()}
        yield PhotoExplanations(number, name, one)


def _damaged(path: Path, problem: Exception) -> OutputError:
    return OutputError(f"{path} cannot be read ({problem})", allowed="a file that ttame wrote")
