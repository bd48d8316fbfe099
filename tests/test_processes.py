"""Processes that were started together work together, or say so."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ttame import processes
from ttame.cli.network_options import choose_device
from ttame.errors import LostProcessError, TtameError
from ttame.processes import (
    check_joined,
    is_first_process,
    joined_in_words,
    launched_processes,
    noticing_lost_processes,
)


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


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which no launcher has started this process."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT", "ACCELERATE_MIXED_PRECISION")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def joined(launcher: pytest.MonkeyPatch, processes: int) -> None:
    launcher.setattr("torch.distributed.is_initialized", lambda: True)
    launcher.setattr("torch.distributed.get_world_size", lambda: processes)


def test_who_started_several_is_told_how_many_joined(launcher: pytest.MonkeyPatch) -> None:
    assert joined_in_words("each batch") == ""
    launcher.setattr("torch.get_num_threads", lambda: 1)
    launcher.setenv("RANK", "0")
    launcher.setenv("WORLD_SIZE", "1")
    launcher.setenv("MASTER_PORT", "29500")
    assert joined_in_words("each batch") == "1 process"
    joined(launcher, 2)
    said = "2 processes share each batch and compute with 1 thread each"
    assert joined_in_words("each batch") == said
    launcher.setattr("torch.accelerator.is_available", lambda: True)
    assert joined_in_words("each batch") == "2 processes share each batch"


@pytest.mark.parametrize(("wanted", "alone"), [("2", True), ("1", False)])
def test_accelerate_that_starts_one_process_of_two_is_noticed(
    launcher: pytest.MonkeyPatch, wanted: str, alone: bool
) -> None:
    from accelerate.commands import launch
    from accelerate.utils.launch import prepare_simple_launcher_cmd_env

    words = ["--cpu", "--num_processes", wanted, "--num_machines", "1", "--mixed_precision", "no"]
    words += ["--dynamo_backend", "no", "--num_cpu_threads_per_process", "1", "-m", "ttame"]
    typed, _, _ = launch._validate_launch_command(launch.launch_command_parser().parse_args(words))
    command, environment = prepare_simple_launcher_cmd_env(typed)
    assert command[1:] == ["-m", "ttame"]  # no mpirun
    for name in environment.keys() - os.environ.keys():
        launcher.setenv(name, environment[name])
    said = joined_in_words("each batch")
    assert said.startswith("1 process")
    assert ("torchrun --standalone --nproc_per_node 2" in said) == alone


def test_a_lost_process_is_told_from_other_errors(launcher: pytest.MonkeyPatch) -> None:
    closed = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:545] Connection closed")
    with pytest.raises(RuntimeError, match="Connection closed"), noticing_lost_processes():
        raise closed  # Of somebody else: this process works alone.
    joined(launcher, 2)
    lost = pytest.raises(LostProcessError, match="another of the 2 processes.*resume=True")
    with lost, noticing_lost_processes():
        raise closed
    with pytest.raises(RuntimeError, match="of the network"), noticing_lost_processes():
        raise RuntimeError("of the network")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells children of their parent's death")
def test_a_worker_ends_with_the_launcher_that_started_it() -> None:
    """An orphan would go on, and write into the folder that the next run resumes in."""
    receive, send = os.pipe()
    launcher = os.fork()
    if launcher == 0:
        worker = os.fork()
        if worker == 0:
            os.environ["TORCHELASTIC_RUN_ID"] = "run"
            processes._end_with_the_launcher()
            os.write(send, str(os.getpid()).encode())
        time.sleep(60)
        os._exit(0)
    worker = int(os.read(receive, 20))
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    for _ in range(100):
        if not _runs(worker):
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its launcher")


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
