"""Processes that were started together work together, or say so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ttame.cli.network_options import choose_device
from ttame.errors import TtameError
from ttame.processes import check_joined, is_first_process, launched_processes


def seeing(processes: int) -> Any:
    return SimpleNamespace(num_processes=processes, device="cuda:0")


def test_one_process_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched_processes() == 1
    check_joined(seeing(1))


def test_processes_that_do_not_see_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert launched_processes() == 3
    with pytest.raises(TtameError, match="one of 3 processes.* sees 1 on cuda:0") as caught:
        check_joined(seeing(1))
    assert str(caught.value).endswith(
        "try: as many processes as there are GPUs, or ACCELERATE_USE_CPU=true"
    )


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert choose_device("auto") == "cuda"
    for name, value in {"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert choose_device("auto") == "cuda:1"
    assert not is_first_process()
