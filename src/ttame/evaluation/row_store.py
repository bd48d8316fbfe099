"""One row for each image, method and metric, in Parquet files that appear whole or not at all.

``rows/METHOD/000012.parquet`` holds what one method got on one batch of images. A file that exists
is finished work: killing a run loses the batch in flight and nothing else, and several processes
never write to the same file. ``rows.parquet`` is all of them in one, for other programs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ttame.errors import EvaluationError, setting
from ttame.files.atomic_writing import whole_file
from ttame.files.bounded_reading import UnreadableFileError, decode
from ttame.files.json_files import checked_as, parse_json
from ttame.files.parquet_files import (
    arrow,
    checked_table,
    naming_damage,
    opened_parquet,
    write_parquet,
)

_ROWS_TOGETHER = 100_000
"""Rows of a group in ``rows.parquet``: each takes part of a table that is in memory as a whole."""


@dataclasses.dataclass(frozen=True)
class BatchFacts:
    """What is known of a batch besides its rows.

    Attributes:
        images: how many were measured.
        milliseconds: the time that explaining one image takes.
        metered: whether measuring its memory slowed the batch down.
        forward: passes per image; so are ``backward`` and ``tail``.
        peak_megabytes: ``None`` where it was not measured.
        skipped: name and reason of each unreadable photo.
    """

    images: int
    milliseconds: float
    metered: bool
    forward: float
    backward: float
    tail: float
    peak_megabytes: float | None
    skipped: tuple[tuple[str, str], ...] = ()


class RowStore:
    """The rows of an evaluation below a folder.

    Args:
        folder: the folder of the evaluation.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._arrow = pyarrow = arrow("evaluations")
        self._folder = Path(folder)
        self._schema = pyarrow.schema(
            [
                ("image", pyarrow.int32()),
                ("photo", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
                ("class", pyarrow.int32()),
                ("method", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
                ("metric", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
                ("value", pyarrow.float64()),
            ]
        )

    def finished(self, method: str) -> set[int]:
        """The batches of a method that need not be measured again."""
        return {int(path.stem) for path in self._parts(method)}

    def write(
        self,
        method: str,
        batch: int,
        images: Sequence[int],
        photos: Sequence[str],
        classes: Sequence[int],
        values: Mapping[str, np.ndarray],
        facts: BatchFacts,
    ) -> None:
        """Write the rows of one batch.

        Args:
            method: its label.
            batch: its number.
            images: (B,) numbers of the images in the data.
            photos: (B,) their keys.
            classes: (B,) explained classes.
            values: metric to (B,) values.
            facts: about the batch.
        """
        names = list(values)
        columns = {
            "image": np.tile(np.asarray(images, dtype=np.int32), len(names)),
            "photo": [*photos] * len(names),
            "class": np.tile(np.asarray(classes, dtype=np.int32), len(names)),
            "method": [method] * (len(names) * len(images)),
            "metric": [name for name in names for _ in images],
            "value": np.concatenate([np.asarray(values[name], dtype=np.float64) for name in names])
            if names
            else np.zeros(0),
        }
        table = self._arrow.table(columns, schema=self._schema).replace_schema_metadata(
            {"ttame_batch": json.dumps(dataclasses.asdict(facts))}
        )
        folder = self._of(method)
        folder.mkdir(parents=True, exist_ok=True)
        # A run removes in the beginning what others left.
        write_parquet(folder / f"{batch:06d}.parquet", table, swept=True)

    def facts(self, method: str) -> list[BatchFacts]:
        """What is known of a method's batches, in their order."""
        found = []
        for path in self._parts(method):
            try:
                described = self._metadata(path).get(b"ttame_batch")
                if described is None:
                    raise UnreadableFileError("it does not say what was measured")
                found.append(checked_as(BatchFacts, parse_json(decode(described))))
            except UnreadableFileError as problem:
                raise _broken(path, problem) from problem
        return found

    def values(self, method: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Everything that was measured of a method.

        Returns:
            (n,) numbers of the images, ascending; (n,) explained classes; metric to (n,) values.
        """
        images: list[np.ndarray] = []
        classes: list[np.ndarray] = []
        values: dict[str, list[np.ndarray]] = {}
        for path in self._parts(method):
            table = self._read(path)
            names = table["metric"].to_pylist()
            count = self._count(names)
            starts = {names[start]: start for start in range(0, len(names), max(count, 1))}
            if names != [name for name in starts for _ in range(count)]:
                raise _broken(path, ValueError("its rows are not in order"))
            for name, start in starts.items():
                values.setdefault(name, []).append(table["value"].to_numpy()[start : start + count])
            images.append(table["image"].to_numpy()[:count])
            classes.append(table["class"].to_numpy()[:count])
        if not images:
            return np.zeros(0, int), np.zeros(0, int), {}
        return (
            np.concatenate(images),
            np.concatenate(classes),
            {name: np.concatenate(parts) for name, parts in values.items()},
        )

    def photos(self, method: str) -> dict[int, str]:
        """Number of each measured image to its key."""
        found: dict[int, str] = {}
        for path in self._parts(method):
            table = self._read(path, ["image", "photo"])
            found.update(zip(table["image"].to_pylist(), table["photo"].to_pylist(), strict=True))
        return found

    def join(self, methods: Sequence[str]) -> Path:
        """Write all rows of some methods into ``rows.parquet``, one part in memory at a time."""
        target = self._folder / "rows.parquet"
        with (
            whole_file(target) as temporary,
            temporary.open("wb") as file,
            self._arrow.parquet.ParquetWriter(file, self._schema) as writer,
        ):
            for table in self._tables(methods):
                writer.write_table(table)
        return target

    def _tables(self, methods: Sequence[str]) -> Iterator[Any]:
        """All rows, a few thousand parts at a time."""
        waiting: list[Any] = []
        rows = 0
        for path in (path for method in methods for path in self._parts(method)):
            waiting.append(self._read(path).replace_schema_metadata(None))
            rows += len(waiting[-1])
            if rows >= _ROWS_TOGETHER:
                yield self._joined(waiting)
                waiting, rows = [], 0
        if waiting:
            yield self._joined(waiting)

    def _joined(self, tables: Sequence[Any]) -> Any:
        return self._arrow.concat_tables(tables).unify_dictionaries().combine_chunks()

    def _count(self, names: Sequence[str]) -> int:
        """How many images a part holds: its rows come metric by metric."""
        return next((i for i, name in enumerate(names) if name != names[0]), len(names))

    def _of(self, method: str) -> Path:
        return self._folder / "rows" / folder_name(method)

    def _parts(self, method: str) -> list[Path]:
        files = self._of(method).glob("[0-9]*.parquet")
        return sorted(path for path in files if re.fullmatch(r"[0-9]{1,9}", path.stem))

    def _read(self, path: Path, columns: list[str] | None = None) -> Any:
        with _naming(path):
            table = opened_parquet(path.read_bytes()).read(use_threads=False)
            return checked_table(table, self._schema, columns)

    def _metadata(self, path: Path) -> dict[bytes, bytes]:
        with _naming(path):
            return dict(opened_parquet(path.read_bytes()).schema_arrow.metadata or {})


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in whatever goes wrong with it."""
    try:
        with naming_damage():
            yield
    except UnreadableFileError as problem:
        raise _broken(path, problem) from problem


def _broken(path: Path, problem: Exception) -> EvaluationError:
    reason = (str(problem).splitlines() or ["unreadable"])[0]
    return EvaluationError(
        f"{path} is damaged ({reason})",
        remedy=f"deleting it, then {setting('resume', True)} to measure it again",
    )


def folder_name(label: str) -> str:
    """A method's label as the name of a folder; different labels stay different.

    Example:
        >>> folder_name("grad_cam"), folder_name("runs/mine")
        ('grad_cam', 'runs_mine-8e76d4')
    """
    import hashlib

    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", label)[:80].lstrip(".")
    if plain == label:
        return plain
    return f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
