"""A classifier whose features are those of another network that sees the same images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch.nn.functional as F
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.feature_reading import FeatureReading
from ttame.classifiers.given_network import classifier_of
from ttame.errors import ClassifierError
from ttame.features.finer_stage import with_finer_stage
from ttame.features.tap_names import Tap
from ttame.images.preprocessing import Preprocessing
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import uncompiled


class WithFeaturesFrom(Classifier):
    """A classifier as trained heads see it that read another network's features.

    Scores, preprocessing and family are the explained network's; taps and features are the other
    one's. Only heads and their training have to do with it: for every other method, features of
    another network would be wrong.

    Args:
        explained: the classifier itself.
        features_from: the other one, with the taps that are read.

    Raises:
        ClassifierError: they take images of different channels.
    """

    def __init__(self, explained: Classifier, features_from: Classifier) -> None:
        _refuse_other_channels(explained, features_from)
        vars(self).update(vars(explained))
        self.explained = explained
        self.features_from = features_from

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Where the other network is read."""
        return self.features_from.taps

    def with_taps(self, taps: Sequence[str | Tap]) -> Self:
        """The same, with the other network read elsewhere.

        Raises:
            TapError: a named layer of it does not exist or gives no features.
        """
        return self._with(features_from=self.features_from.with_taps(taps))

    @contextlib.contextmanager
    def frozen(self) -> Iterator[nn.Module]:
        """Hold both networks in eval mode with their parameters frozen."""
        with self.features_from.frozen(), super().frozen() as network:
            yield network

    @gives_everything_back
    def read_features(self, images: Tensor) -> FeatureReading:
        """Run each network once: the scores of this one, the features of the other one."""
        logits = self.logits(images)
        seen = as_seen_by(self.features_from.preprocessing, images, self.preprocessing)
        reading = self.features_from.read_features(seen)

        def here(tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
            return tuple(None if each is None else each.to(logits.device) for each in tensors)

        return FeatureReading(
            logits,
            here(reading.feature_maps),
            here(reading.class_tokens),
            here(reading.layer_outputs),
        )


def with_features_from(explained: Explainable, other: Classifier | nn.Module) -> WithFeaturesFrom:
    """A classifier as a trained head sees it that reads another network's features.

    Where the other network's taps were chosen automatically, the next finer stage is read as well:
    nothing but the sharpness of maps speaks for one layer or another of a network that is not
    explained.

    P-TAME (Ntrougkas, Mezaris and Patras, arXiv 2501.17813) is T-TAME's head on the four stages of
    a ResNet-18, trained by the explained network's prediction on the masked image. Known of it here
    are its abstract, the layers, the kind of head and loss, and ranges of the loss's weights (see
    ``ttame.training.training_settings.PRESETS``). Deviations: features are resized once to the grid
    of the finest tap, at most 56 rows, where the paper doubles them repeatedly up to 56×56; the
    other network gets images of its own size; explanations hold the head's output before the
    sigmoid, whose min–max the paper takes.

    Args:
        explained: the classifier to explain; of images.
        other: whose features are read; also a network of timm.

    Raises:
        ClassifierError: not two classifiers of images, or images of other channels.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> explained, other = tiny_classifier("vit", size=32, classes=3), tiny_classifier()
        >>> both = with_features_from(explained, other)
        >>> reading = both.read_features(torch.zeros(2, 3, 32, 32))
        >>> reading.logits.shape, reading.feature_maps[0].shape
        (torch.Size([2, 3]), torch.Size([2, 8, 8, 8]))
    """
    if not isinstance(explained, Classifier):
        raise ClassifierError(
            f"features of another network for {explained.name}, a classifier of {explained.kind}",
            allowed="classifiers of images",
        )
    other = classifier_of(other)
    finer = with_finer_stage(uncompiled(other.network), other.trace, other.tap_choice)
    return WithFeaturesFrom(explained, other if finer == other.taps else other.with_taps(finer))


def taken_apart(classifier: Explainable) -> tuple[Explainable, Classifier | None]:
    """The explained classifier, and the network whose features a head reads if it is another one.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> explained, other = tiny_classifier(), tiny_classifier()
        >>> taken_apart(with_features_from(explained, other)) == (explained, other)
        True
        >>> taken_apart(explained) == (explained, None)
        True
    """
    if isinstance(classifier, WithFeaturesFrom):
        return classifier.explained, classifier.features_from
    return classifier, None


def _refuse_other_channels(explained: Classifier, other: Classifier) -> None:
    ours, theirs = explained.preprocessing, other.preprocessing
    same = (ours.channels, ours.band_scale) == (theirs.channels, theirs.band_scale)
    if not same and (ours.channels, theirs.channels) != ("grey", "rgb"):
        raise ClassifierError(
            f"features from {other.name}, whose channels are {theirs.channels!r}, for "
            f"{explained.name}, whose channels are {ours.channels!r}",
            allowed="a network for the same channels, or for rgb where the images are grey",
        )


def as_seen_by(theirs: Preprocessing, images: Tensor, ours: Preprocessing) -> Tensor:
    """The same pixels, normalised and sized as another network takes them.

    Args:
        theirs: the preprocessing of the other network.
        images: (B, C, H, W) float, normalised as ``ours`` says.
        ours: of the network that the images were prepared for.

    Returns:
        (B, C', H', W') float32: the same part of the photos, resized (bilinear, antialiased)
        where the size is another one; grey is repeated for red, green and blue.

    Example:
        >>> import torch
        >>> half = Preprocessing((4, 4), (4, 4), mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> plain = Preprocessing((2, 2), (2, 2), mean=(0.0,) * 3, std=(1.0,) * 3)
        >>> as_seen_by(plain, torch.ones(1, 3, 4, 4), half).flatten().unique()
        tensor([1.])
    """
    pixels = ours.denormalise(images.float())
    if tuple(images.shape[2:]) != theirs.input_size:
        pixels = F.interpolate(pixels, size=theirs.input_size, mode="bilinear", antialias=True)
    return theirs.normalise(pixels.expand(-1, theirs.number_of_channels, -1, -1))
