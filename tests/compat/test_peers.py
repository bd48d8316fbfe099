"""Other libraries' numbers from ttame.compat: golden tensors, and the libraries if installed."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from torch import Tensor

from benchmarks.peer_calls import CALLS, INSTALL, MODULES, OURS, library_of, material_of
from tests.conftest import Golden, assert_close
from ttame.compat import pytorch_grad_cam
from ttame.explainers.methods.activation import eigen_cam, eigen_grad_cam

ALL = [(library, name) for library, calls in CALLS.items() for name in calls]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("peers")


@pytest.fixture(scope="module")
def peers() -> dict[str, Any]:
    found = {}
    for library, modules in MODULES.items():
        try:
            found[library] = library_of(modules)
        except ImportError:
            continue
    return found


def compare(library: str, name: str, golden: Golden, theirs: Tensor) -> None:
    """Ours against theirs; where a singular vector's sign is arbitrary, either sign will do."""
    made, ours = material_of(golden.tensors), importlib.import_module(OURS[library])
    given = CALLS[library][name](ours, made).float()
    if "signless" not in name:
        # Of fifty passes the sums differ by 2e-5 on processors with other vector units.
        assert_close(given, theirs, 5e-5 if name == "IntegratedGradients" else 1e-5)
        return
    with pytest.MonkeyPatch.context() as patch:
        for module, projection in (
            (eigen_cam, "principal_component_maps"),
            (eigen_grad_cam, "principal_evidence"),
            (pytorch_grad_cam, "principal_evidence"),
        ):
            usual = getattr(module, projection)
            patch.setattr(module, projection, lambda maps, usual=usual: -usual(maps))
        negated = CALLS[library][name](ours, made).float()
    for one, other, expected in zip(given, negated, theirs, strict=True):
        assert (
            min(float((one - expected).abs().max()), float((other - expected).abs().max())) < 1e-5
        )


@pytest.mark.parametrize(("library", "name"), ALL)
def test_golden(library: str, name: str, golden: Golden) -> None:
    compare(library, name, golden, golden[f"output.{library}.{name}"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", CALLS)
def test_the_libraries_themselves(library: str, golden: Golden, peers: dict[str, Any]) -> None:
    if library not in peers:
        pytest.skip(f"{library} is not installed: {INSTALL} python -m pytest {__name__}")
    for name, call in CALLS[library].items():
        theirs = call(peers[library], material_of(golden.tensors)).detach().float()
        compare(library, name, golden, theirs)
