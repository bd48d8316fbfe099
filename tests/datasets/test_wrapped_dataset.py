from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.errors import DatasetError, ImageError

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)  # (H, W, 3)
GREY = PIXELS[..., :1]
CHANNELS_FIRST = torch.from_numpy(PIXELS).permute(2, 0, 1)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        torch.from_numpy(PIXELS),
        CHANNELS_FIRST,
        CHANNELS_FIRST.numpy(),
        CHANNELS_FIRST.float() / 255,
        CHANNELS_FIRST.double().numpy() / 255,
        (CHANNELS_FIRST.float() / 255).requires_grad_(),
        PIXELS / np.float32(255),
    ],
    ids=lambda image: type(image).__name__,
)
def test_every_allowed_colour_image_gives_the_same_photo(image: Any) -> None:
    for item in (image, (image, 3), [image, 3, "more"], {"image": image, "label": 3}):
        photo = WrappedDataset([item]).read(0)
        assert photo.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(photo), PIXELS)


@pytest.mark.parametrize(
    "image",
    [GREY, GREY[..., 0], GREY.transpose(2, 0, 1), torch.from_numpy(GREY).permute(2, 0, 1),
     torch.from_numpy(GREY[..., 0]) / 255, Image.fromarray(GREY[..., 0])],
    ids=lambda image: str(getattr(image, "shape", "PIL")),
)  # fmt: skip
def test_grey_images_become_rgb(image: Any) -> None:
    np.testing.assert_array_equal(
        np.asarray(WrappedDataset([image]).read(0)), np.repeat(GREY, 3, axis=2)
    )


def test_ambiguous_shapes_follow_the_habit_of_their_library() -> None:
    cube = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3)
    assert WrappedDataset([cube]).read(0).size == (4, 3)
    np.testing.assert_array_equal(
        np.asarray(WrappedDataset([torch.from_numpy(cube)]).read(0)), cube.transpose(1, 2, 0)
    )


def test_floats_are_rounded_not_cut_off() -> None:
    image = torch.tensor([0.999, 0.0019]).reshape(1, 1, 2).expand(3, 2, 2)
    assert np.asarray(WrappedDataset([image]).read(0))[0, :, 0].tolist() == [255, 0]


def test_bfloat16_and_overshoot_within_rounding_are_read() -> None:
    image = torch.tensor([-0.0005, 1.0005]).reshape(1, 1, 2).expand(3, 2, 2)
    assert np.asarray(WrappedDataset([image]).read(0)).ravel()[:6].tolist() == [0] * 3 + [255] * 3
    assert WrappedDataset([image.bfloat16()]).read(0).size == (2, 2)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("cat.jpg", "item 0 of list is of type str; allowed: a PIL image"),
        (None, "of type NoneType"),
        ({"pixels": 1}, r"a dict with the keys \['pixels'\]"),
        (torch.zeros(2, 3, 8, 8), r"a float32 Tensor of shape \(2, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8, dtype=torch.bool), r"a bool Tensor of shape \(3, 8, 8\)"),
        (np.zeros((8, 8, 3), complex), r"a complex128 ndarray of shape \(8, 8, 3\)"),
        (torch.zeros(3, 0, 4), r"shape \(3, 0, 4\)"),
        (torch.full((3, 8, 8), -2.1), "float values from -2.1 to -2.1.*try: leaving Normalize out"),
        (torch.full((3, 8, 8), 255.0), "from 255 to 255"),
        (torch.full((3, 8, 8), torch.nan), "from nan to nan"),
    ],
)
def test_anything_else_is_refused_with_what_came(item: object, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        WrappedDataset([item]).read(0)


@pytest.mark.parametrize(
    ("item", "label"),
    [
        ((PIXELS, 7), 7),
        ((PIXELS, torch.tensor(7)), 7),
        ((PIXELS, np.int64(7)), 7),
        ({"image": PIXELS, "label": 7}, 7),
        ((PIXELS, torch.tensor([0, 1])), None),
        ((PIXELS, "cat"), None),
        ((PIXELS,), None),
        (PIXELS, None),
    ],
)
def test_labels(item: object, label: int | None) -> None:
    assert WrappedDataset([item]).label(0) == label


def test_a_file_that_the_dataset_cannot_open_is_an_image_error_but_a_bug_is_not() -> None:
    class Raising(Dataset[Any]):
        def __init__(self, make: Callable[[], Exception]) -> None:
            self.make = make

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            raise self.make()

    with pytest.raises(ImageError, match=r"item 0 of Raising cannot be read \(cut off\)"):
        WrappedDataset(Raising(lambda: OSError("cut off"))).read(0)
    with pytest.raises(KeyError):
        WrappedDataset(Raising(lambda: KeyError("bug"))).read(0)
    with pytest.raises(ImageError, match="is 1x1 pixels"):
        WrappedDataset([np.zeros((1, 1, 3), np.uint8)]).read(0)


def test_what_is_no_map_style_dataset_is_refused() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter([PIXELS])

    class NoLength(Dataset[Any]):
        def __getitem__(self, index: int) -> Any:
            return PIXELS

    with pytest.raises(DatasetError, match="Stream is an iterable dataset"):
        WrappedDataset(Stream())
    with pytest.raises(DatasetError, match="NoLength, which has no __len__"):
        WrappedDataset(NoLength())
    with pytest.raises(DatasetError, match="int, which has no __getitem__"):
        WrappedDataset(3)
    with pytest.raises(DatasetError, match=r"keys \['train'\].*try: one of its values"):
        WrappedDataset({"train": [PIXELS]})
    with pytest.raises(DatasetError, match="TensorDataset is empty"):
        WrappedDataset(TensorDataset(torch.zeros(0, 3, 8, 8)))
