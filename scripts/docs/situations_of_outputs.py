"""Situations of what goes in and comes out: channels, outputs that are no logits, files, taps.

``INS_AND_OUTS`` are checked in ``tests/scripts/docs/test_situations_of_outputs.py``. The twin of
each returns plain logits, or plain scores of what its class means.
"""
# ruff: noqa: D101, D102 - small networks whose names say it

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.docs.situation_networks import Plain
from scripts.docs.situations import Situation, seeded
from ttame.images.preprocessing import Preprocessing


class Channelled(Plain):
    """For images of another number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first[0] = nn.Conv2d(channels, 8, 3, 2, 1)


class OneByOne(nn.Conv2d):
    """A convolution as a sum of one per channel."""

    def forward(self, images: Tensor) -> Tensor:
        parts = [
            F.conv2d(images[:, i : i + 1], self.weight[:, i : i + 1], None, 2, 1)
            for i in range(images.shape[1])
        ]
        return torch.stack(parts).sum(0) + self.bias[:, None, None]  # type: ignore[index]


class SumOfChannels(Plain):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first[0] = OneByOne(channels, 8, 3, 2, 1)


class Ending(Plain):
    """What the plain network returns, changed by a function."""

    def __init__(self, end: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.end = end

    def forward(self, images: Tensor) -> Any:
        return self.end(super().forward(images))


def ending(end: Callable[[Tensor], Any]) -> Callable[[], nn.Module]:
    """The plain network with this end."""
    return seeded(lambda: Ending(end))


def _both_answers(logits: Tensor) -> Tensor:
    return torch.stack([-logits[:, 0] / 2, logits[:, 0] / 2], dim=1)


class Cosine(Plain):
    """Classes by the angle to a stored direction."""

    def forward(self, images: Tensor) -> Tensor:
        pooled = F.normalize(self.features(images).mean((2, 3)), dim=1)
        return 16 * F.linear(pooled, F.normalize(self.fc.weight, dim=1))


class CosineByHand(Cosine):
    def forward(self, images: Tensor) -> Tensor:
        pooled, rows = self.features(images).mean((2, 3)), self.fc.weight
        lengths = (pooled**2).sum(1, keepdim=True).sqrt() * (rows**2).sum(1).sqrt()
        out: Tensor = 16 * (pooled @ rows.T) / lengths
        return out


class Tempered(Plain):
    """Logits over a learned temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.5))

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = super().forward(images) / self.temperature
        return out


class Twice(Plain):
    """Logits times two."""

    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


def _two_classes() -> Any:
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model("test_efficientnet", num_classes=2).eval()


def _loaded() -> nn.Module:
    """As ``--weights model.pth`` loads what a training loop of ``DataParallel`` saved."""
    from ttame.classifiers.known_classifiers import load_classifier

    weights = {f"module.{name}": each for name, each in _two_classes().state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pth"
        torch.save({"epoch": 3, "state_dict": weights}, file)
        return load_classifier("timm/test_efficientnet", file, image_size=32).network


def _pixels(channels: Any) -> Preprocessing:
    return Preprocessing((32, 32), 32, channels=channels)


def _of_channels(title: str, channels: Any, count: int) -> Situation:
    return Situation(
        title,
        seeded(lambda: Channelled(count)),
        twin=seeded(lambda: SumOfChannels(count)),
        preprocessing=_pixels(channels),
        methods=("grad_cam", "input_x_gradient", "class_evidence", "occlusion"),
    )


def _of_outputs(
    title: str,
    end: Callable[[Tensor], Any],
    scores: Callable[[Tensor], Tensor],
    outputs: str | None = None,
) -> Situation:
    relevance = "input_x_gradient" if outputs and "probabilities" in outputs else "lrp"
    return Situation(
        title,
        ending(end),
        twin=ending(scores),
        outputs=outputs,
        methods=("grad_cam", relevance, "occlusion"),
    )


def _itself(logits: Tensor) -> Tensor:
    return logits


INS_AND_OUTS: tuple[Situation, ...] = (
    _of_channels("grey photos, one channel", "grey", 1),
    _of_channels("photos with opacity, four channels", "rgba", 4),
    _of_channels("arrays of 13 bands", 13, 13),
    Situation(
        "oblong images, 24x48 pixels",
        preprocessing=Preprocessing((24, 48), (24, 48)),
    ),
    _of_outputs("findings that do not exclude each other", _itself, _itself, "sigmoid"),
    _of_outputs("one logit, (B, 1)", lambda logits: logits[:, :1], _both_answers, "binary"),
    _of_outputs("one logit, (B,)", lambda logits: logits[:, 0], _both_answers, "binary"),
    _of_outputs(
        "probabilities of findings, behind a sigmoid",
        torch.sigmoid,
        _itself,
        "sigmoid probabilities",
    ),
    _of_outputs(
        "probabilities of classes, behind a softmax",
        lambda logits: logits.softmax(1),
        lambda logits: logits.log_softmax(1),
        "softmax probabilities",
    ),
    _of_outputs("logits as an attribute", lambda logits: SimpleNamespace(logits=logits), _itself),
    _of_outputs("logits in a dictionary", lambda logits: {"logits": logits}, _itself),
    Situation(
        "cosines with class directions",
        seeded(Cosine),
        twin=seeded(CosineByHand),
        methods=("grad_cam", "cam", "class_evidence", "input_x_gradient", "occlusion"),
    ),
    Situation(
        "logits over a learned temperature",
        seeded(Tempered),
        twin=seeded(Twice),
        methods=("grad_cam", "cam", "class_evidence", "lrp", "occlusion"),
    ),
    Situation(
        "two classes from a `model.pth` of a training loop, `module.` before its names",
        _loaded,
        twin=_two_classes,
        methods=("grad_cam", "lrp", "occlusion"),
    ),
    Situation(
        "features of two named layers",
        taps=("first", "third"),
        methods=("grad_cam", "lrp", "occlusion"),
    ),
    Situation(
        "a last sigmoid of which nothing is said",
        ending(torch.sigmoid),
        works=False,
        said="ends with a sigmoid",
    ),
    Situation(
        "a last softmax of which nothing is said",
        ending(lambda logits: logits.softmax(1)),
        works=False,
        said="ends with a softmax",
    ),
    Situation(
        "a tuple of logits and something else",
        ending(lambda logits: (logits, logits.exp())),
        works=False,
        said="returned a tuple",
    ),
    Situation(
        "one logit of which nothing is said",
        ending(lambda logits: logits[:, :1]),
        works=False,
        said="outputs='binary' where it is the logit of yes and no",
    ),
)
