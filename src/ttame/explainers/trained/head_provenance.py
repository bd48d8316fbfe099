"""What tells two explainers of one method apart."""

from __future__ import annotations

from typing import Any

from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.networks.weights_files import weight_fingerprint


def full_provenance(explainer: Explainer) -> dict[str, Any]:
    """What an explainer's maps depend on, a trained head's weights included."""
    if not isinstance(explainer, AttentionExplainer):
        return dict(explainer.provenance())
    facts = {**explainer.provenance(), "head_fingerprint": weight_fingerprint(explainer.head)[:12]}
    if explainer.features_from is not None:
        facts["features_fingerprint"] = explainer.features_from.fingerprint()[:12]
    return facts
