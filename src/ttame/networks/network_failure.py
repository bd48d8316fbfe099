"""What a network's own exception says: where it was raised, and with which shapes."""

from __future__ import annotations

import textwrap
from types import FrameType, TracebackType
from typing import Any

from torch import Tensor, nn

from ttame.errors import ClassifierError

_LONGEST = 300
"""Characters of a network's own message."""


class NetworkFailedError(ClassifierError):
    """A network that raised an exception of its own."""


def failure(network: nn.Module, images: Tensor, problem: Exception) -> NetworkFailedError:
    """The exception of a network as one line.

    Args:
        network: that was called with the images.
        images: (B, C, H, W).
        problem: what it raised, with its traceback.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> try:
        ...     _ = network(torch.zeros(1, 3, 2, 2))
        ... except RuntimeError as problem:
        ...     said = failure(network, torch.zeros(1, 3, 2, 2), problem).problem
        >>> said[:73]
        'Sequential failed on images of shape (1, 3, 2, 2), in its layer 1 (Linear'
    """
    said = textwrap.shorten(_first_line(problem), _LONGEST, placeholder=" …")
    kind = "" if said == type(problem).__name__ else f"{type(problem).__name__}: "
    return NetworkFailedError(
        f"{type(network).__name__} failed on images of shape {tuple(images.shape)}"
        f"{_place(network, problem.__traceback__)}: {kind}{said}"
    )


def _first_line(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(problem).__name__


def _place(network: nn.Module, trace: TracebackType | None) -> str:
    """The innermost layer that was running, and the shapes that it was given."""
    names = {id(module): name for name, module in network.named_modules() if name}
    where = ""
    while trace is not None:
        frame = trace.tb_frame
        module = frame.f_locals.get("self")
        if id(module) in names and frame.f_code.co_name == "forward":
            where = f", in its layer {names[id(module)]} ({type(module).__name__})"
            given = _shapes_given_to(frame)
            where += f", which was given {given}" if given else ""
        trace = trace.tb_next
    return where


def _shapes_given_to(frame: FrameType) -> str:
    code = frame.f_code
    arguments: list[Any] = [
        frame.f_locals.get(name) for name in code.co_varnames[1 : code.co_argcount]
    ]
    return ", ".join(str(tuple(value.shape)) for value in arguments if isinstance(value, Tensor))
