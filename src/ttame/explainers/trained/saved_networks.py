"""The networks that a saved explainer needs: loaded as its folder says, or passed and compared."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ttame.classifiers.any_classifier import AnyClassifier, Explainable
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.classifiers.given_network import classifier_of
from ttame.classifiers.known_classifiers import load_described_classifier
from ttame.classifiers.recipe_rules import ForbiddenRecipeError
from ttame.classifiers.typed_recipes import typed_again
from ttame.errors import (
    ANOTHER_TRAINING,
    ExplainerError,
    ExplainerFolderError,
    OtherClassifierError,
    TapError,
    WeightsError,
    either,
    setting,
)
from ttame.explainers.trained.explainer_config import SavedClassifier
from ttame.features.tap_names import parse_tap
from ttame.images.preprocessing import Preprocessing
from ttame.outputs import OwnOutputs


@dataclasses.dataclass(frozen=True)
class SavedNetwork:
    """A network that a folder describes.

    Attributes:
        saved: what the folder says of it.
        folder: of the explainer.
        argument: what :func:`ttame.load_explainer` calls it.
    """

    saved: SavedClassifier
    folder: Path
    argument: Literal["classifier", "features_from"] = "classifier"

    @property
    def passing(self) -> str:
        """How it is passed."""
        return f"load_explainer(..., {self.argument}=...)"

    def passed(self, given: Explainable | nn.Module) -> Explainable:
        """The network that the user passed, read where the head was trained to read.

        Raises:
            ClassifierError: not a classifier, nor a network that timm configured.
            OtherClassifierError: of another kind, or without the layers that are read.
        """
        classifier: Explainable = (
            given if isinstance(given, AnyClassifier) else classifier_of(given)
        )
        self._check_kind(classifier)
        try:
            return classifier.with_taps(self.saved.taps) if self.saved.taps else classifier
        except TapError as problem:
            raise self._without_layers(classifier, problem) from problem

    def described(
        self, weights: Path | str | None = None, device: torch.device | str | None = None
    ) -> Classifier:
        """Load the network as the folder says.

        Args:
            weights: of the user, in place of those that the folder names.
            device: where it goes.

        Raises:
            ExplainerError: it cannot be loaded by name.
            ExplainerFolderError: the folder asks for what only a person may ask for.
            WeightsError: its weights cannot be loaded.
        """
        recipe = self._recipe()
        try:
            return load_described_classifier(
                recipe, taps=self.saved.taps or None, weights=weights, device=device
            )
        except ForbiddenRecipeError as problem:
            raise self._forbidden(problem, recipe) from problem
        except WeightsError as problem:
            moved = weights is None and os.path.isabs(recipe.weights)
            if not moved or os.path.exists(recipe.weights):
                raise
            raise self._moved(recipe) from problem

    def check(self, classifier: Explainable) -> None:
        """Refuse a network that is not the one of the training.

        Raises:
            OtherClassifierError: other weights, another normalisation, or other outputs.
        """
        self._check_fingerprint(classifier)
        self._check_normalisation(classifier)
        if self.argument == "classifier":  # Nobody looks at the outputs of the other one.
            self._check_outputs(classifier)

    def _recipe(self) -> ClassifierRecipe:
        saved, recipe = self.saved, self.saved.recipe
        if saved.kind == "texts":
            raise ExplainerError(
                f"{self.folder} explains {saved.name}, a classifier of texts",
                remedy="ttame.text.load_explainer(...), or load_explainer(..., classifier=...)",
            )
        if recipe is None or saved.outputs == OwnOutputs.kind:
            reads = "explains" if self.argument == "classifier" else "reads the features of"
            raise ExplainerError(
                f"{self.folder} {reads} {saved.name}, which ttame cannot load by name",
                remedy=f"load_explainer(..., {self.argument}=Classifier(your_network, ...))"
                if saved.texts is None
                else "load_explainer(..., image_tower=model), with the CLIP-like model; the "
                "embeddings of its texts are in the folder",
            )
        if recipe.weights == "none" and recipe.weights_seed is None:
            raise ExplainerError(
                f"{self.folder} was trained for random weights of {recipe.name} without a seed, "
                "which cannot be made again",
                remedy=f"{self.passing} with the network it was trained for",
            )
        return ClassifierRecipe(
            recipe.name,
            recipe.weights,
            recipe.image_size,
            recipe.network_options,
            recipe.class_names,
            saved.outputs,
            recipe.weights_seed,
            Preprocessing.from_json(saved.preprocessing) if recipe.own_preprocessing else None,
        )

    def _check_kind(self, classifier: Explainable) -> None:
        if self.saved.kind != classifier.kind:
            raise OtherClassifierError(
                f"{self.folder} was trained for a classifier of {self.saved.kind}, but "
                f"{classifier.name} is one of {classifier.kind}",
                remedy="the network it was trained for",
            )

    def _without_layers(self, classifier: Explainable, problem: TapError) -> OtherClassifierError:
        saved = self.saved
        if isinstance(classifier, Classifier):
            trained_at = tuple(saved.preprocessing["input_size"])
            ran = classifier.trace.by_name()
            same_layers = all(ran.keys() >= set(parse_tap(text).layers) for text in saved.taps)
            if same_layers and classifier.preprocessing.input_size != trained_at:
                size = _in_pixels(classifier.preprocessing.input_size)
                return OtherClassifierError(
                    f"{self.folder.name} on images of {size} ({problem.problem})",
                    allowed=f"{_in_pixels(trained_at)}, at which it was trained, and sizes near it",
                    remedy=setting("image_size", trained_at[0]),
                )
        return OtherClassifierError(
            f"{self.folder} reads layers of {saved.name} that {classifier.name} does not have "
            f"({problem.problem})",
            remedy=f"the network it was trained for, or {ANOTHER_TRAINING}",
        )

    def _forbidden(
        self, problem: ForbiddenRecipeError, recipe: ClassifierRecipe
    ) -> ExplainerFolderError:
        """What the folder asks for, and how its user can ask for it."""
        python = f"load_explainer(..., {self.argument}=load_classifier(...))"
        typed = f"ttame explain --explainer {self.folder} {typed_again(recipe)}"
        own = self.argument == "classifier"
        return ExplainerFolderError(
            f"{self.folder} asks for {problem.problem}, which only you may ask for",
            allowed=f"in a file {problem.allowed}",
            remedy=(either(python, typed) if own else python) + ", if you trust it",
        )

    def _moved(self, recipe: ClassifierRecipe) -> WeightsError:
        typed = f"ttame explain --explainer {self.folder} --weights FILE"
        own = self.argument == "classifier"
        where = either("load_explainer(..., weights=FILE)", typed) if own else self.passing
        return WeightsError(
            f"{self.folder} was trained for {recipe.name} with weights {recipe.weights}, which do "
            "not exist any more",
            remedy=f"{where}, with the place where they are now",
        )

    def _check_normalisation(self, classifier: Explainable) -> None:
        """The same weights see other images where pixels are normalised in another way."""
        if not isinstance(classifier, Classifier):
            return  # Its word embeddings are among the weights.
        trained = Preprocessing.from_json(self.saved.preprocessing)
        now = classifier.preprocessing
        if (now.mean, now.std) != (trained.mean, trained.std):
            raise OtherClassifierError(
                f"{self.folder} was trained on images of mean {trained.mean} and std "
                f"{trained.std}, but {classifier.name} normalises with mean {now.mean} and std "
                f"{now.std}",
                remedy=f"the same preprocessing, {ANOTHER_TRAINING}, or "
                f"{setting('allow_other_weights', True)} if you know better",
            )

    def _check_outputs(self, classifier: Explainable) -> None:
        """The same numbers mean other probabilities where they are read in another way."""
        trained, now = self.saved.outputs, classifier.outputs.kind
        if trained != now:
            raise OtherClassifierError(
                f"{self.folder} was trained for outputs of kind {trained!r}, but those of "
                f"{classifier.name} are read as {now!r}",
                remedy=setting("outputs", trained),
            )

    def _check_fingerprint(self, classifier: Explainable) -> None:
        found = classifier.fingerprint()
        if found == self.saved.fingerprint:
            return
        recipe = classifier.recipe
        seed = None if recipe is None else recipe.weights_seed
        random = f", drawn with seed {seed}; other versions of torch and timm may draw others"
        role = "for" if self.argument == "classifier" else "on the features of"
        raise OtherClassifierError(
            f"{self.folder} was trained {role} {self.saved.name} with weights "
            f"{self.saved.fingerprint[:12]}, but {classifier.name} has weights {found[:12]}"
            + ("" if seed is None else random),
            remedy=f"the same weights, {ANOTHER_TRAINING}, or "
            f"{setting('allow_other_weights', True)} if you know better",
        )


def _in_pixels(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]} pixels"
