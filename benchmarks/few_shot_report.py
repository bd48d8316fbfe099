"""What the bundled few-shot explainers are worth: faithful, on the object, dependent, cheap?

    python -m benchmarks.few_shot_report [--model NAME] [--explainer FOLDER]
        [--photos N] [--images N] [--methods NAME,...] [--no-page]

Measures, by ``ttame.evaluate``, on photos that no training has seen: Average Drop, Increase in
Confidence, ROAD, insertion and deletion; the pointing game on annotated images; whether maps change
when the network is randomised; and what a map costs beside the methods with hundreds of passes.
Everything is kept in runs/few_shot_report, so that a run that was stopped goes on. The rows of a
trained explainer are kept under the SHA-256 of its weights, so that others are measured anew. Rows
of the methods with many passes are read from runs/leaderboard. Writes a section of BENCHMARKS.md.
"""

from __future__ import annotations

import argparse

from benchmarks.benchmark_page import write_section
from benchmarks.few_shot_measurements import measured
from benchmarks.few_shot_plans import PLANS
from benchmarks.few_shot_pointing_game import BOXES
from benchmarks.few_shot_section import section
from benchmarks.few_shot_study import new_study
from benchmarks.operating_points import REPORT_PHOTOS

IMAGES = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="efficientnet_lite0", choices=list(PLANS))
    parser.add_argument("--explainer", help="folder of the few-shot explainer; else the bundled")
    parser.add_argument("--photos", type=int, help="at most so many, for every metric")
    parser.add_argument("--images", type=int, default=IMAGES, help="annotated ones, at most")
    parser.add_argument("--methods", help="to compare with, separated by commas; else the plan's")
    parser.add_argument("--no-page", action="store_true", help="only print the section")
    options = parser.parse_args()
    for place in (REPORT_PHOTOS, BOXES):
        if not place.exists():
            raise SystemExit(f"{place} is missing: this benchmark needs ../shared/data")
    names = options.methods.split(",") if options.methods else None
    study = new_study(options.model, options.explainer, names, options.photos)
    body = section(study, measured(study, options.images))
    if options.no_page:
        print(body)
        return
    given = f" --explainer {options.explainer}" if options.explainer else ""
    write_section(
        f"few-shot-report-{options.model}",
        f"The few-shot explainer: {options.model}",
        f"python -m benchmarks.few_shot_report --model {options.model}{given}",
        body,
    )


if __name__ == "__main__":
    main()
