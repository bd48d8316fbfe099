"""The trained tiny BERT gets its sentences right, and good methods find the words that decide."""

from __future__ import annotations

import pytest

from ttame import make_explainer
from ttame.testing.trained_texts import (
    PlantedSentence,
    planted_sentences,
    trained_text_classifier,
)

SENTENCES = planted_sentences(60, seed=5)


def test_sentences_are_always_the_same_and_negations_turn_them() -> None:
    assert planted_sentences(5, seed=3) == planted_sentences(5, seed=3) != planted_sentences(5, 4)
    praise = {"good", "fine", "great", "brilliant", "lovely", "funny"}
    for text, label, deciding in SENTENCES:
        words = text.split()
        *negation, judging = (words[number] for number in deciding)
        assert label == ((judging in praise) != bool(negation))
        assert negation in ([], ["not"], ["never"])


def test_it_gets_new_sentences_right() -> None:
    classifier = trained_text_classifier()
    probabilities = classifier.probabilities(classifier.prepare([each.text for each in SENTENCES]))
    assert probabilities.argmax(dim=1).tolist() == [each.label for each in SENTENCES]
    assert not classifier.network.model.training
    assert all(each.grad is None for each in classifier.network.parameters())


def share_found(method: str, some: list[PlantedSentence]) -> float:
    """Of the deciding words, those among as many of the highest scores, on average."""
    explanation = make_explainer(method, trained_text_classifier())(
        [each.text for each in some], [[each.label] for each in some]
    )
    found = []
    for text, maps, sentence in zip(explanation.texts, explanation.maps, some, strict=True):
        scored = [(value, word) for value, word in zip(maps[0].tolist(), text.words, strict=True)
                  if word is not None]  # fmt: skip
        top = sorted(scored, reverse=True)[: len(sentence.deciding)]
        found.append(len({word for _, word in top} & {*sentence.deciding}) / len(top))
    return sum(found) / len(found)


@pytest.mark.parametrize(
    ("method", "plain", "negated"),
    [
        ("integrated_gradients", 0.9, 0.9),
        ("attn_lrp", 0.95, 0.85),
        ("libra_grad", 0.95, 0.85),
        ("full_lrp", 0.95, 0.8),
        ("class_evidence", 0.95, 0.65),
        ("attention_rollout", 0.9, 0.7),
        ("transformer_attribution", 0.5, 0.55),
        ("occlusion", 0.45, 0.9),
    ],
)
def test_good_methods_find_the_deciding_words(method: str, plain: float, negated: float) -> None:
    """Chance finds about 0.15 of them in plain sentences and 0.25 in negated ones.

    That nothing negates a plain sentence is evidence too, which occlusion gives to other words.
    """
    single = [each for each in SENTENCES if len(each.deciding) == 1]
    pairs = [each for each in SENTENCES if len(each.deciding) == 2]
    assert share_found(method, single) >= plain
    assert share_found(method, pairs) >= negated


def test_both_classes_of_a_negation_are_sensible() -> None:
    explanation = make_explainer("integrated_gradients", trained_text_classifier())(
        ["the film was not bad .", "the film was bad ."], "all"
    )
    assert explanation.probabilities.argmax(dim=1).tolist() == [1, 0]
    negated, plain = explanation.maps
    no, bad = (explanation.texts[0].tokens.index(word) for word in ("not", "bad"))
    assert {no, bad} == {*negated[1].topk(2).indices.tolist()}
    assert float(negated[1, no]) > 0 > float(negated[0, no])
    assert int(plain[0].argmax()) == explanation.texts[1].tokens.index("bad")
