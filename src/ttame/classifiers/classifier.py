"""A frozen network with everything that explaining it needs."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier_card import classifier_card
from ttame.classifiers.classifier_checks import (
    checked_names,
    refuse_other_images,
    refuse_other_parts,
    refuse_quantised,
    refuse_without_values,
)
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.feature_reading import FeatureReading
from ttame.classifiers.input_channels import trace_with_channels
from ttame.classifiers.output_checks import check_outputs, offered_outputs, said_outputs
from ttame.classifiers.zero_shot import zero_shot_parts
from ttame.errors import ImageError
from ttame.features.feature_taps import LayerOutput
from ttame.features.named_taps import named_taps
from ttame.features.photo_view import view_notice
from ttame.features.tap_choice import Family, TapChoice, in_order_of_reading
from ttame.features.tap_influence import influential_choice, refuse_idle_taps
from ttame.features.tap_names import Tap
from ttame.features.tap_reading import TapReading, reading_taps
from ttame.features.token_order import refuse_other_orders
from ttame.images.picture_files import Photo, open_picture
from ttame.images.preprocessing import Preprocessing
from ttame.memory_limit import FEWER_IMAGES, SMALLER_NETWORK, naming_the_setting
from ttame.networks.batch_norm_folding import folded
from ttame.networks.fast_attention import one_product_attention
from ttame.networks.frozen_network import frozen
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.memory_formats import fastest_memory_format
from ttame.networks.network_trace import blank_image, run_network
from ttame.networks.pass_counter import note_pass
from ttame.networks.weights_files import weight_fingerprint
from ttame.outputs import Outputs


class Classifier:
    """A network in eval mode, its preprocessing, its class names and its feature taps.

    The network is borrowed, never changed: while a method of this class runs, it is in eval mode
    with its parameters frozen, and afterwards modes, flags and hooks are as they were.

    Args:
        network: any module that maps (B, C, H, W) to (B, N) numbers, or to an output with
            ``.logits``.
        preprocessing: the one that belongs to the network's weights.
        class_names: C names; without them classes are called by index.
        taps: one to four layer names, or ready taps; chosen automatically if not given. Of a layer
            that runs several times, the last run on the upright photo; ``"layer#0"`` is the first.
        outputs: what the network's outputs mean: ``"softmax"`` (logits of classes of which one is
            true), ``"sigmoid"`` (logits of independent findings), ``"binary"`` (one logit),
            ``"softmax probabilities"``, ``"sigmoid probabilities"``, or an
            :class:`ttame.OwnOutputs`. Softmax if not given.
        name: of the classifier, in messages and saved explainers.
        recipe: how it can be loaded again; given by :func:`ttame.load_classifier`.
        outputs_reason: who says what the outputs mean, in a few words; you, if not given.
        notices: what its user should know; what the classifier finds odd comes after it.
        examined: layers that are known to be on the way to the scores, of a network that is known
            to show them the whole photo, upright: neither is looked at again.

    Raises:
        ClassifierError: the network does not return (B, N) numbers, they cannot mean what
            ``outputs`` says, or the names do not fit.
        UnknownNameError: no such kind of outputs.
        TapError: no taps were found, a named layer does not exist, or its tokens stand in an order
            in which they cannot be read.

    Example:
        >>> network = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        ...     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        >>> classifier = Classifier(network, preprocessing=Preprocessing.imagenet(32))
        >>> [tap.in_words() for tap in classifier.taps]
        ['1: 8 channels on a 16x16 grid', '3: 16 channels on a 8x8 grid']
        >>> classifier.probabilities(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """

    @gives_everything_back
    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        class_names: Sequence[str] | None = None,
        taps: Sequence[str | Tap] | None = None,
        outputs: Outputs | str | None = None,
        name: str | None = None,
        recipe: ClassifierRecipe | None = None,
        outputs_reason: str | None = None,
        notices: Sequence[str] = (),
        examined: Sequence[str] = (),
    ) -> None:
        refuse_other_parts(network, preprocessing)
        self.network = network
        self.name = name or type(uncompiled(network)).__name__
        self.recipe = recipe
        self.examined = tuple(examined)
        self.outputs, reason = said_outputs(outputs)
        self.outputs_reason = outputs_reason or reason
        with naming_the_setting(SMALLER_NETWORK):
            trace, self.preprocessing, seen = trace_with_channels(network, preprocessing, self.name)
            self.trace = in_order_of_reading(uncompiled(network), trace)
            found = check_outputs(network, self.trace, self.outputs, self.name)
            self.class_names = checked_names(class_names, self.number_of_classes, self.outputs)
            found += offered_outputs(self.class_names, self.name) if outputs is None else ()
            self.tap_choice = self._choose_taps(taps)
            view = () if self.examined else view_notice(network, self.trace, self.name)
            self.notices = (*notices, *seen, *view, *found, *self.tap_choice.notices)
            # Transformers gain nothing.
            isotropic = self.family in ("Vision Transformer", "token mixer")
            self.memory_format = fastest_memory_format(network, self.blank_image(), plain=isotropic)

    @classmethod
    def zero_shot(
        cls,
        image_tower: nn.Module,
        text_embeddings: Tensor,
        names: Sequence[str],
        *,
        preprocessing: Any,
        scale: float | Tensor | None = None,
        bias: float | Tensor | None = None,
        taps: Sequence[str | Tap] | None = None,
        name: str | None = None,
    ) -> Classifier:
        """A CLIP-like network whose classes are described by texts.

        Scores are ``scale · cos(image, text) + bias``. With a bias, as SigLIP has, texts are
        independent findings (sigmoid); without, one of them is true (softmax).

        Args:
            image_tower: the whole model (transformers' ``CLIPModel``, ``SiglipModel`` and their
                like; one of open_clip), of which only the image tower is used, or a module that
                maps images to (B, D) embeddings.
            text_embeddings: (C, D), of any length; :func:`ttame.text_embeddings` makes them.
            names: of the C classes.
            preprocessing: a :class:`ttame.Preprocessing`, the processor of transformers, or the
                evaluation transform of open_clip.
            scale: what cosines are multiplied by, ``exp(logit_scale)``; the model's if not given.
            bias: ``logit_bias`` of SigLIP; the model's if neither it nor a scale is given.
            taps: see :class:`ttame.Classifier`.
            name: the same; that of the model's class if not given.

        Raises:
            ClassifierError: something does not fit, or is neither given nor found.

        Example:
            >>> tower = nn.Sequential(
            ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 3, 1, 1), nn.ReLU(),
            ...     nn.AdaptiveAvgPool2d(1), nn.Flatten())
            >>> Classifier.zero_shot(
            ...     tower, torch.eye(4)[:2], ["a cat", "a dog"], scale=100.0,
            ...     preprocessing=Preprocessing.imagenet(16), taps=["image_tower.3"])
            <Classifier Sequential: 2 classes, taps image_tower.3>
        """
        parts = zero_shot_parts(
            image_tower, text_embeddings, preprocessing=preprocessing, scale=scale, bias=bias
        )
        return cls(
            parts.network,
            preprocessing=parts.preprocessing,
            class_names=names,
            taps=taps,
            outputs=parts.outputs,
            name=name or type(image_tower).__name__,
        )

    def __repr__(self) -> str:
        count, taps = self.number_of_classes, ", ".join(map(str, self.taps))
        return f"<Classifier {self.name}: {count} classes, taps {taps}>"

    _repr_html_ = classifier_card

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Where features are read, from the first to the last in the network."""
        return self.tap_choice.taps

    @property
    def family(self) -> Family:
        """What kind of network this is."""
        return self.tap_choice.family

    @property
    def number_of_classes(self) -> int:
        """C, the number of class scores."""
        return self.outputs.number_of_classes(self.trace.number_of_outputs)

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are."""
        return blank_image(self.network, (1, 1)).device

    @property
    def dtype(self) -> torch.dtype:
        """The floating dtype of the network's parameters."""
        return blank_image(self.network, (1, 1)).dtype

    @gives_everything_back
    def with_taps(self, taps: Sequence[str | Tap]) -> Classifier:
        """The same classifier, sharing the network, with features read elsewhere.

        Raises:
            TapError: a named layer does not exist or gives no features.
        """
        return self._with(tap_choice=self._choose_taps(taps))

    def with_network(self, network: nn.Module) -> Classifier:
        """The same classifier around a network of the same layers, such as a changed copy.

        Taps stay where they are, and nothing can load it again: it has no recipe.

        Args:
            network: with the same layers, inputs and outputs; not checked.
        """
        return self._with(network=network, recipe=None)

    @gives_everything_back
    def for_many_passes(self) -> Classifier:
        """The same classifier on a faster copy of its network, for logits of many images.

        Batch norms are folded into convolutions where that changes nothing but rounding; see
        :func:`ttame.networks.batch_norm_folding.folded`. Weights are those of this moment.

        Returns:
            A classifier to drop after use; this one, where nothing can be made faster.
        """
        network = folded(self.network, self.preprocessing.input_size, self.trace.channels)
        if network is None:
            return self
        return self._with(network=network)

    def blank_image(self) -> Tensor:
        """(1, C, H, W) zeros as the network takes them, on its device, in its dtype."""
        return blank_image(self.network, self.trace.image_size, self.trace.channels)

    def frozen(self) -> contextlib.AbstractContextManager[nn.Module]:
        """Hold the network in eval mode with its parameters frozen; see ``frozen_network``."""
        return frozen(self.network)

    def prepare(self, photos: Photo | Sequence[Photo]) -> Tensor:
        """Turn one or several photos into a batch for the network.

        Args:
            photos: PIL images, which are turned upright as their EXIF block says, or paths; of
                networks of other channels also arrays in ``.npy`` files, and TIFF files of bands.

        Returns:
            (B, C, H, W) float32, normalised, on the classifier's device.

        Raises:
            ImageError: a file that is not a readable image.
            MemoryLimitError: the photos do not fit into memory.
        """
        several = [photos] if isinstance(photos, Photo) else list(photos)
        if not several:
            raise ImageError("an empty list of photos", allowed="at least one photo")
        with naming_the_setting(FEWER_IMAGES):
            # One photo after the other: photos are much larger than what is made of them.
            prepared = [self.preprocessing.prepare(open_picture(photo)) for photo in several]
            return torch.stack(prepared).to(self.device)

    @gives_everything_back
    def logits(self, images: Tensor, *, rows: int | None = None) -> Tensor:
        """Run the network, and turn its outputs into class scores.

        Gradients flow to ``images`` if they require them, never to the parameters.

        Args:
            images: (B, C, H, W) float, normalised.
            rows: how many rows of logits to expect where a hook of the caller multiplies the
                batch on the way, as methods do that run only the tail for many variants; B if
                not given.

        Returns:
            (B, C) in the network's dtype.

        Raises:
            ImageError: not a batch of images.
            ClassifierError: the network fails on this input size.
        """
        images = self._checked_images(images)
        with self.frozen():
            return self._run(images, rows)

    def probabilities(self, images: Tensor) -> Tensor:
        """The probabilities of all classes, (B, C) float32 in [0, 1]."""
        return self.outputs.probabilities(self.logits(images))

    @gives_everything_back
    def read_features(self, images: Tensor) -> FeatureReading:
        """Run the network once and read logits and features.

        Args:
            images: (B, C, H, W) float, normalised.

        Returns:
            Logits and feature maps in the network's dtype. They carry a graph only if the images
            require gradients.

        Raises:
            ImageError: not a batch of images.
            ClassifierError: the network fails on this input size.
            TapError: a layer's output is not what it was when the classifier was made.
        """
        images = self._checked_images(images)
        logits, reading = self._run_and_read(images)
        if reading.was_changed:
            # Seldom: something behind a tapped layer works in place, and gradients are wanted.
            logits, reading = self._run_and_read(images, passing_copies=True)
        image_size = (int(images.shape[2]), int(images.shape[3]))
        if any(getattr(output, "is_quantized", False) for output in reading.outputs.values()):
            refuse_quantised(uncompiled(self.network), self.name)
        tapped = [(tap, tap.tensor(reading.outputs.get(tap))) for tap in self.taps]
        return FeatureReading(
            logits=logits,
            feature_maps=tuple(tap.feature_map(output, image_size) for tap, output in tapped),
            class_tokens=tuple(
                tap.prefix(output)[:, 0] if tap.prefix_tokens else None for tap, output in tapped
            ),
            layer_outputs=tuple(output for _, output in tapped),
        )

    def fingerprint(self) -> str:
        """A SHA-256 of the network's weights; see :func:`weight_fingerprint`."""
        return weight_fingerprint(uncompiled(self.network))

    def class_label(self, index: int) -> str:
        """The name of class ``index``, or ``"class 7"`` without names."""
        return self.class_names[index] if self.class_names else f"class {index}"

    def _run_and_read(
        self, images: Tensor, *, passing_copies: bool = False
    ) -> tuple[Tensor, TapReading]:
        network = uncompiled(self.network)
        with (
            self.frozen(),
            reading_taps(network, self.trace, self.taps, passing_copies=passing_copies) as reading,
        ):
            return self._run(images), reading

    def _run(self, images: Tensor, rows: int | None = None) -> Tensor:
        network = uncompiled(self.network)
        if torch.is_grad_enabled():
            refuse_quantised(network, self.name)
        if images.requires_grad and torch.is_grad_enabled():
            with one_product_attention(network):
                logits = self.outputs.scores(run_network(network, images, rows))
        else:
            logits = self.outputs.scores(run_network(network, images, rows))
        note_pass(images.shape[0], logits)
        return logits

    def _with(self, **changes: Any) -> Classifier:
        """A copy with some attributes changed, finished before anybody else has it."""
        other = copy.copy(self)
        vars(other).update(changes)
        return other

    def _choose_taps(self, taps: Sequence[str | Tap] | None) -> TapChoice:
        network, trace = uncompiled(self.network), self.trace
        if taps is None:
            choice = influential_choice(network, trace)
        else:
            given = [taps] if isinstance(taps, str) else taps
            choice = named_taps(network, trace, given, self.name)
            outputs = [tap for tap in choice.taps if isinstance(tap, LayerOutput)]
            if not all(str(tap) in self.examined for tap in outputs):
                choice = refuse_idle_taps(network, trace, choice)
        if not self.examined:
            refuse_other_orders(network, trace, choice.taps)
        return choice

    def _checked_images(self, images: Tensor) -> Tensor:
        refuse_other_images(images, self.trace.channels)
        like = self._blank_pixel()
        images = images.clone() if images.is_inference() else images
        return images.to(like.device, like.dtype).contiguous(memory_format=self.memory_format)

    def _blank_pixel(self) -> Tensor:
        """A tensor of the network's device and dtype."""
        like = blank_image(self.network, (1, 1))
        refuse_without_values(like, self.name)
        return like
