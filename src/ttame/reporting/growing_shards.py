"""Shards of explanations that are written batch by batch, by one process or several.

``result/`` is the folder to be. ``batches/000012.parquet`` holds batch 12 until all batches of its
shard are there. They become ``result/shards/000003.parquet`` then, and when that is whole,
``finished/000003.json`` says so; only then the batches go. Every file appears whole, so that
killing a run loses the batches in flight and nothing else. A shard is of one process alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ttame.datasets.name_list import NameList
from ttame.errors import OutputError, setting
from ttame.files.atomic_writing import whole_file, write_json
from ttame.files.bounded_reading import UnreadableFileError, decode, read_bounded
from ttame.files.growing_folder import RESULT
from ttame.files.json_files import checked_as, parse_json, read_json_object
from ttame.files.leftovers import remove
from ttame.files.parquet_files import (
    arrow,
    checked_table,
    naming_damage,
    opened_parquet,
    write_parquet,
)
from ttame.files.printable_names import printable
from ttame.files.writing_behind import WritingBehind
from ttame.results.explanation import Explanation
from ttame.results.explanation_shards import SHARDS, ShardRecord
from ttame.results.shard_tables import PURPOSE, ShardLayout, table_of

_BATCHES = "batches"
_FINISHED = "finished"
_DESCRIBED = b"ttame_batch"
_LARGEST_BATCH = 16 * 2**30  # bytes

WRITTEN_AS = {
    "compression": "NONE",  # of digits that are nearly random
    "use_dictionary": ["photo"],
    "write_statistics": ["number"],
}


@dataclasses.dataclass(frozen=True)
class _Described:
    """What a batch's file says besides its rows."""

    skipped: tuple[tuple[int, str, str], ...]
    number_of_classes: int = 0
    explained: int = 0
    maps: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FinishedShard:
    """What ``finished/000003.json`` says of a shard.

    Attributes:
        record: as the index will have it.
        layout: the layout of its rows; ``None`` if it has none.
    """

    record: ShardRecord
    layout: ShardLayout | None


@dataclasses.dataclass(frozen=True)
class Shards:
    """How photos are divided: into batches, and batches into shards.

    Example:
        >>> shards = Shards(photos=21, batch_size=2, batches_each=3)
        >>> shards.batches, shards.count, shards.of(3), shards.first_photo(3)
        (11, 4, range(9, 11), 18)
    """

    photos: int
    batch_size: int
    batches_each: int

    @property
    def batches(self) -> int:
        """How many there are."""
        return -(-self.photos // self.batch_size)

    @property
    def count(self) -> int:
        """How many shards there are."""
        return -(-self.batches // self.batches_each)

    def of(self, shard: int) -> range:
        """The batches of a shard."""
        first = shard * self.batches_each
        return range(first, min(first + self.batches_each, self.batches))

    def first_photo(self, shard: int) -> int:
        """The number of a shard's first photo."""
        return shard * self.batches_each * self.batch_size


class GrowingShards:
    """Shards in a work folder; what ``explain_stream`` writes to.

    Args:
        place: the work folder, from :func:`ttame.files.growing_folder.growing_folder`.
        names: the names of all photos of the data, by number.
        shards: how they are divided.
        writing: writes while the network works.
    """

    def __init__(
        self, place: Path, names: NameList, shards: Shards, writing: WritingBehind
    ) -> None:
        self._place = place
        self._names = names
        self._shards = shards
        self._writing = writing
        self.batches_together = shards.batches_each

    def finished(self) -> set[int]:
        """The batches that are finished."""
        found = {int(path.stem) for path in _numbered(self._place / _BATCHES)}
        for path in _numbered(self._place / _FINISHED):
            found.update(self._shards.of(int(path.stem)))
        return found

    def write(
        self,
        batch: int,
        numbers: Sequence[int],
        explanations: Sequence[Explanation],
        skipped: Sequence[tuple[int, str]],
    ) -> None:
        """Write a batch soon, and its shard if it was the last one that was missing."""
        self._writing.put(lambda: self._write(batch, numbers, explanations, skipped))

    def close_shards(self, numbers: Sequence[int]) -> None:
        """Write those of some shards whose batches are complete.

        A run that was killed between its last batch and the shard has left such.
        """
        for shard in numbers:
            self._writing.put(lambda shard=shard: self._close(shard))  # type: ignore[misc]

    def _write(
        self,
        batch: int,
        numbers: Sequence[int],
        explanations: Sequence[Explanation],
        skipped: Sequence[tuple[int, str]],
    ) -> None:
        names = [(number, self._name(number), reason) for number, reason in skipped]
        if explanations:
            layout = ShardLayout.of(explanations)
            described = _Described(tuple(names), **dataclasses.asdict(layout))
            table = table_of(layout, numbers, [self._name(n) for n in numbers], explanations)
        else:
            described = _Described(tuple(names))
            table = arrow(PURPOSE).table({"number": []})
        about = {_DESCRIBED: json.dumps(dataclasses.asdict(described))}
        table = table.replace_schema_metadata(about)
        # What a killed run was writing is removed before another one goes on.
        write_parquet(self._batch_file(batch), table, swept=True, **WRITTEN_AS)
        self._close(batch // self._shards.batches_each)

    def _close(self, shard: int) -> None:
        """Make a shard of its batches, if they are all there."""
        done = self._place / _FINISHED / f"{shard:06d}.json"
        paths = [self._batch_file(batch) for batch in self._shards.of(shard)]
        if not done.is_file():
            if not all(path.is_file() for path in paths):
                return
            finished = self._joined(shard, paths)
            write_json(done, dataclasses.asdict(finished))
        for path in paths:
            path.unlink(missing_ok=True)

    def _joined(self, shard: int, paths: Sequence[Path]) -> FinishedShard:
        """Write a shard: each batch is a row group, and one is in memory at a time."""
        target = self._place / RESULT / SHARDS / f"{shard:06d}.parquet"
        skipped: list[tuple[int, str, str]] = []
        with (
            whole_file(target, swept=True) as temporary,
            temporary.open("wb") as file,
            _RowGroups(file) as groups,
        ):
            for path in paths:
                described, layout, table = _read_batch(path)
                skipped += described.skipped
                if layout is not None and not groups.add(table, layout):
                    raise _damaged(path, "its maps have another size")
        return FinishedShard(self._record(shard, target, groups.rows, skipped), groups.layout)

    def _record(
        self, shard: int, path: Path, rows: int, skipped: Sequence[tuple[int, str, str]]
    ) -> ShardRecord:
        content = path.read_bytes()
        return ShardRecord(
            shard=shard,
            file=f"{SHARDS}/{path.name}",
            first=self._shards.first_photo(shard),
            explained=rows,
            skipped=tuple(skipped),
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )

    def _batch_file(self, batch: int) -> Path:
        return self._place / _BATCHES / f"{batch:06d}.parquet"

    def _name(self, number: int) -> str:
        return printable(self._names[number])


class _RowGroups:
    """Writes the row groups of a shard, whose columns are those of the first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._writer: Any = None
        self.layout: ShardLayout | None = None
        self.rows = 0

    def __enter__(self) -> _RowGroups:
        return self

    def __exit__(self, *problem: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, table: Any, layout: ShardLayout) -> bool:
        """Write a row group, unless its layout is another than that of those before."""
        if self._writer is None:
            self.layout = layout
            self._writer = arrow(PURPOSE).parquet.ParquetWriter(
                self._file, layout.schema(), write_page_checksum=True, **WRITTEN_AS
            )
        if layout == self.layout:
            self._writer.write_table(table)
            self.rows += len(table)
        return layout == self.layout


def finished_shards(place: Path) -> Iterator[FinishedShard]:
    """What is said of the finished shards of a work folder, in order.

    Raises:
        OutputError: it is damaged.
    """
    for path in _numbered(place / _FINISHED):
        try:
            yield checked_as(FinishedShard, read_json_object(path))
        except UnreadableFileError as problem:
            raise _damaged(path, problem) from problem


def remove_finished_batches(place: Path) -> None:
    """Let nothing be gone on with."""
    for name in (_BATCHES, _FINISHED):
        remove(place / name)


def has_shards(place: Path) -> bool:
    """Whether a work folder holds batches or shards that are finished."""
    return any(_numbered(place / _BATCHES, "parquet")) or any(_numbered(place / _FINISHED))


def _numbered(folder: Path, *suffixes: str) -> list[Path]:
    """The files of a folder that are called by a number, in order."""
    wanted = suffixes or ("parquet", "json")
    found = [
        path
        for path in folder.glob("[0-9]*")
        if re.fullmatch(r"[0-9]{6,9}", path.stem) and path.suffix[1:] in wanted
    ]
    return sorted(found, key=lambda path: int(path.stem))


def _read_batch(path: Path) -> tuple[_Described, ShardLayout | None, Any]:
    try:
        with naming_damage():
            file = opened_parquet(read_bounded(path, _LARGEST_BATCH))
            about: Mapping[bytes, bytes] = file.schema_arrow.metadata or {}
            if _DESCRIBED not in about:
                raise UnreadableFileError("it does not say what was explained")
            described = checked_as(_Described, parse_json(decode(about[_DESCRIBED])))
            if not described.maps:
                return described, None, None
            layout = ShardLayout(described.number_of_classes, described.explained, described.maps)
            layout.refuse_impossible()
            layout.refuse_other_sizes(file)
            table = file.read(use_threads=False).replace_schema_metadata(None)
            return described, layout, checked_table(table, layout.schema())
    except UnreadableFileError as problem:
        raise _damaged(path, problem) from problem


def _damaged(path: Path, problem: Exception | str) -> OutputError:
    return OutputError(
        f"{path} is damaged ({problem})",
        remedy=f"deleting it, then {setting('resume', True)} to explain it again",
    )
