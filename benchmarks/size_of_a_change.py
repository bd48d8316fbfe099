"""How many files and lines five changes take: python -m benchmarks.size_of_a_change

After is counted from the guides' own blocks, which a test follows. Before is what the same change
needed at ``BEFORE``, read from its sources, file by file. Tests and written pages are left out of
both. Writes a section of BENCHMARKS.md.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.benchmark_page import table, write_section
from scripts.guides import GUIDES, ROOT, Step, steps_of

BEFORE = "8cf1f61"


class Size(NamedTuple):
    """What a change takes.

    Attributes:
        new_files: that are written.
        lines: that are added to existing files, or changed there; by file.
    """

    new_files: int
    lines: dict[str, int]

    def in_words(self) -> tuple[str, str]:
        """Files, and lines of existing ones."""
        files = f"{self.new_files + len(self.lines)} ({self.new_files} new)"
        return files, str(sum(self.lines.values()))


REGISTRY = "explainers/known_explainers.py"

CHANGES: dict[str, tuple[str, Size]] = {
    # The import and the entry of the table.
    "a method": ("add-an-explainer", Size(1, {REGISTRY: 2})),
    "a metric": ("add-a-metric", Size(1, {"metrics/known_metrics.py": 2})),
    "a source of classifiers": ("add-a-source", Size(1, {"classifiers/known_classifiers.py": 2})),
    "a head": (
        "add-a-head",
        Size(
            1,
            {
                # The variant; a setting and what it is.
                "explainers/attention/head_settings.py": 3,
                # Import, union of heads; a branch that plans and one that makes it, two lines each.
                "explainers/attention/head_plan.py": 6,
                # Import; the setting in the schema, written and read; a branch that makes it, two.
                "explainers/attention/explainer_config.py": 6,
                # The setting again, what it is, its range, handing it over to the head.
                "training/training_settings.py": 4,
                # Where nothing reads the setting: a branch of two lines.
                "explainers/attention/idle_settings.py": 2,
                "cli/train.py": 1,
            },
        ),
    ),
    "an objective": (
        "add-an-objective",
        Size(
            1,
            {
                # The name; a setting, what it is, its range.
                "training/training_settings.py": 4,
                # Import; a branch of two lines; a function such as _kept_share, 17 lines.
                "training/batch_loss.py": 20,
                "explainers/attention/idle_settings.py": 2,
                "cli/train.py": 1,
            },
        ),
    ),
}
"""The change, to its guide, and its size at ``BEFORE`` with one setting of its own."""


def size_of(steps: Iterable[Step]) -> Size:
    """The size of the change that a guide describes, without tests and pages."""
    new, lines = 0, dict[str, int]()
    for step in steps:
        if step.path.startswith("src/"):
            new += step.kind == "write"
            if step.kind == "insert":
                added = sum(line.startswith("+") for line in step.text.splitlines())
                lines[step.path] = lines.get(step.path, 0) + added
    return Size(new, lines)


def main() -> None:
    """Write the section."""
    guides = {guide.stem: guide for guide in GUIDES}
    rows = [
        [change, *before.in_words(), *size_of(steps_of(guides[guide])).in_words()]
        for change, (guide, before) in CHANGES.items()
    ]
    words = ["git", "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    header = ["change", "files before", "lines before", "files after", "lines after"]
    write_section(
        "size-of-a-change",
        "What a change takes",
        "python -m benchmarks.size_of_a_change",
        f"{table(header, rows)}\n\n"
        f"Before: commit {BEFORE}, read from its sources; `benchmarks/size_of_a_change.py` lists "
        f"the lines file by file. After: commit {commit.strip()}, counted from the blocks of the "
        "guides under `docs/how-to/`, which a test follows to the letter. Files are those under "
        "`src`, "
        "lines those that are added or changed in files that exist already; the new file's own "
        "lines, tests and written pages are not counted. Head and objective have one setting of "
        f"their own. At {BEFORE} a new head also had to look like one of the two that there were, "
        "wherever `isinstance` asked which it is, and a metric needed an adapter of two lines in "
        "its own file.",
    )


if __name__ == "__main__":
    main()
