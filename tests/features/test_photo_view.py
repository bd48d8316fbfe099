"""How a network's layers see the photo, where there is one way through them."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.features.test_layer_runs import (
    SIZE,
    View,
    cut,
    mirrored,
    on_its_side,
    same,
    upside_down,
)
from ttame.classifiers.classifier import Classifier
from ttame.errors import TapError
from ttame.features.layer_runs import UPRIGHT
from ttame.features.photo_view import view_of_photo
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import trace_network


class Seen(nn.Module):
    """A small CNN that gets a view of the image, after a layer that gets the image itself."""

    def __init__(self, view: View, stride: int = 2, deep: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale, self.view = nn.BatchNorm2d(3), view
        widths = (3, 8, 8, 8, 8, 8, 8)[: deep + 2]
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.ReLU())
                for a, b in itertools.pairwise(widths)
            )
        )
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(self.view(self.scale(images))).mean((2, 3)))
        return scores


def padded(images: Tensor) -> Tensor:
    return F.pad(images, (32, 32, 32, 32))


def squashed(images: Tensor) -> Tensor:
    return F.interpolate(images, (32, 48), mode="bilinear")


def seen_by(network: nn.Module, size: tuple[int, int] = (SIZE, SIZE)) -> str:
    network.eval()
    return view_of_photo(network, trace_network(network, size))


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (same, UPRIGHT),
        (squashed, UPRIGHT),
        (mirrored, "the photo mirrored from left to right"),
        (lambda x: x.flip(-2), "the photo mirrored from top to bottom"),
        (upside_down, "the photo turned upside down"),
        (on_its_side, "the photo turned on its side"),
        (lambda x: torch.rot90(x, 1, (2, 3)), "the photo turned on its side"),
        (padded, "the photo made smaller"),
        (cut(0, 0), "a part of the photo"),
        (lambda x: x[..., 16:48, 16:48], "the photo without its corners"),
    ],
)
def test_what_one_way_shows_its_layers(view: View, words: str) -> None:
    assert seen_by(Seen(view)) == words


def test_layers_whose_field_of_view_is_the_whole_photo_say_nothing_wrong() -> None:
    assert seen_by(Seen(same, deep=4)) == UPRIGHT
    assert seen_by(Seen(mirrored, deep=4)) == "the photo mirrored from left to right"
    assert seen_by(Seen(same), (32, 96)) == seen_by(Seen(same, 1)) == UPRIGHT


def test_patches_that_leave_an_edge_out_are_a_part() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 16, 16), nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    )
    assert seen_by(network, (64, 64)) == UPRIGHT
    assert seen_by(network, (64, 79)) == "a part of the photo"


def test_the_classifier_says_so() -> None:
    preprocessing = Preprocessing.imagenet(SIZE)
    for taps in (None, ["body.1"]):
        turned = Classifier(Seen(mirrored), preprocessing=preprocessing, taps=taps, name="mine")
        (notice,) = turned.notices
        assert notice.startswith("mine shows its layers the photo mirrored from left to right;")
    assert Classifier(Seen(same), preprocessing=preprocessing).notices == ()


class Views(nn.Module):
    """An average over an image and its mirror image, side by side in one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = Seen(same)

    def forward(self, images: Tensor) -> Tensor:
        both = self.inside(torch.cat([images, images.flip(-1)]))
        scores: Tensor = both.unflatten(0, (2, -1)).mean(0)
        return scores


def test_views_that_stand_in_one_batch_are_named() -> None:
    with pytest.raises(TapError, match=r"get 2 pictures for one image.*the network inside"):
        Classifier(Views(), preprocessing=Preprocessing.imagenet(SIZE))
