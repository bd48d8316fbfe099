"""The attacks see harm where there is some, and find none."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from benchmarks.reliability.attempts import Attempted
from benchmarks.reliability.killed_commands import (
    Place,
    attempts,
    kill_evaluations,
    kill_explanations,
    kill_replacements,
    kill_resumed_explanations,
)


class PlayedPlace(Place):
    """Commands that write what the test says, in place of real ones."""

    def __init__(
        self, folder: Path, run: Callable[[Path, str], None], kill: Callable[[Path, str], None]
    ) -> None:
        self.folder = folder
        self.random = random.Random(0)
        self._run = run
        self._kill = kill

    def run(self, words: list[str]) -> float:
        self._run(*self._out_and_classes(words))
        return 1.0

    def kill(self, words: list[str], seconds: float) -> bool:
        assert 0 <= seconds < 2
        self._kill(*self._out_and_classes(words))
        return True

    def _out_and_classes(self, words: list[str]) -> tuple[Path, str]:
        out = self.folder / words[words.index("--out") + 1]
        return out, words[words.index("--classes") + 1] if "--classes" in words else ""


def write_report(out: Path, classes: str) -> None:
    out.mkdir(exist_ok=True)
    (out / "page").write_text(f"whole {classes}")


def write_rows(out: Path, values: list[float]) -> None:
    out.mkdir(exist_ok=True)
    rows = {"method": ["a"] * 2, "metric": ["m"] * 2, "image": [0, 1], "value": values}
    pyarrow.parquet.write_table(pyarrow.table(rows), out / "rows.parquet")


def nothing(out: Path, classes: str) -> None:
    """A kill before anything was written."""


def half_report(out: Path, classes: str) -> None:
    out.mkdir(exist_ok=True)
    (out / "page").write_text("half")


def left_part(out: Path, classes: str) -> None:
    (out.parent / f".{out.name}.x.part").touch()


def gone(out: Path, classes: str) -> None:
    (out / "page").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("attack", "kill", "harm"),
    [
        (kill_explanations, nothing, ""),
        (kill_explanations, half_report, "half-written folder"),
        (kill_explanations, left_part, "left over"),
        (kill_resumed_explanations, nothing, ""),
        (kill_resumed_explanations, half_report, "half-written folder"),
        (kill_resumed_explanations, left_part, "left over"),
        (kill_replacements, nothing, ""),
        (kill_replacements, gone, "neither the old result nor the new one"),
        (kill_replacements, half_report, "neither the old result nor the new one"),
    ],
)
def test_harm_to_explanations_is_seen(
    tmp_path: Path,
    attack: Callable[..., object],
    kill: Callable[[Path, str], None],
    harm: str,
) -> None:
    found = attack(PlayedPlace(tmp_path, write_report, kill), 3).attempted()  # type: ignore[attr-defined]
    assert found.tries == 3
    assert (found.failures > 0) == bool(harm)
    assert harm in found.example


def test_harm_to_rows_is_seen(tmp_path: Path) -> None:
    def other_rows(out: Path, classes: str) -> None:
        write_rows(out, [1.0, 2.0] if out.name == "whole" else [1.0, 2.5])

    def torn(out: Path, classes: str) -> None:
        out.mkdir(exist_ok=True)
        (out / "0001.parquet").write_bytes(b"PAR1 half")

    for name in "abc":
        (tmp_path / name).mkdir()
    good = PlayedPlace(tmp_path / "a", lambda out, _: write_rows(out, [1.0, 2.0]), nothing)
    assert kill_evaluations(good, 3).attempted().failures == 0
    bad = PlayedPlace(tmp_path / "b", other_rows, nothing)
    assert "other rows" in kill_evaluations(bad, 3).attempted().example
    bad = PlayedPlace(tmp_path / "c", lambda out, _: write_rows(out, [1.0, 2.0]), torn)
    assert "half written" in kill_evaluations(bad, 3).attempted().example


def test_commands_that_are_killed_lose_nothing() -> None:
    names = "evaluate, killed and resumed", "explain, killed and run again"
    assert attempts(tries=1) == [
        *(Attempted(name, 1, 0) for name in names),
        Attempted("explain, killed and resumed", 1, 0),
        Attempted("explain --overwrite, killed", 1, 0),
        Attempted("explain to shards, killed and resumed", 1, 0),
    ]
