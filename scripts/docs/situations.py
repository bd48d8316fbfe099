"""Networks as people have them, each in one situation: what works, and what is refused in words.

``SITUATIONS`` are checked one by one in ``tests/scripts/docs/test_situations.py``, against a plain
twin of each network; :func:`as_markdown` is the section of the compatibility page.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CLASSES = 4


class Plain(nn.Module):
    """Two convolutions, an average, a linear layer."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16))
        self.third = nn.ReLU(inplace=inplace)
        self.fc = nn.Linear(16, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        out: Tensor = self.third(self.second(self.first(images)))
        return out

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.fc(self.features(images).mean((2, 3)))
        return out


class InFlag(Plain):
    """Checkpointing behind a flag, as timm has it."""

    def __init__(self) -> None:
        super().__init__()
        self.grad_checkpointing = True

    def features(self, images: Tensor) -> Tensor:
        first = self.first(images)
        if self.grad_checkpointing:
            return self.third(checkpoint(self.second, first, use_reentrant=False))  # type: ignore[no-any-return]
        return self.third(self.second(first))  # type: ignore[no-any-return]


class Checkpointed(Plain):
    """Checkpointing without a flag."""

    reentrant = False

    def features(self, images: Tensor) -> Tensor:
        def run(layer: nn.Module, values: Tensor) -> Any:
            return checkpoint(layer, values, use_reentrant=self.reentrant)

        return self.third(run(self.second, run(self.first, images)))  # type: ignore[no-any-return]


class Reentrant(Checkpointed):
    reentrant = True


class Autocast(Plain):
    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(images)


class WithoutGradients(Plain):
    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(images)


class Gated(Plain):
    """A gate of channels whose class is called attention."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = SEAttention(16)

    def features(self, images: Tensor) -> Tensor:
        return self.gate(super().features(images))  # type: ignore[no-any-return]


class SEAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, width, 1)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = values * self.squeeze(values.mean((2, 3), keepdim=True)).sigmoid()
        return out


class Ensemble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = Plain(), Plain()

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = (self.one(images) + self.other(images)) / 2
        return out


class SideHead(Plain):
    """A head that runs and is not returned."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Sequential(nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 1))

    def features(self, images: Tensor) -> Tensor:
        features = super().features(images)
        self.side(features)
        return features


class Powers(Plain):
    """A negative, a square and a clamp where the twin multiplies and rectifies."""

    written = True

    def features(self, images: Tensor) -> Tensor:
        values = self.second(self.first(images))
        if self.written:
            return (-((-values).clamp(max=0))) ** 2
        return F.relu(values).square()


class PowersTwin(Powers):
    written = False


class Normed(Plain):
    """Features of unit length: written with their norm, in the twin with ``F.normalize``."""

    written = True

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.features(images).mean((2, 3))
        if self.written:
            pooled = pooled / pooled.norm(dim=1, keepdim=True)
        else:
            pooled = F.normalize(pooled)
        out: Tensor = self.fc(pooled)
        return out


class NormedTwin(Normed):
    written = False


class Attention(nn.Module):
    """Self-attention in several hands."""

    hand = "@"

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        deep = width // self.heads
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, deep).permute(2, 0, 3, 1, 4)
        mixed = self.mixed(q, k, v, deep**-0.5)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out

    def mixed(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        if self.hand == "@":
            return ((q * scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        if self.hand == "fused":
            return F.scaled_dot_product_attention(q, k, v)
        if self.hand == "einsum":
            scores = torch.einsum("bhid,bhjd->bhij", q * scale, k)
            return torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), v)
        q, k, flat = (each.flatten(0, 1) for each in (q * scale, k, v))
        empty = torch.empty(len(q), q.shape[1], k.shape[1], dtype=q.dtype)
        scores = torch.baddbmm(empty, q, k.transpose(1, 2), beta=0)
        return torch.bmm(scores.softmax(-1), flat).reshape(v.shape)


class Mixing(Attention):
    hand = "fused"


class Einsum(Attention):
    hand = "einsum"


class Baddbmm(Attention):
    hand = "baddbmm"


class Block(nn.Module):
    def __init__(self, width: int, kind: type[Attention]) -> None:
        super().__init__()
        self.norm1, self.mix = nn.LayerNorm(width), kind(width)
        self.norm2, self.mlp = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Transformer(nn.Module):
    """A class token and the patches of an image."""

    def __init__(self, kind: type[Attention], width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.blocks = nn.Sequential(*[Block(width, kind) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        out: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return out


class TokensFirst(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, 8, 8), nn.Parameter(torch.ones(1, 1, width))
        layer = nn.TransformerEncoderLayer(width, 4, 32, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        out: Tensor = self.head(self.encoder(x.transpose(0, 1))[0])
        return out


def _seeded(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return make().eval()

    return made


plain = _seeded(Plain)


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


_OF_TRANSFORMERS = ("grad_cam", "attn_lrp", "attention_rollout", "class_evidence", "occlusion")
_at = _seeded(lambda: Transformer(Attention))


def _attending(kind: type[Attention]) -> Callable[[], nn.Module]:
    return _seeded(lambda: Transformer(kind))


SITUATIONS = (
    Situation("a network in eval mode"),
    Situation("a network in train mode", lambda: plain().train()),
    Situation("weights with `requires_grad=False`", _frozen),
    Situation("a session with default dtype float64", around=lambda: default_dtype(torch.float64)),
    Situation("a session with default dtype float16", around=lambda: default_dtype(torch.float16)),
    Situation("autocast around", around=lambda: torch.autocast("cpu", torch.bfloat16)),
    Situation("autocast inside the network", _seeded(Autocast), tolerance=0.1),
    Situation("`torch.no_grad()` around", around=torch.no_grad),
    Situation("`torch.inference_mode()` around", around=torch.inference_mode),
    Situation("a float64 network", lambda: plain().double()),
    Situation("a bfloat16 network", lambda: plain().bfloat16(), tolerance=0.1),
    Situation("channels-last weights", lambda: plain().to(memory_format=torch.channels_last)),
    Situation("activation checkpointing by a flag", _seeded(InFlag)),
    Situation("activation checkpointing, `use_reentrant=False`", _seeded(Checkpointed)),
    Situation("an in-place ReLU behind the read layer", _seeded(lambda: Plain(inplace=True))),
    Situation("`nn.DataParallel`", lambda: nn.DataParallel(plain())),
    Situation("`AveragedModel`", lambda: torch.optim.swa_utils.AveragedModel(plain())),
    Situation("a wrapper inside a wrapper", lambda: nn.DataParallel(nn.DataParallel(plain()))),
    Situation("a network inside `nn.Sequential`", lambda: nn.Sequential(plain())),
    Situation("`torch.compile`", lambda: torch.compile(plain())),  # type: ignore[arg-type, return-value]
    Situation("a deep copy", lambda: copy.deepcopy(plain())),
    Situation("a side head that is not returned", _seeded(SideHead)),
    Situation(
        "an ensemble",
        _seeded(Ensemble),
        twin=_seeded(Ensemble),
        said="the scores also depend on what goes past it",
    ),
    Situation("a gate called attention", _seeded(Gated), twin=_seeded(Gated)),
    Situation("negatives, clamps and powers", _seeded(Powers), twin=_seeded(PowersTwin)),
    Situation("a norm as divisor", _seeded(Normed), twin=_seeded(NormedTwin)),
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
        _seeded(Reentrant),
        works=False,
        said="activation checkpointing with use_reentrant=True",
        methods=("grad_cam", "lrp"),
    ),
    Situation(
        "`torch.no_grad()` inside the network",
        _seeded(WithoutGradients),
        works=False,
        said="no gradient",
        methods=("grad_cam", "integrated_gradients"),
    ),
    Situation(
        "a named layer on which the scores do not depend",
        _seeded(SideHead),
        taps=("side.0",),
        works=False,
        said="on which the class scores do not depend",
    ),
    Situation(
        "tokens before the batch", _seeded(TokensFirst), works=False, said="come before the batch"
    ),
    Situation("TorchScript", _scripted, works=False, said="a TorchScript network"),
    Situation(
        "a network made in inference mode",
        _made_in_inference_mode,
        works=False,
        said="made in torch.inference_mode",
    ),
)


def as_markdown() -> str:
    """The section of the page."""
    rows = [
        f"| {each.title} | {'works' if each.works else 'refused'} | {each.said} |"
        for each in SITUATIONS
    ]
    return "\n".join(
        [
            "## Situations",
            "",
            "Each is compared with a plain network that computes the same, method by method, in "
            "`tests/scripts/docs/test_situations.py`.",
            "",
            "| situation | outcome | in which words |",
            "|---|---|---|",
            *rows,
        ]
    )
