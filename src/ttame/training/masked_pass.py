"""The second forward pass of a training step: what is left when the mask has spoken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.classifier import Classifier
from ttame.errors import (
    ExplainerError,
    either,
    kind_of,
    setting,
)
from ttame.features.feature_taps import LayerOutput
from ttame.images.hidden_pixels import hiding_ground
from ttame.images.pixel_masking import MaskingSpace, mask_images, show_on_ground
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import resize_maps
from ttame.networks.layer_outputs import uncompiled
from ttame.training.objective import (
    MaskedFeatures,
    MaskedImage,
    MaskedOnGrounds,
    MaskedTokens,
)


def masked_logits(
    classifier: Explainable,
    images: Tensor,
    masks: Tensor,
    masked: MaskedImage | MaskedOnGrounds | MaskedFeatures | MaskedTokens,
    generator: torch.Generator,
    first_image: int = 0,
) -> Tensor:
    """Run the classifier on masked images or texts, or with a masked feature map (L-CAM-Fm).

    Args:
        classifier: frozen; gradients flow through it to the masks.
        images: (B, 3, H, W), normalised; of texts (B, C, 1, T).
        masks: (B, 1, h, w) in [0, 1], at the head's resolution.
        masked: what is masked, and in which space or on which grounds.
        generator: on the CPU; draws the grounds.
        first_image: where the images begin in a batch that several processes share.

    Returns:
        (B, C) logits.

    Raises:
        ExplainerError: features are to be masked, but the last tap is made of tokens; or no
            gradient reaches the images.
    """
    if isinstance(masked, MaskedFeatures):
        return _with_masked_features(classifier, images, masks)
    masks = resize_maps(masks, (int(images.shape[2]), int(images.shape[3])))
    visible = _masking(classifier, images, masked, generator, first_image)(masks)
    logits = classifier.logits(visible)
    if masks.requires_grad and not logits.requires_grad:
        raise ExplainerError(
            f"no gradient reaches the images through {classifier.name}, so that nothing can be "
            "learned",
            allowed="a network whose forward pass has no detach() and no inference_mode() in it",
        )
    return logits


def scores_on_one_ground(
    classifier: Explainable,
    images: Tensor,
    masked: MaskedImage | MaskedOnGrounds | MaskedFeatures | MaskedTokens,
    generator: torch.Generator,
    first_image: int = 0,
) -> Callable[[Tensor], Tensor]:
    """Draw what hidden pixels become, once, and give what runs the classifier behind masks.

    Args:
        classifier: frozen.
        images: (B, 3, H, W), normalised; of texts (B, C, 1, T).
        masked: what is masked, and in which space or on which grounds.
        generator: on the CPU; draws the grounds.
        first_image: where the images begin in a batch that several processes share.

    Returns:
        A function of masks (B, 1, H, W) in [0, 1] that returns (B, C) scores, float32, without a
        gradient.
    """
    if isinstance(masked, MaskedFeatures):
        return torch.no_grad()(
            lambda masks: _with_masked_features(classifier, images, masks).float()
        )
    masking = _masking(classifier, images, masked, generator, first_image)
    return torch.no_grad()(lambda masks: classifier.logits(masking(masks)).float())


def mixed_with_ground(
    classifier: Explainable, images: Tensor, masks: Tensor, ground: str
) -> Tensor:
    """``m x + (1 - m) ground``; where the ground is the input itself, nothing changes.

    Args:
        classifier: knows the ground.
        images: (B, C, H, W).
        masks: (B, 1, H, W) in [0, 1].
        ground: its name.
    """
    return torch.lerp(classifier.ground(images, ground), images, masks.to(images.dtype))


def _masking(
    classifier: Explainable,
    images: Tensor,
    masked: MaskedImage | MaskedOnGrounds | MaskedTokens,
    generator: torch.Generator,
    first_image: int,
) -> Callable[[Tensor], Tensor]:
    """What makes of masks (B, 1, H, W) the visible images; grounds are drawn here, once."""
    if isinstance(masked, MaskedTokens):
        return lambda masks: mixed_with_ground(classifier, images, masks, masked.ground)
    assert isinstance(classifier, Classifier)
    preprocessing = classifier.preprocessing
    if isinstance(masked, MaskedOnGrounds):
        grounds = drawn_grounds(images, masked, preprocessing, generator, first_image)
        return lambda masks: show_on_ground(images, masks, grounds)
    space = masking_space(classifier, masked)
    return lambda masks: mask_images(images, masks, preprocessing, space)


def drawn_grounds(
    images: Tensor,
    masked: MaskedOnGrounds,
    preprocessing: Preprocessing,
    generator: torch.Generator,
    first_image: int = 0,
) -> Tensor:
    """A ground for each image, each as likely as the others.

    Args:
        images: (B, C, H, W), normalised.
        masked: knows which grounds there are.
        preprocessing: knows what black is.
        generator: on the CPU; draws ground and noise.
        first_image: where the images begin in a batch that several processes share. Each image
            gets the ground that it would get in one process, if the generators are alike.

    Returns:
        (B, C, H, W).

    Example:
        >>> images = torch.ones(2, 3, 8, 8)
        >>> only_mean = MaskedOnGrounds(grounds=("mean",))
        >>> plain = Preprocessing.imagenet(8)
        >>> float(drawn_grounds(images, only_mean, plain, torch.Generator()).abs().sum())
        0.0
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    # A row for each image, the earlier ones of the batch too, so that rows do not depend on them.
    drawn = torch.randint(len(masked.grounds), (first_image + len(images),), generator=generator)
    drawn = drawn[first_image:].to(images.device)
    chosen = torch.zeros_like(images)
    for number, ground in enumerate(masked.grounds):
        theirs = drawn == number
        chosen[theirs] = hiding_ground(images[theirs], ground, preprocessing, seed)
    return chosen


def masking_space(classifier: Explainable, masked: MaskedImage) -> MaskingSpace:
    """Resolve ``"by family"``: normalised for Vision Transformers, raw for all others."""
    if masked.masking_space != "by family":
        return masked.masking_space
    return "normalised" if classifier.family == "Vision Transformer" else "raw"


def _with_masked_features(classifier: Explainable, images: Tensor, masks: Tensor) -> Tensor:
    tap = classifier.taps[-1]
    if not isinstance(tap, LayerOutput):
        raise ExplainerError(
            f"masking the features of {tap}, which is not an output of a layer",
            allowed="a layer whose output the logits depend on",
            remedy=setting("taps", [tap.layer]),
        )
    if tap.layout == "tokens":
        raise ExplainerError(
            f"masking the features of {tap}, which are tokens",
            allowed="a CNN",
            remedy=either("training_settings('l-cam-img')", "--preset l-cam-img"),
        )

    def multiply(output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise ExplainerError(
                f"masking the features of {tap}, whose output is {kind_of(output)}",
                allowed="a layer that returns a tensor",
                remedy=either("training_settings('l-cam-img')", "--preset l-cam-img"),
            )
        mask = F.interpolate(masks, size=tap.grid, mode="bilinear", align_corners=False)
        mask = mask.to(output.dtype)
        return output * (mask if tap.layout == "channels first" else mask.permute(0, 2, 3, 1))

    with tap.exchanging(uncompiled(classifier.network), classifier.trace, multiply):
        return classifier.logits(images)
