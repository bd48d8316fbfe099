"""Parts run side by side, and what fails is seen."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability import all_attacks as reliability
from benchmarks.reliability.all_attacks import PARTS, Attack, Ended, main, run_parts, section_of
from benchmarks.reliability.attempts import Attempted, Tell
from benchmarks.reliability.kept_rows import Found, digest_of_code


def harmless(tell: Tell) -> list[Attempted]:
    tell(1)
    return [Attempted("poke", 3, 0), Attempted("push", 4, 0)]


def harmful(tell: Tell) -> list[Attempted]:
    return [Attempted("kick", 2, 1, "it fell over")]


def broken(tell: Tell) -> list[Attempted]:
    raise ValueError("no such attack")


def endless(tell: Tell) -> list[Attempted]:
    tell(1)
    time.sleep(1000)
    return []


def dying(tell: Tell) -> list[Attempted]:
    import os

    os._exit(3)


def test_every_part_is_run_and_failures_of_parts_count() -> None:
    parts = {"a": dying, "b": harmless, "c": broken, "d": harmful}
    ended = {part.name: part.rows for part in run_parts(parts, 5)}
    assert ended == {
        "a": [Attempted("a", 1, 1, "it was killed")],
        "b": [Attempted("poke", 3, 0), Attempted("push", 4, 0)],
        "c": [Attempted("c", 1, 1, "ValueError: no such attack")],
        "d": [Attempted("kick", 2, 1, "it fell over")],
    }


def test_a_part_that_takes_too_long_is_ended_and_has_failed() -> None:
    start = time.monotonic()
    parts = {"slow": endless, "slower": endless, "waiting": harmless}
    ended = list(run_parts(parts, 0.01))
    assert time.monotonic() - start < 60
    assert [part.name for part in ended] == list(parts)
    assert not any(part.in_time for part in ended)
    assert ended[0].rows == [Attempted("slow", 1, 1, "not done after 0.01 minutes")]


class Played:
    """What parts would find, without running any; notes which were run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, page: Path) -> None:
        from benchmarks import benchmark_page  # not for the processes of the parts

        monkeypatch.setattr(benchmark_page, "PAGE", page)
        monkeypatch.setattr(reliability, "run_parts", self.run)
        monkeypatch.setattr(reliability, "digest_of_code", lambda: self.code)
        self.code = "a"
        self.late: set[str] = set()
        self.ran: list[str] = []

    def run(self, parts: Mapping[str, Attack], minutes: float, said: object) -> Iterator[Ended]:
        for name, attack in parts.items():
            self.ran.append(name)
            yield Ended(name, attack(lambda done: None), 60.0, in_time=name not in self.late)


def test_the_command_prints_writes_and_says_whether_all_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, kept = tmp_path / "BENCHMARKS.md", tmp_path / "build" / "kept.json"
    played = Played(monkeypatch, page)
    parts: dict[str, Any] = {"good": harmless, "bad": harmful}
    assert main(["--only", "good"], parts, kept) == 0
    assert not page.exists()
    assert main([], parts, kept) == 1
    assert played.ran == ["good", "bad"]
    assert "it fell over" in capsys.readouterr().out
    written = page.read_text()
    assert "| kick | 2 | 1 |" in written and "`python -m benchmarks.reliability`, 20" in written
    assert "took 2 minutes together" in written and "states of the code" not in written


def test_a_run_goes_on_with_what_is_missing_has_failed_or_is_of_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, kept = tmp_path / "BENCHMARKS.md", tmp_path / "kept.json"
    played = Played(monkeypatch, page)
    parts: dict[str, Any] = {"good": harmless, "bad": harmful, "late": harmless}
    played.late = {"late"}
    assert main([], parts, kept) == 1
    assert not page.exists()
    played.late = set()
    played.ran.clear()
    assert main([], parts, kept) == 1
    assert played.ran == ["bad", "late"]
    assert page.exists()
    parts["bad"] = harmless  # It is mended, which is other code.
    played.code = "b"
    played.ran.clear()
    assert main(["--only", "bad"], parts, kept) == 0
    assert played.ran == ["bad"]
    assert "they ran on 2 states of the code" in page.read_text()
    assert main([], parts, kept) == 0
    assert played.ran == ["bad", "good", "late"]
    assert "states of the code" not in page.read_text()
    played.ran.clear()
    assert main([], parts, kept) == 0
    assert played.ran == []


def test_the_code_is_told_from_other_code(tmp_path: Path) -> None:
    for folder in ("src/ttame", "benchmarks/reliability"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text("one = 1")
    before = digest_of_code(tmp_path)
    assert digest_of_code(tmp_path) == before
    (tmp_path / "src/ttame/a.py").write_text("one = 2")
    assert digest_of_code(tmp_path) != before


def test_the_section_names_failures_only_if_there_are_any() -> None:
    def nobody(done: int) -> None:
        pass

    def section(attack: Attack) -> str:
        return section_of({"a": Found(tuple(attack(nobody)), 1.0, "code")})

    assert "- kick: it fell over" in section(harmful)
    assert "First failures" not in section(harmless)


def test_no_attack_is_forgotten() -> None:
    folder = Path(reliability.__file__).parent
    attacking = {
        file.stem
        for file in folder.glob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "attempts"
    }
    assert "killed_commands" in attacking
    assert attacking == {part.module for part in PARTS.values()}
