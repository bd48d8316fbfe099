from __future__ import annotations

import time

import pytest

from ttame.progress.explaining_progress import ExplanationProgress


def test_the_time_left_is_what_each_method_took_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = ExplanationProgress(["fast", "slow"], 10)
    assert progress.seconds_left() is None
    progress.begin("fast", 1, 5)
    now[0] = 5.0
    progress.finish()
    # The slow one is not known yet: as fast as the other, ten photos of it and five of the fast.
    assert progress.seconds_left() == pytest.approx(15)
    progress.begin("slow", 1, 5)
    now[0] = 15.0
    progress.step(1, 5)
    # A fifth of five photos in ten seconds: ten a photo, 9 left of 10 photos; one a photo fast.
    assert progress.seconds_left(0.2) == pytest.approx(5 + 90)
    now[0] = 55.0
    progress.finish()
    assert progress.seconds_left() == pytest.approx(5 + 50)
    for number in range(5):
        progress.skip(f"{number}.png", f"{number}.png is torn")
    assert progress.seconds_left() == pytest.approx(0)
