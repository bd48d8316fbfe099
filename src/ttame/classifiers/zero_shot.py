"""What a zero-shot classifier is made of, found in the models of transformers and open_clip."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.errors import ClassifierError, kind_of
from ttame.images.preprocessing import Preprocessing
from ttame.networks.frozen_network import frozen
from ttame.networks.given_module import refuse_other_than_module
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.zero_shot_scores import ZeroShotScores

_WITH_PROJECTION = "its image tower with projection, such as CLIPVisionModelWithProjection"
_WITH_SCALE = "scale=model.logit_scale.exp()"


@dataclasses.dataclass(frozen=True, eq=False)
class ZeroShotParts:
    """What :meth:`ttame.Classifier.zero_shot` makes a classifier of.

    Attributes:
        network: gives the scores.
        preprocessing: the preprocessing of its images.
        outputs: the kind of its outputs.
    """

    network: ZeroShotScores
    preprocessing: Preprocessing
    outputs: str


def zero_shot_parts(
    image_tower: nn.Module,
    text_embeddings: Tensor,
    *,
    preprocessing: Any,
    scale: float | Tensor | None,
    bias: float | Tensor | None,
) -> ZeroShotParts:
    """Check what was given, and find what was not.

    Raises:
        ClassifierError: something does not fit, or is neither given nor found.
    """
    refuse_other_than_module(image_tower, "image tower")
    configured = getattr(image_tower, "config", None)
    if hasattr(configured, "projection_dim") and not hasattr(image_tower, "visual_projection"):
        raise ClassifierError(
            f"{kind_of(image_tower)}, which lacks the projection to the space of the texts",
            allowed=f"the whole model, or {_WITH_PROJECTION}",
        )
    embeddings = _checked_embeddings(text_embeddings)
    found_scale, found_bias = _scale_and_bias(image_tower, scale, bias)
    if found_bias is None and len(embeddings) < 2:
        raise ClassifierError(
            "a single text, whose softmax is always 1",
            allowed="at least two texts; one is enough for SigLIP, whose scores have a bias",
            remedy='a second text that says what else it may be, such as "a photo"',
        )
    network = ZeroShotScores(
        image_tower_of(image_tower), embeddings, scale=found_scale, bias=found_bias or 0.0
    )
    kind = "softmax" if found_bias is None else "sigmoid"
    return ZeroShotParts(network, _preprocessing_of(preprocessing), kind)


def image_tower_of(model: nn.Module) -> nn.Module:
    """The part of a model that makes embeddings of images; the module itself if it is one.

    Its weights have the names that they have in ``CLIPVisionModelWithProjection``, so that it does
    not matter which of the two was given.

    Example:
        >>> image_tower_of(nn.Flatten())
        Flatten(start_dim=1, end_dim=-1)
    """
    visual = getattr(model, "visual", None)
    if isinstance(visual, nn.Module) and hasattr(model, "encode_image"):
        return visual  # open_clip
    if not hasattr(model, "get_image_features"):
        return model
    inside = getattr(model, "vision_model", None)
    projection = getattr(model, "visual_projection", None)
    if not isinstance(inside, nn.Module):
        raise ClassifierError(
            f"{kind_of(model)}, in which no image tower is found",
            allowed="models like CLIP and SigLIP",
            remedy="its image tower: a module that maps images to (B, D) embeddings",
        )
    return _ProjectedTower(inside, projection) if projection is not None else inside


class _ProjectedTower(nn.Module):
    """The image tower of transformers' ``CLIPModel`` and its like."""

    def __init__(self, vision_model: nn.Module, visual_projection: nn.Module) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = vision_model, visual_projection

    def forward(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.visual_projection(self.vision_model(images).pooler_output)
        return embeddings


@gives_everything_back
def text_embeddings(
    model: nn.Module,
    tokenizer: Any,
    names: Sequence[str],
    *,
    templates: Sequence[str] = ("a photo of a {}.",),
) -> Tensor:
    """Embed the names of classes, as a CLIP-like model embeds texts.

    Args:
        model: transformers' ``CLIPModel``, ``SiglipModel`` or one like them, or a model of
            open_clip.
        tokenizer: that belongs to it: a tokenizer or processor of transformers, or what
            ``open_clip.get_tokenizer`` returns.
        names: the names of the C classes.
        templates: texts with ``{}`` where the name goes. The embeddings of a name, each of unit
            length, are averaged over the templates.

    Returns:
        (C, D) float32 of unit length, on the model's device.

    Raises:
        ClassifierError: the model embeds no texts, there are no names, or a template has no ``{}``.

    Example:
        >>> from transformers import AutoModel, AutoProcessor  # doctest: +SKIP
        >>> place = "openai/clip-vit-base-patch32"  # doctest: +SKIP
        >>> model = AutoModel.from_pretrained(place)  # doctest: +SKIP
        >>> processor = AutoProcessor.from_pretrained(place)  # doctest: +SKIP
        >>> text_embeddings(model, processor, ["cat", "dog"]).shape  # doctest: +SKIP
        torch.Size([2, 512])
    """
    refuse_other_than_module(model, "model")
    if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
        raise ClassifierError(f"names {names!r:.60}", allowed="a list of one or more texts")
    if isinstance(templates, str) or not templates or any("{}" not in each for each in templates):
        raise ClassifierError(
            f"templates {templates!r:.60}", allowed='a list of texts such as "a photo of a {}."'
        )
    with torch.no_grad(), frozen(model):
        total = sum(
            F.normalize(_embedded(model, tokenizer, [each.replace("{}", n) for n in names]), dim=1)
            for each in templates
        )
    assert isinstance(total, Tensor)
    return F.normalize(total, dim=1)


def _embedded(model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    device = next(iter(model.parameters())).device
    if hasattr(model, "encode_text"):  # open_clip
        embeddings = model.encode_text(tokenizer(texts).to(device))
    elif hasattr(model, "get_text_features"):
        # SigLIP was trained on texts of full length; CLIP ignores what comes after the end.
        tokens = tokenizer(
            text=texts,
            padding="max_length",
            max_length=model.config.text_config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        )
        embeddings = model.get_text_features(
            **{name: each.to(device) for name, each in tokens.items()}
        )
    else:
        raise ClassifierError(
            f"{kind_of(model)}, which embeds no texts",
            allowed="a model with get_text_features (transformers) or encode_text (open_clip)",
        )
    # Newer versions of transformers return an output object.
    found: Tensor = getattr(embeddings, "pooler_output", embeddings)
    return found.float()


def _checked_embeddings(text_embeddings: Any) -> Tensor:
    remedy = "ttame.text_embeddings(model, tokenizer, names)"
    allowed = "(C, D): one embedding per class"
    if not isinstance(text_embeddings, Tensor):
        raise ClassifierError(
            f"{kind_of(text_embeddings)} as text embeddings", allowed=allowed, remedy=remedy
        )
    values = text_embeddings.detach()
    if values.ndim != 2 or not len(values) or not values.is_floating_point():
        raise ClassifierError(
            f"text embeddings of shape {tuple(values.shape)} and {values.dtype}",
            allowed=f"{allowed}, of floating-point numbers",
            remedy=remedy,
        )
    lengths = values.double().norm(dim=1)
    wrong = (~(lengths.isfinite() & (lengths > 0))).nonzero()
    if len(wrong):
        raise ClassifierError(
            f"a text embedding of length {float(lengths[wrong[0, 0]]):g}, that of class "
            f"{int(wrong[0, 0])}",
            allowed="finite vectors that are not 0",
        )
    return values


def _scale_and_bias(
    model: nn.Module, scale: float | Tensor | None, bias: float | Tensor | None
) -> tuple[float, float | None]:
    """As they were given, else as the model has them; no bias where neither has one."""
    said: Mapping[str, Any] = {"scale": scale, "bias": bias}
    if scale is None and isinstance(getattr(model, "logit_scale", None), Tensor):
        said = {"scale": model.logit_scale.detach().exp(), "bias": bias}  # type: ignore[operator]
        if bias is None and isinstance(getattr(model, "logit_bias", None), Tensor):
            said = {**said, "bias": model.logit_bias}
    if said["scale"] is None:
        raise ClassifierError(
            f"the {type(model).__name__} does not hold the scale that cosines are multiplied by",
            allowed=f"{_WITH_SCALE} of the whole model; bias=model.logit_bias for SigLIP",
            remedy="the whole model as image tower, or scale=100.0, which most CLIP models end at",
        )
    found = {name: _number(name, each) for name, each in said.items() if each is not None}
    if not found["scale"] > 0:
        raise ClassifierError(
            f"scale {found['scale']:g}",
            allowed="a positive number",
            remedy=f"{_WITH_SCALE}, since models hold its logarithm",
        )
    return found["scale"], found.get("bias")


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = float(value.detach())
    if not isinstance(value, numbers.Real) or not abs(float(value)) < float("inf"):
        raise ClassifierError(f"{name} {value!r:.60}", allowed="one finite number")
    return float(value)


def _preprocessing_of(given: Any) -> Preprocessing:
    """A preprocessing, or what other libraries have for one."""
    if isinstance(given, Preprocessing):
        return given
    given = getattr(given, "image_processor", given)
    if hasattr(given, "transforms"):
        return Preprocessing.from_torchvision(given)
    if hasattr(given, "image_mean"):
        return Preprocessing.from_processor(given)
    raise ClassifierError(
        f"{kind_of(given)} as preprocessing",
        allowed="a ttame.Preprocessing, an image processor of transformers, or the evaluation "
        "transform of open_clip",
        remedy="preprocessing=processor, of AutoProcessor.from_pretrained(...)",
    )
