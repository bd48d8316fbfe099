"""Writes docs/which-method.md from the stored leaderboard: python -m scripts.docs which-method"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ttame.explainers.known_explainers import EXPLAINERS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "which-method.md"
LEADERBOARD = DOCS / "leaderboard.md"

MOST_PASSES = 2
"""Forward and backward passes per image of a method that counts as quick."""

BLACK_BOX = ("rise", "occlusion")
"""Methods that need nothing of a network but its outputs."""

_METHOD = re.compile(r"\[`(\w+)`\]")
_NUMBER = re.compile(
    r"(?P<mark>\\\*|~)?\s*\**(?P<value>[\d.]+)\**<br>(?P<low>[\d.]+) to (?P<high>[\d.]+)"
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A mean with its 95 % interval; ``level`` if it is not significantly behind the best."""

    value: float
    low: float
    high: float
    best: bool
    level: bool


@dataclasses.dataclass(frozen=True)
class Row:
    """A method's line: column title to cell, and what its maps cost."""

    method: str
    baseline: bool
    cells: dict[str, Cell]
    forward: float
    backward: float
    tail: float
    milliseconds: float

    @property
    def quick(self) -> bool:
        """Whether a map costs at most two passes."""
        return self.forward + self.backward <= MOST_PASSES and not self.tail

    @property
    def trained(self) -> bool:
        """Whether the method has to be trained first."""
        return _family(self.method) == "trained"


@dataclasses.dataclass(frozen=True)
class Board:
    """One evaluation of the leaderboard; ``columns`` holds title to whether lower is better."""

    title: str
    columns: dict[str, bool]
    rows: tuple[Row, ...]

    @property
    def telling(self) -> tuple[str, ...]:
        """The columns in which no baseline is as good as the best."""
        baselines = [row for row in self.rows if row.baseline]
        return tuple(
            title for title in self.columns if not any(row.cells[title].level for row in baselines)
        )

    def among_the_best(self, row: Row) -> int:
        """In how many telling columns a method is not significantly behind the best."""
        return sum(row.cells[title].level for title in self.telling)

    def behind_a_baseline(self, row: Row) -> int:
        """In how many columns a baseline is better, with intervals that do not overlap."""
        return sum(
            any(
                _apart(row.cells[title], other.cells[title], lower)
                for other in self.rows
                if other.baseline
            )
            for title, lower in self.columns.items()
        )


def boards(page: str) -> list[Board]:
    """The evaluations that the page of the leaderboard holds."""
    return [_board(*part.split("\n", 1)) for part in page.split("\n## ")[1:]]


def _board(title: str, text: str) -> Board:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    start = next(number for number, line in enumerate(lines) if line.startswith("| method |"))
    header = _cells(lines[start])
    scored = [place for place, name in enumerate(header) if name.endswith(("↓", "↑"))]
    columns = {_title(header[place]): header[place].endswith("↓") for place in scored}
    rows = tuple(_row(_cells(line), scored, [*columns]) for line in lines[start + 2 :])
    return Board(title.strip(), columns, rows)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _title(heading: str) -> str:
    return heading[:-1].replace("(%)", "").strip()


def _row(cells: Sequence[str], scored: Sequence[int], titles: Sequence[str]) -> Row:
    name = _METHOD.search(cells[0])
    assert name is not None, cells[0]
    costs = [float(re.sub(r"\s", "", cell)) for cell in cells[-4:]]
    return Row(
        name[1],
        "<br>baseline" in cells[0],
        {title: _cell(cells[place]) for title, place in zip(titles, scored, strict=True)},
        *costs,
    )


def _cell(text: str) -> Cell:
    found = _NUMBER.match(text)
    assert found is not None, text
    value, low, high = (float(found[name]) for name in ("value", "low", "high"))
    return Cell(value, low, high, found["mark"] == "\\*", found["mark"] is not None)


def _apart(cell: Cell, other: Cell, lower_is_better: bool) -> bool:
    return other.high < cell.low if lower_is_better else other.low > cell.high


def _family(method: str) -> str:
    return EXPLAINERS[method].card.family


def start_with(board: Board, *, trained: bool) -> Row:
    """The quick method that is among the best most often and never behind a baseline."""
    candidates = [
        row
        for row in board.rows
        if row.quick
        and row.trained == trained
        and not row.baseline
        and (trained or not board.behind_a_baseline(row))
    ]
    return max(candidates, key=board.among_the_best)


def _start(*, trained: bool) -> Callable[[Board], str]:
    def words(board: Board) -> str:
        row = start_with(board, trained=trained)
        count = board.among_the_best(row)
        return f"{_link(row)}: among the best in {count} of {len(board.telling)} columns"

    return words


def _best_in(title: str) -> Callable[[Board], str]:
    def words(board: Board) -> str:
        best = [row for row in board.rows if row.cells[title].best and not row.baseline]
        level = [row for row in board.rows if row.cells[title].level and row not in best]
        found = " and ".join(f"{_link(row)} ({row.cells[title].value:.1f})" for row in best)
        quick = [_link(row) for row in level if row.quick and not row.baseline]
        if quick and not any(row.quick for row in best):
            return f"{found}; quick and not significantly different: {', '.join(quick)}"
        return found

    return words


def _black_box(board: Board) -> str:
    measured = [row for row in board.rows if row.method in BLACK_BOX]
    if not measured:
        return (
            f"{' or '.join(f'[`{name}`](methods.md#{name})' for name in BLACK_BOX)}; not measured"
        )
    column = next(title for title in board.columns if title.startswith("ROAD, most"))
    best = min(measured, key=lambda row: row.cells[column].value)
    return f"{_link(best)}, {best.milliseconds / 1000:.0f} s per image"


def _link(row: Row) -> str:
    return f"[`{row.method}`](methods.md#{row.method})"


QUESTIONS: tuple[tuple[str, str, Callable[[Board], str]], ...] = (
    (
        "I want a map now, and have nothing to train on",
        "most columns, at most two passes, never clearly behind a baseline",
        _start(trained=False),
    ),
    (
        "I have a few hundred photos, and minutes to train",
        "most columns among trained methods",
        _start(trained=True),
    ),
    (
        "Which places decide?",
        "ROAD, most relevant first (%), lower is better",
        _best_in("ROAD, most relevant first"),
    ),
    (
        "What can be ignored?",
        "ROAD, least relevant first (%), higher is better",
        _best_in("ROAD, least relevant first"),
    ),
    (
        "Which half of the picture is enough?",
        "Average Drop at 50 % (%), lower is better",
        _best_in("Average Drop at 50 % kept"),
    ),
    (
        "My network gives only its outputs: no layers, no gradients",
        "ROAD, most relevant first, of methods that only ask for outputs",
        _black_box,
    ),
)
"""Question, what answers it, and the answer for a network."""


_BEGINNING = """\
# Which method should I use?

<!-- Written by python -m scripts.docs which-method; do not edit. -->

Start with the first row that describes you. Then check the choice on your own network and photos:
which method is best depends on both.
"""

_READING = """\
```sh
ttame evaluate --data photos/ --limit 20     # on your photos; add --model for your network
```

[How to read the result](how-to/evaluate.md). The table above comes from the
[leaderboard](leaderboard.md): 100 photos, one CNN and one small Vision Transformer, masks and
metrics of T-TAME's protocol. *Among the best* means that a method is the best of a column or not
significantly different from the best (paired test, corrected for the number of methods). Columns in
which a baseline is among the best are not counted, because they do not separate methods. *Behind a
baseline* means that a map which ignores the network has a better mean, with 95 % intervals that do
not overlap.

## What the numbers do not say

- **A trained explainer is tuned to its measure.** `few_shot` is trained to lose little of the
  prediction under a mask, which is what Average Drop measures. Compare it with a computed method
  before you rely on it, and use it on photos like those that it was trained on.
- **Brightness helps in some columns.** Average Drop and Increase in Confidence at 100 % favour maps
  that hide little. ROAD uses only the order of the pixels.
- **Fine detail is a different question.** [`attn_lrp`](methods.md#attn_lrp),
  [`input_x_gradient`](methods.md#input_x_gradient) and [`smooth_grad`](methods.md#smooth_grad) give
  one value per pixel; methods on a feature grid give regions. The [gallery](gallery.md) shows both.
- **Small differences are noise.** With 100 photos, two methods that are both among the best cannot
  be ranked.
"""


def which_method_page(found: Sequence[Board]) -> str:
    """The whole page."""
    parts = [
        _BEGINNING,
        "\n".join(decision_table(found)) + "\n",
        _READING,
        *("\n".join(all_methods(board)) + "\n" for board in found),
    ]
    return "\n".join(parts)


def decision_table(found: Sequence[Board]) -> list[str]:
    """A row per question, a column per network."""
    header = ["", *(f"use, on {board.title}" for board in found), "decided by"]
    rows = [
        [f"**{question}**", *(answer(board) for board in found), measure]
        for question, measure, answer in QUESTIONS
    ]
    return _table(header, rows, "---|" * len(header))


def all_methods(board: Board) -> list[str]:
    """Every method of a network, the most often best on top."""
    count = len(board.telling)
    header = ["method", f"among the best, of {count}", "behind a baseline", "passes", "ms"]
    ordered = sorted(
        board.rows, key=lambda row: (-board.among_the_best(row), board.behind_a_baseline(row))
    )
    rows = [
        [
            _link(row) + (" (trained)" if row.trained else ""),
            str(board.among_the_best(row)),
            str(board.behind_a_baseline(row)),
            _passes(row),
            f"{row.milliseconds:,.0f}",
        ]
        for row in ordered
        if not row.baseline
    ]
    table = _table(header, rows, "---|" + "---:|" * (len(header) - 1))
    return [f"## All methods on {board.title}", "", *table]


def _passes(row: Row) -> str:
    parts = [f"{row.forward:,.0f} forward"]
    if row.backward:
        parts.append(f"{row.backward:.0f} backward")
    if row.tail:
        parts.append(f"{row.tail:.0f} of the last layers")
    return " + ".join(parts)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], rule: str) -> list[str]:
    return (
        [f"| {' | '.join(cells)} |" for cells in [header]]
        + [f"|{rule}"]
        + [f"| {' | '.join(cells)} |" for cells in rows]
    )


def write_page() -> None:
    """Write the page from the leaderboard as it is stored."""
    found = boards(LEADERBOARD.read_text(encoding="utf-8"))
    PAGE.write_text(which_method_page(found), encoding="utf-8")
