"""Rows that the leaderboard's ``ttame evaluate`` has finished, lent to a few-shot study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.few_shot_plans import T_TAME
from benchmarks.few_shot_study import Rows, Study, on_images
from benchmarks.operating_points import ROOT, TRAINED
from ttame.datasets.photo_source import PhotoSource
from ttame.evaluation.row_store import RowStore
from ttame.evaluation.run_identity import known_methods
from ttame.evaluation.summary import MeasuredMethod

LEADERBOARDS = ROOT / "runs" / "leaderboard"


def lent_rows(study: Study, names: Sequence[str]) -> Rows:
    """Finished rows of the leaderboard: of the same network, photos, protocol and options.

    Trained explainers are never read from there.
    """
    folder = LEADERBOARDS / study.plan.leaderboard
    if not (folder / "evaluation.json").exists():
        return {}
    identity = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    protocol = f"{T_TAME.name} {T_TAME.hash}"
    same_network = identity["classifier_fingerprint"] == study.classifier.fingerprint()
    if not same_network or identity["protocol"] != protocol:
        return {}
    store, known = RowStore(folder), known_methods(folder)
    batches = -(-identity["images"] // identity["batch_size"])
    lent = {}
    for name in names:
        explainer = study.explainers.get(name)
        if explainer is None or explainer.card.family == "trained" or name not in known:
            continue
        same_options = known[name].provenance == plain(explainer.provenance())
        finished = len(store.finished(name)) == batches
        if finished and same_options and same_photos(store.photos(name), study.photos):
            lent[name] = MeasuredMethod(store, name)
    return lent


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(dict(facts), default=str))
    return found


def same_photos(keys: Mapping[int, str], photos: PhotoSource) -> bool:
    """Whether numbers mean the files of the same names, whatever folder the lists lie in."""
    return all(
        number < len(photos) and Path(key).name == Path(photos.key(number)).name
        for number, key in keys.items()
    )


def on_shared_images(trained: MeasuredMethod, names: Sequence[str], lent: Rows) -> Rows:
    """The trained explainer and the leaderboard's methods on the images that all of them have."""
    rows = {TRAINED: trained, **{name: lent[name] for name in names if name in lent}}
    shared = trained.images
    for method in rows.values():
        shared = np.intersect1d(shared, method.images)
    return {name: on_images(method, shared) for name, method in rows.items()}
