"""The log of a run, and its clock."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ttame.errors import OutputError
from ttame.training.training_progress import StepClock, TrainingLog


def steps_in(file: Path) -> list[int]:
    return [json.loads(line)["step"] for line in file.read_text().splitlines()]


def write(file: Path, steps: list[int], keep_steps: int = 0) -> None:
    with TrainingLog(file, keep_steps=keep_steps) as log:
        for step in steps:
            log.write({"step": step})


def test_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "training.jsonl"
    with TrainingLog(file, keep_steps=0) as log:
        assert not file.exists()
        log.write({"step": 1})
        assert steps_in(file) == [1]
        log.write({"step": 2})
        assert steps_in(file) == [1, 2]


def test_a_resumed_log_has_neither_gaps_nor_duplicates(tmp_path: Path) -> None:
    file = tmp_path / "training.jsonl"
    write(file, [1, 2, 3, 4])
    write(file, [3, 4, 5], keep_steps=2)
    assert steps_in(file) == [1, 2, 3, 4, 5]


def test_a_line_that_a_kill_cut_in_two_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "training.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n{"st')
    write(file, [3], keep_steps=2)
    assert steps_in(file) == [1, 2, 3]


def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    file = tmp_path / "training.jsonl"
    write(file, [1, 2, 3])
    write(file, [1])
    assert steps_in(file) == [1]


def test_a_kill_while_the_log_is_shortened_loses_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "training.jsonl"
    write(file, [1, 2, 3])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", die)
    with pytest.raises(KeyboardInterrupt):
        write(file, [3], keep_steps=2)
    assert steps_in(file) == [1, 2, 3]


def test_only_one_process_writes(tmp_path: Path) -> None:
    with TrainingLog(tmp_path / "training.jsonl", keep_steps=0, enabled=False) as log:
        log.write({"step": 1})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_with_the_remedy() -> None:
    log = TrainingLog(Path("/dev/full"), keep_steps=0)
    log._drop_later_steps = lambda: None  # type: ignore[method-assign]
    with pytest.raises(OutputError, match=r"No space left on device.*resume=True"):
        log.write({"step": 1})
    log.__exit__(None, None, None)


def test_the_clock_measures_the_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    clock = StepClock(batch_size=8, window=2)
    speeds = []
    for seconds in (4.0, 2.0, 2.0):
        now[0] += seconds
        speeds.append(clock.tick())
    assert speeds == [2.0, 16 / 6, 4.0]
    now[0] += 100
    clock.pause_ended()
    now[0] += 1
    assert clock.tick() == 8.0
