"""A network instead of a classifier, where the network itself says how its pixels are prepared."""

from __future__ import annotations

from torch import nn

from ttame.classifiers.any_classifier import AnyClassifier
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.sources.timm_models import configured_network
from ttame.errors import ClassifierError, kind_of
from ttame.networks.given_module import TEXT_CLASSIFIER, reads_tokens

PREPARED_AS_CONFIGURED = (
    "photos are prepared as the network's pretrained_cfg says; if you trained it with other "
    "transforms, ttame.Classifier(network, preprocessing=...) says which"
)


def classifier_of(given: object) -> Classifier:
    """A classifier as it is, or one made of a network that timm built.

    Args:
        given: a classifier; or a network with a ``pretrained_cfg``, which says how pixels are
            resized, cropped and normalised.

    Raises:
        ClassifierError: another network, or neither; the message says what to type.

    Example:
        >>> import timm
        >>> classifier_of(timm.create_model("resnet10t", num_classes=2))
        <Classifier resnet10t: 2 classes, taps layer2, layer3, layer4>
    """
    configured = configured_network(given) if isinstance(given, nn.Module) else None
    if configured is None:
        refuse_other_than_classifier(given)
        if not isinstance(given, Classifier):
            raise ClassifierError(
                f"a {type(given).__name__}, which classifies no images",
                allowed="a ttame.Classifier",
            )
        return given
    assert configured.preprocessing is not None
    return Classifier(
        configured.network,
        preprocessing=configured.preprocessing,
        class_names=configured.class_names,
        name=getattr(given, "pretrained_cfg", {}).get("architecture"),
        notices=(PREPARED_AS_CONFIGURED,),
    )


def refuse_other_than_classifier(value: object) -> None:
    """Refuse a network, or anything else, where a classifier is expected.

    Raises:
        ClassifierError: says how to make a classifier of a network.
    """
    if isinstance(value, AnyClassifier):
        return
    raise ClassifierError(
        f"{kind_of(value)} as classifier",
        allowed="a ttame.text.TextClassifier" if reads_tokens(value) else "a ttame.Classifier",
        remedy=_making(value),
    )


def _making(given: object) -> str:
    if reads_tokens(given):
        return TEXT_CLASSIFIER
    if isinstance(given, nn.Module):
        return (
            "ttame.Classifier(network, preprocessing=ttame.Preprocessing.imagenet(224)), with the "
            "preprocessing of its weights"
        )
    if isinstance(given, str):
        return f"ttame.load_classifier({given!r:.60})"
    return "explainer.classifier" if isinstance(_held(given), AnyClassifier) else ""


def _held(given: object) -> object:
    """What an explainer explains."""
    return getattr(given, "classifier", None)
