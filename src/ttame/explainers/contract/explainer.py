"""The contract that every explanation method fulfils."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, Self, overload

from torch import Tensor
from typing_extensions import TypeVar

from ttame.classifiers.any_classifier import AnyClassifier, FoundMaps, Given, Result
from ttame.classifiers.class_selection import ClassSelection
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.classifiers.given_network import refuse_other_than_classifier
from ttame.classifiers.targets import Target
from ttame.errors import ClassSelectionError, ExplainerError, TapError, either
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.finite_maps import refuse_non_finite
from ttame.explainers.contract.map_refinement import Refinement, explain_and_refine
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, Progress, parse_memory
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.suggested_methods import (
    EXPLAINING,
    TAKING_MORE,
)
from ttame.memory_limit import FEWER_IMAGES, naming_the_setting
from ttame.networks.giving_back import gives_everything_back
from ttame.notebook import cards
from ttame.outputs import SOFTMAX
from ttame.progress.pass_progress import telling_of_passes

Explained = TypeVar("Explained", bound=AnyClassifier[Any, Any], default=Classifier, covariant=True)
"""The kind of classifier: of photos, where nothing else is said."""


@dataclasses.dataclass(frozen=True, eq=False)
class Explainer(ABC, Generic[Explained]):
    """A method that explains a classifier.

    A method is a frozen dataclass: its keyword-only fields are its options, and it is complete when
    it is made. Calling it checks the input, chooses the targets, runs the method, refuses maps that
    are not finite, and returns the classifier's kind of result, such as an :class:`Explanation`. A
    method fills one hole, ``_raw_maps``.

    Attributes:
        classifier: the explained network.

    Example:
        >>> import torch, ttame
        >>> classifier = ttame.load_classifier("efficientnet_lite0")
        >>> grad_cam = ttame.make_explainer("grad_cam", classifier)
        >>> grad_cam(torch.zeros(2, 3, 224, 224), classes=["tabby", "tiger cat"])
        <Explanation by grad_cam: maps 2 x 2 x 7 x 7>
    """

    classifier: Explained

    @property
    @abstractmethod
    def card(self) -> MethodCard:
        """The method's name, family, paper, cost and rights; an attribute of its class."""

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        card = self.card
        options = ", ".join(f"{name}={value!s:.200}" for name, value in self.options.items())
        return cards.card(
            f"{card.title} of {self.classifier.name}",
            cards.line(f"explainer({self.classifier.kind}) gives an explanation"),
            cards.facts(
                [
                    ("method", f"{card.name}, {card.family}"),
                    ("options", options),
                    ("maps", card.maps_in_words),
                    ("explains", card.explains_in_words),
                    ("networks", card.networks),
                    ("cost per image", card.cost),
                    ("paper", card.paper),
                    ("rights", card.licence_note),
                ]
            ),
        )

    @property
    def method(self) -> str:
        """The method's name in the registry."""
        return self.card.name

    @property
    def options(self) -> dict[str, Any]:
        """The options with their values, and what the method decided when it was made."""
        given = {
            option.name: getattr(self, option.name)
            for option in dataclasses.fields(self)
            if option.init and option.kw_only
        }
        return {**given, **self._decided()}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__post_init__" in vars(cls):  # many methods try the network out when they are made
            cls.__post_init__ = _made(cls.__post_init__)  # type: ignore[method-assign, assignment]

    def __post_init__(self) -> None:
        """What a method finds out and checks when it is made."""
        self._refuse_other_classifiers()

    @gives_everything_back
    def __call__(
        self: Explainer[AnyClassifier[Given, Result]],
        images: Given,
        classes: ClassSelection = None,
        *,
        target: Target | None = None,
        memory_budget: str | int = DEFAULT_BUDGET,
        progress: Progress | bool = True,
    ) -> Result:
        """Explain a batch of images, or of texts.

        Args:
            images: (B, 3, H, W) float, normalised as ``classifier.prepare`` does it; or photos
                (PIL images or paths), which are prepared first. Of a
                :class:`ttame.text.TextClassifier` texts, or pairs of them.
            classes: ``None`` for each image's top-1 class, an int, (B,), (B, K), ``"all"``,
                ``"top3"``, a class name or a list of names.
            target: what to explain instead of classes: a contrast, a weighting, a function.
            memory_budget: activations that a method with many passes may hold at a time: bytes, or
                ``"2GiB"``.
            progress: told the finished and total steps of a method with many passes; or whether to
                show a line that says how far it is, once it has taken a second.

        Returns:
            Raw maps (B, K, h, w) float32 on the classifier's device, with the prediction; of texts
            a :class:`ttame.text.TextExplanation`.

        Raises:
            ImageError: not a batch of images; a TextError for texts.
            ClassSelectionError: a class that does not exist, a target that does not fit or that the
                method does not take.
            NonFiniteMapError: a map with NaN or infinity; it is never drawn as a blank.
            MemoryLimitError: the batch does not fit into memory.
        """
        wanted = self._accepted(classes, target)
        budget = parse_memory(memory_budget)
        batch = self.classifier.taken(images)

        def targets(scores: Tensor) -> ExplainedTargets:
            return wanted.explained(scores.detach(), self.classifier.class_names)

        # Methods decide themselves what they differentiate, whatever the caller has switched off.
        with (
            differentiating(),
            naming_the_setting(FEWER_IMAGES),
            telling_of_passes(self.card.title, progress) as told,
        ):
            taken = batch.images
            normal = taken.clone() if taken.is_inference() else taken
            raw = self._raw_maps(normal, Request(targets, budget, told, wanted.is_row_wise))
        return self.classifier.result(self._found(raw), batch)

    # Nothing is written to an explainer, so that it may be one of a narrower kind of classifier.
    def for_classifier(self, classifier: Explained) -> Self:  # type: ignore[misc]
        """The same method with the same options for another classifier.

        Raises:
            ExplainerError: it is not defined for that classifier.

        Example:
            >>> import ttame
            >>> classifier = ttame.load_classifier("efficientnet_lite0")
            >>> grad_cam = ttame.make_explainer("grad_cam", classifier, rectified=False)
            >>> grad_cam.for_classifier(classifier.with_taps(["blocks.4"])).options
            {'layer': 'blocks.4', 'rectified': False}
        """
        return dataclasses.replace(self, classifier=classifier)

    def refined(self: Explainer, steps: int = 10, **settings: Any) -> RefinedExplainer:
        """The same method with its maps refined for each photo, by optimisation.

        It buys figures as well as faithfulness: see the guide on refining maps before comparing a
        refined method with others.

        Args:
            steps: the number of steps of the optimisation; 0 leaves the maps as they are.
            **settings: the other settings of
                :class:`ttame.explainers.contract.map_refinement.Refinement`: ``grounds``, ``grid``,
                ``rate`` and ``seed``.

        Raises:
            ExplainerError: a setting outside of what is allowed; no ``grid``, and the maps are
                of pixels.

        Example:
            >>> import torch
            >>> from ttame.explainers.methods.activation.grad_cam import GradCam
            >>> from ttame.testing import tiny_classifier
            >>> refined = GradCam(tiny_classifier()).refined(steps=3, grounds=("mean",))
            >>> refined(torch.rand(1, 3, 16, 16))
            <Explanation by grad_cam+refined3: maps 1 x 1 x 4 x 4>
        """
        return RefinedExplainer(
            self.classifier, explainer=self, refinement=Refinement(steps=steps, **settings)
        )

    @overload
    def attribute(self, inputs: Tensor, target: ClassSelection | Target = None) -> Tensor: ...

    @overload
    def attribute(
        self, inputs: tuple[Tensor], target: ClassSelection | Target = None
    ) -> tuple[Tensor]: ...

    def attribute(
        self, inputs: Tensor | tuple[Tensor], target: ClassSelection | Target = None
    ) -> Tensor | tuple[Tensor]:
        """Explain a batch of images in the way of Captum, for code and metrics written for it.

        Args:
            inputs: (B, 3, H, W) float, normalised; or a tuple of that one tensor, as Captum's
                metrics pass it.
            target: one class for all images, (B,) classes, or ``None`` for each image's top-1.
                A tensor of one element counts for all images. Or a :class:`ttame.Target`.

        Returns:
            Float32 without a graph, on the classifier's device, in the shape of the inputs, as
            Captum's metrics demand: the raw, signed map at the size of the image, each place's
            value in equal parts on its colours, so that their sum is the map. A tuple for a tuple.

        Raises:
            ClassSelectionError: several classes per image; otherwise the errors of a call.

        Example:
            >>> import torch
            >>> from ttame.explainers.methods.activation.grad_cam import GradCam
            >>> from ttame.testing import tiny_classifier
            >>> grad_cam = GradCam(tiny_classifier())
            >>> grad_cam.attribute(torch.zeros(2, 3, 16, 16), target=4).shape
            torch.Size([2, 3, 16, 16])
        """
        if isinstance(inputs, tuple):
            (images,) = inputs
            return (self.attribute(images, target),)
        if isinstance(target, Tensor) and target.numel() == 1:
            target = int(target)
        wanted = target if isinstance(target, Target) else Target.of(target)
        return self.classifier.attributions(self(inputs, target=wanted))

    def provenance(self) -> dict[str, Any]:
        """What the maps depend on besides the images, as strings and numbers."""
        named = {"classifier": self.classifier.name}
        if self.classifier.outputs is not SOFTMAX:
            named["outputs"] = self.classifier.outputs.kind
        return {**named, **self.options}

    @abstractmethod
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        """Compute raw maps, in any range; higher means more evidence.

        Args:
            images: (B, 3, H, W), not checked yet; the classifier's methods do that.
            request: the targets, to be asked for once when the scores are known; memory budget and
                progress.
        """

    def _decided(self) -> Mapping[str, Any]:
        """What the method decided when it was made: options left to it, and facts that matter."""
        return {}

    def _keep(self, **prepared: Any) -> None:
        """Set fields with ``init=False``, or settle the classifier's taps, in ``__post_init__``."""
        for name, value in prepared.items():
            object.__setattr__(self, name, value)

    def _refuse_other_classifiers(self) -> None:
        """Raise unless it is a classifier, of a kind that the method explains."""
        refuse_other_than_classifier(self.classifier)
        kind = self.classifier.kind
        if kind not in self.card.explains:
            raise ExplainerError(
                f"{self.method} for {self.classifier.name}, a classifier of {kind}",
                allowed=f"classifiers of {self.card.explains_in_words}",
                remedy=EXPLAINING[kind],
            )

    def _accepted(self, classes: ClassSelection, target: Target | None) -> Target:
        if target is None:
            return Target.of(classes)
        if classes is not None:
            raise ClassSelectionError("classes and a target", allowed="one of them")
        if target.kind not in self.card.targets:
            raise ClassSelectionError(
                f"{self.method} does not take {target.kind} as targets",
                allowed=" or ".join(self.card.targets),
                remedy=TAKING_MORE[self.classifier.kind][target.kind],
            )
        return target

    def _found(self, raw: RawMaps) -> FoundMaps:
        maps = raw.maps.detach().float()
        refuse_non_finite(maps, self.method)
        return FoundMaps(
            maps=maps,
            targets=raw.targets,
            scores=raw.scores.detach(),
            method=self.method,
            provenance=self.provenance(),
            of_inputs=self.card.map_is == "pixels",
        )


def _made(finish: Callable[[Explainer[Any]], None]) -> Callable[[Explainer[Any]], None]:
    """The end of making an explainer: of a classifier for certain, whose network is left alone."""
    guarded = gives_everything_back(finish)

    def post_init(self: Explainer[Any]) -> None:
        self._refuse_other_classifiers()
        try:
            guarded(self)
        except (TapError, IndexError) as problem:
            if self.classifier.taps:
                raise
            raise ExplainerError(
                f"{self.method} is not defined for {self.classifier.name}, which has no taps",
                remedy="a method that reads no features, such as rise or input_x_gradient",
            ) from problem

    return post_init


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RefinedExplainer(Explainer):
    """Another explainer, whose maps are refined: what :meth:`Explainer.refined` makes.

    Attributes:
        explainer: gives the maps to begin with.
        refinement: how they are refined.
    """

    explainer: Explainer
    refinement: Refinement

    def __post_init__(self) -> None:
        if self.explainer.card.map_is == "pixels" and self.refinement.grid is None:
            raise ExplainerError(
                f"{self.explainer.method} refined: its maps are of pixels, which could be fitted "
                "one by one",
                remedy=either(
                    "grid=(14, 14)", f"a grid behind the steps: {self.refinement.steps}@14"
                ),
            )

    @property
    def card(self) -> MethodCard:
        """That of the explainer, with the refinement's name and cost."""
        card, refinement = self.explainer.card, self.refinement
        return dataclasses.replace(
            card,
            name=self.explainer.method + refinement.suffix,
            title=f"{card.title}, refined in {refinement.steps} steps",
            cost=f"{card.cost}; then {refinement.passes} forward and backward per class",
            class_specific=True,
            targets=("classes",),
            random=True,
            map_is="grid",
            explains=("images",),
        )

    @property
    def options(self) -> dict[str, Any]:
        """Those of the explainer, and those of the refinement."""
        return {**self.explainer.options, **self.refinement.facts()}

    def for_classifier(self, classifier: Classifier) -> Self:
        """The same for another classifier."""
        other = self.explainer.for_classifier(classifier)
        return dataclasses.replace(self, classifier=other.classifier, explainer=other)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return explain_and_refine(
            self.explainer._raw_maps,
            self.explainer.method,
            self.classifier,
            images,
            request,
            self.refinement,
        )
