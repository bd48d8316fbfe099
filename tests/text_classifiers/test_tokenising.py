"""Tokens with their characters and words, padded; what does not fit is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ttame.errors import ClassifierError, TextError, UnknownNameError
from ttame.testing.tiny_texts import tiny_tokenizer
from ttame.text_classifiers.given_texts import GivenText
from ttame.text_classifiers.tokenising import Tokenising, refuse_other_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


def test_a_batch_is_padded_and_knows_words_and_characters(tokenizer: Any) -> None:
    batch = Tokenising(tokenizer, 32).batch(
        [GivenText("An unlikely film!"), GivenText("good?", "not bad")]
    )
    first, second = batch.texts
    assert first.tokens == ("[CLS]", "an", "un", "##like", "##ly", "film", "!", "[SEP]")
    assert first.spans == (None, (0, 2), (3, 5), (5, 9), (9, 11), (12, 16), (16, 17), None)
    assert first.words == (None, 0, 1, 1, 1, 2, 2, None)
    assert second.tokens == ("[CLS]", "good", "?", "[SEP]", "not", "bad", "[SEP]", "[PAD]")
    assert second.part == (0, 0, 0, 0, 1, 1, 0, 0)
    assert second.words == (None, 0, 0, None, 0, 1, None, None)
    assert batch.roles.tolist() == [[2, 0, 0, 0, 0, 0, 0, 2], [2, 0, 0, 2, 0, 0, 2, 1]]
    assert batch.types.tolist() == [[0] * 8, [0, 0, 0, 0, 1, 1, 1, 0]]
    assert batch.words.tolist() == [[0, 1, 2, 2, 2, 3, 3, 0], [0, 1, 1, 0, 2, 3, 0, 0]]
    assert batch.ids[1, -1] == tokenizer.pad_token_id
    assert batch.truncated == ()


def test_a_long_text_is_refused_or_cut(tokenizer: Any) -> None:
    long = GivenText("a good film " * 4)
    with pytest.raises(TextError, match=r"text 1 has 14 tokens; allowed: at most 8.*truncate"):
        Tokenising(tokenizer, 8).batch([GivenText("a film"), long])
    cut = Tokenising(tokenizer, 8, "truncate").batch([GivenText("a film"), long])
    assert cut.truncated == (1,)
    assert cut.texts[1].tokens == ("[CLS]", *("a", "good", "film") * 2, "[SEP]")
    assert cut.texts[1].text == long.text
    with pytest.raises(UnknownNameError, match="unknown way to handle long texts"):
        Tokenising(tokenizer, 8, "shorten")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[PAD] [PAD]", "[CLS] [SEP]", "\u200b"])
def test_a_text_of_nothing_but_special_tokens_is_refused(tokenizer: Any, text: str) -> None:
    with pytest.raises(TextError, match="text 0 holds nothing but special tokens or padding"):
        Tokenising(tokenizer, 32).batch([GivenText(text)])


def test_unknown_words_and_masks_are_tokens_of_a_text(tokenizer: Any) -> None:
    assert Tokenising(tokenizer, 32).batch([GivenText("[MASK]")]).roles.tolist() == [[2, 0, 2]]
    assert Tokenising(tokenizer, 32).batch([GivenText("zzz")]).texts[0].tokens[1] == "[UNK]"


def test_what_is_no_fast_tokenizer_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ClassifierError, match="a str as tokenizer; .*AutoTokenizer"):
        Tokenising("bert", 32)

    with pytest.raises(ClassifierError, match="<class .*TokenizersBackend'> as tokenizer; .*try:"):
        Tokenising(type(tokenizer), 32)

    class Slow:
        is_fast = False

        def __call__(self) -> None: ...

    with pytest.raises(ClassifierError, match="a Slow, which does not say where tokens stand"):
        Tokenising(Slow(), 32)


def test_a_tokenizer_of_another_model_is_refused(tokenizer: Any) -> None:
    refuse_other_tokenizer(tokenizer, "mine", 60)
    refuse_other_tokenizer(tokenizer, "mine", 64)
    for vocabulary in (59, 30_522):
        with pytest.raises(ClassifierError, match=f"60 tokens for mine, which has {vocabulary}"):
            refuse_other_tokenizer(tokenizer, "mine", vocabulary)


def test_threads_do_not_share_what_is_cut() -> None:
    """A tokenizer keeps whether it truncates as a state of its own."""
    cutting = Tokenising(tiny_tokenizer(8), 8, "truncate")
    long = GivenText("good " * 40)

    def length(number: int) -> int:
        if number % 2:
            return cutting.batch([long]).ids.shape[1]
        return len(cutting.without_special_tokens(long.text)["input_ids"])

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(length, range(400))) == [40, 8] * 200


def test_a_tokenizer_without_words_is_refused() -> None:
    """Transformers makes one where a folder has no tokenizer, and every word would be unknown."""
    from transformers import BertTokenizer

    with pytest.raises(ClassifierError, match="the tokenizer of m knows no words; .*save_pretrain"):
        refuse_other_tokenizer(BertTokenizer(), "m", 60)


def test_the_fingerprint_is_that_of_the_rules(tokenizer: Any) -> None:
    """Not that of how a tokenizer truncated or padded last."""
    first = Tokenising(tokenizer, 32).fingerprint()
    tokenizer("bad " * 60, truncation=True, max_length=9, padding="max_length")
    assert Tokenising(tokenizer, 20, "truncate").fingerprint() == first and len(first) == 16
    assert Tokenising(tiny_tokenizer(), 32).fingerprint() == first
    added, spoken = tiny_tokenizer(), tiny_tokenizer()
    added.add_tokens(["wow"])
    spoken.mask_token = "[UNK]"
    assert len({first, *(Tokenising(each, 32).fingerprint() for each in (added, spoken))}) == 3
