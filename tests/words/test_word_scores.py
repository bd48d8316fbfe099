from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ttame.words.tokenised_text import TokenisedText
from ttame.words.word_scores import ScoredWord, Word, merge_scores, words_of

SPECIAL = ("[CLS]", "[SEP]", "[PAD]")


def tokenised(
    text: str, tokens: list[tuple[str, tuple[int, int] | None]], **more: object
) -> TokenisedText:
    return TokenisedText.of(
        text,
        [token for token, _ in tokens],
        spans=[span for _, span in tokens],
        special=[token in SPECIAL for token, _ in tokens],
        **more,  # type: ignore[arg-type]
    )


def test_punctuation_belongs_to_the_word_that_it_stands_at() -> None:
    text = tokenised(
        "Good, not bad!",
        [("[CLS]", None), ("good", (0, 4)), (",", (4, 5)), ("not", (6, 9)), ("bad", (10, 13)),
         ("!", (13, 14)), ("[SEP]", None), ("[PAD]", None)],
    )  # fmt: skip
    words = words_of(text)
    assert [(word.text, word.tokens) for word in words] == [
        ("Good,", (1, 2)), ("not", (3,)), ("bad!", (4, 5))
    ]  # fmt: skip
    assert all(text.text[word.start : word.end] == word.text for word in words)


def test_the_published_rule_and_its_signed_form_by_hand() -> None:
    words = (Word("ab", 0, 2, 0, (0, 1)), Word("c", 3, 4, 0, (2,)), Word("d", 5, 6, 0, ()))
    maps = torch.tensor([[[0.2, -0.7, -0.1, 8.0], [0.3, 0.1, 0.0, 8.0]]])
    unsigned = merge_scores(words, maps, signed=False)
    assert unsigned.shape == (1, 2, 3)
    assert unsigned[..., :2].tolist() == torch.tensor([[[0.2, -0.1], [0.3, 0.0]]]).tolist()
    signed = merge_scores(words, maps, signed=True)
    assert signed[..., :2].tolist() == torch.tensor([[[-0.7, -0.1], [0.3, 0.0]]]).tolist()
    assert bool(unsigned[..., 2].isnan().all() and signed[..., 2].isnan().all())
    tie = merge_scores((Word("ab", 0, 2, 0, (0, 1)),), torch.tensor([-0.5, 0.5]), signed=True)
    assert tie.tolist() == [0.5]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.booleans(), st.integers(0, 99))
def test_each_word_gets_the_score_of_one_of_its_own_tokens(
    lengths: list[int], signed: bool, seed: int
) -> None:
    """Slowly, word by word."""
    places = iter(range(sum(lengths)))
    words = [Word("w", 0, 1, 0, tuple(next(places) for _ in range(n))) for n in lengths]
    scores = torch.randn(sum(lengths), generator=torch.Generator().manual_seed(seed))
    for word, merged in zip(
        words, merge_scores(words, scores, signed=signed).tolist(), strict=True
    ):
        own = [float(scores[place]) for place in word.tokens]
        if not own:
            assert math.isnan(merged)
        else:
            assert merged == (max(own, key=abs) if signed else max(own))


def test_words_of_a_pair_come_after_those_of_the_text_with_their_own_characters() -> None:
    text = tokenised(
        "a man",
        [("[CLS]", None), ("a", (0, 1)), ("man", (2, 5)), ("[SEP]", None), ("no", (0, 2)),
         ("man", (3, 6)), ("[SEP]", None)],
        pair="no man", part=(0, 0, 0, 0, 1, 1, 1),
    )  # fmt: skip
    assert [(word.text, word.part, word.tokens) for word in words_of(text)] == [
        ("a", 0, (1,)), ("man", 0, (2,)), ("no", 1, (4,)), ("man", 1, (5,))
    ]  # fmt: skip


def test_the_end_of_a_sentence_without_spaces_that_was_cut_off_is_not_read() -> None:
    text = tokenised("很好吃。吗", [("很", (0, 1)), ("好", (1, 2))])
    assert [(word.text, word.tokens) for word in words_of(text)] == [
        ("很", (0,)), ("好", (1,)), ("吃。吗", ())
    ]  # fmt: skip
    only_a_mark_is_left = tokenised("很好。", [("很", (0, 1)), ("好", (1, 2))])
    assert [word.text for word in words_of(only_a_mark_is_left)] == ["很", "好。"]


def test_words_beyond_the_last_token_are_there_without_a_score() -> None:
    text = tokenised("long text here", [("[CLS]", None), ("long", (0, 4)), ("[SEP]", None)])
    words = words_of(text)
    assert [word.tokens for word in words] == [(1,), (), ()]
    merged = merge_scores(words, torch.ones(3), signed=False).tolist()
    read = [ScoredWord(word, score).is_read for word, score in zip(words, merged, strict=True)]
    assert read == [True, False, False]


def test_scripts_without_spaces_are_divided_at_tokens() -> None:
    text = tokenised(
        "很好 good!", [("很", (0, 1)), ("好", (1, 2)), ("good", (3, 7)), ("!", (7, 8))]
    )
    assert [(word.text, word.tokens) for word in words_of(text)] == [
        ("很", (0,)), ("好", (1,)), ("good!", (2, 3))
    ]  # fmt: skip
    # Bytes of one letter are tokens with the same characters; a mark is never cut off.
    bytes_of_one = tokenised("好x", [("\xe5", (0, 1)), ("\xa5", (0, 1)), ("x", (1, 2))])
    assert [word.tokens for word in words_of(bytes_of_one)] == [(0, 1), (2,)]
    thai = tokenised("ที่ดี", [("ท", (0, 1)), ("ี่", (1, 3)), ("ดี", (3, 5))])
    assert [word.text for word in words_of(thai)] == ["ที่", "ดี"]
    assert words_of(thai)[0].tokens == (0, 1)


@pytest.mark.parametrize("gap", ["", "。"])
def test_nothing_of_a_divided_word_is_lost(gap: str) -> None:
    whole = f"好{gap}吃吗"
    after = 1 + len(gap)
    text = tokenised(
        whole, [("好", (0, 1)), ("吃", (after, after + 1)), ("吗", (after + 1, after + 2))]
    )
    assert "".join(word.text for word in words_of(text)) == whole
    assert [word.tokens for word in words_of(text)] == [(0,), (1,), (2,)]


def test_an_empty_text_has_no_words() -> None:
    text = tokenised("", [("[CLS]", None), ("[SEP]", None)])
    assert words_of(text) == ()
    assert merge_scores((), torch.ones(2, 2), signed=True).shape == (2, 0)
