"""Loading a trained explainer together with its text classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ttame.errors import ExplainerError
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.explainer_config import read_config
from ttame.explainers.trained.explainer_folder import load_explainer as load_for
from ttame.explainers.trained.explainer_places import find_explainer
from ttame.outputs import OwnOutputs
from ttame.text_classifiers.sequence_classifiers import load
from ttame.text_classifiers.text_classifier import TextClassifier


def load_explainer(
    place: str | Path,
    classifier: TextClassifier | None = None,
    *,
    allow_other_weights: bool = False,
) -> AttentionExplainer[TextClassifier]:
    """Load an explainer that :func:`ttame.text.train` made.

    Args:
        place: a bundled explainer's name, a folder, or a repository on the Hugging Face hub.
        classifier: that it explains; if not given, it is loaded by the name that it was trained
            with.
        allow_other_weights: see :func:`ttame.load_explainer`.

    Raises:
        ExplainerError: it explains photos, or the classifier must be passed.
        TtameError: as :func:`ttame.load_explainer` and :func:`ttame.text.load`.
    """
    if classifier is None:
        folder = find_explainer(place)
        saved = read_config(folder).classifier
        if saved.kind != "texts":
            raise ExplainerError(
                f"{folder} explains {saved.name}, a classifier of images",
                remedy="ttame.load_explainer(...)",
            )
        recipe = saved.recipe
        if recipe is None or saved.outputs == OwnOutputs.kind:
            raise ExplainerError(
                f"{folder} explains {saved.name}, which ttame cannot load by name",
                remedy="load_explainer(..., classifier=TextClassifier(model, tokenizer))",
            )
        classifier = load(recipe.name, class_names=recipe.class_names, outputs=saved.outputs)
    loaded: Any = load_for(place, classifier, allow_other_weights=allow_other_weights)
    explainer: AttentionExplainer[TextClassifier] = loaded
    return explainer
