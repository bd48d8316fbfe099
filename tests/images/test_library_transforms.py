"""Transforms of libraries and the preprocessing made of them give the same pixels."""

from __future__ import annotations

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import v2

from tests.classifiers.sources.photos import tall_photo, wide_photo
from ttame.errors import ClassifierError
from ttame.images.preprocessing import Preprocessing

NORMALISE = ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
BICUBIC = transforms.InterpolationMode.BICUBIC


@pytest.mark.parametrize(
    "transform",
    [
        transforms.Compose(
            [transforms.Resize((40, 48)), transforms.ToTensor(), transforms.Normalize(*NORMALISE)]
        ),
        transforms.Compose(
            [
                transforms.Resize(40, interpolation=BICUBIC),
                transforms.CenterCrop(32),
                transforms.ToTensor(),
            ]
        ),
        v2.Compose(
            [
                v2.RGB(),
                v2.Resize(40),
                v2.CenterCrop((32, 24)),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(*NORMALISE),
            ]
        ),
    ],
)
def test_transforms_of_torchvision(transform: object) -> None:
    preprocessing = Preprocessing.from_torchvision(transform)
    for photo in (wide_photo(), tall_photo()):
        expected = transform(photo)  # type: ignore[operator]
        torch.testing.assert_close(preprocessing.prepare(photo), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([transforms.RandomResizedCrop(32)], "with RandomResizedCrop"),
        ([transforms.Resize(32), transforms.Grayscale(3)], "with Grayscale"),
        ([transforms.Resize(32), transforms.ToTensor()], "leaves the size of its result open"),
        ([transforms.CenterCrop(32), transforms.Resize(16)], "after cropping"),
        ([transforms.Resize(32, max_size=40), transforms.CenterCrop(32)], "max_size"),
    ],
)
def test_what_a_preprocessing_cannot_do_is_refused(steps: list[object], message: str) -> None:
    with pytest.raises(ClassifierError, match=message):
        Preprocessing.from_torchvision(transforms.Compose(steps))


def test_a_transform_that_makes_grey_is_of_one_channel() -> None:
    steps = [transforms.Grayscale(), transforms.Resize((28, 28)), transforms.ToTensor()]
    plain = Preprocessing.from_torchvision(transforms.Compose(steps))
    assert (plain.channels, plain.mean, plain.std) == ("grey", (0.0,), (1.0,))
    steps += [transforms.Normalize((0.13,), (0.31,))]
    read, photo = Preprocessing.from_torchvision(transforms.Compose(steps)), wide_photo()
    torch.testing.assert_close(
        read.prepare(photo), transforms.Compose(steps)(photo), rtol=0, atol=2 / 255 / 0.31
    )


def test_timm_gives_three_colours_for_other_channels_too() -> None:
    config = {"input_size": (1, 32, 32), "crop_pct": 1, "interpolation": "bicubic"}
    grey = Preprocessing.from_timm({**config, "mean": (0.2, 0.3, 0.4), "std": (0.5,) * 3})
    assert (grey.channels, grey.mean, grey.std) == ("grey", (0.3,), (0.5,))
    thirteen = {**config, "input_size": (13, 32, 32), "mean": (0.2,) * 3, "std": (0.5,) * 3}
    assert Preprocessing.from_timm(thirteen).mean == (0.0,) * 13


def test_a_configuration_of_timm_needs_all_its_entries() -> None:
    config = {"input_size": (3, 32, 48), "crop_pct": 0.8, "interpolation": "random"}
    with pytest.raises(ClassifierError, match="without mean, std"):
        Preprocessing.from_timm(config)
    read = Preprocessing.from_timm({**config, "mean": [0.1] * 3, "std": [0.2] * 3})
    assert read == Preprocessing((32, 48), (40, 60), (0.1,) * 3, (0.2,) * 3, "bilinear")


def test_an_image_processor_gives_the_same_pixels() -> None:
    from transformers import ViTImageProcessor

    processor = ViTImageProcessor(size={"height": 32, "width": 40}, image_mean=[0.1, 0.2, 0.3])
    preprocessing = Preprocessing.from_processor(processor)
    assert preprocessing.mean == (0.1, 0.2, 0.3) and preprocessing.resize == (32, 40)
    with pytest.raises(ClassifierError, match="does not resize"):
        Preprocessing.from_processor(ViTImageProcessor(do_resize=False))
