from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ttame.errors import TextError
from ttame.words.text_windows import TextWindow, join_windows, plan_windows


@settings(max_examples=30)
@given(st.integers(0, 300), st.integers(1, 60), st.integers(0, 59))
def test_windows_cover_every_token_are_full_and_overlap_as_asked(
    tokens: int, size: int, overlap: int
) -> None:
    overlap %= size
    windows = plan_windows(tokens, size, overlap)
    assert {place for w in windows for place in range(w.start, w.end)} == set(range(tokens))
    assert all(len(window) == min(size, tokens) for window in windows)
    for before, after in itertools.pairwise(windows):
        assert before.start < after.start and before.end - after.start >= overlap
    # Not one more than needed.
    assert len(windows) == max(1, -(-(tokens - overlap) // (size - overlap)))


@settings(max_examples=30)
@given(st.integers(1, 24), st.integers(1, 8), st.integers(0, 7))
def test_what_all_windows_agree_on_is_kept_and_the_rest_is_between_them(
    tokens: int, size: int, overlap: int
) -> None:
    windows = plan_windows(tokens, size, overlap % size)
    whole = torch.arange(tokens, dtype=torch.float64)
    joined = join_windows(windows, [whole[window.start : window.end] for window in windows])
    assert torch.allclose(joined, whole)
    noisy = [torch.randn(len(window)) for window in windows]
    for place, joined_score in enumerate(join_windows(windows, noisy).tolist()):
        said = [
            float(scores[place - window.start])
            for window, scores in zip(windows, noisy, strict=True)
            if window.start <= place < window.end
        ]
        assert min(said) - 1e-5 <= joined_score <= max(said) + 1e-5


def test_the_window_with_more_context_counts_more_by_hand() -> None:
    windows = (TextWindow(0, 4), TextWindow(1, 5), TextWindow(3, 7))
    scores = [torch.full((4,), value) for value in (1.0, 2.0, 4.0)]
    joined = join_windows(windows, scores)
    # Token 3: 1 of the first (at its end), 2 of the second, 1 of the third (at its start).
    assert joined[3].item() == pytest.approx((1 * 1 + 2 * 2 + 4 * 1) / 4)
    # Token 1: 3 of the first, for there is nothing before its start, and 1 of the second.
    assert joined[1].item() == pytest.approx((3 * 1 + 1 * 2) / 4)
    assert joined[0].item() == 1 and joined[6].item() == 4


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (4, 4), (4, -1)])
def test_windows_that_cannot_be_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(TextError, match=f"windows of {size} tokens with {overlap} in common"):
        plan_windows(9, size, overlap)


def test_scores_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TextError, match=r"scores of \[3\] tokens for windows of \[2\]"):
        join_windows((TextWindow(0, 2),), [torch.ones(3)])
    with pytest.raises(TextError, match="leave tokens out"):
        join_windows((TextWindow(0, 2), TextWindow(3, 5)), [torch.ones(2), torch.ones(2)])
