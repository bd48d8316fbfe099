"""Finished evaluations as a page: docs/leaderboard.md and docs/leaderboard/report.html

    python -m benchmarks.leaderboard [FOLDER ...] [--title TITLE ...] [--photos TEXT ...]

Each folder is the ``--out`` of a ``ttame evaluate`` that has ended, and becomes one section; titles
and photos in words belong to the folders in order. The reports have no gallery, because the photos
may not be passed on. What was found is kept in benchmarks/leaderboard_results: without folders, the
pages are drawn again from there, in the look of today. The rows of every photo go to
benchmarks/leaderboard_rows, from where benchmarks/leaderboard_archive.py brings them back, so that
a new method can be added alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.benchmark_page import table, write_section
from benchmarks.leaderboard_archive import keep
from ttame.cli.methods import short_reasons
from ttame.explainers.known_explainers import EXPLAINERS, method_options
from ttame.metrics.known_protocols import PROTOCOLS
from ttame.reporting.evaluation_answer import evaluation_answer
from ttame.reporting.evaluation_report import repeating_command, write_evaluation_report
from ttame.reporting.evaluation_table import column_meanings, table_columns, table_rows
from ttame.reporting.written_values import in_words
from ttame.results.evaluation import Evaluation, MethodScores

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = Path(__file__).parent / "leaderboard_results"
SECTIONS = "sections.json"
SHOWN_COSTS = 4
"""Of the table's costs, those of passes and time; memory is in the report."""

_MARKS = {"best": "\\* ", "level": "~ ", "": ""}


class Section(NamedTuple):
    """What one evaluation is called on the page, and what it found."""

    title: str
    photos: str
    evaluation: Evaluation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, help="finished evaluations")
    parser.add_argument("--title", action="append", default=[], help="of a section, in order")
    parser.add_argument("--photos", action="append", default=[], help="what they are, in order")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page goes")
    options = parser.parse_args()
    sections = (
        finished_sections(options.folders, options.title, options.photos)
        if options.folders
        else kept_sections()
    )
    write_pages(options.docs, sections)
    if options.folders and options.docs == DOCS:
        keep_sections(options.folders, sections)
        write_durations(sections, options.folders)
        print(*map(keep, options.folders))


def finished_sections(
    folders: Sequence[Path], titles: Sequence[str], photos: Sequence[str]
) -> list[Section]:
    """What was found in folders of evaluations; without a title, the classifier's name."""
    evaluations = [Evaluation.load(folder / "results.json") for folder in folders]
    titles = [*titles, *(found.classifier for found in evaluations[len(titles) :])]
    photos = [*photos, *[""] * (len(folders) - len(photos))]
    return [Section(*parts) for parts in zip(titles, photos, evaluations, strict=False)]


def kept_sections(kept: Path = RESULTS) -> list[Section]:
    """What was found earlier."""
    listed = json.loads((kept / SECTIONS).read_text(encoding="utf-8"))
    return [
        Section(one["title"], one["photos"], Evaluation.load(kept / one["results"]))
        for one in listed
    ]


def keep_sections(
    folders: Sequence[Path], sections: Sequence[Section], kept: Path = RESULTS
) -> None:
    """Keep what was found, so that its pages can be drawn again."""
    names = [f"{folder.resolve().name}.json" for folder in folders]
    for name, section in zip(names, sections, strict=True):
        (kept / name).write_text(section.evaluation.to_json(), encoding="utf-8")
    listed = [
        {"results": name, "title": section.title, "photos": section.photos}
        for name, section in zip(names, sections, strict=True)
    ]
    (kept / SECTIONS).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def write_pages(docs: Path, sections: Sequence[Section]) -> None:
    """The page of all sections, and a report of each."""
    (docs / "leaderboard").mkdir(parents=True, exist_ok=True)
    parts = []
    for place, (title, photos, evaluation) in enumerate(sections):
        report = f"leaderboard/report{f'-{place + 1}' if place else ''}.html"
        command = whole_command(evaluation)
        write_evaluation_report(docs / report, evaluation, command=command)
        parts.append(section(evaluation, title, photos, report))
        print(docs / report)
    (docs / "leaderboard.md").write_text(leaderboard_page(parts), encoding="utf-8")
    print(docs / "leaderboard.md")


def write_durations(sections: Sequence[Section], folders: Sequence[Path]) -> None:
    """How long the runs took, into BENCHMARKS.md."""
    durations = [
        [
            title,
            str(len(evaluation.methods)),
            str(evaluation.images),
            f"{explaining_minutes(evaluation):.0f} min",
            f"{elapsed_minutes(folder):.0f} min",
        ]
        for (title, _, evaluation), folder in zip(sections, folders, strict=True)
    ]
    header = ["classifier", "methods", "images", "explaining alone", "from first to last file"]
    note = (
        "\n\n`ttame evaluate --methods all`, RISE with 1000 masks, as docs/leaderboard.md says. "
        "Explaining alone is the sum over methods of milliseconds times images; the last column "
        "is the time on the clock from the start to the last rows, pauses, restarts and other "
        "work on the machine included. The limit is 120 minutes."
    )
    command = "python -m benchmarks.leaderboard"
    write_section("leaderboard", "A whole comparison", command, table(header, durations) + note)


def explaining_minutes(evaluation: Evaluation) -> float:
    """What the maps of all methods took."""
    a_photo = sum(method.cost.milliseconds for method in evaluation.methods)
    return a_photo * evaluation.images / 60_000


def elapsed_minutes(folder: Path) -> float:
    """From the start of an evaluation to its last rows."""
    started = (folder / "evaluation.json").stat().st_mtime
    last = max(part.stat().st_mtime for part in (folder / "rows").rglob("*.parquet"))
    return (last - started) / 60


def leaderboard_page(sections: Sequence[Sequence[str]]) -> str:
    """The page, a section for each evaluation."""
    lines = [
        "# Leaderboard",
        "",
        "<!-- Written by python -m benchmarks.leaderboard; do not edit. -->",
        "",
        "What `ttame evaluate` found here: each method's maps of the same photos, explained and "
        "measured for the",
        "same network and the same classes. The order holds for this network, these photos and "
        "this protocol only;",
        "[find out for yours](how-to/evaluate.md). What the columns mean is on the page of "
        "[metrics](metrics.md).",
        "",
        "In the tables each number is a mean over the photos, with its 95 % bootstrap interval "
        "below it. \\* marks the",
        "best of a column, ~ those that are not significantly different from it (paired test, "
        "p ≥ 0.05 after",
        "correction for the number of methods).",
        "",
    ]
    lines += [line for section_lines in sections for line in section_lines]
    return "\n".join(lines).rstrip() + "\n"


def section(evaluation: Evaluation, title: str, photos: str, report: str) -> list[str]:
    """What one evaluation was of, what it found, and its table."""
    answer = evaluation_answer(evaluation)
    return [
        f"## {title}",
        "",
        *facts(evaluation, photos, report),
        "",
        "**What it says.**",
        "",
        *(f"- {sentence}" for sentence in answer.sentences),
        "",
        *standings(evaluation),
        "**Every method**, the best of the first column on top. The report has the same table, "
        "sortable, and curves.",
        "",
        *score_table(evaluation),
        "",
        *remarks(evaluation),
        "**What the columns say.**",
        "",
        *(
            f"- {', '.join(meaning['titles'])} ({meaning['direction'] or 'describes only'}): "
            f"{meaning['measures'].rstrip('.')}."
            for meaning in column_meanings(evaluation.columns)
        ),
        "",
        *left_out(evaluation),
        "**Again:**",
        "",
        "```sh",
        whole_command(evaluation),
        "```",
        "",
    ]


def facts(evaluation: Evaluation, photos: str, report: str) -> list[str]:
    """Classifier, photos, protocol, machine and date."""
    skipped = f"; {len(evaluation.skipped)} unreadable ones skipped" if evaluation.skipped else ""
    return [
        f"- **Classifier:** `{evaluation.classifier}`, weights "
        f"`{evaluation.classifier_fingerprint[:12]}`.",
        f"- **Photos:** {evaluation.images} of {photos or f'`{evaluation.data}`'}, file names "
        f"`{evaluation.data_fingerprint[:12]}`{skipped}.",
        f"- **Protocol:** [`{evaluation.protocol}`](metrics.md#protocol-{evaluation.protocol}), "
        f"hash `{evaluation.protocol_hash}`.",
        f"- **Methods:** {len(evaluation.methods)}, with default options"
        f"{changed_options(evaluation)}.",
        f"- **Run:** {evaluation.date}, {evaluation.machine}.",
        f"- **Report:** [sortable table, curves, cost against faithfulness]({report}); without "
        "pictures, because the photos may not be passed on.",
        *(f"- {note}" for note in evaluation.notes),
    ]


def standings(evaluation: Evaluation) -> list[str]:
    """Column by column: the best, those level with it, those behind a baseline."""
    columns = evaluation_answer(evaluation).columns
    if not columns:
        return []
    baselines = list(dict.fromkeys(name for column in columns for name, _ in column.behind))
    header = ["column", "best", "not significantly different", *(f"behind {b}" for b in baselines)]
    rows = [
        [
            column.title,
            column.best,
            column.level or "none",
            *(dict(column.behind).get(baseline, "none") for baseline in baselines),
        ]
        for column in columns
    ]
    return [
        "**Column by column.** *Behind* a baseline: a worse mean, and intervals that do not "
        "overlap.",
        "",
        table_line(header),
        "|---" * len(header) + "|",
        *map(table_line, rows),
        "",
    ]


def score_table(evaluation: Evaluation) -> list[str]:
    """The whole table with intervals, costs at its end."""
    count = len(evaluation.columns)
    columns = table_columns(evaluation)[: count + SHOWN_COSTS]
    header = ["method", *map(heading, columns)]
    rows = [
        [
            method_cell(evaluation.methods[row["number"]], row),
            *map(score_cell, row["cells"]),
            *(cost["value"] for cost in row["costs"][:SHOWN_COSTS]),
        ]
        for row in table_rows(evaluation)
    ]
    return [table_line(header), "|---" + "|---:" * len(columns) + "|", *map(table_line, rows)]


def heading(column: dict[str, Any]) -> str:
    unit = column["unit"]
    shown = f" ({unit})" if unit and unit not in column["title"] else ""
    return f"{column['title']}{shown} {column['arrow']}".strip()


def method_cell(method: MethodScores, row: dict[str, Any]) -> str:
    name = f"`{method.name}`"
    cell = f"[{name}](methods.md#{method.name})" if method.name in EXPLAINERS else name
    notes = [text for text in ("baseline" if row["baseline"] else "", row["constant"]) if text]
    return f"{cell}<br>{'; '.join(notes)}" if notes else cell


def score_cell(cell: dict[str, Any]) -> str:
    """Mark and number over the interval."""
    value = f"**{cell['value']}**" if cell["standing"] == "best" else cell["value"]
    below = [text for text in (cell["interval"], cell["images"]) if text]
    if cell["published"]:
        below.append(f"{cell['published']} published")
    return "<br>".join([f"{_MARKS[cell['standing']]}{value}", *below])


def remarks(evaluation: Evaluation) -> list[str]:
    """What the numbers alone would hide."""
    keys = {column.metric for column in evaluation.columns}
    soft = evaluation.protocol_settings.get("mask") == "soft"
    found = []
    if "mean_map" in keys and soft:
        found += [
            "Average Drop and Increase in Confidence multiply the photo by the map: a map that "
            "hides little loses little.",
            "Read them next to the mean map. ROAD uses the order of the pixels only, and cannot be "
            "bought that way.",
            "",
        ]
    found += ["Milliseconds were taken while the machine may have had other work.", ""]
    return found


def left_out(evaluation: Evaluation) -> list[str]:
    reasons = short_reasons(dict(evaluation.left_out), evaluation.classifier)
    if not reasons:
        return []
    listed = [f"- `{name}`: {reason.rstrip('.')}." for name, reason in reasons.items()]
    return ["**Left out:**", "", *listed, ""]


def changed_options(evaluation: Evaluation) -> str:
    """The options that were set, in words."""
    changed = [
        f"`{method.name}` with {in_words(options)}"
        for method in evaluation.methods
        if (options := set_options(method))
    ]
    return f" but {', '.join(changed)}" if changed else ""


def set_options(method: MethodScores) -> dict[str, Any]:
    """Options whose value is not the default; those that are automatic are none."""
    if method.name not in EXPLAINERS:
        return {}
    return {
        name: method.options[name]
        for name, default in method_options(method.name).items()
        if default is not None
        and name in method.options
        and method.options[name] not in (default, str(default))
    }


def whole_command(evaluation: Evaluation) -> str:
    """The command of the run, metrics and options of methods included."""
    metrics = list(dict.fromkeys(column.metric for column in evaluation.columns))
    preset = PROTOCOLS.get(evaluation.protocol)
    chosen = "" if preset and set(metrics) == set(preset.metrics) else ",".join(metrics)
    typed = [f" --metrics {chosen}"] if chosen else []
    typed += [
        f" --option '{method.name}.{name}={value}'"
        for method in evaluation.methods
        for name, value in set_options(method).items()
    ]
    return repeating_command(evaluation) + "".join(typed)


def table_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
