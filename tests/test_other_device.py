"""Nothing in ttame takes the processor for granted: ``on_other_device``, case by case."""

from __future__ import annotations

import multiprocessing

import pytest

from tests import on_other_device
from tests.training.training_material import start_process

SECONDS = 240
"""For all of them, where the machine is busy with other things; alone, they take 15."""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """Case to how it failed, empty if it did not. A process of its own keeps the device."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = start_process(on_other_device.run, there)
    there.close()
    found: dict[str, str] = {}
    try:
        while here.poll(SECONDS):
            sent = here.recv()
            if sent is None:
                break
            found.update([sent])
    except EOFError:
        found["ended"] = f"the process ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()
    return found


@pytest.mark.parametrize("case", on_other_device.CASES)
def test_on_another_device(outcomes: dict[str, str], case: str) -> None:
    assert outcomes.get(case, f"not reached, after {[*outcomes][-1:]}") == ""
