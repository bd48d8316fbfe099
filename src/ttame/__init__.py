"""Explain any image classifier.

>>> import ttame
>>> explainer = ttame.load_explainer("efficientnet_lite0")        # or a folder you trained
>>> explanation = explainer("photo.jpg", classes="top3")          # doctest: +SKIP
>>> explanation.heatmaps()                                        # doctest: +SKIP

Every other method is made by its name, with the same call and the same result:

>>> grad_cam = ttame.make_explainer("grad_cam", explainer.classifier)
>>> grad_cam("photo.jpg", classes="top3")                         # doctest: +SKIP

Importing this package loads neither torch nor any other heavy library; the first use of a name
does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ttame.version import __version__

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.classifiers.known_classifiers import load_classifier
    from ttame.classifiers.targets import Target
    from ttame.classifiers.zero_shot import text_embeddings
    from ttame.errors import TtameError
    from ttame.evaluation.evaluate_methods import evaluate
    from ttame.explainers.contract.explainer import Explainer
    from ttame.explainers.contract.method_card import MethodCard
    from ttame.explainers.known_explainers import EXPLAINERS, make_explainer, methods_for
    from ttame.explainers.trained.attention_explainer import (
        AttentionExplainer,
        new_attention_explainer,
    )
    from ttame.explainers.trained.attention_head import AttentionHead
    from ttame.explainers.trained.explainer_folder import (
        load_explainer,
        push_to_hub,
        save_explainer,
    )
    from ttame.explainers.trained.head_settings import HeadSettings
    from ttame.explainers.trained.known_head_settings import head_settings
    from ttame.exporting.explainable_classifier import ExplainableClassifier
    from ttame.exporting.export_explainer import export_explainer
    from ttame.exporting.exported_explainer import ExportedExplainer, load_exported
    from ttame.features.feature_taps import FeatureTap
    from ttame.images.preprocessing import Preprocessing
    from ttame.images.preprocessing_changes import PreprocessingChanges
    from ttame.networks.box_score import ScoreOfBox
    from ttame.networks.region_scores import ScoresOfRegions, predicted_regions
    from ttame.networks.value_scores import ValueAbove
    from ttame.outputs import Outputs, OwnOutputs
    from ttame.reporting.evaluation_report import write_evaluation_report
    from ttame.reporting.explain import explain
    from ttame.reporting.explain_to_shards import explain_to_shards
    from ttame.results.evaluation import Evaluation
    from ttame.results.explained_photos import ExplainedPhotos
    from ttame.results.explanation import Explanation
    from ttame.results.explanation_shards import ExplanationShards, load_explanations
    from ttame.training.train_explainer import train_explainer
    from ttame.training.training_settings import TrainingSettings, training_settings

_HOMES = {
    "AttentionExplainer": "ttame.explainers.trained.attention_explainer",
    "AttentionHead": "ttame.explainers.trained.attention_head",
    "BandPhoto": "ttame.images.band_photo",
    "Classifier": "ttame.classifiers.classifier",
    "EXPLAINERS": "ttame.explainers.known_explainers",
    "Evaluation": "ttame.results.evaluation",
    "ExplainableClassifier": "ttame.exporting.explainable_classifier",
    "ExplainedPhotos": "ttame.results.explained_photos",
    "Explainer": "ttame.explainers.contract.explainer",
    "Explanation": "ttame.results.explanation",
    "ExplanationShards": "ttame.results.explanation_shards",
    "ExportedExplainer": "ttame.exporting.exported_explainer",
    "FeatureTap": "ttame.features.feature_taps",
    "HeadSettings": "ttame.explainers.trained.head_settings",
    "MethodCard": "ttame.explainers.contract.method_card",
    "Outputs": "ttame.outputs",
    "OwnOutputs": "ttame.outputs",
    "Preprocessing": "ttame.images.preprocessing",
    "PreprocessingChanges": "ttame.images.preprocessing_changes",
    "ScoreOfBox": "ttame.networks.box_score",
    "ScoresOfRegions": "ttame.networks.region_scores",
    "Target": "ttame.classifiers.targets",
    "TrainingSettings": "ttame.training.training_settings",
    "TtameError": "ttame.errors",
    "ValueAbove": "ttame.networks.value_scores",
    "evaluate": "ttame.evaluation.evaluate_methods",
    "explain": "ttame.reporting.explain",
    "explain_to_shards": "ttame.reporting.explain_to_shards",
    "export_explainer": "ttame.exporting.export_explainer",
    "head_settings": "ttame.explainers.trained.known_head_settings",
    "load_classifier": "ttame.classifiers.known_classifiers",
    "load_explainer": "ttame.explainers.trained.explainer_folder",
    "load_explanations": "ttame.results.explanation_shards",
    "load_exported": "ttame.exporting.exported_explainer",
    "make_explainer": "ttame.explainers.known_explainers",
    "methods_for": "ttame.explainers.known_explainers",
    "new_attention_explainer": "ttame.explainers.trained.attention_explainer",
    "predicted_regions": "ttame.networks.region_scores",
    "push_to_hub": "ttame.explainers.trained.explainer_folder",
    "save_explainer": "ttame.explainers.trained.explainer_folder",
    "text_embeddings": "ttame.classifiers.zero_shot",
    "train_explainer": "ttame.training.train_explainer",
    "training_settings": "ttame.training.training_settings",
    "write_evaluation_report": "ttame.reporting.evaluation_report",
}

# In the order of dir(), which ruff would have otherwise.
__all__ = [  # noqa: RUF022
    "AttentionExplainer",
    "AttentionHead",
    "BandPhoto",
    "Classifier",
    "EXPLAINERS",
    "Evaluation",
    "ExplainableClassifier",
    "ExplainedPhotos",
    "Explainer",
    "Explanation",
    "ExplanationShards",
    "ExportedExplainer",
    "FeatureTap",
    "HeadSettings",
    "MethodCard",
    "Outputs",
    "OwnOutputs",
    "Preprocessing",
    "PreprocessingChanges",
    "ScoreOfBox",
    "ScoresOfRegions",
    "Target",
    "TrainingSettings",
    "TtameError",
    "ValueAbove",
    "__version__",
    "evaluate",
    "explain",
    "explain_to_shards",
    "export_explainer",
    "head_settings",
    "load_classifier",
    "load_explainer",
    "load_explanations",
    "load_exported",
    "make_explainer",
    "methods_for",
    "new_attention_explainer",
    "predicted_regions",
    "push_to_hub",
    "save_explainer",
    "text_embeddings",
    "train_explainer",
    "training_settings",
    "write_evaluation_report",
]


_ROOMS = ("compat", "explainers", "metrics", "text")
"""Packages and modules that are reached as ``ttame.compat`` without an import of their own."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"ttame.{name}")
    raise AttributeError(f"module 'ttame' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
