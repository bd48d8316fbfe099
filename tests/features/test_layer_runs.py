"""Of several runs of a layer, the one that sees the photo upright is read; or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.features.reused_layers import ReusedPool, ReusedRelu
from ttame.errors import TapError
from ttame.features.layer_runs import STORED, UNCLEAR, UPRIGHT, SoundRun, sound_run, views_of_runs
from ttame.features.tap_influence import PASSED, influential_choice
from ttame.networks.network_trace import trace_network

View = Callable[[Tensor], Tensor]
SIZE = 64


def body() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())


class Views(nn.Module):
    """A mean over views of the image, through one body or one for each."""

    def __init__(self, views: Sequence[View], *, shared: bool = True) -> None:
        super().__init__()
        made = body()
        self.bodies = nn.ModuleList(made if shared else body() for _ in views)
        self.views, self.head = views, nn.Linear(8, 4)
        self.register_buffer("stored", torch.randn(1, 3, SIZE, SIZE))

    def forward(self, images: Tensor) -> Tensor:
        pairs = zip(self.bodies, self.views, strict=True)
        seen = [each(self.stored if view is stored else view(images)) for each, view in pairs]
        features = sum(seen[1:], seen[0])
        out: Tensor = self.head(features.mean((2, 3)))
        return out


def same(images: Tensor) -> Tensor:
    return images


def stored(images: Tensor) -> Tensor:
    raise AssertionError


def mirrored(images: Tensor) -> Tensor:
    return images.flip(-1)


def upside_down(images: Tensor) -> Tensor:
    return images.flip(-1, -2)


def on_its_side(images: Tensor) -> Tensor:
    return images.transpose(-1, -2)


def moved(images: Tensor) -> Tensor:
    return F.pad(images, (24, 0, 0, 0))[..., :SIZE]


def cut(top: int, left: int) -> View:
    side = SIZE * 7 // 8
    return lambda x: F.interpolate(x[..., top : top + side, left : left + side], (SIZE, SIZE))


def zoomed(images: Tensor) -> Tensor:
    return F.interpolate(F.interpolate(images, (48, 48)), (SIZE, SIZE))


def shrunk(images: Tensor) -> Tensor:
    return F.pad(F.interpolate(images, (32, 32)), (32, 0, 32, 0))


def run_of(network: nn.Module, layer: str = "bodies.0.3") -> SoundRun:
    return sound_run(network, trace_network(network, (SIZE, SIZE)), layer)


@pytest.mark.parametrize(
    ("views", "run", "notice"),
    [
        ((same, mirrored), 0, "#0 is read; bodies.0.3#1 sees the photo mirrored from left to"),
        ((mirrored, same), -1, "#1 is read; bodies.0.3#0 sees the photo mirrored"),
        ((same, upside_down, mirrored), 0, "#1 sees the photo turned upside down; bodies"),
        ((same, on_its_side), 0, "turned on its side"),
        ((same, stored), 0, STORED),
        ((stored, same), -1, STORED),
        ((stored, mirrored), -1, STORED),
        ((same, cut(0, 0)), 0, "a part of the photo, with its top left"),
        ((same, cut(4, 4)), 0, "a part of the photo, without its corners"),
        ((same, moved), 0, "a part of the photo, with its top left and bottom left"),
        ((same, shrunk), 0, "the photo moved"),
        ((same, zoomed), -1, ""),
        # Side by side, and the last one turned: the first, and what is computed of it.
        ((same, zoomed, mirrored), 0, "mirrored"),
        ((mirrored, mirrored), -1, ""),
    ],
)
def test_the_run_on_the_upright_photo_is_meant(
    views: tuple[View, ...], run: int, notice: str
) -> None:
    found = run_of(Views(views))
    assert found.run == run
    assert notice in found.notice
    assert bool(notice) == bool(found.notice)


def test_runs_after_each_other_are_read_at_the_last() -> None:
    for network, layer in ((ReusedPool(), "pool"), (ReusedRelu(), "relu")):
        assert run_of(network, layer) == SoundRun(-1)


def test_a_function_shared_inside_views_is_read_at_the_last_run_of_the_upright_one() -> None:
    network = Views((same, mirrored))
    network.bodies[0][3] = network.bodies[0][1]
    trace = trace_network(network, (SIZE, SIZE))
    views = views_of_runs(network, trace, ["bodies.0.1"])["bodies.0.1"]
    assert list(views.values())[:2] == [UPRIGHT] * 2
    assert sound_run(network, trace, "bodies.0.1").run == 1


def test_without_an_upright_run_it_is_said_what_to_type() -> None:
    with pytest.raises(TapError) as refused:
        run_of(Views((cut(0, 0), cut(8, 8))))
    said = str(refused.value)
    assert "runs 2 times and never on the whole photo upright" in said
    assert "bodies.0.3#1 sees a part of the photo, with its bottom right" in said
    assert "try: taps=['bodies.0.3#0'], or another run" in said
    assert "\n" not in said


def choice_of(network: nn.Module) -> tuple[list[str], str, tuple[str, ...]]:
    choice = influential_choice(network, trace_network(network, (SIZE, SIZE)))
    return [str(tap) for tap in choice.taps], choice.reason, choice.notices


def test_the_automatic_choice_names_the_run() -> None:
    taps, reason, notices = choice_of(Views((same, mirrored)))
    assert taps[-1] == "bodies.0.3#0"
    assert "mirrored" in notices[-1]
    assert reason.endswith(PASSED)


@pytest.mark.parametrize("other", [mirrored, upside_down, stored, cut(0, 0)])
def test_members_that_see_something_else_are_passed_over(other: View) -> None:
    for views, member in (((same, other), 0), ((other, same), 1)):
        taps, _, notices = choice_of(Views(views, shared=False))
        assert [tap.split(".")[1] for tap in taps] == [str(member)] * len(taps)
        assert not [notice for notice in notices if not notice.endswith(PASSED)]


def test_where_no_member_sees_the_photo_upright_it_is_refused() -> None:
    with pytest.raises(TapError, match=r"would be chosen and sees the photo.*try: taps="):
        choice_of(Views((mirrored, upside_down), shared=False))


@pytest.mark.parametrize(
    ("weight", "bias", "view"), [(1e-25, 0.0, UPRIGHT), (1e-7, 1.0, UNCLEAR), (0.0, 1.0, STORED)]
)
def test_next_to_nothing_of_the_photo_is_not_nothing(weight: float, bias: float, view: str) -> None:
    """Random weights may leave as little, layer after layer; numbers so small have no squares."""
    network = body()
    with torch.no_grad():
        network[0].weight.mul_(weight)
        network[0].bias.fill_(bias)
        network[2].bias.zero_()
    network.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)])
    trace = trace_network(network.eval(), (SIZE, SIZE))
    assert views_of_runs(network, trace, ["0"])["0"] == {0: view}
