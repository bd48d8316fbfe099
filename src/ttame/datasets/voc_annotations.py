"""Boxes in Pascal VOC's XML format, as ImageNet's own."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from xml.etree import ElementTree

from ttame.datasets.annotated_photo import (
    AnnotatedObject,
    AnnotatedPhoto,
    AnnotationSource,
    check_inside,
    draw_box,
    photo_size,
)
from ttame.errors import DatasetError
from ttame.files.bounded_reading import UnopenedFileError, read_bounded

_LARGEST_FILE = 16 * 2**20


class VocAnnotations(AnnotationSource):
    """The boxes in the XML files below a folder; a file is named as its photo.

    Pixels are counted from 1, and the last one belongs to the box; files that count from 0, as
    some of ImageNet's do, are off by no more than that one pixel. Files are read when they are
    asked for, because ImageNet has 50,000.

    Args:
        folder: where to search.

    Raises:
        DatasetError: there is no XML file in it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.names = sorted(
            path.relative_to(self.folder).as_posix() for path in self.folder.rglob("[!.]*.xml")
        )
        if not self.names:
            raise DatasetError(f"folder {self.folder} holds no XML files")

    def photo(self, number: int) -> AnnotatedPhoto:
        """See :meth:`AnnotationSource.photo`."""
        path = self.folder / self.names[number]
        try:
            root = _parse(read_bounded(path, _LARGEST_FILE))
            size = photo_size(_number(root, "size/width"), _number(root, "size/height"))
            objects = tuple(_object(entry, path, size) for entry in root.iter("object"))
        except UnopenedFileError as problem:
            raise DatasetError(f"cannot read annotation {path} ({problem})") from problem
        # An XML declaration may name any encoding, and each has errors of its own.
        except (ElementTree.ParseError, ValueError, LookupError) as problem:
            raise DatasetError(
                f"{path} is not a Pascal VOC annotation ({problem})",
                allowed="XML with size/width, size/height and, for each object, name and bndbox",
            ) from problem
        return AnnotatedPhoto(size, objects)


class _PlainTree(ElementTree.TreeBuilder):
    """Refuses document types, and with them entities that grow to gigabytes."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise ValueError("it declares a document type")


def _parse(content: bytes) -> ElementTree.Element:
    root: ElementTree.Element = ElementTree.XML(content, ElementTree.XMLParser(target=_PlainTree()))
    return root


def _object(entry: ElementTree.Element, path: Path, size: tuple[int, int]) -> AnnotatedObject:
    left, top, right, bottom = (
        _number(entry, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")
    )
    box = (left - 1, top - 1, right, bottom)
    check_inside(str(path), size, box)
    return AnnotatedObject(
        (entry.findtext("name") or "").strip(), functools.partial(draw_box, size, box)
    )


def _number(entry: ElementTree.Element, place: str) -> float:
    text = entry.findtext(place)
    if text is None:
        raise ValueError(f"no {place}")
    return float(text)
