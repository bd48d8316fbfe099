"""Which methods a refusal offers instead."""

from __future__ import annotations

from ttame.classifiers.any_classifier import Kind
from ttame.classifiers.targets import TargetKind

EXPLAINING: dict[Kind, str] = {
    "images": "grad_cam, integrated_gradients or rise",
    "texts": "transformer_attribution, integrated_gradients or occlusion",
}
"""Kind of classifier to methods that explain it; a test says so."""

TAKING_MORE: dict[TargetKind, str] = {
    "classes": "grad_cam",
    "weightings": "grad_cam, integrated_gradients or rise",
    "functions": "grad_cam, integrated_gradients or rise",
}
"""Kind of target to methods that take it, for every network of images; a test says so."""

TAKING_MORE_OF_TEXTS = "integrated_gradients, generic_attention or occlusion"
"""Methods for texts that take every kind of target; a test says so."""
