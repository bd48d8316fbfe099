from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from ttame.errors import TextError
from ttame.testing import tiny_text_classifier
from ttame.testing.tiny_texts import tiny_text_model
from ttame.text_classifiers.long_texts import LongText
from ttame.text_classifiers.text_classifier import TextClassifier


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return tiny_text_classifier()


@pytest.mark.parametrize(
    "text", ["a really good film , unlikely sad ! " * 12, "unlikely " * 40, "bad"]
)
def test_windows_cover_the_text_and_are_read_as_the_whole_is(
    classifier: TextClassifier, text: str
) -> None:
    long = LongText.of(classifier, text)
    whole = long.tokenised
    covered = {place for each in long.windows for place in range(each.start, each.end)}
    assert covered == set(range(len(whole.tokens)))
    batch = classifier.tokenise([*long.pieces])  # Not one of them is too long.
    for number, (window, piece) in enumerate(zip(long.windows, batch.texts, strict=True)):
        wanted = list(whole.tokens[window.start : window.end])
        assert [piece.tokens[place] for place in long.places(number, piece)] == wanted
        assert whole.words[window.start] != whole.words[window.start - 1] or window.start == 0
    assert (len(long.windows) > 1) == (len(text) > 10)


def test_a_word_that_no_window_holds_is_cut(classifier: TextClassifier) -> None:
    """One word of 46 tokens."""
    long = LongText.of(classifier, "bad" + "ly" * 45)
    assert [(each.start, each.end) for each in long.windows] == [(0, 30), (16, 46)]
    for number, piece in enumerate(classifier.tokenise([*long.pieces]).texts):
        assert len(long.places(number, piece)) == len(long.windows[number])


def test_a_text_without_tokens_is_refused(classifier: TextClassifier) -> None:
    with pytest.raises(TextError, match="a text without tokens"):
        LongText.of(classifier, "   ")


def byte_level_classifier() -> TextClassifier:
    """As RoBERTa's, whose tokens begin with the blank before a word: " good" is one, "good" two."""
    tokenizer = Tokenizer(models.BPE(vocab=_BYTES, merges=[("\u0120", "g")], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", unk_token="<unk>",
        pad_token="<pad>", model_max_length=11
    )  # fmt: skip
    return TextClassifier(tiny_text_model("roberta", vocab_size=len(_BYTES)), fast)


_BYTES = {token: number for number, token in enumerate(
    ["<s>", "<pad>", "</s>", "<unk>", "\u0120", "g", "a", ".", "\u0120g"])}  # fmt: skip


@pytest.mark.parametrize("text", [" g" * 30, "ga g." * 12, " a" * 25 + "g" * 20])
def test_windows_of_byte_level_tokens_fit(text: str) -> None:
    classifier = byte_level_classifier()
    long = LongText.of(classifier, text)
    batch = classifier.tokenise([*long.pieces])  # Not one of them is too long.
    for number, (window, piece) in enumerate(zip(long.windows, batch.texts, strict=True)):
        wanted = list(long.tokenised.tokens[window.start : window.end])
        assert [piece.tokens[place] for place in long.places(number, piece)] == wanted
