from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from ttame.errors import ImageError, MemoryLimitError, OutputError
from ttame.memory_limit import naming_the_setting, ran_out_of_memory


def caught(work: object) -> BaseException:
    try:
        work()  # type: ignore[operator]
    except Exception as problem:
        return problem
    raise AssertionError("nothing was raised")


def translated() -> None:
    try:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")
    except OSError as problem:
        raise OutputError("cannot write it") from problem


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError(),
        torch.OutOfMemoryError("no more"),
        caught(lambda: np.empty(10**17)),
        caught(lambda: torch.empty(10**17, dtype=torch.uint8)),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError("out of memory when reading image file"),
        RuntimeError("unable to mmap 80 bytes from file </torch_1>: Cannot allocate memory (12)"),
        RuntimeError("can't start new thread"),
        RuntimeError("could not create a primitive"),
        RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed. "),
        ImportError("libx.so: failed to map segment from shared object"),
        caught(translated),
    ],
    ids=repr,
)
def test_every_library_says_it_in_its_own_way(problem: Exception) -> None:
    assert ran_out_of_memory(problem)
    said = pytest.raises(MemoryLimitError, match="not enough memory; try: less")
    with said, naming_the_setting("less"):
        raise problem


@pytest.mark.parametrize(
    "problem",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyError("out of memory"),
        ImageError("photo.png is no readable image"),
    ],
    ids=repr,
)
def test_other_errors_stay_what_they_are(problem: Exception) -> None:
    with pytest.raises(type(problem)) as found, naming_the_setting("less"):
        raise problem
    assert found.value is problem


def test_what_is_nearer_to_the_trouble_advises() -> None:
    said = pytest.raises(MemoryLimitError, match="try: fewer")
    with said, naming_the_setting("less"), naming_the_setting("fewer"):
        raise MemoryError
