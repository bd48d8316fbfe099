from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode

from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InFunctionMode, PlainModes, are_plain


class Noting(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_plain_modes_are_lent_and_given_back() -> None:
    assert are_plain()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert not are_plain()
        with Lent(PlainModes()):
            assert are_plain()
            assert not torch.is_grad_enabled()  # as the caller has it
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
    assert are_plain()


def test_a_function_mode_asks_inside_alone_and_ends_twice() -> None:
    mode = Noting()
    loan = InFunctionMode(mode)
    with Lent(loan):
        torch.ones(1).add(1)
    assert "add" in mode.names
    heard = len(mode.names)
    loan.undo()
    torch.ones(1).add(1)
    assert len(mode.names) == heard
