"""Files of ``torch.save``: weights in any usual wrapping, and nothing that runs."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ttame.errors import WeightsError
from ttame.networks.torch_files import read_torch_file

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


@pytest.mark.parametrize(
    ("content", "entry", "others"),
    [
        (WEIGHTS, "", ()),
        ({"state_dict": WEIGHTS, "epoch": 3, "loss": torch.tensor(0.5)}, "state_dict", ()),
        ({"model": WEIGHTS, "optimizer": {"state": {}, "param_groups": []}}, "model", ()),
        ({"ema": WEIGHTS}, "ema", ()),
        ({"ema_state_dict": WEIGHTS, "epoch": 3}, "ema_state_dict", ()),
        ({"params": WEIGHTS, "params_ema": WEIGHTS}, "params", ("params_ema",)),
        ({"model": WEIGHTS, "model_ema": WEIGHTS}, "model", ("model_ema",)),
        ({"net": {"state_dict": WEIGHTS}}, "net.state_dict", ()),
        ({"model": {"name": "mine"}, "model_ema": WEIGHTS}, "model_ema", ()),
    ],
)
@pytest.mark.parametrize("archive", [True, False])
def test_weights_are_found(
    tmp_path: Path, content: Any, entry: str, others: tuple[str, ...], archive: bool
) -> None:
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=archive)
    found = read_torch_file(tmp_path / "w.pth")
    assert (found.entry, found.passed_over) == (entry, others)
    assert found.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(found.tensors[name], WEIGHTS[name]) for name in WEIGHTS)


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize(
    ("more", "named"),
    [
        (nn.Linear(3, 2), "torch.nn.modules.linear.Linear"),
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (np.float64(0.5), "scalar"),
        ("evil", "getattr"),
    ],
)
def test_what_needs_more_than_tensors_is_refused_and_nothing_runs(
    tmp_path: Path, more: Any, named: str, archive: bool
) -> None:
    marker = tmp_path / "marker"
    held = Evil(marker) if isinstance(more, str) else more
    torch.save(
        {"model": WEIGHTS, "more": held},
        tmp_path / "w.pth",
        _use_new_zipfile_serialization=archive,
    )
    with pytest.raises(WeightsError, match="could run code") as caught:
        read_torch_file(tmp_path / "w.pth")
    assert named in caught.value.problem and "torch.save(" in caught.value.remedy
    assert not marker.exists()


def test_the_remedy_for_a_whole_network_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Linear(3, 2), "whole.pth")
    with pytest.raises(WeightsError) as caught:
        read_torch_file(Path("whole.pth"))
    exec(caught.value.remedy.partition("in Python: ")[2], {"torch": torch, "FILE": "whole.pth"})
    assert set(read_torch_file(Path("weights.pth")).tensors) == {"weight", "bias"}


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "names": ["a"]}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="a table of epoch, names, and no state dict"):
        read_torch_file(tmp_path / "w.pth")
    endless: dict[str, Any] = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        read_torch_file(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04" + b"\0" * 50, b"\x80\x02}q\x00"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"is not a file of torch\.save, or damaged"):
        read_torch_file(tmp_path / "w.pth")


def test_an_archive_that_could_burst_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(WeightsError, match="compressed archive"):
        read_torch_file(tmp_path / "w.pth")
