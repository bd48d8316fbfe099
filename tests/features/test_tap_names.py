"""Taps as text, there and back."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttame.features.feature_taps import LayerOutput, RectifiedOutput
from ttame.features.normalised_average import NormalisedShares
from ttame.features.tap_names import TapName, parse_tap
from ttame.features.token_contributions import TokenContributions

OUTPUT = LayerOutput("layer", "channels first", 8, (7, 7), (224, 224))
PARTS = st.lists(st.text("ab01_#-", min_size=1, max_size=5), min_size=1, max_size=3)
LAYERS = PARTS.map(".".join)
"""As they occur, and some that look like runs."""


@settings(max_examples=200, deadline=None)
@given(layer=LAYERS, run=st.integers(-1, 20))
def test_a_layer_and_its_run_come_back(layer: str, run: int) -> None:
    text = dataclasses.replace(OUTPUT, layer=layer, run=run).to_config()
    assert parse_tap(text) == TapName(LayerOutput, (layer,), run)


@settings(max_examples=50, deadline=None)
@given(layer=LAYERS, norm=LAYERS)
def test_the_other_kinds_come_back(layer: str, norm: str) -> None:
    like = dataclasses.replace(OUTPUT, layer=layer)
    for tap, layers in (
        (RectifiedOutput.like(like), (layer,)),
        (TokenContributions.like(like), (layer,)),
        (NormalisedShares.like(like, norm=norm), (layer, norm)),
    ):
        assert parse_tap(tap.to_config()) == TapName(type(tap), layers)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("layer4", TapName(LayerOutput, ("layer4",))),
        ("blocks.3.norm1", TapName(LayerOutput, ("blocks.3.norm1",))),
        ("a:b.0", TapName(LayerOutput, ("a:b.0",))),
        ("contributions", TapName(LayerOutput, ("contributions",))),
        ("contributions:encoder.ln", TapName(TokenContributions, ("encoder.ln",))),
        ("normalised:stages.3:head.norm", TapName(NormalisedShares, ("stages.3", "head.norm"))),
        ("pool#0", TapName(LayerOutput, ("pool",), 0)),
        ("pool#-1", TapName(LayerOutput, ("pool",))),
        ("pool#-2", TapName(LayerOutput, ("pool#-2",))),
        ("#0", TapName(LayerOutput, ("#0",))),
    ],
)
def test_what_saved_folders_and_people_write_is_read(text: str, name: TapName) -> None:
    assert parse_tap(text) == name


def test_all_taps_say_the_same_things_of_themselves() -> None:
    words = "8 channels on a 7x7 grid"
    assert OUTPUT.in_words() == f"layer: {words}"
    assert dataclasses.replace(OUTPUT, run=2).in_words() == f"layer#2: {words}"
    assert TokenContributions.like(OUTPUT).in_words() == f"contributions:layer: {words}"
    shares = NormalisedShares.like(OUTPUT, norm="norm")
    assert shares.in_words() == f"normalised:layer:norm: {words}"
    assert parse_tap(str(shares)).in_words == "what each place gives to the normalised average"


def test_taps_of_two_kinds_or_runs_are_not_equal() -> None:
    taps = {
        OUTPUT,
        dataclasses.replace(OUTPUT, run=0),
        RectifiedOutput.like(OUTPUT),
        TokenContributions.like(OUTPUT),
        NormalisedShares.like(OUTPUT, norm="a"),
        NormalisedShares.like(OUTPUT, norm="b"),
    }
    assert len(taps) == 6
