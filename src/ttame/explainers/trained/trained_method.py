"""Trained methods in the registry: their facts, and how a name becomes a trained explainer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import (
    ExplainerError,
    either,
)
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.explainer_places import bundled_methods
from ttame.explainers.trained.trained_cards import P_TAME


@dataclasses.dataclass(frozen=True)
class TrainedMethod:
    """A method whose explainer must be trained first; calling it loads one.

    Attributes:
        card: the facts about the method.

    Example:
        >>> import ttame
        >>> classifier = ttame.load_classifier("efficientnet_lite0")
        >>> ttame.EXPLAINERS["few_shot"](classifier).method
        'few_shot'
    """

    card: MethodCard

    def __call__(
        self, classifier: Explainable, *, folder: Path | str | None = None
    ) -> AttentionExplainer:
        """Load the explainer that was trained for this classifier.

        Args:
            classifier: the network to explain; its weights must be those of the training.
            folder: where ``ttame train`` wrote the explainer, or a hub repository. Without one,
                the bundled explainer of this method and classifier is taken, if there is one.

        Raises:
            ExplainerError: no folder is given and none is bundled, or it holds another method.
            OtherClassifierError: it was trained for other weights.
        """
        place = folder or bundled_methods(classifier.name).get(self.card.name)
        if place is None:
            raise self._missing(classifier)
        loaded = load_explainer(str(place), classifier=classifier)
        if loaded.method != self.card.name:
            raise ExplainerError(
                f"{place} holds an explainer trained as {loaded.method}, not {self.card.name}",
                remedy=loaded.method,
            )
        return loaded

    def _missing(self, classifier: Explainable) -> ExplainerError:
        if classifier.kind == "texts":
            name = "NAME" if classifier.recipe is None else classifier.recipe.name
            return ExplainerError(
                f"{self.card.name} is not defined for {classifier.name} before it is trained",
                remedy=either(
                    "ttame.text.train(classifier, texts, folder), then load_explainer(folder, "
                    "classifier=classifier)",
                    f"ttame train --model {name} --text-data TEXTS --out FOLDER",
                ),
            )
        preset = self.card.name.replace("_", "-")
        reads_another = self.card.name == P_TAME
        argument = ", features_from=other_network" if reads_another else ""
        option = " --features-from NETWORK" if reads_another else ""
        return ExplainerError(
            f"{self.card.name} is not defined for {classifier.name} before it is trained",
            remedy=either(
                f"train_explainer(classifier, photos, folder, training_settings({preset!r})"
                f"{argument}), then "
                "load_explainer(folder, classifier=classifier)",
                f"ttame train --preset {preset} --model {classifier.name}{option} --data PHOTOS "
                "--out FOLDER, then FOLDER: ttame explain --explainer, or ttame evaluate --methods",
            ),
        )
