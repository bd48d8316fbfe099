"""Invented evaluations: one as it really looks, and the odd ones."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from PIL import Image

from ttame.results.evaluation import (
    ColumnFacts,
    CurvePoint,
    Evaluation,
    MethodCost,
    MethodScores,
    RandomisationScore,
    Score,
)
from ttame.results.gallery_photo import GalleryPhoto

COLUMNS = (
    ColumnFacts(
        "average_drop@100", "Average Drop at 100 % kept", "average_drop", "lower", "%",
        "Chattopadhay et al., WACV 2018", "How much of the class's probability is lost.",
    ),
    ColumnFacts(
        "average_drop@15", "Average Drop at 15 % kept", "average_drop", "lower", "%",
        "Chattopadhay et al., WACV 2018", "How much of the class's probability is lost.",
    ),
    ColumnFacts(
        "increase@100", "Increase in Confidence at 100 % kept", "increase", "higher", "%",
        "Chattopadhay et al., WACV 2018", "How often the masked image is more certain.",
    ),
    ColumnFacts(
        "insertion", "Insertion", "insertion", "higher", "",
        "Petsiuk et al., BMVC 2018", "Probability while pixels appear, most relevant first.",
    ),
    ColumnFacts(
        "deletion", "Deletion", "deletion", "lower", "",
        "Petsiuk et al., BMVC 2018", "Probability while pixels vanish, most relevant first.",
    ),
    ColumnFacts(
        "road", "ROAD, most relevant first", "road_most_relevant_first", "lower", "%",
        "Rong et al., ICML 2022", "Share of images whose class survives the removal of pixels.",
    ),
    ColumnFacts(
        "sparseness", "Sparseness", "sparseness", "neither", "",
        "Chalasani et al., ICML 2020", "How concentrated a map is (Gini index).",
    ),
)  # fmt: skip

# name, title, family, quality in [0, 1], forward, backward, tail, milliseconds, megabytes
_METHODS = (
    ("explainers/t_tame_lite0", "T-TAME", "trained", 0.90, 1, 0, 0, 7.4, 21.5),
    ("grad_cam", "Grad-CAM", "class activation", 0.80, 1, 0, 1, 11.9, 34.1),
    ("grad_cam_plus_plus", "Grad-CAM++", "class activation", 0.78, 1, 0, 1, 12.6, 34.1),
    ("score_cam", "Score-CAM", "class activation", 0.88, 321, 0, 0, 1830.0, 212.0),
    ("rise", "RISE", "perturbation", 0.86, 1000, 0, 0, 5204.0, 233.0),
    ("integrated_gradients", "Integrated Gradients", "gradient", 0.45, 50, 50, 0, 702.0, 418.0),
    ("attention_rollout", "Attention Rollout", "attention", 0.30, 1, 0, 0, 9.1, 30.2),
    ("random", "Random map", "baseline", 0.35, 0, 0, 0, 0.05, 0.1),
    ("centre_gaussian", "Centre Gaussian", "baseline", 0.60, 0, 0, 0, 0.04, 0.1),
)


def realistic(n_methods: int = len(_METHODS)) -> Evaluation:
    """Nine methods, seven columns, three curves, costs, published numbers and sanity results."""
    methods = tuple(_method(*facts) for facts in _METHODS[:n_methods])
    return Evaluation(
        classifier="efficientnet_lite0",
        classifier_fingerprint="3b1f" * 16,
        data="../shared/data/imagenet-samples",
        data_fingerprint="9c0d" * 16,
        images=100,
        skipped=(("broken/half.jpg", "the file ends too early"),),
        protocol="t-tame",
        protocol_hash="0f3a9bd1c2e4",
        protocol_settings={"masked_in": "raw", "kept_shares": [1.0, 0.15], "seed": 0},
        protocol_words=(
            ("class", "the network's top-1"),
            ("mask", "soft, scaled on the map's own grid, multiplied with raw pixels"),
        ),
        columns=COLUMNS,
        methods=_ranked(methods),
        left_out={"raw_attention": "efficientnet_lite0 has no attention"},
        notes=("The sample images are not the 2000 images of the paper.",),
        machine="2 cores of an invented processor, torch 2.15",
        date="2026-11-21",
    )


def crowd(n_methods: int = 26) -> Evaluation:
    """As many methods as ``--methods all`` finds."""
    families = ("class activation", "perturbation", "gradient", "attention", "relevance")
    made = [
        _method(
            f"method_{number}",
            f"Method {number} of the Crowd",
            families[number % len(families)],
            0.3 + 0.6 * ((number * 7) % n_methods) / n_methods,
            1 + number, 0, 0, 3.0 * 1.4**number, 10.0 + number,
        )
        for number in range(n_methods)
    ]  # fmt: skip
    baselines = [_method(*facts) for facts in _METHODS[-2:]]
    return dataclasses.replace(realistic(), methods=_ranked((*made, *baselines)))


def tiny() -> Evaluation:
    """One method, one column, nothing else."""
    method = MethodScores(
        "grad_cam",
        "Grad-CAM",
        "class activation",
        {"insertion": Score(0.5, 0.4, 0.6, 1, 1.0, 3)},
        {},
        MethodCost(1, 0, 1, 12.0, 30.0),
    )
    return dataclasses.replace(
        realistic(), columns=COLUMNS[3:4], methods=(method,), left_out={}, notes=(), skipped=(),
        protocol_settings={}, images=3,
    )  # fmt: skip


def nothing_measured() -> Evaluation:
    """No method at all."""
    return dataclasses.replace(realistic(), methods=())


def unusual_names() -> Evaluation:
    """Names that would be markup, commands or pictures if nobody took care."""
    evil = "<script>alert('1')</script> & \"quoted\" 🦊"
    base = realistic()
    columns = tuple(
        dataclasses.replace(column, title=f"{evil} {number}", measures=evil, paper=evil, unit="<b>")
        for number, column in enumerate(base.columns)
    )
    methods = tuple(
        dataclasses.replace(
            method,
            name=f"{evil}/{number}",
            title=f"{evil} number {number} مرحبا",
            family=evil if number else "<i>",
            options={evil: [evil]},
        )
        for number, method in enumerate(base.methods)
    )
    return dataclasses.replace(
        base,
        classifier=evil,
        data="$(rm -rf ~)/" + evil,
        columns=columns,
        methods=methods,
        left_out={evil: evil},
        notes=(evil,),
        skipped=((evil, evil),),
        protocol=evil,
        protocol_words=((evil, evil),),
        protocol_settings={evil: evil},
        machine=evil,
    )


def missing_scores() -> Evaluation:
    """Scores, intervals, times and points of curves that are NaN or not there at all."""
    base = realistic()
    nan = math.nan
    first, second, third, *others = base.methods
    holes = (
        dataclasses.replace(first, scores={}, curves={}),
        dataclasses.replace(
            second,
            scores=dict.fromkeys(second.scores, Score(nan, nan, nan, 0, nan, 0)),
            curves={name: (CurvePoint(50, nan, nan, nan),) for name in second.curves},
            cost=MethodCost(1, nan, 0, nan, nan),
        ),
        dataclasses.replace(
            third,
            scores={
                key: dataclasses.replace(score, low=nan, high=nan, images=12)
                for key, score in third.scores.items()
            },
            sanity=RandomisationScore(nan, ((1, nan),), False),
        ),
    )
    return dataclasses.replace(base, methods=(*holes, *others))


def gallery(evaluation: Evaluation, n_photos: int = 3, side: int = 48) -> list[GalleryPhoto]:
    """Photos of noise with blobs on them; the last method's map is constant."""
    generator = np.random.default_rng(0)
    photos = []
    for number in range(n_photos):
        pixels = generator.integers(0, 255, (side, side + 16 * number, 3), dtype=np.uint8)
        maps = {
            method.name: np.zeros((7, 7))
            if place == len(evaluation.methods) - 1
            else generator.random((7, 7)) ** 3
            for place, method in enumerate(evaluation.methods)
        }
        photos.append(
            GalleryPhoto(
                pixels if number else Image.fromarray(pixels),
                f"folder/photo <{number}> 🐈.jpg",
                f"tabby & cat {number}",
                0.9 - number / 10,
                maps,
                {
                    method.name: {"average_drop@100": 10.0 + number, "insertion": 0.25}
                    for method in evaluation.methods
                },
                disagreement=0.8 - number / 10,
            )
        )
    return photos


def _method(
    name: str, title: str, family: str, quality: float, forward: int, backward: int, tail: int,
    milliseconds: float, megabytes: float,
) -> MethodScores:  # fmt: skip
    values = {
        "average_drop@100": 60 - 45 * quality,
        "average_drop@15": 99 - 30 * quality,
        "increase@100": 40 * quality,
        "insertion": 0.2 + 0.4 * quality,
        "deletion": 0.3 - 0.2 * quality,
        "road": 80 - 50 * quality,
        "sparseness": 0.3 + quality / 4,
    }
    spreads = {key: abs(value) * 0.06 for key, value in values.items()}
    scores = {
        key: Score(value, value - spreads[key], value + spreads[key], 0, 1.0, 100)
        for key, value in values.items()
    }
    curves = {
        "insertion": _curve(range(0, 101, 4), lambda share: quality * share**0.6),
        "deletion": _curve(range(0, 101, 4), lambda share: 0.9 * (1 - share) ** (1 + 6 * quality)),
        "road_most_relevant_first": _curve(
            (10, 20, 30, 40, 50, 70, 90), lambda share: 0.95 * (1 - share) ** (0.5 + 2 * quality)
        ),
    }
    similarity = 0.98 if name == "centre_gaussian" else 0.1 + quality / 10
    steps = tuple((5 * step, 1 - (1 - similarity) * step / 6) for step in range(7))
    return MethodScores(
        name,
        title,
        family,
        scores,
        curves,
        MethodCost(forward, backward, tail, milliseconds, megabytes),
        options={"masks": 1000, "seed": 0} if name == "rise" else {},
        published={"average_drop@100": 11.27} if name == "grad_cam" else {},
        no_evidence=3 if name == "grad_cam" else 0,
        sanity=RandomisationScore(similarity, steps, similarity < 0.5),
    )


def _curve(places, value) -> tuple[CurvePoint, ...]:  # type: ignore[no-untyped-def]
    points = ((place, float(value(place / 100))) for place in places)
    return tuple(CurvePoint(x, y, max(0.0, y - 0.03), y + 0.03) for x, y in points)


def _ranked(methods: tuple[MethodScores, ...]) -> tuple[MethodScores, ...]:
    """Give ranks, and p-values that fall with the distance from the best."""
    ranked = [dict(method.scores) for method in methods]
    for column in COLUMNS:
        if column.better == "neither":
            continue
        sign = -1 if column.better == "higher" else 1
        values = [sign * scores[column.key].value for scores in ranked]
        best = min(values)
        for scores, value in zip(ranked, values, strict=True):
            rank = 1 + sum(other < value for other in values)
            far = (value - best) / abs(best)
            scores[column.key] = dataclasses.replace(
                scores[column.key],
                rank=rank,
                p_value=1.0 if rank == 1 else (p_value := max(1e-4, 0.3 - 3 * far)),
                images_needed=0 if rank == 1 or p_value < 0.05 else round(157 + 100 * p_value),
            )
    return tuple(
        dataclasses.replace(method, scores=scores)
        for method, scores in zip(methods, ranked, strict=True)
    )
