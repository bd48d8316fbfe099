"""The scores depend on taps, and on nothing that goes around the last one; or a notice says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from scripts.docs.situation_networks import Attention, Transformer
from ttame.errors import TapError
from ttame.features.layer_layouts import describe_layer
from ttame.features.named_taps import named_taps
from ttame.features.tap_influence import (
    PASSED,
    TapInfluence,
    influential_choice,
    refuse_idle_taps,
    tap_influence,
)
from ttame.networks.network_trace import trace_network


class Ways(nn.Module):
    """Two convolutions, an idle one, and a head whose inputs a test chooses."""

    def __init__(self, way: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.idle = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(8, 4)
        self.way = way

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(images)
        second = self.second(first)
        self.idle(second)
        out: Tensor = self.head(self.way(first.mean((2, 3)), second.mean((2, 3))))
        return out


def through(_first: Tensor, second: Tensor) -> Tensor:
    return second


def past(first: Tensor, second: Tensor) -> Tensor:
    return first + second


def around(first: Tensor, _second: Tensor) -> Tensor:
    return first


def influence(network: Ways, *layers: str) -> tuple[list[str], bool | None]:
    trace = trace_network(network, (32, 32))
    taps = [describe_layer(network, trace, trace.by_name()[layer]) for layer in layers]
    found = tap_influence(network, trace, [tap for tap in taps if tap is not None])
    return [tap.layer for tap in found.idle], found.passed


def test_what_is_seen_of_each_way() -> None:
    assert influence(Ways(through), "first", "second") == ([], False)
    assert influence(Ways(past), "first", "second") == ([], True)
    assert influence(Ways(past), "second", "first") == ([], False)
    assert influence(Ways(around), "first", "second") == (["second"], True)
    assert influence(Ways(through), "second", "idle") == (["idle"], True)


def test_a_head_that_starts_at_zero_says_nothing_of_what_goes_past() -> None:
    network = Ways(through)
    nn.init.zeros_(network.head.weight)
    assert influence(network, "second") == ([], None)


def test_images_of_a_batch_that_influence_each_other_say_nothing() -> None:
    network = Ways(lambda _first, second: second - second.mean(dim=0))
    trace = trace_network(network, (32, 32))
    tap = describe_layer(network, trace, trace.by_name()["idle"])
    assert tap is not None
    assert tap_influence(network, trace, [tap]).passed in (True, None)
    tap = describe_layer(network, trace, trace.by_name()["second"])
    assert tap is not None
    assert tap_influence(network, trace, [tap]) == TapInfluence()


def test_a_layer_whose_images_change_places_is_not_called_idle() -> None:
    network = Ways(lambda _first, second: second.roll(1, dims=0))
    assert influence(network, "second") == ([], None)


def test_that_memory_ran_out_is_not_taken_for_nothing_seen() -> None:
    network = Ways(through)
    trace = trace_network(network, (32, 32))
    tap = describe_layer(network, trace, trace.by_name()["second"])
    assert tap is not None

    def no_memory(_first: Tensor, _second: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    network.way = no_memory
    with pytest.raises(torch.OutOfMemoryError):
        tap_influence(network, trace, [tap])


def test_something_past_the_blocks_of_a_transformer_is_said_and_residuals_are_not() -> None:
    def reason(network: nn.Module) -> str:
        return influential_choice(network, trace_network(network, (32, 32))).reason

    torch.manual_seed(0)
    one, other = (Transformer(Attention).eval() for _ in range(2))
    assert PASSED not in reason(one)
    assert reason(Both(one, other)).endswith(PASSED)


class Both(nn.Module):
    """The mean of two members."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = (self.one(images) + self.other(images)) / 2
        return out


def test_the_choice_moves_on_and_names_what_goes_past() -> None:
    for way, last, passed in ((through, "second", False), (past, "second", True)):
        network = Ways(way)
        choice = influential_choice(network, trace_network(network, (32, 32)))
        assert choice.taps[-1].layer.startswith(last)
        assert choice.reason.endswith(PASSED) == passed
        assert [notice.endswith(PASSED) for notice in choice.notices] == [True] * passed


class AddsInPlace(nn.Module):
    """A body, and a layer whose output is added to the body's in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.side, self.head = nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        features += self.side(features)
        out: Tensor = self.head(features.mean((2, 3)))
        return out


def test_the_choice_moves_back_to_a_layer_that_nothing_goes_past() -> None:
    network = AddsInPlace().eval()
    trace = trace_network(network, (32, 32))
    choice = influential_choice(network, trace)
    assert str(choice.taps[-1]) == "body"
    assert not choice.notices
    assert tap_influence(network, trace, choice.taps[-1:]).passed is False
    assert influence_of(network, "side") is True


def influence_of(network: nn.Module, layer: str) -> bool | None:
    trace = trace_network(network, (32, 32))
    tap = describe_layer(network, trace, trace.by_name()[layer])
    assert tap is not None
    return tap_influence(network, trace, [tap]).passed


def test_a_named_layer_that_does_not_matter_is_refused() -> None:
    network = Ways(through)
    trace = trace_network(network, (32, 32))
    with pytest.raises(TapError, match=r"'idle', on which the class scores do not depend.*second"):
        refuse_idle_taps(network, trace, named_taps(network, trace, ["idle"]))
    choice = named_taps(network, trace, ["first"])
    assert refuse_idle_taps(network, trace, choice) is choice


class PostNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix, self.norm = Attention(width, 2), nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.norm(tokens + self.mix(tokens))
        return out


class ClassTokenOfTheEnd(nn.Module):
    """Normalised blocks, the class token of the last one is read."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.blocks, self.head = nn.Sequential(*[PostNorm(8) for _ in range(4)]), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1)
        out: Tensor = self.head(self.blocks(tokens)[:, 0])
        return out


def test_patches_that_nobody_reads_are_idle_by_places() -> None:
    network = ClassTokenOfTheEnd()
    trace = trace_network(network, (32, 32))
    names = ("patches", "blocks.2", "blocks.3")
    taps = [describe_layer(network, trace, trace.by_name()[name]) for name in names]
    layers = [tap for tap in taps if tap is not None]
    assert [tap.prefix_tokens for tap in layers] == [0, 1, 1]
    assert tap_influence(network, trace, layers).idle == ()
    assert tap_influence(network, trace, layers, layers).idle == (layers[-1],)


def test_where_the_class_token_alone_is_read_the_choice_moves_on() -> None:
    network = ClassTokenOfTheEnd()
    trace = trace_network(network, (32, 32))
    assert influential_choice(network, trace).taps[-1].layer == "blocks.2"
    named = named_taps(network, trace, ["blocks.3"])
    assert refuse_idle_taps(network, trace, named) is named  # some maps need no gradient


class LastStep(nn.Module):
    """Patches as steps of a recurrent layer, of which the last state is read."""

    def __init__(self, two_ways: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.steps = nn.LSTM(8, 8, batch_first=True, bidirectional=two_ways)
        self.head = nn.Linear(16 if two_ways else 8, 4)

    def forward(self, images: Tensor) -> Tensor:
        states, _ = self.steps(self.patches(images).flatten(2).transpose(1, 2))
        scores: Tensor = self.head(states[:, -1])
        return scores


def test_a_layer_of_which_one_place_is_read_is_passed_over() -> None:
    """Its map would be blank but for that place."""
    for two_ways in (False, True):
        network = LastStep(two_ways)
        trace = trace_network(network, (32, 32))
        taps = influential_choice(network, trace).taps
        assert [tap.layer for tap in taps] == ["patches"]
        named = named_taps(network, trace, ["steps"])
        assert refuse_idle_taps(network, trace, named) is named
