"""How a photo becomes the input of a network, and how to undo it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ttame.errors import ClassifierError
from ttame.images.crops_of_resized import crop_of_resized
from ttame.images.library_transforms import processor_fields, timm_fields, torchvision_fields

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LARGEST_RESIZED = 2**25
"""Pixels. Of photos that would be larger after resizing only the part that is cropped is resized:
with a shorter side of 256, those that are 512 times as long as high."""

_PIL_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclasses.dataclass(frozen=True)
class PhotoRegion:
    """The rectangle of a photo that a network saw, in pixels of the photo as it was opened.

    ``left``/``top`` are inclusive, ``right``/``bottom`` exclusive; fractions of a pixel are kept.
    Values outside the photo mean that the network saw black padding there.
    """

    left: float
    top: float
    right: float
    bottom: float


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that belongs to a network's weights.

    A photo is resized, cropped to ``input_size``, scaled to [0, 1] and normalised.

    Attributes:
        input_size: (H, W) of the network's input in pixels.
        resize: an int resizes the shorter side to that many pixels and keeps the aspect ratio;
            a pair resizes to exactly (H, W); ``"pad"`` makes the whole photo fit into
            ``input_size``, and what is left over black.
        mean: per channel (red, green, blue), of pixels in [0, 1].
        std: per channel, positive.
        interpolation: how the photo is resized (antialiased, by Pillow).

    Raises:
        ClassifierError: a size below 1 or a standard deviation that is not positive.

    Example:
        >>> preprocessing = Preprocessing.imagenet(224)
        >>> preprocessing.prepare(Image.new("RGB", (640, 480))).shape
        torch.Size([3, 224, 224])
    """

    input_size: tuple[int, int]
    resize: int | tuple[int, int] | Literal["pad"]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        # Lists and arrays, as other libraries hold them, would not be hashable.
        for name in ("input_size", "mean", "std"):
            object.__setattr__(self, name, self._as_tuple(name))
        if not isinstance(self.resize, int) and self.resize != "pad":
            object.__setattr__(self, "resize", self._as_tuple("resize"))
        if min(self.input_size + self.resized_sides()) < 1:
            raise ClassifierError(
                f"preprocessing with input size {self.input_size} and resize {self.resize}",
                allowed="sizes of at least 1 pixel",
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ClassifierError(
                f"preprocessing with mean {self.mean} and std {self.std}",
                allowed="three means and three positive standard deviations",
            )
        if self.interpolation not in _PIL_FILTERS:
            raise ClassifierError(
                f"interpolation {self.interpolation!r}", allowed=", ".join(_PIL_FILTERS)
            )

    def resized_sides(self) -> tuple[int, ...]:
        """The sides in pixels that ``resize`` names: one, two, or none with ``"pad"``."""
        if isinstance(self.resize, int):
            return (self.resize,)
        return () if self.resize == "pad" else self.resize

    def _as_tuple(self, name: str) -> tuple[Any, ...]:
        value = getattr(self, name)
        number = int if name in ("input_size", "resize") else float
        try:
            values = tuple(number(part) for part in value)
        except (TypeError, ValueError) as problem:
            raise ClassifierError(
                f"preprocessing with {name} {value!r}", allowed="a sequence of numbers"
            ) from problem
        if name in ("input_size", "resize") and len(values) != 2:
            raise ClassifierError(
                f"preprocessing with {name} {value!r}", allowed="(height, width) in pixels"
            )
        return values

    @classmethod
    def imagenet(cls, size: int | tuple[int, int] = 224) -> Preprocessing:
        """The usual ImageNet evaluation: shorter side to 8/7 of ``size``, centre crop.

        Args:
            size: of the network's input in pixels, or (H, W); then the photo is resized to 8/7 of
                both, whatever its aspect ratio.

        Example:
            >>> Preprocessing.imagenet(224).resize
            256
            >>> Preprocessing.imagenet((112, 224)).resize
            (128, 256)
        """
        if isinstance(size, int):
            return cls(input_size=(size, size), resize=round(size * 8 / 7))
        height, width = size
        return cls(input_size=size, resize=(round(height * 8 / 7), round(width * 8 / 7)))

    @classmethod
    def from_torchvision(cls, transform: Any) -> Preprocessing:
        """Read the evaluation transform that a network was trained with.

        Args:
            transform: of torchvision: ``Resize``, ``CenterCrop``, one that makes a tensor and
                ``Normalize``, in a ``Compose`` (also of ``transforms.v2``); or the transform of
                published weights, ``weights.transforms()``.

        Raises:
            ClassifierError: it does something else to a photo; the message names it.

        Example:
            >>> from torchvision import transforms as T
            >>> transform = T.Compose([
            ...     T.Resize((192, 192)), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)])
            >>> preprocessing = Preprocessing.from_torchvision(transform)
            >>> preprocessing.resize, preprocessing.mean
            ((192, 192), (0.5, 0.5, 0.5))
        """
        return cls(**torchvision_fields(transform))

    @classmethod
    def from_timm(cls, data_config: Mapping[str, Any]) -> Preprocessing:
        """Read a data configuration of timm.

        Args:
            data_config: what ``timm.data.resolve_model_data_config(network)`` returns.

        Raises:
            ClassifierError: an entry is missing.

        Example:
            >>> config = {"input_size": (3, 224, 224), "crop_pct": 0.875, "crop_mode": "center",
            ...           "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
            >>> Preprocessing.from_timm(config).resize
            256
        """
        return cls(**timm_fields(data_config))

    @classmethod
    def from_processor(cls, image_processor: Any) -> Preprocessing:
        """Read an image processor of transformers, by what it makes of plain photos.

        Args:
            image_processor: what ``AutoImageProcessor.from_pretrained(...)`` returns.

        Raises:
            ClassifierError: it makes something else than (3, H, W) of a photo, does not resize, or
                reverses the channels.
        """
        fields, reversed_channels = processor_fields(image_processor)
        if reversed_channels:
            raise ClassifierError(
                "an image processor that reverses the channels to blue, green, red",
                remedy='ttame.load_classifier("hf/FOLDER"), which reverses them in the network',
            )
        if fields["input_size"] is None:
            raise ClassifierError(
                "an image processor that does not resize, so that the input size is unknown",
                remedy="ttame.Preprocessing(input_size=..., resize=..., mean=..., std=...)",
            )
        return cls(**fields)

    def prepare(
        self, photo: Image.Image, *, crop_at: tuple[float, float] = (0.5, 0.5), flip: bool = False
    ) -> Tensor:
        """Turn a photo into one network input.

        Args:
            photo: an RGB photo of any size.
            crop_at: (vertical, horizontal) position of the crop in [0, 1]; (0.5, 0.5) is the
                centre. Training draws it at random.
            flip: mirror left and right.

        Returns:
            (3, H, W) float32, normalised.
        """
        return self.normalise(self.pixels(photo, crop_at=crop_at, flip=flip))

    def pixels(
        self, photo: Image.Image, *, crop_at: tuple[float, float] = (0.5, 0.5), flip: bool = False
    ) -> Tensor:
        """Resize and crop a photo without normalising it.

        Returns:
            (3, H, W) float32 in [0, 1].
        """
        # convert would copy a photo that is RGB already.
        rgb = photo if photo.mode == "RGB" else photo.convert("RGB")
        cropped = self._resized_and_cropped(rgb, _PIL_FILTERS[self.interpolation], crop_at)
        if flip:
            cropped = cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(cropped, dtype=np.uint8))
        return pixels.permute(2, 0, 1).float() / 255

    def crop_mask(self, mask: np.ndarray) -> Tensor:
        """Resize and centre-crop what is marked in a photo, as :meth:`prepare` does the photo.

        Args:
            mask: (height, width) bool, in pixels of the photo.

        Returns:
            (H, W) bool; False where the network sees black padding.

        Example:
            >>> mask = np.zeros((256, 512), dtype=bool)
            >>> mask[:, 256:] = True
            >>> Preprocessing.imagenet(224).crop_mask(mask)[0, 110:114]
            tensor([False, False,  True,  True])
        """
        picture = Image.fromarray(mask.astype(np.uint8))
        cropped = self._resized_and_cropped(picture, Image.Resampling.NEAREST, (0.5, 0.5))
        return torch.from_numpy(np.array(cropped, dtype=bool))

    def region(self, photo_size: tuple[int, int]) -> PhotoRegion:
        """Say which part of a photo the centre-cropped network input shows.

        Args:
            photo_size: (width, height) in pixels, as PIL gives it.

        Example:
            >>> Preprocessing.imagenet(224).region((256, 512))
            PhotoRegion(left=16.0, top=144.0, right=240.0, bottom=368.0)
        """
        width, height = photo_size
        resized_width, resized_height = self._resized_size(photo_size)
        left, top = self._crop_corner(photo_size, (0.5, 0.5))
        across, down = width / resized_width, height / resized_height
        crop_height, crop_width = self.input_size
        return PhotoRegion(
            left=left * across,
            top=top * down,
            right=(left + crop_width) * across,
            bottom=(top + crop_height) * down,
        )

    def normalise(self, pixels: Tensor) -> Tensor:
        """``(pixels − mean) / std`` per channel.

        Args:
            pixels: (..., 3, H, W) float in [0, 1].
        """
        mean, std = self._statistics(pixels)
        return (pixels - mean) / std

    def denormalise(self, images: Tensor) -> Tensor:
        """``images · std + mean`` per channel, the inverse of :meth:`normalise`.

        Args:
            images: (..., 3, H, W) float, normalised.
        """
        mean, std = self._statistics(images)
        return images * std + mean

    def black(self, like: Tensor) -> Tensor:
        """What a black pixel becomes: ``−mean / std``, (3, 1, 1), dtype and device of ``like``."""
        mean, std = self._statistics(like)
        return -mean / std

    def as_json(self) -> dict[str, Any]:
        """Return plain lists and numbers, for a JSON file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocessing:
        """Read what :meth:`as_json` wrote.

        Raises:
            ClassifierError: a field is missing, unknown or out of range.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(content) != names:
            raise ClassifierError(
                f"preprocessing with the fields {sorted(content)}", allowed=f"{sorted(names)}"
            )
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks them

    def in_words(self) -> str:
        """One line for people: sizes, interpolation, mean and std."""
        height, width = self.input_size
        crop = f"centre crop {height}×{width}"
        if isinstance(self.resize, int):
            resize = f"shorter side to {self.resize}"
        elif self.resize == "pad":
            resize, crop = "the whole photo", f"padded with black to {height}×{width}"
        else:
            resize = f"resize to {self.resize[0]}×{self.resize[1]}"
        mean = ", ".join(f"{value:.3g}" for value in self.mean)
        std = ", ".join(f"{value:.3g}" for value in self.std)
        return f"{resize} ({self.interpolation}), {crop}, mean ({mean}), std ({std})"

    def _resized_and_cropped(
        self, picture: Image.Image, method: Image.Resampling, crop_at: tuple[float, float]
    ) -> Image.Image:
        """Resize, then cut out the crop; black where the crop leaves the picture."""
        size = self._resized_size(picture.size)
        left, top = self._crop_corner(picture.size, crop_at)
        crop_height, crop_width = self.input_size
        crop = (left, top, left + crop_width, top + crop_height)
        if size[0] * size[1] <= max(LARGEST_RESIZED, 16 * crop_height * crop_width):
            # PIL pads with black where the box leaves the picture.
            return picture.resize(size, method).crop(crop)
        return crop_of_resized(picture, size, crop, method)

    def _resized_size(self, photo_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the photo after resizing."""
        width, height = photo_size
        if self.resize == "pad":
            scale = min(self.input_size[0] / height, self.input_size[1] / width)
            return max(1, round(width * scale)), max(1, round(height * scale))
        if not isinstance(self.resize, int):
            return self.resize[1], self.resize[0]
        # The longer side is truncated, as torchvision and timm do.
        if width <= height:
            return self.resize, max(1, int(self.resize * height / width))
        return max(1, int(self.resize * width / height)), self.resize

    def _crop_corner(
        self, photo_size: tuple[int, int], crop_at: tuple[float, float]
    ) -> tuple[int, int]:
        """(left, top) of the crop in the resized photo; negative where black is padded."""
        width, height = self._resized_size(photo_size)
        crop_height, crop_width = self.input_size
        top = _crop_start(height - crop_height, crop_at[0])
        left = _crop_start(width - crop_width, crop_at[1])
        return left, top

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        return _statistics(self.mean, self.std, like.dtype, like.device)


def _crop_start(slack: int, position: float) -> int:
    """Where a crop begins, with ``slack`` pixels to spare; negative where black is padded.

    Both roundings are torchvision's: halves go to the even neighbour when cropping, and the odd
    pixel of padding to the far side.
    """
    return round(slack * position) if slack >= 0 else -(-slack // 2)


@functools.lru_cache(maxsize=64)
def _statistics(
    mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean and std as (3, 1, 1) tensors, kept: every training step asks for the same ones."""
    shape = (len(mean), 1, 1)
    return (
        torch.tensor(mean, dtype=dtype, device=device).reshape(shape),
        torch.tensor(std, dtype=dtype, device=device).reshape(shape),
    )
