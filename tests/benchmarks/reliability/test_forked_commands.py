"""Processes that are killed while they work together."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.reliability.forked_commands import Command, HangsError
from benchmarks.reliability.killed_training import write_noise_photos


def evaluation(place: Path, out: str, processes: int, more: Sequence[str] = ()) -> Command:
    arguments = ["evaluate", "--model", "timm/test_resnet", "--weights", "none"]
    arguments += ["--network-option", "num_classes=5", "--image-size", "32", "--device", "cpu"]
    arguments += ["--data", str(place / "photos"), "--methods", "grad_cam,random"]
    arguments += ["--metrics", "average_drop", "--batch-size", "2", "--out", str(place / out)]
    return Command([*arguments, *more], place / f"{out}.txt", processes=processes)


def scores(folder: Path) -> list[object]:
    methods = json.loads((folder / "results.json").read_text())["methods"]
    return [(method["name"], method["scores"]) for method in methods]


@pytest.mark.parametrize("victim", [0, 1])
def test_an_evaluation_that_loses_a_process_is_resumed(tmp_path: Path, victim: int) -> None:
    write_noise_photos(tmp_path / "photos")
    command = evaluation(tmp_path, "out", 2)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("rows/*/*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    command.kill(victim)
    codes = command.wait(30)  # The other one does not wait for it.
    assert (codes[victim], codes[1 - victim]) == (-9, 2)
    said = (tmp_path / "out.txt").read_text()
    assert "ttame: error: another of the 2 processes has ended; try: the same command with" in said
    assert "note: 2 processes share the batches" in said
    assert "Traceback" not in said
    assert evaluation(tmp_path, "out", 1, ["--resume"]).wait() == [0]
    assert evaluation(tmp_path, "alone", 1).wait() == [0]
    assert scores(tmp_path / "out") == scores(tmp_path / "alone")


def test_a_command_that_hangs_is_told_and_killed(tmp_path: Path) -> None:
    command = Command(["--version"], tmp_path / "said.txt", environment={"PYTHONINSPECT": ""})
    with pytest.raises(HangsError, match=r"still runs after 0 s"):
        command.wait(0)
    assert not command.runs
