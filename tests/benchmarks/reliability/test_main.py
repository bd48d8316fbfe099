"""Parts run side by side, and what fails is seen."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from benchmarks.reliability import __main__ as reliability
from benchmarks.reliability.__main__ import PARTS, Part, main, run_parts, section_of
from benchmarks.reliability.attempts import Attempted


def harmless() -> list[Attempted]:
    return [Attempted("poke", 3, 0), Attempted("push", 4, 0)]


def harmful() -> list[Attempted]:
    return [Attempted("kick", 2, 1, "it fell over")]


def broken() -> list[Attempted]:
    raise ValueError("no such attack")


def endless() -> list[Attempted]:
    time.sleep(1000)
    return []


def dying() -> list[Attempted]:
    import os

    os._exit(3)


def test_rows_come_in_the_order_of_the_parts_and_failures_of_parts_count() -> None:
    parts = {"a": dying, "b": harmless, "c": broken, "d": harmful}
    assert run_parts(parts, 5) == [
        Attempted("a", 1, 1, "it was killed"),
        Attempted("poke", 3, 0),
        Attempted("push", 4, 0),
        Attempted("c", 1, 1, "ValueError: no such attack"),
        Attempted("kick", 2, 1, "it fell over"),
    ]


def test_a_part_that_takes_too_long_is_ended_and_has_failed() -> None:
    start = time.monotonic()
    rows = run_parts({"slow": endless, "slower": endless, "waiting": harmless}, 0.01)
    assert time.monotonic() - start < 60
    assert [(row.name, row.failures) for row in rows] == [
        ("slow", 1),
        ("slower", 1),
        ("waiting", 1),
    ]
    assert rows[0].example == "not done after 0.01 minutes"


def test_the_command_prints_writes_and_says_whether_all_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import benchmark_page  # not for the processes of the parts

    page = tmp_path / "BENCHMARKS.md"
    monkeypatch.setattr(benchmark_page, "PAGE", page)
    rows = {"good": harmless(), "bad": harmful()}
    monkeypatch.setattr(
        reliability, "run_parts", lambda parts, _: [row for name in parts for row in rows[name]]
    )
    parts = {"good": harmless, "bad": harmful}
    assert main(["--only", "good"], parts) == 0
    assert not page.exists()
    assert main([], parts) == 1
    assert "it fell over" in capsys.readouterr().out
    written = page.read_text()
    assert "| kick | 2 | 1 |" in written and "`python -m benchmarks.reliability`, 20" in written


def test_the_section_names_failures_only_if_there_are_any() -> None:
    assert "- kick: it fell over" in section_of(harmful())
    assert "First failures" not in section_of(harmless())


def test_no_attack_is_forgotten() -> None:
    folder = Path(reliability.__file__).parent
    attacking = {
        file.stem
        for file in folder.glob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "attempts"
    }
    assert "killed_commands" in attacking
    assert attacking <= {part.module for part in PARTS.values() if isinstance(part, Part)}
