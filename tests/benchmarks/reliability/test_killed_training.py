"""A few of the kills of the long run, with one process and with three."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks.reliability.killed_training import Training, attempts, write_noise_photos
from tests.training.training_material import log_of


def test_killed_trainings_end_with_the_weights_of_undisturbed_ones() -> None:
    for attempted in attempts(2, (1, 3)):
        assert (attempted.tries, attempted.failures) == (2, 0), attempted


def test_another_number_of_processes_goes_on_and_says_what_differs(tmp_path: Path) -> None:
    write_noise_photos(tmp_path / "photos")
    one, two = (Training(tmp_path, tmp_path / "photos", number, epochs=4) for number in (1, 2))
    command = two.start("out")
    deadline = time.monotonic() + 60
    while not (tmp_path / "out/checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    command.kill()
    assert -9 in command.wait()
    assert one.start("out").wait() == [0]
    said = (tmp_path / "out.txt").read_text()
    note = "the checkpoint is of 2 processes on the CPU with 1 thread each, torch "
    assert said.count(f"note: {note}") == 1
    assert said.splitlines()[-1].startswith("try: ttame explain")
    record = json.loads((tmp_path / "out/config.json").read_text())["training"]
    assert (
        record["notes"][0].startswith(note) and "; now 1 process on the CPU" in record["notes"][0]
    )
    assert record["notes"][0] in (tmp_path / "out/README.md").read_text()
    assert one.start("alone").wait() == [0]
    lines, expected = log_of(tmp_path / "out"), log_of(tmp_path / "alone")
    assert [line["step"] for line in lines] == [line["step"] for line in expected]
    assert [line.get("lr") for line in lines] == [line.get("lr") for line in expected]
    # The same images and random numbers, so the same losses.
    losses = [[line["loss"] for line in log if "loss" in line] for log in (lines, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-4)
