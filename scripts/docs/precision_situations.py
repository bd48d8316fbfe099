"""Networks as people run them on a GPU: half precision, autocast, channels last, compiled.

``PRECISIONS`` are compared in ``tests/scripts/docs/test_precision_situations.py`` with a float32
network of the same weights that nobody touched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from scripts.docs.situation_networks import Attention, Plain, Transformer
from scripts.docs.situations import Situation, seeded

OF_CNNS = ("grad_cam", "input_x_gradient", "lrp", "class_evidence", "occlusion", "t_tame")
OF_TRANSFORMERS = (
    "grad_cam",
    "attn_lrp",
    "attention_rollout",
    "class_evidence",
    "occlusion",
    "few_shot",
)
BACKEND = "eager"
"""Of ``torch.compile`` in the tests, which then need no compiler of C++."""

ROUGH = ("input_x_gradient", "occlusion")
"""Methods that enlarge rounding: slopes jump where an activation changes its sign, and differences
of nearly equal scores are small."""

_ROUGHER = 20

cnn = seeded(Plain)
transformer = seeded(lambda: Transformer(Attention))


class InAutocast(nn.Module):
    """A network whose own forward pass asks for mixed precision."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, images: Tensor) -> Tensor:
        """The scores, in mixed precision."""
        with torch.autocast("cpu", self.dtype):
            scores: Tensor = self.network(images)
        return scores


def _compiled(make: Callable[[], nn.Module]) -> nn.Module:
    """Compiled and run, as it is when training ends."""
    network: nn.Module = torch.compile(make(), backend=BACKEND)  # type: ignore[assignment]
    network(torch.zeros(2, 3, 32, 32))
    return network


def _compiled_in_place(make: Callable[[], nn.Module]) -> nn.Module:
    network = make()
    network.compile(backend=BACKEND)
    network(torch.zeros(2, 3, 32, 32))
    return network


def _compiled_inside(make: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(_compiled(make))


def _both(
    title: str,
    change: Callable[[Callable[[], nn.Module]], nn.Module],
    tolerance: float = 1e-4,
    around: torch.dtype | None = None,
) -> tuple[Situation, Situation]:
    surrounding = {} if around is None else {"around": lambda: torch.autocast("cpu", around)}
    return tuple(  # type: ignore[return-value]
        Situation(
            f"{title}, {kind}",
            functools.partial(change, make),
            twin=make,
            methods=methods,
            tolerance=tolerance,
            **surrounding,
        )
        for kind, make, methods in (
            ("CNN", cnn, OF_CNNS),
            ("transformer", transformer, OF_TRANSFORMERS),
        )
    )


PRECISIONS = (
    *_both("a bfloat16 network", lambda make: make().bfloat16(), 0.02),
    *_both("a float16 network", lambda make: make().half(), 0.004),
    *_both("autocast to float16 around", lambda make: make(), around=torch.float16),
    *_both("autocast to bfloat16 around", lambda make: make(), around=torch.bfloat16),
    *_both("autocast to float16 inside", lambda make: InAutocast(make(), torch.float16), 0.004),
    *_both("autocast to bfloat16 inside", lambda make: InAutocast(make(), torch.bfloat16), 0.02),
    *_both("channels last", lambda make: make().to(memory_format=torch.channels_last)),
    *_both("`torch.compile(network)`", _compiled),
    *_both("`network.compile()`", _compiled_in_place),
    *_both("a compiled network inside another", _compiled_inside),
)


def tolerance(situation: Situation, method: str) -> float:
    """How far a map may be from the float32 one, as a share of the largest value."""
    rougher = _ROUGHER if method in ROUGH and situation.tolerance > 1e-3 else 1
    return situation.tolerance * rougher
