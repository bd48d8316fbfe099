"""What every test may use: golden tensors, tiny networks, one thread per worker."""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors import safe_open

# Not torch itself: the process that hands out the tests to the workers reads this file, too.
if TYPE_CHECKING:
    from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"

# The suite starts some two hundred processes, and compiling takes as long as importing: what one
# has compiled, the others and the next run read, wherever Python is told not to keep it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Half of the CPU time of the tests was the kernel's, handing out pages and clearing them: glibc
# gives large tensors back as soon as they are freed. With these it keeps them, in the workers and
# in what they start; others than glibc ignore them. Values from outside win.
for _name, _bytes in {
    "TRIM_THRESHOLD": 8_000_000_000,
    "MMAP_THRESHOLD": 8_000_000_000,
    "TOP_PAD": 200_000_000,
}.items():
    os.environ.setdefault(f"MALLOC_{_name}_", str(_bytes))

# The suite runs in one process per core; more threads would only wait for each other. Set before
# torch is imported, and for the processes that tests start; no hook of this file runs that early.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TOGETHER = {
    "forked processes": (
        "tests/benchmarks/reliability/test_forked_commands.py",
        "tests/benchmarks/reliability/test_killed_commands.py",
        "tests/benchmarks/reliability/test_killed_training.py",
        "tests/evaluation/test_evaluate_methods.py",
        "tests/explainers/trained/test_global_batch_norm.py",
        "tests/reporting/test_explain.py",
        "tests/reporting/test_explain_to_shards.py",
        "tests/test_documented_processes.py",
        "tests/test_other_device.py",
        "tests/training/test_kill_and_resume.py",
        "tests/training/test_several_processes.py",
    ),
    "every explainer": (
        "tests/explainers/test_every_explainer.py",
        "tests/explainers/test_known_explainers.py",
        "tests/explainers/test_targets_of_every_explainer.py",
    ),
    "exporting": (
        "tests/cli/test_export.py",
        "tests/exporting/",
        "tests/scripts/docs/test_exported_networks.py",
    ),
    "the trained tiny BERT": (
        "tests/test_docstring_examples.py",
        "tests/testing/test_trained_texts.py",
    ),
}
"""Files for one worker: what they share, such as a server of forks, takes seconds to make."""


def scope_of(nodeid: str) -> str:
    """Which tests one worker has: a file's, which share what is slow to make, or several files'."""
    file = nodeid.partition("::")[0]
    return next((scope for scope, files in TOGETHER.items() if file.startswith(files)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """However tests are spread over workers, what is made for a file is made once."""
    from xdist.scheduler import LoadScopeScheduling

    if config.getoption("dist") not in ("load", "loadfile", "loadgroup"):
        return None

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Accelerate keeps the first precision for the whole life of a process."""
    state = sys.modules.get("accelerate.state")
    if state is not None and state.AcceleratorState._shared_state:
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()


class Golden:
    """One golden file: tensors by name and metadata."""

    def __init__(self, name: str) -> None:
        with safe_open(str(GOLDEN / f"{name}.safetensors"), framework="pt") as file:
            self.metadata: dict[str, str] = file.metadata()
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with the prefix, without it."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def several(self, pattern: str, count: int = 3) -> list[Tensor]:
        """Tensors numbered by ``{i}``, from 0 or 1."""
        first = 0 if pattern.format(i=0) in self.tensors else 1
        return [self.tensors[pattern.format(i=i)] for i in range(first, first + count)]

    def number(self, name: str) -> Any:
        return json.loads(self.metadata[name])


@pytest.fixture
def golden() -> Callable[[str], Golden]:
    return Golden


@functools.cache
def _seeding() -> Callable[[int], object]:
    """Where no GPU has numbers to seed: torch would format the stack four times, for every test."""
    import torch

    return torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    _seeding()(0)


def pytest_collection() -> None:
    """Thousands of tests are made, and none is garbage: nothing is gained by looking for any."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on, garbage is looked for among what the tests make, not among the tests.

    And seldom: what is made of libraries and tiny networks is large in number and small in bytes.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)
    gc.enable()


def assert_close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare within ``tolerance`` relative to the largest absolute value of the tensor."""
    assert actual.shape == expected.shape
    scale = float(expected.detach().abs().max()) or 1.0
    worst = float((actual - expected).detach().abs().max()) / scale
    assert worst <= tolerance, f"off by {worst:.2e} of the largest value, allowed {tolerance:.0e}"
