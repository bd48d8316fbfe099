"""The options that say how pixels are prepared, and what the channels are."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from ttame.errors import ClassifierError

if TYPE_CHECKING:
    from ttame.images.preprocessing_changes import PreprocessingChanges

_PIXELS = "Preparation of photos, where the network's own configuration does not fit"


@dataclasses.dataclass(frozen=True)
class PixelOptions:
    """How photos become the network's input, as typed; ``None`` where nothing was typed."""

    mean: Annotated[
        str | None,
        typer.Option(
            help="Mean of the pixels in [0, 1]: 0.5, a number per channel such as "
            "0.485,0.456,0.406, or imagenet.",
            rich_help_panel=_PIXELS,
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(
            help="Standard deviation: 0.5, a number per channel, or imagenet.",
            rich_help_panel=_PIXELS,
        ),
    ] = None
    interpolation: Annotated[
        str | None,
        typer.Option(
            "--interpolation",
            help="How photos are resized: nearest, bilinear, bicubic, lanczos.",
            rich_help_panel=_PIXELS,
        ),
    ] = None
    resize: Annotated[
        str | None,
        typer.Option(
            help="256: resize the shorter side, then crop the centre; 256x320: resize to this "
            "height and width, then crop the centre; squash: resize to the input size, ignoring "
            "the aspect ratio; pad: keep the whole photo, the rest is black.",
            rich_help_panel=_PIXELS,
        ),
    ] = None
    crop_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the shorter side that the crop keeps, such as 0.875; instead of "
            "--resize.",
            rich_help_panel=_PIXELS,
        ),
    ] = None
    channels: Annotated[
        str | None,
        typer.Option(
            "--channels",
            help="What the network takes: rgb, grey, rgba, or a number of bands, which .npy and "
            "TIFF files hold; if not given, found by running it.",
            rich_help_panel=_PIXELS,
        ),
    ] = None
    band_scale: Annotated[
        float | None,
        typer.Option(
            help="Number that arrays are divided by, such as 10000; if not given, the largest "
            "number of their integer type.",
            rich_help_panel=_PIXELS,
        ),
    ] = None
    display_bands: Annotated[
        str | None,
        typer.Option(
            help="Bands, counted from 0, to draw as red, green and blue, such as 3,2,1, or one to "
            "draw as grey; if not given, the mean of all as grey.",
            rich_help_panel=_PIXELS,
        ),
    ] = None


def typed_changes(
    mean: str | None = None,
    std: str | None = None,
    interpolation: str | None = None,
    resize: str | None = None,
    crop_share: float | None = None,
    channels: str | None = None,
    band_scale: float | None = None,
    display_bands: str | None = None,
) -> PreprocessingChanges | None:
    """What was typed of the preprocessing, or ``None``.

    Raises:
        ClassifierError: an option that cannot be read.

    Example:
        >>> typed_changes(mean="0.5", display_bands="3,2,1").display_bands
        (3, 2, 1)
    """
    from ttame.images.network_channels import IMAGENET_MEAN, IMAGENET_STD, parse_channels
    from ttame.images.preprocessing_changes import PreprocessingChanges

    typed = (mean, std, interpolation, resize, crop_share, channels, band_scale, display_bands)
    if typed == (None,) * len(typed):
        return None
    if "imagenet" in (mean, std):
        mean, std = mean or "imagenet", std or "imagenet"
    return PreprocessingChanges(
        mean=_parse_numbers(mean, "--mean", IMAGENET_MEAN),
        std=_parse_numbers(std, "--std", IMAGENET_STD),
        interpolation=cast("Any", interpolation),
        resize=_parse_resize(resize),
        crop_share=crop_share,
        channels=None if channels is None else parse_channels(channels),
        band_scale=band_scale,
        display_bands=_parse_bands(display_bands),
    )


def _parse_numbers(
    text: str | None, option: str, imagenet: tuple[float, ...]
) -> tuple[float, ...] | None:
    """Read ``0.5``, a number for each channel between commas, or ``imagenet``."""
    if text is None or text == "imagenet":
        return None if text is None else imagenet
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(math.isfinite(value) for value in values):
        raise ClassifierError(
            f"{option} {text!r}",
            allowed="0.5, a number for each channel 0.485,0.456,0.406, or imagenet",
        )
    return values


def _parse_bands(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d{1,4}(,\d{1,4}){0,2}", text.replace(" ", "")):
        raise ClassifierError(f"--display-bands {text!r}", allowed="3,2,1 or 7, counted from 0")
    return tuple(int(part) for part in text.split(","))


def _parse_resize(text: str | None) -> int | tuple[int, int] | Literal["pad", "squash"] | None:
    if text is None or text in ("pad", "squash"):
        return cast("Literal['pad', 'squash'] | None", text)
    sides = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text.strip())
    if not sides:
        raise ClassifierError(f"--resize {text!r}", allowed="256, 256x320, squash or pad")
    return (int(sides[1]), int(sides[2])) if sides[2] else int(sides[1])
