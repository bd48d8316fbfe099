"""The learning-rate range test: its rates, its suggestion, its early end, and its plot."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from tests.training.training_material import noise_photos, quick, tiny_cnn
from ttame.errors import DatasetError, TrainingError
from ttame.training import learning_rate_test
from ttame.training.learning_rate_test import (
    LearningRateTest,
    find_learning_rate,
    judge,
    write_learning_rate_plot,
)

RATES = [10 ** (-6 + 6 * step / 99) for step in range(100)]


def falling(at: float, until: float = 1e9) -> list[float]:
    """Losses that fall from 4 to 2 around a rate, and explode beyond another."""
    return [
        3 - math.tanh(2 * math.log10(rate / at)) + max(0.0, math.log10(rate / until)) * 40
        for rate in RATES
    ]


@pytest.mark.parametrize("rate", [1e-4, 3e-3, 1e-2])
def test_the_rate_of_the_fastest_fall_is_suggested(rate: float) -> None:
    noise = torch.randn(100, generator=torch.Generator().manual_seed(1)) * 0.05
    losses = [loss + float(more) for loss, more in zip(falling(rate), noise, strict=True)]
    found = judge(RATES, losses).suggested_rate
    assert found is not None
    assert rate / 2 < found < rate * 2


def test_a_loss_that_never_falls_gives_no_rate_but_a_reason() -> None:
    growing = [rate + 3 for rate in RATES]
    noisy = [
        (3 + 0.1 * torch.randn(100, generator=torch.Generator().manual_seed(seed))).tolist()
        for seed in range(20)
    ]
    for losses in ([3.0] * 100, growing, *noisy):
        test = judge(RATES, losses)
        assert test.suggested_rate is None
        assert "never falls" in test.reason


def test_smoothing_keeps_constants_and_means() -> None:
    test = judge(RATES, [2.0] * 100)
    assert test.smoothed_losses == pytest.approx([2.0] * 100)
    spike = [0.0] * 40 + [1.0] + [0.0] * 59
    smoothed = judge(RATES, spike).smoothed_losses
    assert sum(smoothed) == pytest.approx(1)
    assert smoothed[37] == pytest.approx(smoothed[43])
    assert max(smoothed) == smoothed[40]


def test_rates_grow_by_a_constant_factor() -> None:
    seen: list[tuple[int, int, float, float]] = []
    test = find_learning_rate(
        tiny_cnn(),
        noise_photos(14),
        quick("tame"),
        steps=10,
        lowest=1e-4,
        highest=1e-1,
        watch=lambda *state: seen.append(state),
    )
    assert test.rates[0] == pytest.approx(1e-4)
    assert test.rates[-1] == pytest.approx(1e-1)
    factors = [after / before for before, after in zip(test.rates, test.rates[1:], strict=False)]
    assert factors == pytest.approx([factors[0]] * 9)
    assert len(test.losses) == len(test.smoothed_losses) == 10  # three epochs of three steps
    assert seen == [(i + 1, 10, test.rates[i], test.losses[i]) for i in range(10)]


def test_the_rates_are_really_used(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    optimise = learning_rate_test.optimise

    def note_rate(run, batches):  # type: ignore[no-untyped-def]
        weights, biases = run.optimiser.param_groups
        used.append((weights["lr"], biases["lr"], weights["momentum"], biases["momentum"]))
        return optimise(run, batches)

    monkeypatch.setattr(learning_rate_test, "optimise", note_rate)
    test = find_learning_rate(tiny_cnn(), noise_photos(14), quick("tame"), steps=4)
    assert used == [(rate, 2 * rate, 0.9, 0.9) for rate in test.rates]


def test_a_real_test_suggests_a_rate_within_its_range() -> None:
    settings = quick(batch_size=8)
    test = find_learning_rate(tiny_cnn(), noise_photos(28), settings, steps=40, highest=10)
    assert test.suggested_rate is not None
    assert 1e-4 < test.suggested_rate < 10
    assert test.losses[0] == pytest.approx(test.losses[1], rel=0.3)
    assert min(test.losses) < 0.8 * test.losses[0]


def test_it_ends_early_when_the_loss_is_no_number() -> None:
    test = find_learning_rate(
        tiny_cnn(), noise_photos(14), quick(head="no-skip-no-batch-norm"), steps=12, highest=1e38
    )
    assert len(test.rates) < 12
    assert "no longer a number" in test.reason or "four times its best" in test.reason
    assert all(math.isfinite(loss) for loss in test.losses)


def test_it_ends_early_when_the_loss_is_four_times_its_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = iter([3.0, 2.0, 7.9, 8.1, 1.0])
    monkeypatch.setattr(learning_rate_test, "optimise", lambda *_: {"loss": next(losses)})
    test = find_learning_rate(tiny_cnn(), noise_photos(14), quick(), steps=5)
    assert test.losses == (3.0, 2.0, 7.9, 8.1)
    assert "four times its best" in test.reason


def test_it_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    classifier = tiny_cnn()
    classifier.network.train()
    before = {name: tensor.clone() for name, tensor in classifier.network.state_dict().items()}
    generator = torch.random.get_rng_state()
    find_learning_rate(classifier, noise_photos(14), quick(), steps=3)
    assert os.listdir(tmp_path) == []
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert all(module.training for module in classifier.network.modules())
    assert all(parameter.requires_grad for parameter in classifier.network.parameters())
    for name, tensor in classifier.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_bad_ranges_and_data_are_refused(tmp_path: Path) -> None:
    for bad in ({"steps": 1}, {"lowest": 0.0}, {"lowest": 1.0, "highest": 0.1}):
        with pytest.raises(TrainingError, match="range test"):
            find_learning_rate(tiny_cnn(), noise_photos(14), quick(), **bad)  # type: ignore[arg-type]
    with pytest.raises(DatasetError):
        find_learning_rate(tiny_cnn(), tmp_path / "nowhere", quick())


def test_all_numbers_are_saved(tmp_path: Path) -> None:
    test = judge(RATES, falling(1e-3))
    test.save_json(tmp_path / "test.json")
    saved = json.loads((tmp_path / "test.json").read_text())
    assert saved["schema_version"] == 1
    assert saved["rates"] == RATES
    assert saved["suggested_rate"] == test.suggested_rate


SVG = "{http://www.w3.org/2000/svg}"


def drawn(test: LearningRateTest, path: Path) -> ElementTree.Element:
    write_learning_rate_plot(test, path)
    return ElementTree.parse(path).getroot()


def words(drawing: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in drawing.iter(f"{SVG}text")]


def test_the_plot_marks_the_suggested_rate(tmp_path: Path) -> None:
    test = judge(RATES, falling(1e-3, until=0.3))
    drawing = drawn(test, tmp_path / "plot.svg")
    said = words(drawing)
    assert "learning rate (log scale)" in said
    assert "training loss (no unit)" in said
    assert f"suggested: {test.suggested_rate:.1e}" in said
    assert {"1e-06", "1e-03", "1e+00"} <= set(said)
    (mark,) = (line for line in drawing.iter(f"{SVG}line") if line.get("class") == "mark")
    ticks = {
        text.text: float(text.get("x", "")) for text in drawing.iter(f"{SVG}text") if text.get("x")
    }
    # A logarithmic axis: the mark lies between the decades as the logarithm says.
    share = (math.log10(test.suggested_rate or 0) + 6) / 6
    expected = ticks["1e-06"] + share * (ticks["1e+00"] - ticks["1e-06"])
    assert float(mark.get("x1", "")) == pytest.approx(expected, abs=0.2)
    raw, smooth = drawing.iter(f"{SVG}polyline")
    assert (
        len((raw.get("points") or "").split()) == len((smooth.get("points") or "").split()) == 100
    )
    style = next(drawing.iter(f"{SVG}style")).text or ""
    assert "prefers-color-scheme: dark" in style
    assert "http" not in (tmp_path / "plot.svg").read_text().replace(SVG[1:-1], "")


@pytest.mark.parametrize("losses", [[], [3.0], [3.0, 3.0], [3.0] * 30])
def test_odd_outcomes_are_drawn_too(tmp_path: Path, losses: list[float]) -> None:
    test = judge(RATES[: len(losses)], losses, "ended <early>")
    said = words(drawn(test, tmp_path / "plot.svg"))
    assert any("no suggestion" in text and "<early>" in text for text in said)
    assert not any(text.startswith("suggested:") for text in said)
