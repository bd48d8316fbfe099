"""What an explainer says about a batch of images."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ttame.errors import ExplainerError, ImageError
from ttame.files.atomic_writing import write_tensors
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import checked_as, parse_json
from ttame.files.tensor_files import read_tensors
from ttame.images.photo_crop import PhotoCrop
from ttame.images.photo_frame import PhotoFrame
from ttame.images.picture_files import Photo
from ttame.images.saliency_maps import has_evidence, resize_maps, to_unit_range
from ttame.outputs import SOFTMAX

SCHEMA_VERSION = 4
"""Files of version 1 have no probabilities, which then are the softmax of the logits; those of
version 2 no labels of targets, which then are classes; those of version 3 no crop, so that their
maps cannot be laid on photos."""

FOUND_FROM = 0.5
"""The probability from which one of several independent findings counts as found."""

_TENSORS = ("maps", "classes", "logits", "probabilities")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LARGEST_SIDE = 16384  # pixels of the network's input


@dataclasses.dataclass(frozen=True)
class _Described:
    """What stands in the file besides tensors."""

    schema_version: int
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    method: str
    provenance: dict[str, Any]
    exclusive: bool = True
    target_labels: tuple[tuple[str, ...], ...] = ()
    crop: PhotoCrop | None = None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Class-specific saliency maps of a batch, with the prediction they explain.

    Attributes:
        maps: (B, K, h, w) float32 as the method computes them, possibly signed, at its own
            resolution, on the device of the images. Higher means more evidence for the class. They
            keep what drawing throws away: of most methods, a map with little evidence stays small
            (not of few-shot explainers, whose every map goes from 0 to 1).
        classes: (B, K) int64, the explained classes of every image. For targets that are not
            classes, those that stand for them, see :class:`ttame.Target`.
        logits: (B, C) float32, the classifier's scores of all C classes.
        image_size: (H, W) in pixels of the network's input.
        class_names: C names, or empty if the classifier has none.
        method: the explainer's name in the registry, e.g. ``"t_tame"``.
        provenance: strings and numbers that say how the maps came about: classifier,
            fingerprint, options.
        probabilities: (B, C) float32 in [0, 1], what the classifier makes of the scores; their
            softmax if not given.
        exclusive: whether exactly one class is true of an image.
        target_labels: for each image K labels of what is explained, e.g. ``"cat rather than
            dog"``; empty where it is the classes.
        crop: which part of a photo the network's input shows; ``None`` where it is not known.

    Example:
        >>> explanation = Explanation(
        ...     maps=torch.rand(1, 2, 7, 7), classes=torch.tensor([[1, 0]]),
        ...     logits=torch.tensor([[0.0, 1.0]]), image_size=(224, 224),
        ...     class_names=("cat", "dog"))
        >>> [explanation.class_label(index) for index in explanation.classes[0].tolist()]
        ['dog', 'cat']
        >>> explanation.heatmaps().shape
        torch.Size([1, 2, 224, 224])
    """

    maps: Tensor
    classes: Tensor
    logits: Tensor
    image_size: tuple[int, int]
    class_names: tuple[str, ...] = ()
    method: str = ""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    probabilities: Tensor = None  # type: ignore[assignment]  # filled in below
    exclusive: bool = True
    target_labels: tuple[tuple[str, ...], ...] = ()
    crop: PhotoCrop | None = None

    def __post_init__(self) -> None:
        if self.probabilities is None:
            object.__setattr__(self, "probabilities", SOFTMAX.probabilities(self.logits))

    def __repr__(self) -> str:
        shape = " x ".join(str(length) for length in self.maps.shape)
        return f"<Explanation by {self.method or 'an unnamed method'}: maps {shape}>"

    @property
    def class_probabilities(self) -> Tensor:
        """(B, K) float32 in [0, 1]: the probabilities of the explained classes."""
        return self.probabilities.gather(1, self.classes)

    def found(self, threshold: float = FOUND_FROM) -> Tensor:
        """(B, C) bool: which classes the classifier says are true of each image.

        Where exactly one class is true, it is the most probable one, whatever its probability. Of
        independent findings it is each one from a probability of ``threshold`` on; where a row is
        false everywhere, it is none of them.

        Example:
            >>> explanation = Explanation(
            ...     maps=torch.rand(2, 1, 7, 7), classes=torch.tensor([[1], [1]]),
            ...     logits=torch.tensor([[2.0, 1.0], [-2.0, -1.0]]), image_size=(224, 224),
            ...     probabilities=torch.tensor([[0.9, 0.7], [0.1, 0.3]]), exclusive=False)
            >>> explanation.found().tolist(), explanation.found(0.8)[0].tolist()
            ([[True, True], [False, False]], [True, False])
        """
        if self.exclusive:
            return one_hot(self.probabilities.argmax(dim=1), self.probabilities.shape[1]).bool()
        return self.probabilities >= threshold

    @property
    def has_evidence(self) -> Tensor:
        """(B, K) bool: false where a map is constant and so points nowhere."""
        return has_evidence(self.maps)

    def heatmaps(self, size: tuple[int, int] | None = None) -> Tensor:
        """The maps in the frame of the network's input, not of the photo, in [0, 1].

        The network sees a photo resized and cropped, so these belong on its input: they are ready
        to be used as masks of it. For maps that belong on the photo see :meth:`heatmaps_on`.

        Each map is scaled by its own minimum and maximum on its own grid, then upsampled
        bilinearly (the T-TAME test protocol). A constant map becomes 0 everywhere.

        Args:
            size: (H, W) in pixels; the network's input size if not given.

        Returns:
            (B, K, H, W) float32 in [0, 1].

        Example:
            >>> explanation = Explanation(
            ...     maps=torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]]),
            ...     classes=torch.tensor([[7]]), logits=torch.zeros(1, 10), image_size=(2, 2))
            >>> explanation.heatmaps().flatten().tolist()
            [0.0, 0.25, 0.5, 1.0]
        """
        # Interpolation may leave the range by a rounding.
        return resize_maps(to_unit_range(self.maps), size or self.image_size).clamp(0, 1)

    def heatmaps_on(
        self, photo: Photo, image: int | None = None, *, outside: float = 0.0
    ) -> Tensor:
        """The maps in the frame of the photo, in [0, 1]: crop, squash, padding and EXIF undone.

        As :meth:`heatmaps`, but each map is laid on the part of the photo that the network saw,
        to fractions of a pixel, and what it did not see is 0.

        Args:
            photo: that was explained. An open image has the frame of its own pixels, as they lie:
                an EXIF orientation that the network's input was turned by is undone. A path has
                the frame of the upright photo, in the file's full size.
            image: which image of the batch shows it; may be left out for a batch of one.
            outside: the value where the network did not look, such as ``math.nan``.

        Returns:
            (K, height, width) float32, on the device of the maps.

        Raises:
            ExplainerError: it is not known which part of a photo the input shows: an explanation
                of a tensor of another size than the classifier prepares, or from an old file.
            ImageError: no such image in the batch, or not a readable photo.

        Example:
            >>> from PIL import Image
            >>> explanation = Explanation(
            ...     maps=torch.tensor([[[[0.0, 1.0]]]]), classes=torch.tensor([[7]]),
            ...     logits=torch.zeros(1, 10), image_size=(2, 2), crop=PhotoCrop((2, 2), 2))
            >>> explanation.heatmaps_on(Image.new("RGB", (4, 2)))[0].tolist()
            [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
        """
        if image is None and len(self.maps) > 1:
            raise ImageError(
                f"one photo and an explanation of {len(self.maps)} images",
                allowed=f"image=0 to image={len(self.maps) - 1} as well",
            )
        if not 0 <= (image or 0) < len(self.maps):
            raise ImageError(f"image {image}", allowed=f"0 to {len(self.maps) - 1}")
        return self.frame_of(photo).placed(to_unit_range(self.maps)[image or 0], outside=outside)

    def frame_of(self, photo: Photo) -> PhotoFrame:
        """Where in a photo the network looked; see :meth:`heatmaps_on` for the photo's frame.

        Raises:
            ExplainerError: as :meth:`heatmaps_on`.
            ImageError: not a readable photo.
        """
        if self.crop is None or self.crop.input_size != self.image_size:
            raise ExplainerError(
                "an explanation that does not know which part of a photo its images show",
                allowed="one of photos, or of what classifier.prepare(photo) returns",
            )
        return PhotoFrame.of(photo, self.crop)

    def class_label(self, index: int) -> str:
        """The name of class ``index``, or ``"class 7"`` if the classifier has no names."""
        return self.class_names[index] if self.class_names else f"class {index}"

    def target_label(self, image: int, place: int) -> str:
        """What map ``place`` of an image explains: the name of a class, or a target in words.

        Example:
            >>> explanation = Explanation(
            ...     maps=torch.rand(1, 1, 7, 7), classes=torch.tensor([[1]]),
            ...     logits=torch.tensor([[0.0, 1.0]]), image_size=(224, 224),
            ...     class_names=("cat", "dog"))
            >>> explanation.target_label(0, 0)
            'dog'
        """
        if self.target_labels:
            return self.target_labels[image][place]
        return self.class_label(int(self.classes[image, place]))

    def save(self, path: Path | str) -> None:
        """Write everything into one safetensors file, whole or not at all.

        Raises:
            OutputError: the disk is full or the place is not writable.
        """
        described = {
            "schema_version": SCHEMA_VERSION,
            "image_size": self.image_size,
            "class_names": self.class_names,
            "method": self.method,
            "provenance": dict(self.provenance),
            "exclusive": self.exclusive,
            "target_labels": self.target_labels,
            "crop": None if self.crop is None else dataclasses.asdict(self.crop),
        }
        write_tensors(
            path,
            {name: getattr(self, name) for name in _TENSORS},
            {"ttame_explanation": json.dumps(described)},
        )

    @classmethod
    def load(cls, path: Path | str) -> Explanation:
        """Read what :meth:`save` wrote.

        Raises:
            ExplainerError: the file is not an explanation of this schema version.
        """
        try:
            tensors, metadata = read_tensors(path)
            if "ttame_explanation" not in metadata:
                raise UnreadableFileError("it does not describe one")
            content = parse_json(metadata["ttame_explanation"], allow_nan=True)
            known = [*range(1, SCHEMA_VERSION + 1)]
            if isinstance(content, dict) and content.get("schema_version") not in known:
                raise ExplainerError(
                    f"{path} has explanation schema {content.get('schema_version')}",
                    allowed=f"schema {' or '.join(map(str, known))}",
                )
            described = checked_as(_Described, content)
            _check_fit(tensors, described)
        except UnreadableFileError as problem:
            raise ExplainerError(
                f"{path} is not a saved explanation ({problem})",
                allowed="a file that Explanation.save wrote",
            ) from problem
        return cls(
            maps=tensors["maps"],
            classes=tensors["classes"],
            logits=tensors["logits"],
            image_size=described.image_size,
            class_names=described.class_names,
            method=described.method,
            provenance=described.provenance,
            probabilities=tensors.get("probabilities", SOFTMAX.probabilities(tensors["logits"])),
            exclusive=described.exclusive,
            target_labels=described.target_labels,
            crop=described.crop,
        )

    def to(self, device: torch.device | str) -> Explanation:
        """Return the same explanation with its tensors on ``device``."""
        return dataclasses.replace(
            self,
            maps=self.maps.to(device),
            classes=self.classes.to(device),
            logits=self.logits.to(device),
            probabilities=self.probabilities.to(device),
        )


def _check_fit(tensors: Mapping[str, Tensor], described: _Described) -> None:
    """Refuse tensors that cannot be an explanation, before something fails that uses one."""
    missing = [name for name in ("maps", "classes", "logits") if name not in tensors]
    if missing:
        raise UnreadableFileError(f"it has no {' and no '.join(missing)}")
    maps, classes, logits = (tensors[name] for name in ("maps", "classes", "logits"))
    if not all(values.dtype in _FLOATS for values in (maps, logits)):
        raise UnreadableFileError("maps or logits are not floating point")
    if maps.ndim != 4 or min(maps.shape) < 1 or classes.shape != maps.shape[:2]:
        raise UnreadableFileError(f"maps {tuple(maps.shape)}, classes {tuple(classes.shape)}")
    if logits.ndim != 2 or len(logits) != len(maps) or classes.dtype != torch.int64:
        raise UnreadableFileError(f"logits {tuple(logits.shape)}, classes of {classes.dtype}")
    if not 0 <= int(classes.min()) <= int(classes.max()) < logits.shape[1]:
        raise UnreadableFileError(f"classes beyond the {logits.shape[1]} logits")
    if len(described.class_names) not in (0, logits.shape[1]):
        raise UnreadableFileError(
            f"{len(described.class_names)} class names, {logits.shape[1]} logits"
        )
    if described.target_labels and (
        len(described.target_labels) != len(maps)
        or any(len(labels) != maps.shape[1] for labels in described.target_labels)
    ):
        raise UnreadableFileError(f"target labels that do not fit {tuple(maps.shape)} maps")
    if not all(1 <= side <= _LARGEST_SIDE for side in described.image_size):
        raise UnreadableFileError(f"an image of {described.image_size} pixels")
    _check_crop(described.crop)
    if not bool(maps.isfinite().all()):
        raise UnreadableFileError("maps with NaN or infinity")
    probabilities = tensors.get("probabilities")
    if probabilities is None and described.schema_version > 1:
        raise UnreadableFileError("it has no probabilities")
    if probabilities is not None and (
        probabilities.shape != logits.shape
        or probabilities.dtype not in _FLOATS
        or not bool(((probabilities >= 0) & (probabilities <= 1)).all())
    ):
        raise UnreadableFileError(f"probabilities {tuple(probabilities.shape)} that cannot be")


def _check_crop(crop: PhotoCrop | None) -> None:
    if crop is None:
        return
    resize = crop.resize
    sides = resize if isinstance(resize, tuple) else (resize,) if isinstance(resize, int) else ()
    if not all(1 <= side <= _LARGEST_SIDE for side in (*crop.input_size, *sides)):
        raise UnreadableFileError(f"a crop of {crop.input_size} pixels after {resize}")
