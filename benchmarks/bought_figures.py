"""Which figures ten steps of gradient descent buy, as a table in docs/bought-figures.md

    python -m benchmarks.bought_figures [--photos 36] [--steps 10] [--judge SOURCE] [--page]

The map of each photo is moved by some steps of Adam towards what T-TAME's protocol asks: that the
class stays when the picture is multiplied by the map on black. Both maps are then measured by that
protocol and by ``held-ground``. The command can be stopped and goes on where it was; the rows of
every photo are in benchmarks/bought_figures_values, which belongs to the repository. ``--page``
only writes the page from them.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.benchmark_page import table
from ttame.evaluation.paired_statistics import (
    SIGNIFICANCE,
    bootstrap_interval,
    corrected,
    permutation_p_value,
)
from ttame.evaluation.row_store import RowStore
from ttame.metrics.known_metrics import columns_of, known_metrics
from ttame.metrics.known_protocols import known_protocol

HERE = Path(__file__).parent
ROOT = HERE.parent
PHOTOS = HERE / "photo_splits" / "report-200.txt"
FOLDER = ROOT / "runs" / "bought_figures"
VALUES = HERE / "bought_figures_values"
PAGE = ROOT / "docs" / "bought-figures.md"
MODEL = "efficientnet_lite0"
EXPLAINER = "efficientnet_lite0--few-shot-quick"
GRID = (14, 14)
BEFORE, AFTER = "few_shot", "bought"
MEASURED = {
    "t-tame": ("average_drop", "increase_in_confidence", "mean_map"),
    "held-ground": (
        "insertion", "insertion_on_mean", "insertion_on_noise", "deletion", "deletion_to_blur",
        "deletion_to_noise", "road_most_relevant_first", "road_least_relevant_first",
        "hard_mask_kept", "hard_mask_removed", "saco",
    ),
}  # fmt: skip
"""Protocol to the metrics that are measured by it."""
DECIMALS = 4
FOLLOWS = """## What follows

- A method that optimises what a metric asks, in training or for each photo, must not be judged by
  that metric alone. The few-shot explainer is trained on Average Drop's own question; its figures
  there are to be read with this in mind.
- A better figure here does not mean a better explanation: network and photos are the same, and the
  maps were changed by what the metric asks and by nothing else.
- `ttame evaluate --protocol held-ground` measures on several grounds, with hard masks, and by a
  second network if one is given (`--judge`); see
  [how to evaluate](how-to/evaluate.md#a-yardstick-for-choosing-among-your-own-explainers). It is
  harder to buy, not impossible: whoever optimises on all of its grounds will move it too."""


@dataclasses.dataclass(frozen=True)
class Moved:
    """One column of a protocol before and after.

    Attributes:
        title: of the column.
        better: whether higher or lower numbers are better, or neither.
        before: mean over the photos.
        after: the same of the moved maps.
        low: lower end of the 95 % interval of the mean change.
        high: its upper end.
        p_value: of the paired test, corrected for all columns of the page.
    """

    title: str
    better: str
    before: float
    after: float
    low: float
    high: float
    p_value: float

    @property
    def clear(self) -> bool:
        """Whether the interval of the change is on one side of zero."""
        return self.low > 0 or self.high < 0

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"``, ``"moved"`` where neither is, or ``"not significant"``."""
        if self.p_value >= SIGNIFICANCE or self.after == self.before:
            return "not significant"
        if self.better == "neither":
            return "moved"
        return "better" if (self.after > self.before) == (self.better == "higher") else "worse"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=36)
    parser.add_argument("--list", type=Path, default=PHOTOS, help="of photos")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--judge", help="a second classifier with the same classes")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    if not options.page:
        measure(options.list, options.photos, options.steps, options.judge)
    PAGE.write_text(page(*kept_values()), encoding="utf-8")
    print(PAGE)


def measure(photos: Path, count: int, steps: int, judge: str | None) -> None:
    """Measure what is not measured yet, and keep it in the repository."""
    import ttame
    from ttame.evaluation.evaluate_methods import evaluate, machine_in_words

    classifier = ttame.load_classifier(MODEL)
    second = None if judge is None else ttame.load_classifier(judge)
    plain = ttame.load_explainer(EXPLAINER, classifier=classifier)
    bought = plain.refined(steps=steps, grid=GRID, grounds=("black",))
    for name, metrics in MEASURED.items():
        evaluate(
            classifier, str(photos), {BEFORE: plain, AFTER: bought}, FOLDER / name,
            protocol=dataclasses.replace(known_protocol(name), gate_images=0), metrics=metrics,
            limit=count, judge=second if name == "held-ground" else None, resume=True,
        )  # fmt: skip
        keep(name, FOLDER / name)
    facts = {
        "photos": count,
        "steps": steps,
        "judge": judge or "",
        "date": datetime.date.today().isoformat(),
        "machine": machine_in_words(),
    }
    (VALUES / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def keep(protocol: str, folder: Path) -> None:
    """The rows of an evaluation, a line for each column, without the points of curves."""
    lines = []
    for label in (BEFORE, AFTER):
        values = RowStore(folder).values(label)[2]
        columns = ",\n".join(
            f"    {json.dumps(key)}: {json.dumps([round(float(v), DECIMALS) for v in of])}"
            for key, of in values.items()
            if ".curve@" not in key
        )
        lines.append(f"  {json.dumps(label)}: {{\n{columns}\n  }}")
    VALUES.mkdir(exist_ok=True)
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (VALUES / f"{protocol}.json").write_text(text, encoding="utf-8")


def kept_values() -> tuple[Mapping[str, list[Moved]], Mapping[str, object]]:
    """Protocol to its columns before and after, and the facts of the measurement."""
    facts = json.loads((VALUES / "facts.json").read_text(encoding="utf-8"))
    kept = {
        name: json.loads((VALUES / f"{name}.json").read_text(encoding="utf-8")) for name in MEASURED
    }
    return moved_columns(kept), facts


def moved_columns(
    kept: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
) -> dict[str, list[Moved]]:
    """Every column of every protocol, tested together.

    Args:
        kept: protocol to label to key to one value per photo.
    """
    found: dict[str, list[Moved]] = {}
    for protocol, of_labels in kept.items():
        known = columns_of(known_metrics(MEASURED[protocol]), known_protocol(protocol))
        for key, before in of_labels[BEFORE].items():
            metric_column = known.get(key.removeprefix("judged."))
            if metric_column is not None:
                metric, column = metric_column
                title = column.title + (", judged" if key.startswith("judged.") else "")
                pair = np.array([before, of_labels[AFTER][key]])
                found.setdefault(protocol, []).append(_moved(title, metric.better, pair))
    everything = [moved for columns in found.values() for moved in columns]
    p_values = iter(corrected([moved.p_value for moved in everything]))
    return {
        protocol: [dataclasses.replace(moved, p_value=next(p_values)) for moved in columns]
        for protocol, columns in found.items()
    }


def _moved(title: str, better: str, pair: np.ndarray) -> Moved:
    pair = pair[:, ~np.isnan(pair).any(axis=0)]
    before, after = pair
    low, high = bootstrap_interval([after - before])
    return Moved(
        title=title,
        better=better,
        before=float(before.mean()),
        after=float(after.mean()),
        low=low,
        high=high,
        p_value=permutation_p_value([before], [after]),
    )


def page(found: Mapping[str, Sequence[Moved]], facts: Mapping[str, object]) -> str:
    """The page: what was done, a table for each protocol, and what moved."""
    moved = [column for columns in found.values() for column in columns]
    paragraphs = [
        "# Figures that can be bought",
        "<!-- Written by python -m benchmarks.bought_figures; do not edit. -->",
        "Average Drop and Increase in Confidence multiply the photo by the map and ask the network "
        "whether it still sees the class. So a map can be made to suit the question. Here the maps "
        f"of the few-shot explainer `{EXPLAINER}` are moved by {facts['steps']} steps of Adam "
        f"on a grid of {GRID[0]}x{GRID[1]}, each photo by itself, towards a mask on black that "
        "keeps the class and whose complement loses it "
        '(`explainer.refined(steps=..., grounds=("black",))`). Nothing else is changed.',
        f"{facts['photos']} photos that no training has seen, top-1 class; {facts['date']}, "
        f"{facts['machine']}. "
        "**Change** is the mean change with its 95 % bootstrap interval, **p** of a paired "
        "permutation test, with Holm's correction over all columns of this page.",
        *(
            f"## Protocol `{protocol}`\n\n{_table_of(columns)}"
            for protocol, columns in found.items()
        ),
        "## What moved",
        f"- **Significantly better**: {_titles(moved, 'better')}.\n"
        f"- **Significantly worse**: {_titles(moved, 'worse')}.\n"
        "- **Not significant after the correction, but with an interval without zero**: "
        f"{_titles(moved, 'not significant', clear=True)}.\n"
        f"- **Not clearly moved, with so few photos**: {_titles(moved, 'not significant')}.",
        FOLLOWS,
    ]
    return "\n\n".join(paragraphs) + "\n"


def _table_of(columns: Sequence[Moved]) -> str:
    arrows = {"higher": " ↑", "lower": " ↓", "neither": ""}
    rows = [
        [
            f"{column.title}{arrows[column.better]}",
            f"{column.before:.2f}",
            f"{column.after:.2f}",
            f"{column.after - column.before:+.2f} ({column.low:+.2f} to {column.high:+.2f})",
            f"{column.p_value:.3f}",
            column.verdict,
        ]
        for column in columns
    ]
    return table(["column", "before", "after", "change", "p", ""], rows)


def _titles(moved: Sequence[Moved], verdict: str, *, clear: bool = False) -> str:
    """The columns of a verdict; of those that are not significant, the clear ones or the others."""
    columns = [column for column in moved if column.verdict == verdict]
    if verdict == "not significant":
        columns = [column for column in columns if column.clear == clear]
    return ", ".join(column.title for column in columns) or "none"


if __name__ == "__main__":
    main()
