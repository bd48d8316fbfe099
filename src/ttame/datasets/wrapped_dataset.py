"""Photos of the user's own torch dataset."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from ttame.datasets.photo_source import PhotoSource
from ttame.errors import DatasetError, ImageError
from ttame.images.band_photo import BandPhoto, Picture
from ttame.images.network_channels import MOST_CHANNELS
from ttame.images.photos import SMALLEST_SIDE, upright
from ttame.images.rgb_conversion import reduced_rgb
from ttame.memory_limit import ran_out_of_memory

_ALLOWED = (
    "a PIL image, a uint8 tensor or array (3, H, W), (1, H, W), (H, W, 3) or (H, W), a float one "
    "in [0, 1], one of integers or floats with another number of bands, or such an image first in "
    "a tuple or under 'image' in a dict"
)
_OVERSHOOT = 1e-3
"""How far antialiased resizing may overshoot [0, 1] before floats count as normalised."""


class _MapStyle(Protocol):
    """What a map-style dataset has; torch's own ``Dataset`` does not declare a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class WrappedDataset(PhotoSource):
    """The images of a map-style dataset: torch's, torchvision's, or any sequence.

    An item is an image, ``(image, label, ...)`` or ``{"image": image, "label": label}``. An image
    is a PIL image of any mode; a uint8 tensor or numpy array of shape (3, H, W), (1, H, W),
    (H, W, 3), (H, W, 1) or (H, W); or a floating one of these shapes in [0, 1]. Where the shape
    fits both, a tensor is taken for channels first and an array for channels last. Images must
    not be normalised: the classifier's own preprocessing does that. With another number of
    channels, or larger integers, it is a :class:`ttame.BandPhoto`: (N, H, W) of a tensor; of an
    array also (H, W, N), whichever N is smaller.

    Args:
        dataset: has ``__len__`` and ``__getitem__``.

    Raises:
        DatasetError: ``dataset`` has no length or cannot be indexed.

    Example:
        >>> pixels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        >>> dataset = torch.utils.data.TensorDataset(pixels, torch.arange(4))
        >>> photos = WrappedDataset(dataset)
        >>> len(photos), photos.read(0).size, photos.label(3)
        (4, (8, 8), 3)
    """

    def __init__(self, dataset: object) -> None:
        kind = type(dataset).__name__
        if isinstance(dataset, IterableDataset):
            raise DatasetError(
                f"{kind} is an iterable dataset, whose photos have no numbers",
                allowed="a map-style dataset with __len__ and __getitem__",
                remedy="list(dataset) if it fits into memory",
            )
        if isinstance(dataset, Mapping):
            raise DatasetError(
                f"{kind} with the keys {list(dataset)[:6]} is not a dataset",
                allowed="one map-style dataset",
                remedy="one of its values",
            )
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            missing = "__len__" if hasattr(dataset, "__getitem__") else "__getitem__"
            raise DatasetError(
                f"data of type {kind}, which has no {missing}",
                allowed="a path, or a map-style dataset with __len__ and __getitem__",
            )
        self.dataset = cast("_MapStyle", dataset)
        if not len(self):
            raise DatasetError(f"{kind} is empty", allowed="at least one photo")

    def __len__(self) -> int:
        return len(self.dataset)

    def key(self, index: int) -> str:
        """The number of the item."""
        return f"item {index}"

    def name(self, index: int) -> str:
        """The number of the item and the class of the dataset."""
        return f"item {index} of {type(self.dataset).__name__}"

    def read(self, index: int) -> Picture:
        """See :meth:`PhotoSource.read`."""
        name = self.name(index)
        try:
            photo = _picture(_image_of(self.dataset[index]), name)
        # What datasets raise that open a damaged or missing file; other errors are bugs in the
        # dataset, which skipping would hide.
        except (OSError, SyntaxError) as problem:
            if ran_out_of_memory(problem):
                raise
            raise ImageError(f"{name} cannot be read ({problem})") from problem
        if min(photo.size) < SMALLEST_SIDE:
            raise ImageError(
                f"{name} is {photo.size[0]}x{photo.size[1]} pixels",
                allowed=f"at least {SMALLEST_SIDE} pixels a side",
            )
        return photo

    def label(self, index: int) -> int | None:
        """The label of the item if it is a whole number. Loads the item."""
        item = self.dataset[index]
        label: object = None
        if isinstance(item, tuple | list) and len(item) > 1:
            label = item[1]
        elif isinstance(item, Mapping):
            label = item.get("label")
        if isinstance(label, torch.Tensor | np.ndarray) and label.ndim == 0:
            label = label.item()
        return int(label) if isinstance(label, numbers.Integral) else None


def _image_of(item: object) -> object:
    """The image in an item of a dataset."""
    if isinstance(item, tuple | list) and item:
        return item[0]
    if isinstance(item, Mapping) and "image" in item:
        return item["image"]
    return item


def _picture(image: object, name: str) -> Picture:
    """Turn what a dataset gives into an upright image of 8 bits a channel, or one of bands."""
    if isinstance(image, BandPhoto):
        return image
    if isinstance(image, Image.Image):
        return reduced_rgb(upright(image), 1, keep_opacity=True)
    if isinstance(image, torch.Tensor):
        pixels = image.detach().cpu()
        if pixels.is_floating_point():
            pixels = pixels.float()  # numpy has no bfloat16
        return _of_array(pixels.numpy(), name, channels_first=True, came=_in_words(image))
    if isinstance(image, np.ndarray):
        return _of_array(image, name, channels_first=False, came=_in_words(image))
    came = f"a dict with the keys {list(image)}" if isinstance(image, Mapping) else _in_words(image)
    raise DatasetError(f"{name} is {came}", allowed=_ALLOWED)


def _of_array(pixels: np.ndarray, name: str, *, channels_first: bool, came: str) -> Picture:
    """Turn an array in one of the allowed layouts into an RGB image, or one of bands."""
    layouts = [(0, 1, 2), (1, 2, 0)] if not channels_first else [(1, 2, 0), (0, 1, 2)]
    if pixels.ndim == 2:
        pixels = pixels[..., None]
        layouts = [(0, 1, 2)]
    fitting = [axes for axes in layouts if pixels.ndim == 3 and pixels.shape[axes[2]] in (1, 3)]
    numeric = np.issubdtype(pixels.dtype, np.number) and not np.iscomplexobj(pixels)
    if pixels.ndim != 3 or not pixels.size or not numeric:
        raise DatasetError(f"{name} is {came}", allowed=_ALLOWED)
    is_float = np.issubdtype(pixels.dtype, np.floating)
    if not fitting or not (is_float or pixels.dtype == np.uint8):
        first = layouts[0] == (1, 2, 0) or bool(fitting and fitting[0] == (1, 2, 0))
        last = not first and pixels.shape[2] <= pixels.shape[0]
        bands = pixels.transpose(2, 0, 1) if last else pixels
        if len(bands) > MOST_CHANNELS:
            raise DatasetError(f"{name} is {came}", allowed=_ALLOWED)
        return BandPhoto(np.ascontiguousarray(bands))
    pixels = pixels.transpose(fitting[0])
    if is_float:
        pixels = _bytes_of_floats(pixels, name)
    height, width, _ = pixels.shape
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3))))


def _bytes_of_floats(pixels: np.ndarray, name: str) -> np.ndarray:
    """Scale floats in [0, 1] to uint8."""
    low, high = float(pixels.min()), float(pixels.max())
    # Written so that NaN fails too.
    if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
        raise DatasetError(
            f"{name} has float values from {low:.3g} to {high:.3g}",
            allowed="[0, 1], not normalised",
            remedy="leaving Normalize out of the dataset's transform",
        )
    # Rounding takes the overshoot away: 1.001 · 255 becomes 255.
    scaled: np.ndarray = np.round(pixels * 255).astype(np.uint8)
    return scaled


def _in_words(image: object) -> str:
    """Type, dtype and shape of what came."""
    kind = type(image).__name__
    if isinstance(image, torch.Tensor | np.ndarray):
        return f"a {str(image.dtype).removeprefix('torch.')} {kind} of shape {tuple(image.shape)}"
    return f"of type {kind}"
