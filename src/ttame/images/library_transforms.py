"""What the transforms of other libraries do to a photo, as the fields of a ``Preprocessing``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from PIL import Image
from torch import Tensor

from ttame.errors import ClassifierError
from ttame.images.network_channels import photo_channels, statistics_for

Fields = dict[str, Any]

INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of filters and our names for them."""

_PLAIN = frozenset(
    {"ToTensor", "ToImage", "PILToTensor", "ToPureTensor", "ConvertImageDtype", "ToDtype", "ToRGB"}
    | {"RGB"}
    # Of open_clip: to RGB, to a tensor.
    | {"MaybeConvertMode", "MaybeToTensor", "_convert_to_rgb"}
)
"""Transforms of torchvision that every network's input goes through, and that change no value."""

_OWN = "ttame.Preprocessing(input_size=..., resize=..., mean=..., std=...)"


def torchvision_fields(transform: Any) -> Fields:
    """The fields of a transform of torchvision.

    Raises:
        ClassifierError: it does what ``Preprocessing`` does not, or leaves the size open.
    """
    if hasattr(transform, "crop_size") and hasattr(transform, "resize_size"):
        return _preset_fields(transform)
    steps = list(getattr(transform, "transforms", None) or [transform])
    fields: Fields = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    for step in steps:
        kind = getattr(step, "__name__", type(step).__name__)  # a function's own, or its class's
        if kind in ("Resize", "CenterCrop") and "normalised" not in fields:
            _add_size(fields, step, kind)
        elif kind == "Grayscale" and step.num_output_channels == 1 and "normalised" not in fields:
            fields |= {"mean": (0.0,), "std": (1.0,)}
        elif kind == "Normalize":
            fields |= {"mean": tuple(step.mean), "std": tuple(step.std), "normalised": True}
        elif kind not in _PLAIN:
            raise ClassifierError(
                f"a transform with {kind}",
                allowed="Resize, CenterCrop, Grayscale, a conversion to a tensor, Normalize",
                remedy=f"the transform of the evaluation, or {_OWN}",
            )
    fields.pop("normalised", None)
    if "input_size" not in fields:
        raise ClassifierError(
            "a transform that leaves the size of its result open",
            allowed="Resize((H, W)), or Resize(N) and CenterCrop",
            remedy=_OWN,
        )
    fields.setdefault("resize", fields["input_size"])
    return fields


def _add_size(fields: Fields, step: Any, kind: str) -> None:
    size = step.size if isinstance(step.size, int) else tuple(step.size)
    if isinstance(size, tuple) and len(size) == 1:
        size = size[0]
    if kind == "CenterCrop":
        fields["input_size"] = (size, size) if isinstance(size, int) else size
        return
    if "resize" in fields or "input_size" in fields or getattr(step, "max_size", None) is not None:
        raise ClassifierError(
            "a transform that resizes twice, after cropping, or with max_size",
            allowed="Resize, then CenterCrop",
            remedy=_OWN,
        )
    fields["resize"] = size
    fields["interpolation"] = _named(step.interpolation)
    if isinstance(size, tuple):
        fields["input_size"] = size


def _preset_fields(transform: Any) -> Fields:
    """Of the transform that comes with torchvision's published weights."""
    crop, resize = transform.crop_size, transform.resize_size
    return {
        "input_size": (crop[0], crop[-1]),
        "resize": resize[0] if len(resize) == 1 else tuple(resize),
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
        "interpolation": _named(transform.interpolation),
    }


def _named(interpolation: Any) -> str:
    value = getattr(interpolation, "value", interpolation)
    return INTERPOLATIONS.get(value, "bilinear") if isinstance(value, int) else str(value)


def timm_fields(config: Mapping[str, Any]) -> Fields:
    """The fields of a data configuration of timm.

    Raises:
        ClassifierError: an entry is missing.
    """
    missing = [
        name
        for name in ("input_size", "crop_pct", "interpolation", "mean", "std")
        if config.get(name) is None
    ]
    if missing:
        raise ClassifierError(
            f"a data configuration without {', '.join(missing)}",
            allowed="what timm.data.resolve_model_data_config(network) returns",
        )
    *channels, height, width = config["input_size"]
    number = channels[0] if channels else len(config["mean"])
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if len(mean) == len(std) == 3 != number:
        # Of a network for other channels timm still gives the three colours of its family.
        channels_now = photo_channels(number)
        mean, std = statistics_for(channels_now, mean, 0), statistics_for(channels_now, std, 1)
    scaled = (math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"]))
    keeps_aspect = config.get("crop_mode") != "squash" and height == width
    interpolation = config["interpolation"]
    return {
        "input_size": (height, width),
        "resize": scaled[0] if keeps_aspect else scaled,
        "mean": mean,
        "std": std,
        "interpolation": "bilinear" if interpolation == "random" else interpolation,
    }


def processor_fields(processor: Any) -> tuple[Fields, bool]:
    """The fields of an image processor of transformers, and whether it reverses the channels.

    ``input_size`` is ``None`` where it takes photos as large as they are.

    Raises:
        ClassifierError: it does not make (3, H, W) of a photo.
    """
    black, red, white = (_process(processor, colour) for colour in ("black", "red", "white"))
    # Rescaling, offsets and normalisation together are one straight line per channel.
    middle = (0, slice(None), black.shape[2] // 2, black.shape[3] // 2)
    at_black, at_white = black[middle].double(), white[middle].double()
    std = 1 / (at_white - at_black)
    mean = -at_black * std
    channels_reversed = int((red[middle].double() - at_black).abs().argmax()) == 2
    if channels_reversed:
        mean, std = mean.flip(0), std.flip(0)
    resizes = getattr(processor, "do_resize", True)
    input_size = (int(black.shape[2]), int(black.shape[3])) if resizes else None
    resample = getattr(processor, "resample", None)
    return {
        "input_size": input_size,
        "resize": _processor_resize(processor, input_size) if input_size else None,
        "mean": _three(mean),
        "std": _three(std),
        "interpolation": INTERPOLATIONS.get(2 if resample is None else int(resample), "bilinear"),
    }, channels_reversed


def _process(processor: Any, colour: str) -> Tensor:
    """What the processor makes of a plain image, (1, 3, H, W)."""
    photo = Image.new("RGB", (640, 640), colour)
    pixels: Tensor = processor(images=photo, return_tensors="pt")["pixel_values"]
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ClassifierError(f"an image processor that returns shape {tuple(pixels.shape)}")
    return pixels.float()


def _processor_resize(processor: Any, input_size: tuple[int, int]) -> int | tuple[int, int]:
    """What the photo is resized to before the centre crop."""
    size = getattr(processor, "size", None) or {}
    height, width, edge = (_entry(size, name) for name in ("height", "width", "shortest_edge"))
    kind = type(processor).__name__.removesuffix("Fast").removesuffix("Pil")
    share = getattr(processor, "crop_pct", None)
    if kind.startswith("PoolFormer") and share and (edge or height == width):
        return int((edge or height) / share)
    if height and width:
        return (height, width)
    if not edge:
        return input_size
    if kind.startswith("Levit"):
        return int(256 / 224 * edge)
    if share:
        # ConvNeXt's way: the "shortest edge" is the crop, and large crops are warped instead.
        return int(edge / share) if edge < 384 else input_size
    return edge


def _entry(size: Any, name: str) -> int:
    value = size.get(name) if isinstance(size, dict) else getattr(size, name, None)
    return int(value or 0)


def _three(values: Tensor) -> tuple[float, float, float]:
    # Six digits undo the float32 of the processor: 0.485 stays 0.485.
    red, green, blue = (round(value, 6) + 0.0 for value in values.tolist())
    return red, green, blue
