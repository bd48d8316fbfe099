"""Networks as people have them, each in one situation: what works, and what is refused in words.

``SITUATIONS`` are checked one by one in ``tests/scripts/docs/test_situations.py``, against a plain
twin of each network. Those of channels and outputs, of other tasks and of half precision stand in
files of their own; ``situations_section.py`` puts all of them on the compatibility page.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from scripts.docs.situation_networks import (
    Attention,
    Autocast,
    Averaged,
    AveragedApart,
    Baddbmm,
    Checkpointed,
    Compared,
    ComparedTwin,
    ConvolutionAfter,
    ConvolutionBefore,
    Cropped,
    Einsum,
    Ensemble,
    Gated,
    InFlag,
    InInferenceMode,
    Mixing,
    Normed,
    NormedTwin,
    PlaceByPlace,
    Plain,
    Powers,
    PowersTwin,
    Reentrant,
    SideHead,
    TokensFirst,
    Transformer,
    WithoutGradients,
)
from ttame.images.preprocessing import Preprocessing


def seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The same weights in every call, in eval mode."""

    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make().eval()

    return made


plain = seeded(Plain)
PREPROCESSING = Preprocessing.imagenet(32)


def _frozen() -> nn.Module:
    return plain().requires_grad_(False)


def _dynamic() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear})  # type: ignore[no-any-return]


def _scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(plain(), torch.zeros(1, 3, 32, 32))  # type: ignore[no-any-return]


def _made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return Plain()


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Any:
    """Another default dtype of the session while the block runs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@dataclasses.dataclass(frozen=True)
class Situation:
    """A network somewhere, and what comes of it.

    Attributes:
        title: of the row.
        make: the network.
        around: what runs around everything.
        twin: a plain network that computes the same, for the comparison.
        taps: named by the user.
        said: words of the refusal, or of the reason of the choice where it works.
        works: whether it does.
        methods: compared with the twin, or refused.
        tolerance: of the comparison, relative to the largest value.
        outputs: as the user says it; the twin has logits.
        preprocessing: of both.
    """

    title: str
    make: Callable[[], nn.Module] = plain
    around: Callable[[], Any] = contextlib.nullcontext
    twin: Callable[[], nn.Module] = plain
    taps: tuple[str, ...] | None = None
    said: str = ""
    works: bool = True
    methods: tuple[str, ...] = ("grad_cam", "lrp", "occlusion")
    tolerance: float = 1e-4
    outputs: str | None = None
    preprocessing: Preprocessing = PREPROCESSING


_OF_TRANSFORMERS = ("grad_cam", "attn_lrp", "attention_rollout", "class_evidence", "occlusion")
_at = seeded(lambda: Transformer(Attention))


def _attending(kind: type[Attention]) -> Callable[[], nn.Module]:
    return seeded(lambda: Transformer(kind))


SITUATIONS = (
    Situation("a network in eval mode"),
    Situation("a network in train mode", lambda: plain().train()),
    Situation("weights with `requires_grad=False`", _frozen),
    Situation("a session with default dtype float64", around=lambda: default_dtype(torch.float64)),
    Situation("a session with default dtype float16", around=lambda: default_dtype(torch.float16)),
    Situation("autocast around", around=lambda: torch.autocast("cpu", torch.bfloat16)),
    Situation("autocast inside the network", seeded(Autocast), tolerance=0.1),
    Situation("`torch.no_grad()` around", around=torch.no_grad),
    Situation("`torch.inference_mode()` around", around=torch.inference_mode),
    Situation("a float64 network", lambda: plain().double()),
    Situation("a bfloat16 network", lambda: plain().bfloat16(), tolerance=0.1),
    Situation("channels-last weights", lambda: plain().to(memory_format=torch.channels_last)),
    Situation("activation checkpointing by a flag", seeded(InFlag)),
    Situation("activation checkpointing, `use_reentrant=False`", seeded(Checkpointed)),
    Situation("an in-place ReLU behind the read layer", seeded(lambda: Plain(inplace=True))),
    Situation("`nn.DataParallel`", lambda: nn.DataParallel(plain())),
    Situation("`AveragedModel`", lambda: torch.optim.swa_utils.AveragedModel(plain())),
    Situation("a wrapper inside a wrapper", lambda: nn.DataParallel(nn.DataParallel(plain()))),
    Situation("a network inside `nn.Sequential`", lambda: nn.Sequential(plain())),
    Situation("`torch.compile`", lambda: torch.compile(plain())),  # type: ignore[arg-type, return-value]
    Situation("a deep copy", lambda: copy.deepcopy(plain())),
    Situation("a side head that is not returned", seeded(SideHead)),
    Situation(
        "an ensemble",
        seeded(Ensemble),
        twin=seeded(Ensemble),
        said="the scores also depend on paths around it",
    ),
    Situation("a gate called attention", seeded(Gated), twin=seeded(Gated)),
    Situation("negatives, clamps and powers", seeded(Powers), twin=seeded(PowersTwin)),
    Situation("a norm as divisor", seeded(Normed), twin=seeded(NormedTwin)),
    Situation(
        "attention in a class of another name",
        _attending(Mixing),
        twin=_at,
        methods=_OF_TRANSFORMERS,
    ),
    Situation(
        "attention by `torch.einsum`", _attending(Einsum), twin=_at, methods=_OF_TRANSFORMERS
    ),
    Situation(
        "attention by `torch.baddbmm`", _attending(Baddbmm), twin=_at, methods=_OF_TRANSFORMERS
    ),
    Situation(
        "tokens before the batch",
        seeded(TokensFirst),
        twin=seeded(lambda: TokensFirst(batch_first=True)),
        methods=("grad_cam", "attn_lrp", "attention_rollout", "class_evidence", "occlusion"),
    ),
    Situation(
        "an answer averaged over the photo and its mirror image",
        seeded(Averaged),
        twin=seeded(AveragedApart),
        said="which its maps do not show",
    ),
    Situation(
        "an ensemble with a member that sees the mirror image",
        seeded(AveragedApart),
        twin=seeded(Averaged),
        said="which its maps do not show",
    ),
    Situation(
        "a stored picture that goes through the same layers last",
        seeded(Compared),
        twin=seeded(ComparedTwin),
    ),
    Situation(
        "classes from a convolution, averaged",
        seeded(ConvolutionBefore),
        twin=seeded(PlaceByPlace),
        methods=("grad_cam", "full_lrp", "occlusion"),
    ),
    Situation(
        "classes from a convolution behind the average",
        seeded(ConvolutionAfter),
        methods=("grad_cam", "cam", "class_evidence", "full_lrp", "occlusion"),
    ),
    Situation(
        "a dynamically quantised network, scores alone",
        _dynamic,
        methods=("rise", "occlusion"),
        tolerance=0.3,
    ),
    Situation(
        "a dynamically quantised network, gradients",
        _dynamic,
        works=False,
        said="is quantised",
        methods=("grad_cam", "lrp"),
    ),
    Situation(
        "activation checkpointing, `use_reentrant=True`",
        seeded(Reentrant),
        works=False,
        said="activation checkpointing with use_reentrant=True",
        methods=("grad_cam", "lrp"),
    ),
    Situation("`torch.no_grad()` inside the network", seeded(WithoutGradients)),
    Situation("`torch.inference_mode()` inside the network", seeded(InInferenceMode)),
    Situation(
        "a named layer on which the scores do not depend",
        seeded(SideHead),
        taps=("side.0",),
        works=False,
        said="on which the class scores do not depend",
    ),
    Situation(
        "a network on the meta device",
        lambda: plain().to("meta"),
        works=False,
        said="its weights have no values",
    ),
    Situation(
        "layers that run on parts of the photo only",
        seeded(Cropped),
        works=False,
        said="never on the whole photo upright",
    ),
    Situation("TorchScript", _scripted, works=False, said="a TorchScript network"),
    Situation(
        "a network made in inference mode",
        _made_in_inference_mode,
        works=False,
        said="made in torch.inference_mode",
    ),
)
