"""The published numbers of the presets, and that they name what exists."""

from __future__ import annotations

import pytest

from ttame.errors import UnknownNameError
from ttame.metrics.texts.known_text_metrics import TEXT_METRICS
from ttame.metrics.texts.known_text_protocols import (
    DEFAULT_TEXT_PROTOCOL,
    TEXT_PROTOCOLS,
    known_text_protocol,
)


def test_the_published_benchmark() -> None:
    protocol = known_text_protocol(DEFAULT_TEXT_PROTOCOL)
    assert protocol.counts == tuple(range(5, 81, 5))
    assert protocol.explained_class == "label"
    assert (protocol.merging, protocol.clamped) == ("maximum", True)
    assert protocol.shares == (0.01, 0.05, 0.1, 0.2, 0.5)
    assert protocol.taken_away == "removed"


def test_eraser_explains_what_is_predicted() -> None:
    protocol = known_text_protocol("eraser")
    assert (protocol.explained_class, protocol.unit) == ("top-1", "words")
    assert (protocol.taken_away, protocol.area) == ("removed", "trapezoids")


def test_presets_name_metrics_that_exist() -> None:
    for preset in TEXT_PROTOCOLS.values():
        assert preset.metrics and not any(
            TEXT_METRICS[name].needs_rationales for name in preset.metrics
        )
        assert all(TEXT_METRICS[name].needs_rationales for name in preset.rationale_metrics)
        assert preset.title and preset.source


def test_hashes_differ() -> None:
    hashes = {protocol.hash for protocol in TEXT_PROTOCOLS.values()}
    assert len(hashes) == len(TEXT_PROTOCOLS)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="chefer-text"):
        known_text_protocol("chefer_text")
