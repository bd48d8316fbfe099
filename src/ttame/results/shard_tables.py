"""Explanations as Arrow tables: a row per photo, its maps in half precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.parquet_files import arrow
from ttame.results.explanation import Explanation

PURPOSE = "shards of explanations"
_LARGEST = 2**20
_WIDEST = 2**31
"""Bytes of a value that Arrow can have."""


@dataclasses.dataclass(frozen=True)
class ShardLayout:
    """What all rows of all shards have in common.

    Attributes:
        number_of_classes: C, of the network.
        explained: K, classes per photo.
        maps: method to the (h, w) of its maps, in order.

    Example:
        >>> ShardLayout(1000, 3, {"grad_cam": (7, 7)}).schema().names
        ['number', 'photo', 'classes', 'probabilities', 'all_logits', 'all_probabilities', \
'grad_cam.maps', 'grad_cam.lowest', 'grad_cam.highest']
    """

    number_of_classes: int
    explained: int
    maps: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, explanations: Sequence[Explanation]) -> ShardLayout:
        """Of explanations of the same photos by different methods."""
        first = explanations[0]
        return cls(
            number_of_classes=first.logits.shape[1],
            explained=first.maps.shape[1],
            maps={each.method: tuple(each.maps.shape[2:]) for each in explanations},  # type: ignore[misc]
        )

    def schema(self) -> Any:
        """The columns; the README of a shard.

        ``number`` (of the photo in the data) and ``photo`` (its name); K ``classes`` and their
        ``probabilities``; of all C classes logits and probabilities as C little-endian float32;
        and for each method K·h·w little-endian float16 u, row by row, with the K ``lowest`` and
        ``highest`` values: a map is ``lowest + u (highest − lowest)``.
        """
        pyarrow = arrow(PURPOSE)
        every = pyarrow.list_(pyarrow.float32(), self.explained)
        scores = pyarrow.binary(4 * self.number_of_classes)
        fields = [
            ("number", pyarrow.int64()),
            ("photo", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
            ("classes", pyarrow.list_(pyarrow.int32(), self.explained)),
            ("probabilities", every),
            ("all_logits", scores),
            ("all_probabilities", scores),
        ]
        for method, (height, width) in self.maps.items():
            fields += [
                (f"{method}.maps", pyarrow.binary(2 * self.explained * height * width)),
                (f"{method}.lowest", every),
                (f"{method}.highest", every),
            ]
        return pyarrow.schema(fields)

    def refuse_impossible(self) -> None:
        """Raise unless the sizes can be, before anything is made of them.

        Raises:
            UnreadableFileError: they cannot.
        """
        sides = [side for size in self.maps.values() for side in size]
        if not self.maps or not all(
            1 <= size <= _LARGEST for size in (*sides, self.number_of_classes, self.explained)
        ):
            raise UnreadableFileError("sizes that cannot be")
        widths = [2 * self.explained * height * width for height, width in self.maps.values()]
        if max(*widths, 4 * self.number_of_classes) >= _WIDEST:
            raise UnreadableFileError("maps that are too large")

    def refuse_other_sizes(self, file: Any) -> None:
        """Raise unless a file has as many values as its rows need, before they are read.

        Args:
            file: a ``pyarrow.parquet.ParquetFile``.

        Raises:
            UnreadableFileError: it has others.
        """
        if not file.schema_arrow.equals(self.schema()):
            raise UnreadableFileError("its columns are not the expected ones")
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            for place in range(group.num_columns):
                column = group.column(place)
                listed = column.path_in_schema.partition(".list.")[1]
                if column.num_values != group.num_rows * (self.explained if listed else 1):
                    raise UnreadableFileError(f"{column.num_values} values in a column")


class PhotoRows(NamedTuple):
    """What was read of some photos: their numbers and names, and one explanation per method."""

    numbers: list[int]
    names: list[str]
    explanations: dict[str, Explanation]


def table_of(
    layout: ShardLayout,
    numbers: Sequence[int],
    names: Sequence[str],
    explanations: Sequence[Explanation],
) -> Any:
    """An Arrow table of some photos.

    Args:
        layout: that the explanations have.
        numbers: (B,) of the photos.
        names: (B,) what they are called, UTF-8.
        explanations: the explanations of the B photos, one per method, of the same classes.
    """
    pyarrow = arrow(PURPOSE)
    schema = layout.schema()
    first = explanations[0]
    columns: dict[str, Any] = {
        "number": pyarrow.array(numbers, pyarrow.int64()),
        "photo": pyarrow.array(names, pyarrow.string()).dictionary_encode(),
        "classes": _lists(first.classes.int()),
        "probabilities": _lists(first.class_probabilities.float()),
        "all_logits": _binary(first.logits.float()),
        "all_probabilities": _binary(first.probabilities.float()),
    }
    for each in explanations:
        shares, lowest, highest = _halved(each.maps)
        columns[f"{each.method}.maps"] = _binary(shares)
        columns[f"{each.method}.lowest"] = _lists(lowest)
        columns[f"{each.method}.highest"] = _lists(highest)
    return pyarrow.table([columns[name] for name in schema.names], schema=schema)


def photos_of(layout: ShardLayout, table: Any, like: Mapping[str, Explanation]) -> PhotoRows:
    """What a table says of its photos, checked.

    Args:
        layout: the layout of the table.
        table: with the columns of the layout.
        like: method to an explanation that has everything but what is in the table.

    Raises:
        UnreadableFileError: values that cannot be.
    """
    classes = _numbers(table["classes"], np.int32, layout.explained).long()
    logits = _floats(table["all_logits"], layout.number_of_classes)
    probabilities = _floats(table["all_probabilities"], layout.number_of_classes)
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
        raise UnreadableFileError(f"classes beyond the {logits.shape[1]} logits")
    if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
        raise UnreadableFileError("probabilities beyond 0 and 1")
    found = {}
    for method, (height, width) in layout.maps.items():
        shares = _floats(table[f"{method}.maps"], layout.explained * height * width, np.float16)
        lowest, highest = (
            _numbers(table[f"{method}.{end}"], np.float32, layout.explained)[..., None, None]
            for end in ("lowest", "highest")
        )
        shares = shares.reshape(-1, layout.explained, height, width)
        maps = lowest + shares * (highest - lowest)
        if not bool(maps.isfinite().all()):
            raise UnreadableFileError("maps with NaN or infinity")
        found[method] = dataclasses.replace(
            like[method], maps=maps, classes=classes, logits=logits, probabilities=probabilities
        )
    return PhotoRows(table["number"].to_pylist(), table["photo"].to_pylist(), found)


def _halved(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, K, h, w) float16 shares of each map's range, and its (B, K) ends.

    Half precision of the values themselves would lose gradients of 1e-8, and what little differs
    in a map of large values.
    """
    maps = maps.float()
    lowest, highest = maps.amin(dim=(2, 3)), maps.amax(dim=(2, 3))
    # Halves before the difference: it may overflow where the ends do not.
    height = (highest / 2 - lowest / 2)[..., None, None]
    shares = (maps / 2 - lowest[..., None, None] / 2) / torch.where(height > 0, height, 1.0)
    return shares.half(), lowest, highest


def _lists(values: Tensor) -> Any:
    """(B, K) numbers as lists of K."""
    pyarrow = arrow(PURPOSE)
    flat = pyarrow.array(values.contiguous().flatten().numpy())
    return pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _binary(values: Tensor) -> Any:
    """(B, ...) numbers as the little-endian bytes of each row."""
    pyarrow = arrow(PURPOSE)
    array = np.ascontiguousarray(values.numpy())
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    width = array.nbytes // max(1, len(array))
    return pyarrow.FixedSizeBinaryArray.from_buffers(
        pyarrow.binary(width), len(array), [None, pyarrow.py_buffer(array)]
    )


def _numbers(column: Any, kind: Any, length: int) -> Tensor:
    """A column of lists of ``length`` numbers."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(values.astype(kind).reshape(-1, length))


def _floats(column: Any, length: int, kind: Any = np.float32) -> Tensor:
    """A column of bytes, as float32."""
    array = column.combine_chunks()
    content: NDArray[Any] = np.frombuffer(array.buffers()[1], np.dtype(kind).newbyteorder("<"))
    content = content[array.offset * length : (array.offset + len(array)) * length]
    return torch.from_numpy(content.reshape(-1, length).astype(np.float32))
