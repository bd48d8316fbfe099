"""What a classifier can be made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ttame.errors import ClassifierError, ImageError, kind_of
from ttame.images.preprocessing import Preprocessing
from ttame.networks.given_module import (
    TEXT_CLASSIFIER,
    reads_tokens,
    refuse_other_than_module,
)
from ttame.networks.module_walk import all_modules
from ttame.outputs import Outputs


def refuse_other_parts(network: object, preprocessing: object) -> None:
    """Raise unless they are a network that can be explained and a preprocessing.

    Raises:
        ClassifierError: they are not.
    """
    refuse_other_than_module(network)
    assert isinstance(network, nn.Module)
    if reads_tokens(network):
        raise ClassifierError(
            f"a {type(network).__name__}, which reads tokens and no pixels, as a network of images",
            remedy=TEXT_CLASSIFIER,
        )
    if isinstance(network, torch.jit.ScriptModule):
        raise ClassifierError(
            "a TorchScript network, whose layers cannot be read",
            remedy="the torch.nn.Module that it was made from",
        )
    if not isinstance(preprocessing, Preprocessing):
        raise ClassifierError(
            f"{kind_of(preprocessing)} as preprocessing",
            allowed="a ttame.Preprocessing, which says what the network's weights expect",
            remedy="ttame.Preprocessing.from_torchvision(transform)"
            if hasattr(preprocessing, "transforms")
            else "preprocessing=ttame.Preprocessing.imagenet(224)",
        )
    if any(each.is_inference() for each in network.parameters() if not is_lazy(each)):
        raise ClassifierError(
            "a network that was made in torch.inference_mode, which has no gradients",
            remedy="making it outside, or torch.no_grad() instead",
        )


def checked_names(
    names: Sequence[str] | None, number_of_classes: int, outputs: Outputs
) -> tuple[str, ...]:
    """Class names that fit, as the outputs complete them; none if there are none.

    Raises:
        ClassifierError: they are not texts, or there is not one per class.
    """
    if isinstance(names, str):
        raise ClassifierError(f"class names {names!r}", allowed="a list of names")
    names = None if names is None else tuple(names)
    strange = next((name for name in names or () if not isinstance(name, str)), None)
    if strange is not None:
        raise ClassifierError(
            f"class name {strange!r}, {kind_of(strange)}",
            allowed="texts",
            remedy="class_names=[str(name) for name in names]",
        )
    given, names = names, outputs.names(names or ())
    if given is None and not names:
        return ()
    if len(names) != number_of_classes:
        raise ClassifierError(
            f"{len(names)} class names for {number_of_classes} classes",
            allowed="one name per class, in the order of the outputs",
        )
    return names


def refuse_without_values(like: Tensor, name: str) -> None:
    """Refuse a network on the meta device, of which only shapes are known.

    Args:
        like: a tensor on the network's device.
        name: the name of the classifier, for the message.

    Raises:
        ClassifierError: it is on the meta device; with the way out.
    """
    if like.is_meta:
        raise ClassifierError(
            f"{name} is on the meta device: its weights have no values",
            remedy="network.to_empty(device='cpu'), then its weights, before the Classifier",
        )


def refuse_quantised(network: nn.Module, name: str) -> None:
    """Refuse a network with quantised layers, whose outputs are integers without gradients.

    Raises:
        ClassifierError: it has such layers; with the way out.
    """
    kinds = set(map(type, all_modules(network)))
    if any(".quantized." in f"{kind.__module__}." for kind in kinds):
        raise ClassifierError(
            f"{name} is quantised: its layers have neither gradients nor features in numbers that "
            "can be computed with",
            remedy="the float network that it was made from; or rise or occlusion, which ask for "
            "scores only",
        )


def refuse_other_images(images: object, channels: int) -> None:
    """Raise unless they are a batch of normalised images.

    Args:
        images: (B, C, H, W), floating point.
        channels: C of the network.

    Raises:
        ImageError: they are not.

    Example:
        >>> refuse_other_images(torch.zeros(1, 3, 8, 8), 3)
    """
    remedy = "classifier.prepare(photos), which gives normalised images"
    allowed = f"(B, {channels}, H, W)"
    if not isinstance(images, torch.Tensor):
        raise ImageError(f"{kind_of(images)}", allowed=allowed, remedy=remedy)
    if images.ndim != 4 or images.shape[1] != channels or not images.shape[0]:
        raise ImageError(f"images of shape {tuple(images.shape)}", allowed=allowed, remedy=remedy)
    if not images.is_floating_point():
        raise ImageError(f"{images.dtype} images", allowed="float, normalised", remedy=remedy)
