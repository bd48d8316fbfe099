"""Which methods a refusal offers instead."""

from __future__ import annotations

from typing import get_args

from ttame.classifiers.any_classifier import Kind
from ttame.classifiers.targets import TargetKind

EXPLAINING: dict[Kind, str] = {
    "images": "grad_cam, integrated_gradients or rise",
    "texts": "transformer_attribution, integrated_gradients or occlusion",
}
"""Kind of classifier to methods that explain it; a test says so."""

TAKING_MORE: dict[Kind, dict[TargetKind, str]] = {
    "images": {
        "classes": "grad_cam",
        "weightings": "grad_cam, integrated_gradients or rise",
        "functions": "grad_cam, integrated_gradients or rise",
    },
    "texts": dict.fromkeys(
        get_args(TargetKind), "integrated_gradients, generic_attention or occlusion"
    ),
}
"""Kind of classifier and of target to methods that take it, for every network; a test says so."""

WITHOUT_ATTENTION: dict[Kind, str] = {
    "images": "grad_cam, layer_cam, score_cam, recipro_cam, integrated_gradients or rise",
    "texts": "attn_lrp, integrated_gradients or occlusion",
}
"""Kind of classifier to methods that ask for no self-attention between all tokens."""

WITHOUT_RELEVANCE: dict[Kind, str] = {
    "images": "grad_cam, integrated_gradients, smooth_grad, occlusion or rise",
    "texts": "integrated_gradients or occlusion",
}
"""Kind of classifier to methods that ask for no rules of relevance."""
