"""Trained methods in the registry: their facts, and how a name becomes a trained explainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from ttame.classifiers.any_classifier import Explainable, Kind
from ttame.errors import ExplainerError, either
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
        return ExplainerError(
            f"{self.card.name} is not defined for {classifier.name} before it is trained",
            remedy=_TRAINING[classifier.kind](classifier, self.card.name),
        )


def _training_on_photos(classifier: Explainable, method: str) -> str:
    preset = method.replace("_", "-")
    reads_another = method == P_TAME
    argument = ", features_from=other_network" if reads_another else ""
    option = " --features-from NETWORK" if reads_another else ""
    return either(
        f"train_explainer(classifier, photos, folder, training_settings({preset!r})"
        f"{argument}), then "
        "load_explainer(folder, classifier=classifier)",
        f"ttame train --preset {preset} --model {classifier.name}{option} --data PHOTOS "
        "--out FOLDER, then FOLDER: ttame explain --explainer, or ttame evaluate --methods",
    )


def _training_on_texts(classifier: Explainable, _method: str) -> str:
    name = "NAME" if classifier.recipe is None else classifier.recipe.name
    return either(
        "ttame.text.train(classifier, texts, folder), then load_explainer(folder, "
        "classifier=classifier)",
        f"ttame train --model {name} --text-data TEXTS --out FOLDER",
    )


_TRAINING: dict[Kind, Callable[[Explainable, str], str]] = {
    "images": _training_on_photos,
    "texts": _training_on_texts,
}
"""Kind of classifier to what makes a method of a name for it."""
