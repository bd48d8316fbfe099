"""What an explainer says about a batch of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ttame.errors import ExplainerError, ImageError, TtameError
from ttame.images.photo_crop import PhotoCrop, PhotoRegion
from ttame.images.photo_frame import PhotoFrame
from ttame.images.picture_files import Photo
from ttame.images.saliency_maps import has_evidence, resize_maps, to_unit_range
from ttame.outputs import SOFTMAX
from ttame.results.explanation_files import (
    explanation_bytes,
    read_explanation,
    write_explanation,
)
from ttame.results.pictured import Pictured
from ttame.results.prediction import Prediction
from ttame.results.remembered_photo import RememberedPhoto


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedClass:
    """One explained class of one image.

    Attributes:
        label: the name of the class, or what else the map explains.
        index: the index of the class, or of the one that stands for what is explained.
        probability: the probability of that class, in [0, 1].
        map: (h, w) float32, as the method computes it.

    Example:
        >>> import torch
        >>> ExplainedClass("cat", 0, 0.75, torch.ones(7, 7)).label
        'cat'
    """

    label: str
    index: int
    probability: float
    map: Tensor


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Explanation(Prediction, Pictured):
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
        of_pixels: whether values belong to single pixels, which are drawn coarser and brighter.
        photos: for each image the photo that was given to the explainer, remembered by its path, or
            as long as it is open elsewhere; empty where the explainer was given a tensor, and in
            files.

    Example:
        >>> import torch
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
    of_pixels: bool = False
    photos: tuple[RememberedPhoto, ...] = ()

    def __post_init__(self) -> None:
        if self.probabilities is None:
            object.__setattr__(self, "probabilities", SOFTMAX.probabilities(self.logits))

    def __repr__(self) -> str:
        shape = " x ".join(str(length) for length in self.maps.shape)
        return f"<Explanation by {self.method or 'an unnamed method'}: maps {shape}>"

    def __len__(self) -> int:
        """B, the number of images."""
        return len(self.maps)

    def __getitem__(self, image: int) -> Explanation:
        """The explanation of one image, as a batch of one.

        Raises:
            IndexError: no such image in the batch.

        Example:
            >>> import torch
            >>> explanation = Explanation(torch.rand(3, 2, 7, 7), torch.tensor([[1, 0]] * 3),
            ...     torch.zeros(3, 5), (224, 224))
            >>> explanation[1], len(explanation)
            (<Explanation by an unnamed method: maps 1 x 2 x 7 x 7>, 3)
        """
        if not -len(self) <= image < len(self):
            raise IndexError(f"image {image} of an explanation of {len(self)}")
        one = slice(image % len(self), image % len(self) + 1)
        return dataclasses.replace(
            self,
            maps=self.maps[one],
            classes=self.classes[one],
            logits=self.logits[one],
            probabilities=self.probabilities[one],
            target_labels=self.target_labels[one],
            photos=self.photos[one],
        )

    def __iter__(self) -> Iterator[Explanation]:
        """The images one after the other, each as a batch of one."""
        return (self[image] for image in range(len(self)))

    def each_class(self) -> Iterator[ExplainedClass]:
        """What was explained of one image, class by class.

        Raises:
            ImageError: there are several images.

        Example:
            >>> import torch
            >>> explanation = Explanation(torch.ones(2, 2, 7, 7), torch.tensor([[1, 0]] * 2),
            ...     torch.zeros(2, 2), (224, 224), class_names=("cat", "dog"))
            >>> for photo in explanation:
            ...     print([(found.label, found.probability) for found in photo.each_class()])
            [('dog', 0.5), ('cat', 0.5)]
            [('dog', 0.5), ('cat', 0.5)]
        """
        self.one_image(None, "the classes of one image")
        probabilities = self.class_probabilities[0].tolist()
        for place, index in enumerate(self.classes[0].tolist()):
            label = self.target_label(0, place)
            yield ExplainedClass(label, index, probabilities[place], self.maps[0, place])

    def numpy(self) -> NDArray[np.float32]:
        """The raw maps, (B, K, h, w) float32, as an array."""
        array: NDArray[np.float32] = self.maps.detach().cpu().numpy()
        return array

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

        Raises:
            ExplainerError: the size is that of the photo, of which the input shows a part: laid on
                the photo, the maps would lie in the wrong place.

        Example:
            >>> import torch
            >>> explanation = Explanation(
            ...     maps=torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]]),
            ...     classes=torch.tensor([[7]]), logits=torch.zeros(1, 10), image_size=(2, 2))
            >>> explanation.heatmaps().flatten().tolist()
            [0.0, 0.25, 0.5, 1.0]
        """
        if size is not None and tuple(size) != self.image_size:
            self._refuse_size_of_a_photo((size[0], size[1]))
        # Interpolation may leave the range by a rounding.
        return resize_maps(to_unit_range(self.maps), size or self.image_size).clamp(0, 1)

    def _refuse_size_of_a_photo(self, size: tuple[int, int]) -> None:
        for remembered in self.photos if self.crop is not None else ():
            if not remembered.may_measure(size):
                continue
            try:
                frame = self.frame_of(remembered.get())
            except TtameError:
                continue
            width, height = frame.size
            whole = frame.region == PhotoRegion(0, 0, width, height)
            if size in ((height, width), (width, height)) and not whole:
                raise ExplainerError(
                    f"maps of {size[0]}x{size[1]} pixels in the frame of the network's input, "
                    "where that is the size of the photo: laid on it, they would lie in the "
                    "wrong place",
                    allowed="heatmaps(), for the network's input",
                    remedy="heatmaps_on(photo), for the photo",
                )

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
            >>> import torch
            >>> from PIL import Image
            >>> explanation = Explanation(
            ...     maps=torch.tensor([[[[0.0, 1.0]]]]), classes=torch.tensor([[7]]),
            ...     logits=torch.zeros(1, 10), image_size=(2, 2), crop=PhotoCrop((2, 2), 2))
            >>> explanation.heatmaps_on(Image.new("RGB", (4, 2)))[0].tolist()
            [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
        """
        image = self.one_image(image, "one photo")
        return self.frame_of(photo).placed(to_unit_range(self.maps)[image], outside=outside)

    def frame_of(self, photo: Photo) -> PhotoFrame:
        """Where in a photo the network looked; see :meth:`heatmaps_on` for the photo's frame.

        Raises:
            ExplainerError: as :meth:`heatmaps_on`.
            ImageError: not a readable photo.
        """
        return PhotoFrame.of(photo, self.known_crop())

    def known_crop(self) -> PhotoCrop:
        """Which part of a photo the input shows.

        Raises:
            ExplainerError: it is not known.
        """
        if self.crop is None or self.crop.input_size != self.image_size:
            raise ExplainerError(
                "an explanation that does not know which part of a photo its images show",
                allowed="one of photos, or of what classifier.prepare(photo) returns",
            )
        return self.crop

    def save(self, path: Path | str) -> None:
        """Write everything into one safetensors file, whole or not at all.

        Raises:
            OutputError: the disk is full or the place is not writable.
        """
        write_explanation(path, self._fields())

    def to_bytes(self) -> bytes:
        """The file that :meth:`save` writes, to be sent to somebody.

        Example:
            >>> import torch
            >>> explanation = Explanation(torch.rand(1, 1, 7, 7), torch.tensor([[1]]),
            ...     torch.zeros(1, 5), (224, 224))
            >>> len(explanation.to_bytes()) > 4 * 7 * 7
            True
        """
        return explanation_bytes(self._fields())

    @classmethod
    def load(cls, path: Path | str) -> Explanation:
        """Read what :meth:`save` wrote.

        Raises:
            ExplainerError: the file is not an explanation of this schema version.
        """
        return cls(**read_explanation(path))

    def one_image(self, image: int | None, what: str) -> int:
        """The image that is meant; the only one if it is not said.

        Args:
            image: its place in the batch.
            what: is asked of one image, for the message.

        Raises:
            ImageError: it has to be said, or is not there.
        """
        if image is None and len(self) > 1:
            raise ImageError(
                f"{what}, but the explanation is of {len(self)} images",
                allowed=f"image=0 to image={len(self) - 1}",
                remedy="explanation[0], which is of the first image alone",
            )
        if not 0 <= (image or 0) < len(self):
            raise ImageError(f"image {image}", allowed=f"0 to {len(self) - 1}")
        return image or 0
