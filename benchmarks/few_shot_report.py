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
import copy
import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ttame
from benchmarks.benchmark_page import table, write_section
from benchmarks.operating_points import REPORT_PHOTOS, TRAINED, chosen_explainer, kept_name
from ttame.atomic_writing import write_json
from ttame.classifiers.classifier import Classifier
from ttame.datasets.annotations import fingerprint_of, open_annotations
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.evaluation.evaluate_methods import Silence, evaluate
from ttame.evaluation.evaluation_run import spread
from ttame.evaluation.paired_statistics import corrected
from ttame.evaluation.row_store import RowStore
from ttame.evaluation.run_identity import known_methods
from ttame.evaluation.sanity import sanity_scores
from ttame.evaluation.summary import MeasuredMethod, cost_of, scores_of
from ttame.explainers.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer
from ttame.metrics.known_metrics import columns_of, known_metrics
from ttame.metrics.known_protocols import known_protocol
from ttame.metrics.protocol import Protocol
from ttame.reporting.written_values import enumeration, number_writer
from ttame.results.evaluation import MethodCost, RandomisationScore

HERE = Path(__file__).parent
ROOT = HERE.parent
BOXES = ROOT.parent / "shared" / "data" / "tiny-imagenet-boxes"
FOLDER = ROOT / "runs" / "few_shot_report"
LEADERBOARDS = ROOT / "runs" / "leaderboard"
IMAGES = 300
SANITY_PHOTOS = 16
COST_PHOTOS = 4
LEVEL = 0.05
RISE_MASKS = 1000
COSTLY = ("score_cam", "ablation_cam", "rise")
"""Methods with hundreds of passes, which a single pass should reach."""

T_TAME, RISE = known_protocol("t-tame"), known_protocol("rise")


@dataclasses.dataclass(frozen=True)
class Part:
    """Metrics that are measured on the same photos."""

    name: str
    protocol: Protocol
    metrics: tuple[str, ...]


MASKS = Part("masks", T_TAME, ("average_drop", "increase_in_confidence", "mean_map"))
ROAD = Part("road", T_TAME, ("road_most_relevant_first", "road_least_relevant_first"))
CURVES = Part("curves", RISE, RISE.metrics)
POINTING = Part(
    "pointing",
    dataclasses.replace(T_TAME, name="pointing-game", explained_class="label"),
    ("pointing_game", "energy_inside"),
)
COST = Part("cost", T_TAME, ("mean_map",))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured for a classifier.

    Attributes:
        leaderboard: folder of the ``ttame evaluate`` whose rows are read.
        rivals: methods that the trained explainer should beat on soft masks.
        read_rivals: those whose rows are only read from the leaderboard, as those of ``COSTLY``.
        others: what stands beside them.
        order_rivals: methods that it should beat on the metrics of ``ordering``.
        ordering: metrics of the order of places.
        checked: methods whose network is randomised too.
        aims: column to the number that it should reach.
        photos: for Average Drop and Increase in Confidence.
        road_photos: for ROAD; as many as the leaderboard has lets its rows be read.
        curve_photos: for insertion and deletion.
    """

    leaderboard: str
    rivals: tuple[str, ...]
    read_rivals: tuple[str, ...]
    others: tuple[str, ...]
    order_rivals: tuple[str, ...]
    ordering: tuple[str, ...]
    checked: tuple[str, ...]
    aims: Mapping[str, float]
    photos: int
    road_photos: int
    curve_photos: int


BASELINES = ("random", "centre_gaussian")
TRANSFORMER_RIVALS = (
    "transformer_attribution",
    "generic_attention",
    "attention_rollout",
    "vit_recipro_cam",
    "grad_cam",
)
PLANS = {
    "efficientnet_lite0": Plan(
        leaderboard="lite0",
        rivals=(
            "grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam", "layer_cam", "cam",
            "eigen_cam", "recipro_cam", "iia",
        ),
        read_rivals=("input_x_gradient", "integrated_gradients", "smooth_grad"),
        others=("t_tame",),
        order_rivals=("grad_cam",),
        ordering=(*ROAD.metrics, *CURVES.metrics),
        checked=("t_tame", "grad_cam", "cam", "centre_gaussian"),
        aims={
            "average_drop@100": 12,
            "average_drop@50": 35,
            "average_drop@15": 80,
            "increase_in_confidence@100": 42,
            "increase_in_confidence@50": 24,
            "increase_in_confidence@15": 4,
        },
        photos=200,
        road_photos=200,
        curve_photos=30,
    ),
    "hybrid_vit_lite0": Plan(
        leaderboard="hybrid_vit",
        rivals=TRANSFORMER_RIVALS,
        read_rivals=(),
        others=("t_tame", "grad_cam_plus_plus", "legrad"),
        order_rivals=TRANSFORMER_RIVALS,
        ordering=ROAD.metrics,
        checked=("t_tame", "grad_cam", "vit_recipro_cam", "centre_gaussian"),
        aims={},
        photos=200,
        road_photos=100,
        curve_photos=10,
    ),
}  # fmt: skip

Rows = dict[str, MeasuredMethod]
"""Method to what was measured of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """A classifier, its plan, and the explainers that are compared.

    Attributes:
        classifier: the explained network.
        plan: what is measured.
        explainers: method to explainer, the trained one first.
        photos: that no training has seen.
        folder: of everything that is kept.
    """

    classifier: Classifier
    plan: Plan
    explainers: Mapping[str, Explainer]
    photos: PhotoSource
    folder: Path

    def only(self, names: Sequence[str]) -> list[str]:
        """The trained explainer, and those of ``names`` that are compared."""
        return [TRAINED, *(name for name in names if name in self.explainers and name != TRAINED)]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A method's number, its interval, and the test against the trained explainer.

    Attributes:
        behind: by how much the trained explainer's mean is worse; negative where it is better.
        p_value: corrected; 1 for the trained explainer itself.
    """

    value: float
    low: float
    high: float
    images: int
    behind: float
    p_value: float

    @property
    def told_apart(self) -> bool:
        return self.p_value < LEVEL


@dataclasses.dataclass(frozen=True)
class ComparedColumn:
    """A column of a table: method to cell."""

    key: str
    metric: str
    title: str
    better: str
    unit: str
    cells: Mapping[str, Cell]

    def words(self, value: float) -> str:
        return f"{value:.1f}" if self.unit == "%" else f"{value:.3f}"


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
    write_section(
        f"few-shot-report-{options.model}",
        f"The few-shot explainer: {options.model}",
        f"python -m benchmarks.few_shot_report --model {options.model}",
        body,
    )


def new_study(
    model: str, folder: str | None, names: Sequence[str] | None, photos: int | None
) -> Study:
    """Load everything; ``names`` and ``photos`` make less of it."""
    classifier = ttame.load_classifier(model)
    plan = PLANS[model]
    if photos:
        plan = dataclasses.replace(
            plan,
            photos=min(photos, plan.photos),
            road_photos=min(photos, plan.road_photos),
            curve_photos=min(photos, plan.curve_photos),
        )
    wanted = names or [*plan.rivals, *plan.others, *BASELINES, *plan.read_rivals, *COSTLY]
    explainers = {TRAINED: chosen_explainer(TRAINED, classifier, folder)}
    for name in (name for name in wanted if name != TRAINED):
        settings: dict[str, Any] = {"masks": RISE_MASKS} if name == "rise" else {}
        explainers[name] = make_explainer(name, classifier, **settings)
    kept = FOLDER / f"{model}-{classifier.fingerprint()[:8]}"
    kept.mkdir(parents=True, exist_ok=True)
    return Study(classifier, plan, explainers, open_photos(REPORT_PHOTOS), kept)


def measured(study: Study, images: int) -> Found:
    """Measure whatever is not measured yet."""
    plan = study.plan
    posthoc = (*plan.rivals, *plan.others)
    lent = lent_rows(study, [*posthoc, *plan.read_rivals, *COSTLY])
    masks = measure(study, MASKS, study.only([*posthoc, *BASELINES]), plan.photos)
    road = road_rows(study, study.only(posthoc), lent)
    curves = measure(study, CURVES, study.only(posthoc), plan.curve_photos)
    pointing, recognised = pointing_rows(study, study.only([*posthoc, *BASELINES]), images)
    read = [name for name in (*COSTLY, *plan.read_rivals) if name in study.explainers]
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


def measure(
    study: Study,
    part: Part,
    names: Sequence[str],
    count: int,
    *,
    folder: str = "",
    photos: PhotoSource | None = None,
    **options: Any,
) -> Rows:
    """Evaluate what is not finished, and read it all.

    Args:
        study: what is compared.
        part: what is measured.
        names: of methods.
        count: of photos, evenly spread.
        folder: where rows are kept; named after the part if not given.
        photos: those of the study if not given.
        **options: of :func:`ttame.evaluate`.
    """
    out = study.folder / (folder or f"{part.name}-{count}")
    labels = {name: kept_name(name, study.explainers[name]) for name in names}
    evaluate(
        study.classifier,
        photos or study.photos,
        {labels[name]: study.explainers[name] for name in names},
        out,
        protocol=part.protocol,
        metrics=part.metrics,
        limit=count,
        resume=True,
        listener=Progress(part.name),
        **options,
    )
    store = RowStore(out)
    return {name: MeasuredMethod(store, label) for name, label in labels.items()}


class Progress(Silence):
    """Prints which method starts, and when."""

    def __init__(self, part: str) -> None:
        self._part = part

    def begin(self, method: str, images: int, finished: int) -> None:
        """See :class:`ttame.evaluation.evaluation_run.Listener`."""
        if finished < images:
            self._say(f"{method}, {finished} of {images} images finished")

    def randomising(self, method: str) -> None:
        """See :class:`ttame.evaluation.evaluation_run.Listener`."""
        self._say(f"{method} with a randomised network")

    def _say(self, words: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self._part}: {words}", flush=True)


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


def road_rows(study: Study, names: Sequence[str], lent: Rows) -> Rows:
    """Read from the leaderboard what it has of the same photos, and measure the rest."""
    count = study.plan.road_photos
    numbers = spread(len(study.photos), count)
    read = {name: lent[name] for name in names if name in lent}
    read = {name: rows for name, rows in read.items() if rows.images.tolist() == numbers}
    own = measure(study, ROAD, [name for name in names if name not in read], count)
    return {name: own[name] if name in own else read[name] for name in names}


def on_shared_images(trained: MeasuredMethod, names: Sequence[str], lent: Rows) -> Rows:
    """The trained explainer and the leaderboard's methods on the images that all of them have."""
    rows = {TRAINED: trained, **{name: lent[name] for name in names if name in lent}}
    shared = trained.images
    for method in rows.values():
        shared = np.intersect1d(shared, method.images)
    return {name: on_images(method, shared) for name, method in rows.items()}


def on_images(method: MeasuredMethod, numbers: np.ndarray) -> MeasuredMethod:
    """The rows of some images only."""
    chosen = np.isin(method.images, numbers)
    part = copy.copy(method)
    part.images, part.classes = method.images[chosen], method.classes[chosen]
    part.values = {key: values[chosen] for key, values in method.values.items()}
    return part


def pointing_rows(study: Study, names: Sequence[str], limit: int) -> tuple[Rows, Rows]:
    """Rows of annotated images: of all, and of those whose labelled class the network names."""
    images = annotated_images(study)
    images = [images[place] for place in spread(len(images), limit)]
    listed = study.folder / f"pointing-{len(images)}.txt"
    lines = (
        f"{os.path.relpath(BOXES / 'images' / i.file, study.folder)} {i.label}" for i in images
    )
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    annotations = BOXES / "annotations.json"
    rows = measure(
        study,
        POINTING,
        names,
        len(images),
        photos=open_photos(listed),
        targets=open_annotations(
            annotations, study.classifier.preprocessing, study.classifier.class_names
        ),
        annotations=fingerprint_of(annotations),
    )
    named = np.array([place for place, image in enumerate(images) if image.rank == 0])
    return rows, {name: on_images(method, named) for name, method in rows.items()}


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """A file with one box, its class, and how many classes the network finds likelier."""

    file: str
    label: int
    rank: int


def annotated_images(study: Study, largest: float = 0.5, worst: int = 4) -> list[AnnotatedImage]:
    """Those whose box covers less than half and whose class is among the network's first five.

    A map's maximum says little where the box is the picture, or where the network does not see the
    object. Ranks are kept.
    """
    kept = study.folder / "annotated.json"
    if not kept.exists():
        listed = boxed_files(json.loads((BOXES / "annotations.json").read_text()), largest)
        ranks = ranks_of(study.classifier, [BOXES / "images" / file for file, _ in listed],
                         [label for _, label in listed])  # fmt: skip
        write_json(
            kept, {"images": [[*pair, rank] for pair, rank in zip(listed, ranks, strict=True)]}
        )
    images = [AnnotatedImage(*entry) for entry in json.loads(kept.read_text())["images"]]
    return [image for image in images if image.rank <= worst]


def boxed_files(coco: Mapping[str, Any], largest: float) -> list[tuple[str, int]]:
    """File and class of the images whose box covers less than a share of the picture."""
    images = {image["id"]: image for image in coco["images"]}
    classes = {entry["id"]: entry["imagenet1k_index"] for entry in coco["categories"]}
    found = []
    for entry in coco["annotations"]:
        image = images[entry["image_id"]]
        covered = entry["bbox"][2] * entry["bbox"][3] / (image["width"] * image["height"])
        if covered < largest:
            found.append((image["file_name"], classes[entry["category_id"]]))
    return found


@torch.no_grad()
def ranks_of(
    classifier: Classifier, files: Sequence[Path], labels: Sequence[int], batch: int = 8
) -> list[int]:
    """How many classes the network finds likelier than the labelled one."""
    fast = classifier.for_many_passes()
    ranks = []
    for start in range(0, len(files), batch):
        logits = fast.logits(classifier.prepare(list(files[start : start + batch])))
        own = logits.gather(1, torch.tensor(labels[start : start + batch])[:, None])
        ranks += (logits > own).sum(dim=1).tolist()
    return ranks


def sanity_of(study: Study) -> dict[str, RandomisationScore]:
    """Randomise the network under some methods; the scores stand beside the masks' rows."""
    names = study.only(study.plan.checked)
    count = study.plan.photos
    measure(study, MASKS, names, count, sanity_images=min(SANITY_PHOTOS, count))
    scores = sanity_scores(study.folder / f"{MASKS.name}-{count}")
    return {name: scores[kept_name(name, study.explainers[name])] for name in names}


def costs_of(study: Study) -> dict[str, MethodCost]:
    """Passes and milliseconds of one photo at a time, all methods in one go.

    The folder is named after the trained explainer, so that a ratio has both times of one run.
    """
    names = study.only([*COSTLY, "grad_cam"])
    folder = f"cost-{kept_name(TRAINED, study.explainers[TRAINED])}-{COST_PHOTOS}"
    rows = measure(study, COST, names, COST_PHOTOS, folder=folder, batch_size=1)
    return {name: cost_of(method.facts) for name, method in rows.items()}


def compared(rows: Rows, part: Part) -> list[ComparedColumn]:
    """Columns of a part: intervals, and paired tests of the trained explainer against each method.

    Holm's correction is over the methods of a column.
    """
    columns = columns_of(known_metrics(part.metrics), part.protocol)
    found = []
    for key, (metric, column) in columns.items():
        pairs = {
            name: scores_of([rows[TRAINED], method], metric, column)
            for name, method in rows.items()
        }
        labels = {name: method.label for name, method in rows.items()}
        others = [name for name in pairs if name != TRAINED and labels[name] in pairs[name]]
        own = pairs[TRAINED].get(labels[TRAINED])
        if own is None:
            continue
        # Of a pair, the better one has p = 1.
        raw = [min(score.p_value for score in pairs[name].values()) for name in others]
        p_values = {TRAINED: 1.0, **dict(zip(others, corrected(raw), strict=True))}
        sign = -1 if metric.better == "higher" else 1
        cells = {}
        for name, p_value in p_values.items():
            score = pairs[name][labels[name]]
            behind = sign * (own.value - score.value)
            cells[name] = Cell(score.value, score.low, score.high, score.images, behind, p_value)
        found.append(
            ComparedColumn(key, metric.name, column.title, metric.better, metric.unit, cells)
        )
    return found


def section(study: Study, found: Found) -> str:
    """The section of BENCHMARKS.md."""
    explainer = kept_name(TRAINED, study.explainers[TRAINED]).removeprefix(f"{TRAINED}-")
    parts = [
        f"Few-shot explainer `{explainer}` (SHA-256 of its weights and settings). {INTRODUCTION}",
        "### What was aimed at",
        claims(study.plan, found),
        "### Soft masks",
        "Photos: benchmarks/photo_splits/report-200.txt, which no training has seen. The mean map "
        "says how much of the picture a method's maps keep: one that hides nothing has an Average "
        "Drop near 0.",
        score_table(found.masks),
        "### Order of places",
        "ROAD, insertion and deletion use nothing but the order of a map's values.",
        score_table(found.order),
        "### Beside methods with many passes",
        f"RISE with {RISE_MASKS} masks. Their rows are those of `ttame evaluate` for "
        "docs/leaderboard.md; the few-shot explainer on the same photos.",
        score_table(found.read),
        *missing_in_words(study, found.missing),
        "### Pointing game",
        "Images of ../shared/data/tiny-imagenet-boxes whose box covers less than half of the "
        "picture and whose labelled class is among the network's first five; the labelled class "
        "is explained. Pointing game: mean over classes.",
        score_table(found.pointing),
        "Of these, the images whose labelled class is the network's first:",
        score_table(found.recognised),
        "### With a randomised network",
        f"Rank correlation with the original maps while ever more layers are random, from the "
        f"output on, over {min(SANITY_PHOTOS, study.plan.photos)} photos. Maps that do not change "
        "show the picture and not the network.",
        sanity_table(found.sanity),
        "### Cost of a map",
        f"One photo at a time, {COST_PHOTOS} photos of which the first warms up, all methods in "
        "one run; medians.",
        cost_table(found.costs),
    ]
    return "\n\n".join(part for part in parts if part)


INTRODUCTION = (
    "Every cell: mean over images, 95 % bootstrap interval, and p of a paired permutation test "
    f"against `{TRAINED}`, with Holm's correction over the methods of the column. *Better* and "
    f"*worse* than `{TRAINED}` stand where p < {LEVEL}. ↓ lower is better, ↑ higher is better."
)
_ARROWS = {"lower": " ↓", "higher": " ↑", "neither": ""}


def score_table(columns: Sequence[ComparedColumn]) -> str:
    """Methods down, columns across; empty where nothing was measured."""
    names = list(dict.fromkeys(name for column in columns for name in column.cells))
    if len(names) < 2:
        return ""
    header = ["method", *map(heading, columns)]
    rows = [[f"`{name}`", *(cell_in_words(column, name) for column in columns)] for name in names]
    return table(header, rows)


def heading(column: ComparedColumn) -> str:
    counts = sorted({cell.images for cell in column.cells.values()})
    return f"{column.title}{_ARROWS[column.better]}<br>{'/'.join(map(str, counts))} images"


def cell_in_words(column: ComparedColumn, name: str) -> str:
    """Number, interval, test."""
    cell = column.cells.get(name)
    if cell is None:
        return ""
    lines = [column.words(cell.value), f"{column.words(cell.low)} to {column.words(cell.high)}"]
    if name != TRAINED and column.better != "neither":
        standing = ("better, " if cell.behind > 0 else "worse, ") if cell.told_apart else ""
        lines.append(f"{standing}p {cell.p_value:.3f}")
    return "<br>".join(lines)


def claims(plan: Plan, found: Found) -> str:
    """What was aimed at as a list: whether it holds, and the number or the exceptions."""
    masks = [column for column in found.masks if column.better != "neither"]
    ordering = [column for column in found.order if column.metric in plan.ordering]
    read = [column for column in found.read if column.better != "neither"]
    read_masks = [column for column in read if column.metric in MASKS.metrics]
    pointing = [column for column in found.pointing if column.metric == "pointing_game"]
    costly = cells_of(read, COSTLY)
    everyone = (*plan.rivals, *plan.others, *BASELINES)
    lines = [aim(column, plan.aims[column.key]) for column in masks if column.key in plan.aims]
    lines += [
        comparison(
            f"Soft masks: a better mean than {in_code(plan.rivals + plan.read_rivals)}",
            cells_of(masks, plan.rivals) + cells_of(read_masks, plan.read_rivals),
        ),
        comparison(
            f"Order of places: a better mean than {in_code(plan.order_rivals)}",
            cells_of(ordering, plan.order_rivals),
        ),
        comparison(
            "Pointing game: no other method has a better mean", cells_of(pointing, everyone)
        ),
        claim(
            f"Soft masks and ROAD: better than {in_code(COSTLY)}, or not told apart",
            [compared.words for compared in costly if compared.behind and compared.told_apart]
            + [f"`{name}` is not measured" for name in found.missing if name in COSTLY],
        ),
        claim(f"A hundredth of the time of {in_code(COSTLY)}", dear(found.costs)),
    ]
    return "\n".join(lines)


def in_code(methods: Sequence[str]) -> str:
    return enumeration(f"`{name}`" for name in methods)


def aim(column: ComparedColumn, number: float) -> str:
    """One figure and what it should be."""
    value = column.cells[TRAINED].value
    lower = column.better == "lower"
    holds = value <= number if lower else value >= number
    words = f"{column.title} {'at most' if lower else 'at least'} {number:g}"
    return f"- **{'yes' if holds else 'no'}**: {words}: {column.words(value)}."


def comparison(words: str, cells: Sequence[Against]) -> str:
    """A claim about means, and how often the test says it too."""
    if not cells:
        return f"- **not measured**: {words}."
    apart = [cell.behind for cell in cells if cell.told_apart]
    return (
        f"{claim(words, [cell.words for cell in cells if cell.behind])} Told apart as better in "
        f"{apart.count(False)}, as worse in {apart.count(True)} of {len(cells)} tests."
    )


def claim(words: str, exceptions: Sequence[str]) -> str:
    if not exceptions:
        return f"- **yes**: {words}."
    return f"- **no**: {words}. Not so: {'; '.join(exceptions)}."


@dataclasses.dataclass(frozen=True)
class Against:
    """The trained explainer against one method in one column.

    Attributes:
        words: the method, the column, both means and p.
        behind: whether the trained explainer's mean is worse.
        told_apart: whether the test tells them apart.
    """

    words: str
    behind: bool
    told_apart: bool


def cells_of(columns: Sequence[ComparedColumn], methods: Sequence[str]) -> list[Against]:
    """Every measured pair of a column and a method."""
    return [
        Against(
            f"`{name}`, {column.title}: {column.words(cell.value)} against "
            f"{column.words(column.cells[TRAINED].value)}, p {cell.p_value:.3f}",
            cell.behind > 0,
            cell.told_apart,
        )
        for column in columns
        for name, cell in column.cells.items()
        if name in methods
    ]


def dear(costs: Mapping[str, MethodCost]) -> list[str]:
    """The methods with many passes that take less than a hundred times as long."""
    own = costs[TRAINED].milliseconds
    unmeasured = [f"`{name}` is not measured" for name in COSTLY if name not in costs]
    ratios = {name: costs[name].milliseconds / own for name in COSTLY if name in costs}
    return [
        f"`{name}` takes {ratio:.1f} times as long" for name, ratio in ratios.items() if ratio < 100
    ] + unmeasured


def missing_in_words(study: Study, missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    folder = f"runs/leaderboard/{study.plan.leaderboard}"
    return [f"Not finished in {folder}, and so not here: {', '.join(missing)}."]


def sanity_table(scores: Mapping[str, RandomisationScore]) -> str:
    """Similarities, stage by stage."""
    stages = [layers for layers, _ in next(iter(scores.values())).steps]
    write = number_writer([1.0])
    header = ["method", *(f"{layers} random" for layers in stages), "changes"]
    rows = [
        [
            f"`{name}`",
            *(write(similarity) for _, similarity in score.steps),
            "yes" if score.passed else "no",
        ]
        for name, score in scores.items()
    ]
    return table(header, rows)


def cost_table(costs: Mapping[str, MethodCost]) -> str:
    """Passes, milliseconds, and their ratio to the trained explainer's."""
    own = costs[TRAINED].milliseconds
    header = [
        "method", "forward", "backward", "ends of the network", "ms", f"ms / ms of `{TRAINED}`",
    ]  # fmt: skip
    rows = [
        [
            f"`{name}`",
            f"{cost.forward:.0f}",
            f"{cost.backward:.0f}",
            f"{cost.tail:.0f}",
            f"{cost.milliseconds:.0f}",
            f"{cost.milliseconds / own:.1f}",
        ]
        for name, cost in costs.items()
    ]
    return table(header, rows)


if __name__ == "__main__":
    main()
