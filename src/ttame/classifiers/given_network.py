"""A network instead of a classifier, where the network itself says how its pixels are prepared."""

from __future__ import annotations

from torch import nn

from ttame.classifiers.classifier import Classifier, refuse_other_than_classifier
from ttame.classifiers.sources.timm_models import configured_network

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
        assert isinstance(given, Classifier)
        return given
    assert configured.preprocessing is not None
    return Classifier(
        configured.network,
        preprocessing=configured.preprocessing,
        class_names=configured.class_names,
        name=getattr(given, "pretrained_cfg", {}).get("architecture"),
        notices=(PREPARED_AS_CONFIGURED,),
    )
