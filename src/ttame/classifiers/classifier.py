"""A frozen network with everything that explaining it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import AnyClassifier, Batch, FoundMaps
from ttame.classifiers.classifier_card import classifier_card
from ttame.classifiers.classifier_checks import (
    checked_names,
    refuse_other_images,
    refuse_other_parts,
)
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.input_channels import trace_with_channels
from ttame.classifiers.output_checks import check_outputs, offered_outputs, said_outputs
from ttame.classifiers.zero_shot import zero_shot_parts
from ttame.errors import ClassSelectionError, ImageError
from ttame.features.patch_grids import with_patch_grids
from ttame.features.photo_view import view_notice
from ttame.features.tap_choice import in_order_of_reading, untapped
from ttame.features.tap_names import Tap
from ttame.images.picture_files import Photo, listed_photos, open_picture
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import resize_maps
from ttame.memory_limit import FEWER_IMAGES, SMALLER_NETWORK, naming_the_setting
from ttame.networks.batch_norm_folding import folded
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.memory_formats import fastest_memory_format
from ttame.outputs import Outputs
from ttame.results.explanation import Explanation
from ttame.results.remembered_photo import remembered


class Classifier(AnyClassifier[Tensor | Photo | Sequence[Photo], Explanation]):
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
            ``()`` for a network that shows no feature maps: methods that read none explain it, and
            trained explainers that read another network's (``features_from``).
        outputs: what the network's outputs mean: ``"softmax"`` (logits of classes of which one is
            true), ``"sigmoid"`` (logits of independent findings), ``"binary"`` (one logit),
            ``"softmax probabilities"``, ``"sigmoid probabilities"``, or an
            :class:`ttame.OwnOutputs`. Softmax if not given.
        name: the name of the classifier, in messages and saved explainers.
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

    kind = "images"
    is_plane = True
    is_embedded = False

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
            trace = with_patch_grids(uncompiled(network), trace)
            self.trace = in_order_of_reading(uncompiled(network), trace)
            found = check_outputs(network, self.trace, self.outputs, self.name)
            self.class_names = checked_names(class_names, self.number_of_classes, self.outputs)
            found += offered_outputs(self.class_names, self.name) if outputs is None else ()
            none = taps is not None and not len(taps)
            self.tap_choice = untapped(self.trace) if none else self._choose_taps(taps)
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
            names: the names of the C classes.
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
        count, taps = self.number_of_classes, ", ".join(map(str, self.taps)) or "none"
        return f"<Classifier {self.name}: {count} classes, taps {taps}>"

    _repr_html_ = classifier_card

    def inputs_as_json(self) -> dict[str, Any]:
        """The preprocessing of photos."""
        return self.preprocessing.as_json()

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
        several = listed_photos(photos)
        if not several:
            raise ImageError("an empty list of photos", allowed="at least one photo")
        with naming_the_setting(FEWER_IMAGES):
            # One photo after the other: photos are much larger than what is made of them.
            prepared = [self.preprocessing.prepare(open_picture(photo)) for photo in several]
            return torch.stack(prepared).to(self.device)

    def taken(self, given: Tensor | Photo | Sequence[Photo]) -> Batch:
        """Photos, prepared and remembered; a tensor as it is."""
        if isinstance(given, Tensor):
            # Maps lie on the classifier's device, wherever the images came from.
            return Batch(given.to(self.device))
        several = listed_photos(given)
        photos = remembered(several)  # as they are now, before they are read
        return Batch(self.prepare(several), photos)

    def result(self, found: FoundMaps, batch: Batch) -> Explanation:
        """The maps with the prediction, and the photos that they belong to."""
        return Explanation(
            maps=found.maps,
            classes=found.targets.classes,
            logits=found.scores.float(),
            image_size=(int(batch.images.shape[2]), int(batch.images.shape[3])),
            class_names=self.class_names,
            method=found.method,
            provenance=found.provenance,
            probabilities=self.outputs.probabilities(found.scores),
            exclusive=self.outputs.exclusive,
            target_labels=found.targets.labels,
            crop=self.preprocessing.crop,
            of_pixels=found.of_inputs,
            photos=batch.remembered,
        )

    def attributions(self, result: Explanation) -> Tensor:
        """(B, C, H, W): the map of one class at the size of the image, in equal parts on colours.

        Raises:
            ClassSelectionError: several classes per image.
        """
        if result.maps.shape[1] > 1:
            raise ClassSelectionError(
                f"{result.maps.shape[1]} classes per image to attribute",
                allowed="one; calling the explainer gives the maps of several",
            )
        maps, colours = resize_maps(result.maps, result.image_size), self.trace.channels
        return (maps / colours).repeat(1, colours, 1, 1)

    @property
    def grounds(self) -> tuple[str, ...]:
        """Black pixels, or the mean colour, which is zero after normalising."""
        return ("black", "mean")

    def ground(self, images: Tensor, name: str) -> Tensor:
        """(C, 1, 1): the colour, normalised."""
        black = self.preprocessing.black(images)
        return black if name == "black" else torch.zeros_like(black)

    def refuse_others(self, images: object) -> None:
        """Raise unless they are a batch of normalised images.

        Raises:
            ImageError: they are not.
        """
        refuse_other_images(images, self.trace.channels)
