"""Tokens in another order than they are read in are refused; in the usual one they are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ttame
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.transformer_layout import transformer_layout
from ttame.errors import TapError
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.features.feature_taps import GridTap
from ttame.features.layer_layouts import describe_layer, token_blocks
from ttame.features.token_order import OtherOrder, other_order
from ttame.images.preprocessing import Preprocessing
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import trace_network

WIDTH = 12


class Vit(nn.Module):
    """A Vision Transformer of two blocks, whose tokens stand as asked.

    Args:
        arrange: makes (B, D, h, w) features (B, h·w, D) tokens.
        at: how many patches stand in front of the class token.
        stem: gives (B, D, h, w) features; cut into patches and put through a linear layer, if not
            given.
    """

    def __init__(
        self, arrange: Callable[[Tensor], Tensor], at: int = 0, stem: nn.Module | None = None
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.arrange, self.at, self.stem, self.rows = arrange, at, stem, 4
        self.cut, self.embed = nn.Unfold(8, stride=8), nn.Linear(3 * 64, WIDTH)
        self.cls = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(WIDTH, 2, 24, 0.0, batch_first=True, norm_first=True)
                for _ in range(2)
            )
        )
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, images: Tensor) -> Tensor:
        if self.stem is None:
            features = self.embed(self.cut(images).mT).mT.unflatten(2, (self.rows, -1))
        else:
            features = self.stem(images)
        patches, at = self.arrange(features), self.at
        cls = self.cls.expand(len(images), -1, -1)
        tokens = torch.cat([patches[:, :at], cls, patches[:, at:]], dim=1)
        return self.head(self.norm(self.blocks(tokens))[:, at])


def by_rows(features: Tensor) -> Tensor:
    return features.flatten(2).mT


def by_columns(features: Tensor) -> Tensor:
    return features.mT.flatten(2).mT


def backwards(features: Tensor) -> Tensor:
    return features.flatten(2).mT.flip(1)


def patches(stride: int = 8) -> nn.Module:
    return nn.Conv2d(3, WIDTH, stride, stride)


def overlapping() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, WIDTH, 7, 4, 3), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, 2, 1))


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, WIDTH, 5, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


def seen_in(network: nn.Module, size: tuple[int, int] = (32, 32)) -> OtherOrder | None:
    trace = trace_network(network, size)
    blocks = token_blocks(trace)
    assert blocks is not None
    tap = describe_layer(network, trace, blocks.blocks[-1])
    assert tap is not None and tap.layout == "tokens"
    return other_order(network, trace, tap)


@pytest.mark.parametrize("stem", [lambda: None, patches, overlapping, pooled])
@pytest.mark.parametrize(
    ("arrange", "at", "order"),
    [
        (by_rows, 0, None),
        (by_rows, 16, "have the patches in front of the class token"),
        (by_rows, 8, "stand in another order"),
        (by_columns, 0, "stand in another order"),
        (by_columns, 16, "stand in another order"),
        (backwards, 0, "stand in another order"),
    ],
)
def test_orders_are_told_apart(
    stem: Callable[[], nn.Module | None],
    arrange: Callable[[Tensor], Tensor],
    at: int,
    order: str | None,
) -> None:
    found = seen_in(Vit(arrange, at, stem()))
    assert (found.order if found else None) == order


def test_it_says_where_the_order_was_seen_and_what_gave_the_grid() -> None:
    found = seen_in(Vit(by_columns, 0, patches()))
    assert found is not None
    assert (found.layer, found.grid_layer) == ("blocks.0.norm1", "stem")


@pytest.mark.parametrize("stem", [None, nn.Conv2d(3, WIDTH, 16, 16)])
def test_four_patches_are_enough(stem: nn.Module | None) -> None:
    def network(arrange: Callable[[Tensor], Tensor], at: int) -> Vit:
        found = Vit(arrange, at, stem)
        found.cut, found.embed = nn.Unfold(16, stride=16), nn.Linear(3 * 256, WIDTH)
        found.rows = 2
        return found

    assert seen_in(network(by_rows, 0)) is None
    for arrange, at in ((by_rows, 4), (by_columns, 0), (by_columns, 4)):
        assert seen_in(network(arrange, at)) is not None


@pytest.mark.parametrize("size", [(32, 64), (32, 24)])
@pytest.mark.parametrize("stem", [None, patches])
def test_grids_that_are_not_square(
    size: tuple[int, int], stem: Callable[[], nn.Module] | None
) -> None:
    made = [None if stem is None else stem() for _ in range(3)]
    assert seen_in(Vit(by_rows, 0, made[0]), size) is None
    assert seen_in(Vit(by_columns, 0, made[1]), size) is not None
    assert seen_in(Vit(by_rows, 4 * size[1] // 8, made[2]), size) is not None


class BatchSecond(Vit):
    """Keeps tokens before the batch, as torch's attention does by default."""

    def __init__(self, arrange: Callable[[Tensor], Tensor], at: int) -> None:
        super().__init__(arrange, at, patches())
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(WIDTH, 2, 24, 0.0, norm_first=True) for _ in range(2))
        )

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.arrange(self.stem(images))  # type: ignore[misc]
        cls = self.cls.expand(len(images), -1, -1)
        tokens = torch.cat([tokens[:, : self.at], cls, tokens[:, self.at :]], dim=1)
        scores: Tensor = self.head(self.norm(self.blocks(tokens.transpose(0, 1)))[self.at])
        return scores


def test_tokens_before_the_batch_are_looked_at_too() -> None:
    preprocessing = Preprocessing.imagenet(32)
    usual = Classifier(BatchSecond(by_rows, 0), preprocessing=preprocessing)
    assert all(isinstance(tap, GridTap) and tap.batch_axis == 1 for tap in usual.taps)
    for arrange, at in ((by_rows, 16), (by_columns, 0)):
        with pytest.raises(TapError, match="maps of them would be wrong"):
            Classifier(BatchSecond(arrange, at), preprocessing=preprocessing)


class Around(nn.Module):
    """Does something to the picture before the network gets it."""

    def __init__(self, network: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.change = network, change

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.network(self.change(images))
        return scores


@pytest.mark.parametrize(
    "change",
    [
        torch.nan_to_num,  # nothing is spoilt
        lambda images: images - images.mean(dim=(1, 2, 3), keepdim=True),  # everything is
        lambda images: images.flip(-1),  # said of the photo, not of the tokens
    ],
)
def test_what_is_not_seen_is_not_refused(change: Callable[[Tensor], Tensor]) -> None:
    assert seen_in(Around(Vit(by_rows, 0, patches()), change)) is None


class OneAtATime(Vit):
    def forward(self, images: Tensor) -> Tensor:
        assert len(images) == 1
        return super().forward(images)


def test_a_network_for_one_image_at_a_time_is_not_refused() -> None:
    assert seen_in(OneAtATime(by_columns, 0, patches())) is None


def test_the_pass_ends_at_the_first_tokens() -> None:
    network = Vit(by_rows, 0, patches())
    trace = trace_network(network, (32, 32))
    tap = describe_layer(network, trace, trace.by_name()["blocks.1"])
    ran: list[int] = []
    network.blocks[1].register_forward_hook(lambda *_: ran.append(1))
    network.stem.register_forward_hook(lambda *_: ran.append(0))  # type: ignore[union-attr]
    assert tap is not None and other_order(network, trace, tap) is None
    assert ran == [0]


@pytest.mark.parametrize(
    "name", [name for name in TINY if "vit" in name or "swin" in name or "mixer" in name]
)
def test_known_networks_stand_row_by_row(name: str) -> None:
    classifier = TINY[name]()
    network, trace = uncompiled(classifier.network), classifier.trace
    taps: list[GridTap] = [*classifier.taps]
    layout = transformer_layout(classifier)
    taps += [] if layout is None else [layout.tokens]
    for tap in taps:
        if tap.layout == "tokens":
            assert other_order(network, trace, tap) is None


@pytest.mark.parametrize("order", [(by_rows, 16), (by_columns, 0)])
def test_maps_of_other_orders_are_refused(order: tuple[Callable[[Tensor], Tensor], int]) -> None:
    network, preprocessing = Vit(*order, patches()), Preprocessing.imagenet(32)
    for taps in (None, ["blocks.1"], ["norm"]):
        with pytest.raises(TapError, match="maps of them would be wrong; allowed: the class"):
            Classifier(network, preprocessing=preprocessing, taps=taps)
    # What the message offers works, and tokens are not read behind its back.
    classifier = Classifier(network, preprocessing=preprocessing, taps=["stem"])
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert ttame.make_explainer("grad_cam", classifier)(images).maps.shape[-2:] == (4, 4)
    for method in ("attention_rollout", "generic_attention"):
        with pytest.raises(TapError, match="maps of them would be wrong"):
            ttame.make_explainer(method, classifier)(images)


def test_the_usual_order_goes_on_with_all_methods() -> None:
    classifier = Classifier(Vit(by_rows, 0, patches()), preprocessing=Preprocessing.imagenet(32))
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    explainers: list[Any] = [
        ttame.make_explainer(method, classifier)
        for method in ("grad_cam", "attention_rollout", "generic_attention")
    ]
    explainers.append(
        new_attention_explainer(classifier, head_settings("few-shot"), method="few_shot")
    )
    for explainer in explainers:
        assert bool(explainer(images).maps.isfinite().all())
