"""Every number that the few-shot report shows: read where it is kept, else measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from benchmarks.compared_columns import ComparedColumn, compared
from benchmarks.few_shot_plans import BASELINES, COST, CURVES, MASKS, POINTING, ROAD
from benchmarks.few_shot_pointing_game import pointing_rows
from benchmarks.few_shot_study import Rows, Study, measure
from benchmarks.leaderboard_rows import lent_rows, on_shared_images
from benchmarks.operating_points import TRAINED, kept_name
from ttame.evaluation.measuring import spread
from ttame.evaluation.sanity import sanity_scores
from ttame.evaluation.summary import cost_of
from ttame.results.evaluation import MethodCost, RandomisationScore

SANITY_PHOTOS = 16
COST_PHOTOS = 4


@dataclasses.dataclass(frozen=True)
class Found:
    """Everything that the section shows.

    Attributes:
        masks: columns of Average Drop, Increase in Confidence, mean map.
        order: columns of ROAD, insertion, deletion.
        read: columns of the methods of the leaderboard, on its photos.
        missing: methods that the leaderboard should have and has not.
        pointing: columns of the pointing game, on all images.
        recognised: the same where the network's first class is the labelled one.
        sanity: method to its randomisation check.
        costs: method to the cost of a map.
    """

    masks: list[ComparedColumn]
    order: list[ComparedColumn]
    read: list[ComparedColumn]
    missing: list[str]
    pointing: list[ComparedColumn]
    recognised: list[ComparedColumn]
    sanity: Mapping[str, RandomisationScore]
    costs: Mapping[str, MethodCost]


def measured(study: Study, images: int) -> Found:
    """Measure whatever is not measured yet."""
    plan = study.plan
    posthoc = (*plan.rivals, *plan.others)
    lent = lent_rows(study, [*posthoc, *plan.read_rivals, *plan.costly])
    masks = measure(study, study.photos, MASKS, study.only([*posthoc, *BASELINES]), plan.photos)
    road = road_rows(study, study.only(posthoc), lent)
    curves = measure(study, study.photos, CURVES, study.only(posthoc), plan.curve_photos)
    pointing, recognised = pointing_rows(study, study.only([*posthoc, *BASELINES]), images)
    read = [name for name in (*plan.costly, *plan.read_rivals) if name in study.explainers]
    return Found(
        masks=compared(masks, MASKS),
        order=[*compared(road, ROAD), *compared(curves, CURVES)],
        read=[
            column
            for rows, part in ((masks, MASKS), (road, ROAD))
            for column in compared(on_shared_images(rows[TRAINED], read, lent), part)
        ],
        missing=[name for name in read if name not in lent],
        pointing=compared(pointing, POINTING),
        recognised=compared(recognised, POINTING),
        sanity=sanity_of(study),
        costs=costs_of(study),
    )


def road_rows(study: Study, names: Sequence[str], lent: Rows) -> Rows:
    """Read from the leaderboard what it has of the same photos, and measure the rest."""
    count = study.plan.road_photos
    numbers = spread(len(study.photos), count)
    read = {name: lent[name] for name in names if name in lent}
    read = {name: rows for name, rows in read.items() if rows.images.tolist() == numbers}
    own = measure(study, study.photos, ROAD, [name for name in names if name not in read], count)
    return {name: own[name] if name in own else read[name] for name in names}


def sanity_of(study: Study) -> dict[str, RandomisationScore]:
    """Randomise the network under some methods; the scores stand beside the masks' rows."""
    names = study.only(study.plan.checked)
    count = study.plan.photos
    measure(study, study.photos, MASKS, names, count, sanity_images=min(SANITY_PHOTOS, count))
    scores = sanity_scores(study.folder / f"{MASKS.name}-{count}")
    return {name: scores[kept_name(name, study.explainers[name])] for name in names}


def costs_of(study: Study) -> dict[str, MethodCost]:
    """Passes and milliseconds of one photo at a time, all methods in one go.

    The folder is named after the trained explainer, so that a ratio has both times of one run.
    """
    names = study.only([*study.plan.costly, "grad_cam"])
    folder = f"cost-{kept_name(TRAINED, study.explainers[TRAINED])}-{COST_PHOTOS}"
    rows = measure(study, study.photos, COST, names, COST_PHOTOS, folder=folder, batch_size=1)
    return {name: cost_of(method.facts) for name, method in rows.items()}
