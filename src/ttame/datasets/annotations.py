"""Where the objects of photos are, whatever format says so."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from torch import Tensor

from ttame.datasets.annotated_photo import AnnotatedPhoto, AnnotationSource
from ttame.datasets.coco_annotations import CocoAnnotations
from ttame.datasets.mask_images import MaskImages
from ttame.datasets.voc_annotations import VocAnnotations
from ttame.errors import DatasetError
from ttame.images.photos import PHOTO_SUFFIXES
from ttame.images.preprocessing import Preprocessing

KINDS_OF_ANNOTATIONS = (
    "a COCO .json file, a folder of Pascal VOC .xml files, or a folder of mask images"
)


class Annotations:
    """Objects of photos, as a network with its preprocessing and its classes sees them.

    A photo's annotation is the one whose path ends as the photo's does, endings such as ``.jpg``
    aside: ``train/cats/tom.jpg``, ``cats/tom.xml`` and ``tom.png`` belong together.

    Which objects of a photo count for an explained class: if the category of any of them is the
    name of one of the classifier's classes (or shares a synonym with it, as ``"goldfish"`` does
    with ``"goldfish, Carassius auratus"``), those whose category is the explained class, maybe
    none; otherwise all of them, as for masks, which have no category, and for ImageNet's own boxes,
    whose WordNet numbers no classifier calls its classes by.

    Args:
        source: annotations of one format.
        preprocessing: the classifier's own.
        class_names: the classifier's, or empty.
    """

    def __init__(
        self,
        source: AnnotationSource,
        preprocessing: Preprocessing,
        class_names: Sequence[str] = (),
    ) -> None:
        self.source = source
        self.preprocessing = preprocessing
        self._classes = _by_name(class_names)
        self._numbers: dict[str, list[int]] = {}
        for number, name in enumerate(source.names):
            for ending in _endings(name):
                self._numbers.setdefault(ending, []).append(number)

    def __len__(self) -> int:
        return len(self.source.names)

    def __call__(self, key: str, explained: int, photo: Image.Image) -> Tensor | None:
        """Where the objects of the explained class are in the network's view of a photo.

        Args:
            key: the key of the photo in its source, such as ``cats/tom.jpg``.
            explained: index of the explained class.
            photo: as it was read; annotations may be for another resolution of it.

        Returns:
            (H, W) bool, or None if the photo has no annotation, or no object that counts.

        Raises:
            DatasetError: the annotation is broken, or is for a photo of another shape.
        """
        number = self._find(key)
        if number is None:
            return None
        annotated = self.source.photo(number)
        _check_shape(key, annotated.size, photo.size)
        target = self.preprocessing.crop_mask(self._mask(annotated, explained))
        return target if bool(target.any()) else None

    def check(self, keys: Iterable[str]) -> int:
        """Read the annotations of photos before they are needed.

        Args:
            keys: the keys of the photos.

        Returns:
            How many of them are annotated.

        Raises:
            DatasetError: none is, two annotations fit one photo, or an annotation is broken.
        """
        keys = list(keys)
        numbers = [number for number in map(self._find, keys) if number is not None]
        if not numbers:
            ours = f", such as {keys[0]}," if keys else ""
            theirs = f", such as {self.source.names[0]}" if len(self) else ""
            raise DatasetError(
                f"none of the {len(keys)} photos{ours} is among the {len(self)} annotated "
                f"ones{theirs}",
                allowed="annotations named like the photos",
            )
        for number in numbers:
            self.source.photo(number)
        return len(numbers)

    def _find(self, key: str) -> int | None:
        """The number of the annotation whose path shares the longest end with the key."""
        for ending in _endings(re.sub(r"^\d+:", "", key)):
            numbers = self._numbers.get(ending, [])
            if len(numbers) == 1:
                return numbers[0]
            if numbers:
                first, second = (self.source.names[number] for number in numbers[:2])
                raise DatasetError(
                    f"photo {key} matches two annotations, {first} and {second}",
                    allowed="one annotation for each photo",
                )
        return None

    def _mask(self, annotated: AnnotatedPhoto, explained: int) -> np.ndarray:
        """(height, width) bool: the union of the objects that count."""
        classes = [self._meant(entry.category) for entry in annotated.objects]
        named = any(classes)
        mask = np.zeros((annotated.size[1], annotated.size[0]), dtype=bool)
        for entry, meant in zip(annotated.objects, classes, strict=True):
            if not named or explained in meant:
                mask |= entry.draw()
        return mask

    def _meant(self, category: str) -> frozenset[int]:
        """The classes that a category may mean: by its full name, or else by its first synonym."""
        name = category.casefold()
        found = (self._classes.get(part.strip()) for part in (name, *name.split(",")))
        return next(filter(None, found), frozenset())


def open_annotations(
    path: str | os.PathLike[str],
    preprocessing: Preprocessing,
    class_names: Sequence[str] = (),
) -> Annotations:
    """Open annotations of photos.

    Args:
        path: a COCO ``.json`` file; a folder of Pascal VOC ``.xml`` files; or a folder of mask
            images, named as the photos, or next to them with ``_mask`` at the end of the stem.
        preprocessing: the classifier's own; objects go through it as their photos do.
        class_names: the classifier's, to know which objects belong to the explained class.

    Returns:
        Annotations, which are called with a photo's key, a class and the photo.

    Raises:
        DatasetError: nothing is there, it is of no such kind, or it is broken.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (8, 8), 255).save(Path(folder) / "tom.png")
        ...     annotations = open_annotations(folder, Preprocessing.imagenet(4))
        ...     annotations("cats/tom.jpg", 281, Image.new("RGB", (8, 8))).float().mean()
        tensor(1.)
    """
    return Annotations(_open(Path(path).expanduser()), preprocessing, class_names)


def fingerprint_of(path: str | os.PathLike[str]) -> str:
    """A short hash of annotations, so that a later run can tell whether they are the same.

    Of a file its content; of a folder the names and sizes of its files.

    Raises:
        DatasetError: it cannot be read.
    """
    place = Path(path).expanduser()
    digest = hashlib.sha256()
    try:
        if place.is_dir():
            for file in sorted(file for file in place.rglob("*") if file.is_file()):
                digest.update(f"{file.relative_to(place)} {file.stat().st_size}\0".encode())
        else:
            with place.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256")
    except OSError as problem:
        raise DatasetError(f"cannot read {path} ({problem.strerror})") from problem
    return digest.hexdigest()[:16]


def _open(path: Path) -> AnnotationSource:
    if path.is_dir():
        if next(path.rglob("[!.]*.xml"), None) is not None:
            return VocAnnotations(path)
        return MaskImages(path)
    if not path.exists():
        raise DatasetError(f"annotations {path} do not exist", allowed=KINDS_OF_ANNOTATIONS)
    if path.suffix.lower() == ".json":
        return CocoAnnotations(path)
    single = path.suffix.lower() == ".xml" or path.suffix.lower() in PHOTO_SUFFIXES
    raise DatasetError(
        f"annotations {path}",
        allowed=KINDS_OF_ANNOTATIONS,
        remedy=f"its folder, {path.parent}" if single else "",
    )


def _endings(name: str) -> Iterator[str]:
    """A path without its file ending, then without its first folder, and so on.

    Example:
        >>> list(_endings("train/cats/tom.jpg"))
        ['train/cats/tom', 'cats/tom', 'tom']
    """
    path = PurePosixPath(name)
    if path.suffix.lower() in PHOTO_SUFFIXES or path.suffix.lower() == ".xml":
        path = path.with_suffix("")
    for skipped in range(len(path.parts)):
        yield "/".join(path.parts[skipped:])


def _by_name(class_names: Sequence[str]) -> dict[str, frozenset[int]]:
    """Full names and synonyms, without case, to the classes that they may mean."""
    full: dict[str, set[int]] = {}
    synonyms: dict[str, set[int]] = {}
    for index, name in enumerate(class_names):
        full.setdefault(name.casefold(), set()).add(index)
        for synonym in name.casefold().split(","):
            synonyms.setdefault(synonym.strip(), set()).add(index)
    return {name: frozenset(found) for name, found in {**synonyms, **full}.items()}


def _check_shape(key: str, annotated: tuple[int, int], photo: tuple[int, int]) -> None:
    """Refuse a photo that is no other resolution of the annotated one."""
    across, down = photo[0] / annotated[0], photo[1] / annotated[1]
    # A pixel of rounding on either side.
    if abs(annotated[1] * across - photo[1]) > 1 + across and (
        abs(annotated[0] * down - photo[0]) > 1 + down
    ):
        raise DatasetError(
            f"photo {key} has {photo[0]}x{photo[1]} pixels, but its annotation is for "
            f"{annotated[0]}x{annotated[1]}",
            allowed="annotations of the photo's own proportions",
        )
