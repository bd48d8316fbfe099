"""What the channels of a network's input are: grey, colours, opacity, or any bands."""

from __future__ import annotations

import math
from typing import Literal

from PIL import Image

from ttame.errors import ClassifierError, ImageError
from ttame.images.band_photo import BandPhoto, Picture
from ttame.images.rgb_conversion import to_rgb, to_rgba

Channels = Literal["rgb", "grey", "rgba"] | int

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MOST_CHANNELS = 1024

_NUMBERS = {"grey": 1, "rgb": 3, "rgba": 4}
_KINDS: dict[int, Channels] = {1: "grey", 3: "rgb"}


def parse_channels(said: object) -> Channels:
    """Read what somebody said of the channels.

    Raises:
        ClassifierError: neither a known word nor a number of bands.

    Example:
        >>> parse_channels("gray"), parse_channels("13"), parse_channels(1), parse_channels(4)
        ('grey', 13, 'grey', 4)
    """
    word = str(said).strip().lower().replace("gray", "grey").replace("greyscale", "grey")
    if word in _NUMBERS:
        return word  # type: ignore[return-value]  # one of the three words
    if not word.isdecimal() or not 1 <= int(word) <= MOST_CHANNELS:
        raise ClassifierError(
            f"channels {said!r}", allowed="grey, rgb, rgba, or a number of bands such as 13"
        )
    return _KINDS.get(int(word), int(word))


def number_of_channels(channels: Channels) -> int:
    """How many channels a network's input has.

    Example:
        >>> number_of_channels("rgba"), number_of_channels(13)
        (4, 13)
    """
    return channels if isinstance(channels, int) else _NUMBERS[channels]


def photo_channels(number: int) -> Channels:
    """What so many channels are, if nobody says it: grey, RGB, RGBA, or so many bands."""
    return "rgba" if number == _NUMBERS["rgba"] else _KINDS.get(number, number)


def statistics_for(
    channels: Channels, of_rgb: tuple[float, ...], opacity: float
) -> tuple[float, ...]:
    """A mean or a standard deviation for other channels than red, green and blue.

    Args:
        channels: the channels of the network.
        of_rgb: three numbers. Grey gets their mean, RGBA keeps them.
        opacity: the number of opacity, and of every band.

    Example:
        >>> statistics_for("grey", IMAGENET_STD, 1.0), statistics_for(2, IMAGENET_STD, 1.0)
        ((0.226,), (1.0, 1.0))
    """
    if channels == "rgb":
        return of_rgb
    if channels == "grey":
        return (round(sum(of_rgb) / 3, 9),)
    return (*of_rgb, opacity) if channels == "rgba" else (opacity,) * channels


def settled_channels(
    said: Channels | str | None, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[Channels, tuple[float, ...], tuple[float, ...]]:
    """Channels with a mean and a standard deviation for each of them.

    Args:
        said: ``None`` for as many as there are means and deviations, or RGB.
        mean: empty for the usual one.
        std: empty for the usual one.

    Raises:
        ClassifierError: numbers that do not fit the channels, or a deviation not above 0.

    Example:
        >>> settled_channels(None, (0.13,), (0.31,))
        ('grey', (0.13,), (0.31,))
    """
    if said is None:
        # Mean and deviation together speak for bands; one of them alone may be a slip.
        said = photo_channels(len(mean)) if len(mean) == len(std) != 0 else "rgb"
    channels = parse_channels(said)
    mean = mean or statistics_for(channels, IMAGENET_MEAN, 0.0)
    std = std or statistics_for(channels, IMAGENET_STD, 1.0)
    number = number_of_channels(channels)
    if len(mean) != number or len(std) != number or min(std) <= 0:
        raise ClassifierError(
            f"preprocessing with mean {mean} and std {std} for channels {channels}",
            allowed="a mean and a positive standard deviation for each channel",
        )
    return channels, mean, std


def refuse_bands(
    channels: Channels, scale: float | None, display_bands: tuple[int, ...] | None
) -> None:
    """Refuse a scale or bands to draw that cannot be.

    Raises:
        ClassifierError: a scale that is not above 0, or a band that is not there.
    """
    if scale is not None and not 0 < scale < math.inf:
        raise ClassifierError(f"band scale {scale}", allowed="above 0, e.g. 10000")
    number = number_of_channels(channels)
    if display_bands is not None and (
        len(display_bands) not in (1, 3)
        or not 0 <= min(display_bands) <= max(display_bands) < number
    ):
        raise ClassifierError(
            f"display bands {display_bands} of {number}",
            allowed=f"one or three numbers of bands, 0 to {number - 1}",
        )


def channels_in_words(
    channels: Channels, scale: float | None, display_bands: tuple[int, ...] | None
) -> str:
    """The channels for people; empty for red, green and blue.

    Example:
        >>> channels_in_words(13, 10000.0, (3, 2, 1))
        '13 bands divided by 10000, of which 3, 2, 1 are drawn'
    """
    if not isinstance(channels, int):
        return {"rgb": "", "grey": "grey", "rgba": "red, green, blue and opacity"}[channels]
    divided = "the largest number of their type" if scale is None else f"{scale:g}"
    shown = "whose mean is drawn"
    if display_bands is not None:
        shown = f"of which {', '.join(map(str, display_bands))} are drawn"
    return f"{channels} bands divided by {divided}, {shown}"


def planes_for(
    photo: Picture, channels: Channels, band_scale: float | None = None
) -> list[Image.Image]:
    """A picture as the channels of a network.

    Args:
        photo: a photo of any mode. Grey is what Pillow makes of the colours (ITU-R 601: 0.299 red +
            0.587 green + 0.114 blue); transparency is laid on white, unless the network takes
            opacity.
        channels: the channels of the network.
        band_scale: what the numbers of an array are divided by; see ``BandPhoto.planes``.

    Returns:
        One picture of mode RGB, L or RGBA, or one of mode F for each band.

    Raises:
        ImageError: another number of bands.

    Example:
        >>> [plane.mode for plane in planes_for(Image.new("RGB", (4, 4)), "grey")]
        ['L']
    """
    wanted = number_of_channels(channels)
    if isinstance(photo, BandPhoto):
        if photo.number_of_bands != wanted:
            raise ImageError(
                f"a picture of {photo.number_of_bands} bands for a network of {wanted}",
                allowed=_allowed(channels, wanted),
            )
        return photo.planes(band_scale)
    if isinstance(channels, int):
        raise ImageError(
            f"a photo of mode {photo.mode} for a network of {wanted} bands",
            allowed=_allowed(channels, wanted),
        )
    if channels == "grey":
        return [photo if photo.mode == "L" else to_rgb(photo).convert("L")]
    return [to_rgb(photo) if channels == "rgb" else to_rgba(photo)]


def _allowed(channels: Channels, number: int) -> str:
    arrays = (
        f"an array of shape ({number}, H, W) or (H, W, {number}) in a .npy file, or a TIFF of "
        f"{number} bands"
    )
    return arrays if isinstance(channels, int) else f"a photo, {arrays}"


def drawn(photo: Picture, channels: Channels, display_bands: tuple[int, ...] | None) -> Image.Image:
    """A picture as RGB for people.

    Photos are drawn as they are, with transparency laid on white; arrays as
    :meth:`BandPhoto.drawn` says, in the channels' own colours if they have some.

    Raises:
        ImageError: a display band that is not there.
    """
    if not isinstance(photo, BandPhoto):
        shown = to_rgb(photo)
        if shown is not photo:  # what is known of its file stays known
            shown.info.update({k: v for k, v in photo.info.items() if str(k).startswith("ttame_")})
        return shown
    if display_bands is None and channels in ("rgb", "rgba") and photo.number_of_bands >= 3:
        display_bands = (0, 1, 2)
    return photo.drawn(display_bands)
