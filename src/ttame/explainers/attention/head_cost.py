"""What a trained head costs beside its classifier, before it is trained."""

from __future__ import annotations

import dataclasses

import torch

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.network_trace import blank_image
from ttame.explainers.attention.attention_head import AttentionHead, HeadSettings


@dataclasses.dataclass(frozen=True)
class HeadCost:
    """The cost of one head.

    Attributes:
        parameters: trained numbers.
        file_megabytes: of the saved head, in 10⁶ bytes.
        top1_share: multiplications for one class, as a share of the classifier's.
        all_share: for all classes.
    """

    parameters: int
    file_megabytes: float
    top1_share: float
    all_share: float


def head_cost(classifier: Classifier, settings: HeadSettings = HeadSettings()) -> HeadCost:  # noqa: B008 - frozen
    """Count parameters and multiplications of a head for this classifier.

    Multiplications are counted by torch's own flop counter on one image; upsampling and
    activations are not counted on either side.

    Example:
        >>> from torch import nn
        >>> from ttame.preprocessing import Preprocessing
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(),
        ...                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> head_cost(Classifier(network, preprocessing=Preprocessing.imagenet(16))).parameters
        133
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        head = AttentionHead(
            [tap.channels for tap in classifier.taps], classifier.number_of_classes, settings
        ).eval()
        features = [torch.empty(1, tap.channels, *tap.grid) for tap in classifier.taps]
        one_class = torch.zeros(1, 1, dtype=torch.long)

    def count(run: object) -> int:
        assert callable(run)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        return int(counter.get_total_flops())

    image = blank_image(classifier.network, classifier.preprocessing.input_size)
    whole = max(count(lambda: classifier.logits(image)), 1)
    parameters = sum(parameter.numel() for parameter in head.parameters())
    saved = sum(tensor.numel() * tensor.element_size() for tensor in head.state_dict().values())
    return HeadCost(
        parameters=parameters,
        file_megabytes=saved / 1e6,
        top1_share=count(lambda: head(features, one_class)) / whole,
        all_share=count(lambda: head(features)) / whole,
    )
