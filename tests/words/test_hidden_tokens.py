from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ttame.errors import TextError, UnknownNameError
from ttame.words.hidden_tokens import hide_tokens


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_numbers_and_vectors_are_hidden_alike(texts: int, tokens: int, seed: int) -> None:
    """Against lists, text by text."""
    dice = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 99, (texts, tokens), generator=dice)
    hidden = torch.rand(texts, tokens, generator=dice) < 0.5
    vectors = torch.stack([ids, -ids], dim=1)[:, :, None, :].double()
    filler = torch.tensor([[1.0], [-1.0]])
    for how in ("replace", "remove"):
        for row, gone, found, vector in zip(
            ids.tolist(),
            hidden.tolist(),
            hide_tokens(ids, hidden, torch.tensor(1), how).tolist(),
            hide_tokens(vectors, hidden, filler, how),
            strict=True,
        ):
            left = [each for each, out in zip(row, gone, strict=True) if not out]
            wanted = (
                [1 if out else each for each, out in zip(row, gone, strict=True)]
                if how == "replace"
                else left + [1] * (tokens - len(left))
            )
            assert found == wanted
            assert vector[0, 0].tolist() == wanted and vector[1, 0].tolist() == [-n for n in wanted]


def test_the_argument_is_not_changed() -> None:
    ids = torch.tensor([[1, 2, 3]])
    hide_tokens(ids, torch.tensor([[True, False, False]]), torch.tensor(0), "remove")
    assert ids.tolist() == [[1, 2, 3]]


def test_what_does_not_fit_is_refused() -> None:
    ids = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(TextError, match=r"hidden tokens \(3, 2\) for texts \(2, 3\)"):
        hide_tokens(ids, torch.zeros(3, 2, dtype=torch.bool), torch.tensor(0))
    with pytest.raises(UnknownNameError, match="unknown way to hide tokens 'removed'; try: remove"):
        hide_tokens(ids, torch.zeros(2, 3, dtype=torch.bool), torch.tensor(0), "removed")  # type: ignore[arg-type]
