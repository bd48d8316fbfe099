"""A frozen network with what its outputs mean, whatever it classifies: photos or texts."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier_checks import refuse_quantised, refuse_without_values
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.classifiers.feature_reading import FeatureReading
from ttame.features.feature_taps import LayerOutput
from ttame.features.moved_tokens import refuse_moved_tokens
from ttame.features.named_taps import named_taps
from ttame.features.tap_choice import Family, TapChoice
from ttame.features.tap_influence import influential_choice, refuse_idle_taps
from ttame.features.tap_names import Tap
from ttame.features.tap_reading import TapReading, reading_taps
from ttame.features.token_order import refuse_other_orders
from ttame.networks.fast_attention import one_product_attention
from ttame.networks.frozen_network import frozen
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import NetworkTrace, blank_image, run_network
from ttame.networks.pass_counter import note_pass
from ttame.networks.weights_files import weight_fingerprint
from ttame.outputs import Outputs

Kind = Literal["images", "texts"]
"""What is classified."""

Given = TypeVar("Given")
"""What users give to be explained."""

Result = TypeVar("Result")
"""What they get."""


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """What a user gave, as the network takes it.

    Attributes:
        images: (B, C, H, W) float, on the classifier's device. Texts stand on a grid of one row:
            (B, C, 1, T).
        remembered: of each item what its result will need besides; empty for a ready tensor.
    """

    images: Tensor
    remembered: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class FoundMaps:
    """What a method found out about a batch.

    Attributes:
        maps: (B, K, h, w) float32, finite.
        targets: what they explain.
        scores: (B, C).
        method: its name in the registry.
        provenance: what the maps depend on besides the batch.
        of_inputs: whether values belong to single pixels or tokens rather than to places of a grid
            of features.
    """

    maps: Tensor
    targets: ExplainedTargets
    scores: Tensor
    method: str
    provenance: Mapping[str, Any]
    of_inputs: bool


class AnyClassifier(ABC, Generic[Given, Result]):
    """A borrowed network in eval mode, what its outputs mean, and where its features are read.

    What is classified is the affair of its kinds, :class:`ttame.Classifier` and
    :class:`ttame.text.TextClassifier`: they say how what a user gives becomes a tensor, what
    the input looks like with nothing on it, and what a result is. Methods work on the tensor, which
    they call images: (B, C, H, W) pixels, or (B, C, 1, T) embeddings of tokens.

    Attributes:
        kind: what is classified.
        is_plane: whether the places of an input lie on a plane, so that it can be shifted and
            mirrored, and its maps blurred; tokens stand in a row.
        is_embedded: whether an input is made of embeddings, which belong to the network.
        network: the user's module.
        name: in messages and results.
        outputs: what the network's numbers mean.
        outputs_reason: who says so.
        class_names: C names; empty if there are none.
        trace: what a dry run showed.
        tap_choice: where features are read, and why.
        notices: what the user should know.
        examined: layers that are known to be on the way to the scores.
        memory_format: the memory format of the images in which the network runs fastest.
        recipe: how it was loaded by name, if it was.
    """

    kind: ClassVar[Kind]
    is_plane: ClassVar[bool]
    is_embedded: ClassVar[bool]

    network: nn.Module
    name: str
    outputs: Outputs
    outputs_reason: str
    class_names: tuple[str, ...]
    trace: NetworkTrace
    tap_choice: TapChoice
    notices: tuple[str, ...]
    examined: tuple[str, ...]
    memory_format: torch.memory_format
    recipe: ClassifierRecipe | None = None

    @abstractmethod
    def taken(self, given: Given) -> Batch:
        """Turn what a user gave into a batch.

        Raises:
            TtameError: it cannot be read, or it is of another kind.
        """

    @abstractmethod
    def result(self, found: FoundMaps, batch: Batch) -> Result:
        """Make the result of what a method found."""

    @abstractmethod
    def attributions(self, result: Result) -> Tensor:
        """A result in the shape of the batch, as Captum's metrics take it."""

    @property
    @abstractmethod
    def grounds(self) -> tuple[str, ...]:
        """What can stand where nothing is to be seen, the usual ground for a path first."""

    @abstractmethod
    def ground(self, images: Tensor, name: str) -> Tensor:
        """The images with nothing on them, broadcastable to them.

        Args:
            images: (B, C, H, W).
            name: one of ``grounds``.
        """

    def present(self, images: Tensor) -> Tensor | None:
        """(B, T) bool, which tokens of a row are there and not padding; ``None`` where all are."""
        del images
        return None

    def groups(self, images: Tensor) -> Tensor | None:
        """(B, T) int64, the word that each token belongs to, from 1; 0 for none.

        ``None`` where places belong to nothing larger.
        """
        del images
        return None

    def places(self, images: Tensor) -> Tensor | None:
        """(B, 1, 1, T) bool, which tokens a mask may hide: those of words; ``None`` for all places.

        Args:
            images: (B, C, 1, T).
        """
        words = self.groups(images)
        return None if words is None else (words > 0)[:, None, None]

    def inputs_as_json(self) -> dict[str, Any]:
        """How what users give becomes a batch, as plain values; a trained head depends on it."""
        return {}

    @abstractmethod
    def refuse_others(self, images: object) -> None:
        """Raise unless they are a batch for this network.

        Raises:
            TtameError: they are not.
        """

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
    def with_taps(self, taps: Sequence[str | Tap]) -> Self:
        """The same classifier, sharing the network, with features read elsewhere.

        Raises:
            TapError: a named layer does not exist or gives no features.
        """
        return self._with(tap_choice=self._choose_taps(taps))

    def with_network(self, network: nn.Module) -> Self:
        """The same classifier around a network of the same layers, such as a changed copy.

        Taps stay where they are, and nothing can load it again: it has no recipe.

        Args:
            network: with the same layers, inputs and outputs; not checked.
        """
        return self._with(network=network, recipe=None)

    def for_many_passes(self) -> Self:
        """The same classifier, perhaps on a faster copy of its network, to drop after use."""
        return self

    def blank_image(self) -> Tensor:
        """(1, C, H, W) zeros as the network takes them, on its device, in its dtype."""
        return blank_image(self.network, self.trace.image_size, self.trace.channels)

    def frozen(self) -> contextlib.AbstractContextManager[nn.Module]:
        """Hold the network in eval mode with its parameters frozen; see ``frozen_network``."""
        return frozen(self.network)

    @gives_everything_back
    def logits(self, images: Tensor, *, rows: int | None = None) -> Tensor:
        """Run the network, and turn its outputs into class scores.

        Gradients flow to ``images`` if they require them, never to the parameters.

        Args:
            images: (B, C, H, W) float, as the kind of classifier prepares them.
            rows: how many rows of logits to expect where a hook of the caller multiplies the
                batch on the way, as methods do that run only the tail for many variants; B if
                not given.

        Returns:
            (B, C) in the network's dtype.

        Raises:
            ImageError: not a batch of images; a TextError for texts.
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
            images: (B, C, H, W) float, as the kind of classifier prepares them.

        Returns:
            Logits and feature maps in the network's dtype. They carry a graph only if the images
            require gradients.

        Raises:
            ImageError: not a batch of images; a TextError for texts.
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
        present = self.present(images)
        return FeatureReading(
            logits=logits,
            feature_maps=tuple(tap.feature_map(output, image_size) for tap, output in tapped),
            class_tokens=tuple(
                tap.prefix(output)[:, 0] if tap.prefix_tokens else None for tap, output in tapped
            ),
            layer_outputs=tuple(output for _, output in tapped),
            places=self.places(images),
            present=None if present is None else present[:, None, None],
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

    def _with(self, **changes: Any) -> Self:
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
            refuse_moved_tokens(network, trace, choice.taps)
        return choice

    def _checked_images(self, images: Tensor) -> Tensor:
        self.refuse_others(images)
        like = self._blank_pixel()
        images = images.clone() if images.is_inference() else images
        return images.to(like.device, like.dtype).contiguous(memory_format=self.memory_format)

    def _blank_pixel(self) -> Tensor:
        """A tensor of the network's device and dtype."""
        like = blank_image(self.network, (1, 1))
        refuse_without_values(like, self.name)
        return like


Explainable = AnyClassifier[Any, Any]
"""A classifier of any kind, where it makes no difference what people give and get."""
