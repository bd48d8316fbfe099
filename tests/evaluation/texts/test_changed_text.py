"""Texts without some words, next to the same texts typed without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.evaluation.texts.measured_texts import SENTENCES, tiny
from ttame.errors import EvaluationError
from ttame.evaluation.texts import changed_text
from ttame.evaluation.texts.changed_text import ChangedText, without_tokens
from ttame.evaluation.texts.text_run import words_of_tokens
from ttame.metrics.texts.text_protocol import TakenAway
from ttame.networks.pass_counter import counting_passes
from ttame.text_classifiers.text_classifier import TextClassifier


@pytest.fixture(scope="module", params=["bert", "roberta", "modernbert"])
def classifier(request: pytest.FixtureRequest) -> TextClassifier:
    return tiny(request.param)


def kept_words(classifier: TextClassifier, text: str, gone: set[int]) -> np.ndarray:
    """(T,) bool, without the tokens of some words."""
    (tokens,) = classifier.taken([text]).remembered
    return ~np.isin(words_of_tokens(tokens.texts[0]), list(gone))


def probability(classifier: TextClassifier, text: str) -> float:
    return float(classifier.probabilities(classifier.prepare([text]))[0, 1])


def changed(
    classifier: TextClassifier, text: str, gone: list[set[int]], taken_away: TakenAway
) -> np.ndarray:
    kept = np.stack([kept_words(classifier, text, words) for words in gone])
    return ChangedText(classifier, classifier.prepare([text]), 1, taken_away)(kept)


@pytest.mark.parametrize("text", SENTENCES[:4])
def test_removed_words_are_as_if_they_were_never_written(
    classifier: TextClassifier, text: str
) -> None:
    words = text.split()
    gone = [set(), {0}, {2, 3}, set(range(len(words))) - {1}]
    expected = [
        probability(classifier, " ".join(w for place, w in enumerate(words) if place not in some))
        for some in gone
    ]
    np.testing.assert_allclose(changed(classifier, text, gone, "removed"), expected, atol=1e-5)


def test_masked_words_are_mask_tokens(classifier: TextClassifier) -> None:
    text = "a fine film , really moving"
    expected = [
        probability(classifier, "a [MASK] film , really moving"),
        probability(classifier, "a fine [MASK] , really [MASK]"),
    ]
    found = changed(classifier, text, [{1}, {2, 5}], "mask")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_padding_is_passed_over_and_others_keep_their_place() -> None:
    classifier = tiny("bert")
    text = "a fine film , really moving"
    tokens = classifier.tokenise([text])
    ids = tokens.ids.clone()
    attended = torch.ones_like(ids)
    ids[0, 2], attended[0, 2] = 0, 0
    with torch.no_grad():
        output = classifier.network.model(input_ids=ids, attention_mask=attended)  # type: ignore[operator]
    expected = float(output.logits.softmax(dim=1)[0, 1])
    assert changed(classifier, text, [{1}], "padding")[0] == pytest.approx(expected, abs=1e-5)
    others = changed(classifier, text, [{1}], "removed"), changed(classifier, text, [{1}], "mask")
    assert all(abs(other[0] - expected) > 1e-4 for other in others)


def test_a_variant_is_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, classifier: TextClassifier
) -> None:
    monkeypatch.setattr(changed_text, "TOKENS_AT_ONCE", 20)
    text = SENTENCES[0]
    gone = [set(), {0}, {1, 2, 3}, {0}, {4}]
    kept = np.stack([kept_words(classifier, text, words) for words in gone])
    asked = ChangedText(classifier, classifier.prepare([text]), 1, "removed")
    with counting_passes() as passes:
        first = asked(kept)
    assert passes.forward == 4
    with counting_passes() as passes:
        again = asked(kept[[4, 1, 0]])
    assert passes.forward == 0
    assert again.tolist() == first[[4, 1, 0]].tolist()
    assert first[1] == first[3]
    monkeypatch.undo()
    np.testing.assert_allclose(changed(classifier, text, gone, "removed"), first, atol=1e-6)


def test_removed_texts_are_as_short_as_they_can_be(classifier: TextClassifier) -> None:
    text = SENTENCES[0]
    signal = classifier.prepare([text])
    kept = torch.from_numpy(kept_words(classifier, text, {0, 1, 2}))[None]
    assert without_tokens(classifier, signal, kept, "removed").shape[-1] == signal.shape[-1] - 3
    assert without_tokens(classifier, signal, kept, "mask").shape == signal.shape


def test_probabilities_that_are_not_numbers_are_refused() -> None:
    classifier = tiny()
    signal = classifier.prepare(["a fine film"])
    broken = ChangedText(classifier, signal * float("nan"), 1, "mask")
    with pytest.raises(EvaluationError, match="not numbers"):
        broken(np.ones((1, signal.shape[-1]), dtype=bool))
