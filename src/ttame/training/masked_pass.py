"""The second forward pass of a training step: what is left when the mask has spoken."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.errors import (
    ExplainerError,
    either,
    kind_of,
    setting,
)
from ttame.features.feature_taps import LayerOutput
from ttame.images.pixel_masking import MaskingSpace, mask_images
from ttame.images.saliency_maps import resize_maps
from ttame.networks.layer_outputs import uncompiled
from ttame.training.objective import MaskedFeatures, MaskedImage


def masked_logits(
    classifier: Classifier, images: Tensor, masks: Tensor, masked: MaskedImage | MaskedFeatures
) -> Tensor:
    """Run the classifier on masked images, or with a masked feature map (L-CAM-Fm).

    Args:
        classifier: frozen; gradients flow through it to the masks.
        images: (B, 3, H, W), normalised.
        masks: (B, 1, h, w) in [0, 1], at the head's resolution.
        masked: what is masked, and in which space.

    Returns:
        (B, C) logits.

    Raises:
        ExplainerError: features are to be masked, but the last tap is made of tokens; or no
            gradient reaches the images.
    """
    if isinstance(masked, MaskedFeatures):
        return _with_masked_features(classifier, images, masks)
    size = (int(images.shape[2]), int(images.shape[3]))
    space = masking_space(classifier, masked)
    visible = mask_images(images, resize_maps(masks, size), classifier.preprocessing, space)
    logits = classifier.logits(visible)
    if masks.requires_grad and not logits.requires_grad:
        raise ExplainerError(
            f"no gradient reaches the images through {classifier.name}, so that nothing can be "
            "learned",
            allowed="a network whose forward pass has no detach() and no inference_mode() in it",
        )
    return logits


def masking_space(classifier: Classifier, masked: MaskedImage) -> MaskingSpace:
    """Resolve ``"by family"``: normalised for Vision Transformers, raw for all others."""
    if masked.masking_space != "by family":
        return masked.masking_space
    return "normalised" if classifier.family == "Vision Transformer" else "raw"


def _with_masked_features(classifier: Classifier, images: Tensor, masks: Tensor) -> Tensor:
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
