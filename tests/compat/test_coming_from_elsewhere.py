"""The page for users of other libraries: both of its columns run, and give the same."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.resnet import BasicBlock, ResNet

from benchmarks.peer_calls import INSTALL
from tests.conftest import assert_close
from tests.test_documented_python import run_page

PAGE = "docs/how-to/coming-from-elsewhere.md"
TEXT = (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8")
CODE = [
    html.unescape(code) for code in re.findall(r"<pre><code>(.*?)</code></pre>", TEXT, re.DOTALL)
]
ROWS = list(zip(CODE[::2], CODE[1::2], strict=True))


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the page says that there is."""
    torch.manual_seed(0)
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=300).eval()
    photo = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    return {"model": model, "images": torch.randn(1, 3, 64, 64), "photo": photo}


def results(code: str, names: dict[str, Any]) -> dict[str, torch.Tensor]:
    found = dict(names)
    exec(compile(code, PAGE, "exec"), found)
    wanted = ("maps", "delta", "picture")
    return {name: torch.as_tensor(found[name]).float() for name in wanted if name in found}


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_right_column(row: int, names: dict[str, Any]) -> None:
    found = results(ROWS[row][1], names)
    assert found["maps"].shape[0] == 1
    assert found["maps"].any()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", range(len(ROWS)))
def test_left_column(row: int, names: dict[str, Any]) -> None:
    before, now = ROWS[row]
    try:
        theirs = results(before, names)
    except ImportError as problem:
        pytest.skip(f"{problem.name} is not installed: {INSTALL} python -m pytest {__name__}")
    ours = results(now, names)
    assert ours.keys() == theirs.keys()
    gap = float((ours.pop("delta", torch.zeros(())) - theirs.pop("delta", torch.zeros(()))).abs())
    assert gap < 1e-5 * float(ours["maps"].abs().sum())
    for name, expected in theirs.items():
        # A rounding may carry a pixel of the picture into the next of 256 steps.
        assert_close(ours[name], expected.detach(), 1 / 200 if name == "picture" else 1e-5)


def test_own_calls(names: dict[str, Any]) -> None:
    found = dict(names)
    assert len(ROWS) == 6
    assert run_page(PAGE, found) == 1
    assert found["raw"].shape[:2] == (1, 3)
    assert found["difference"].target_label(0, 0) == "class 281 rather than class 282"
