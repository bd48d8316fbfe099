"""The networks of the situations: plain ones, and the same written or run in other ways."""
# ruff: noqa: D101, D102 - small networks whose names say it

from __future__ import annotations

import copy
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


class InInferenceMode(Plain):
    def forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
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
        length = pooled.norm(dim=1, keepdim=True) if self.written else None
        out: Tensor = self.fc(F.normalize(pooled) if length is None else pooled / length)
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


class Averaged(nn.Module):
    """An answer averaged over the image and its mirror image, through one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Plain()

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = (self.body(images) + self.body(images.flip(-1))) / 2
        return out


class AveragedApart(nn.Module):
    """The same with a body for each, of the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Plain()
        self.other = copy.deepcopy(self.body)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = (self.body(images) + self.other(images.flip(-1))) / 2
        return out


class Compared(Plain):
    """A picture is compared with a stored one, which goes through the same layers last."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("stored", torch.randn(1, 3, 32, 32))

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images).mean((2, 3))
        out: Tensor = self.fc(features - self.features(self.stored).mean((2, 3)))
        return out


class ComparedTwin(Compared):
    """What the stored picture gives is a number."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.register_buffer("given", self.eval().features(self.stored).mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.fc(self.features(images).mean((2, 3)) - self.given)
        return out


class Cropped(Plain):
    """Only corners of the image are looked at, one after the other."""

    def forward(self, images: Tensor) -> Tensor:
        corners = images[..., :24, :24], images[..., 8:, 8:]
        out: Tensor = super().forward(corners[0]) + super().forward(corners[1])
        return out


class ConvolutionBefore(Plain):
    """Classes from a convolution with a kernel of 1x1, averaged then."""

    def __init__(self) -> None:
        super().__init__()
        rows, self.fc = self.fc, nn.Conv2d(16, CLASSES, 1)  # type: ignore[assignment]
        self.fc.weight.data.copy_(rows.weight[:, :, None, None])
        self.fc.bias.data.copy_(rows.bias)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.fc(self.features(images)).mean((2, 3))
        return out


class PlaceByPlace(Plain):
    """A linear layer at each place, averaged then."""

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.fc(self.features(images).permute(0, 2, 3, 1)).mean((1, 2))
        return out


class ConvolutionAfter(ConvolutionBefore):
    """Averaged features, a convolution, as in MobileNetV3."""

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.fc(self.features(images).mean((2, 3), keepdim=True)).flatten(1)
        return out


class TokensFirst(nn.Module):
    def __init__(self, width: int = 16, *, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.patches, self.token = nn.Conv2d(3, width, 8, 8), nn.Parameter(torch.ones(1, 1, width))
        layer = nn.TransformerEncoderLayer(width, 4, 32, norm_first=True, batch_first=batch_first)
        norm = nn.LayerNorm(width)
        self.encoder = nn.TransformerEncoder(layer, 3, norm, enable_nested_tensor=False)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        x = self.encoder(x) if self.batch_first else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        out: Tensor = self.head(x[:, 0])
        return out
