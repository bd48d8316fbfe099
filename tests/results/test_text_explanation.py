from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.results.text_material import explained, tokenised
from ttame.errors import ClassSelectionError, ExplainerError, TextError
from ttame.results.explanation import Explanation
from ttame.results.text_explanation import TextExplanation

TEXTS = ("Great acting, a wonderful film!", "not bad")


def test_words_have_the_scores_that_were_worked_out_by_hand() -> None:
    one = explained(*TEXTS)[0]
    assert [word.text for word in one.words()] == ["Great", "acting,", "a", "wonderful", "film!"]
    # "won" says 1 and "derful" 2; for the other class, -0.5 and -1.
    assert one.word_scores().tolist() == [[1.5, 0, 0, 2, 0], [-0.75, 0, 0, -1, 0]]
    assert [str(found) for found in one.top(2)] == ["wonderful 2", "Great 1.5"]
    assert [str(found) for found in one.top(1, "negative", against=True)] == ["wonderful -1"]
    assert one.token_scores("negative")[:2] == (("great", -0.75), ("acting", 0.0))
    assert [name for name, _ in explained(*TEXTS).token_scores(0, text=1)] == ["not", "bad"]


def test_special_tokens_count_nowhere() -> None:
    """Though they have the largest scores of all."""
    batch = explained(*TEXTS)
    assert bool((batch.maps[batch.special[:, None].expand_as(batch.maps)].abs() >= 4.5).all())
    assert max(found.score for text in range(2) for found in batch.top(9, 0, text)) == 2
    blank = explained("some film", "great film")
    assert blank.has_evidence.tolist() == [[False, False], [True, True]]
    assert explained("great").has_evidence.tolist() == [[True, True]]
    assert explained("film").has_evidence.tolist() == [[False, False]]


def test_a_text_of_a_batch_is_what_it_is_alone() -> None:
    batch = explained(*TEXTS)
    alone = [explained(text) for text in TEXTS]
    for one, other in zip(batch, alone, strict=True):
        assert torch.equal(one.word_scores(), other.word_scores())
        assert [found.label for found in one.each_class()] == ["positive", "negative"]
        probabilities = [found.probability for found in one.each_class()]
        assert probabilities == pytest.approx([1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(1.5))])
    assert len(batch) == 2 and torch.equal(batch[-1].maps, batch.maps[1:])


def test_some_texts_and_classes_are_selected_with_their_labels() -> None:
    batch = TextExplanation(
        maps=torch.arange(12.0).reshape(2, 3, 2), classes=torch.tensor([[0, 1, 2], [0, 1, 2]]),
        logits=torch.zeros(2, 3), texts=(tokenised(""), tokenised("")),
        target_labels=(("a", "b", "c"), ("a", "b", "d")),
    )  # fmt: skip
    some = batch.select(texts=[1], classes=["d", "a"])
    assert some.maps.tolist() == [[[10, 11], [6, 7]]] and some.classes.tolist() == [[2, 0]]
    assert some.target_labels == (("d", "a"),) and some.logits.shape == (1, 3)
    assert batch.select(classes=[1]).maps.tolist() == [[[2, 3]], [[8, 9]]]
    with pytest.raises(ClassSelectionError, match="'d', which was not explained; allowed: 0 to 2"):
        batch.select(classes=["d"])


def test_what_is_meant_has_to_be_said() -> None:
    batch = explained(*TEXTS)
    for ask in (batch.words, batch.word_scores, batch.top, batch.token_scores):
        with pytest.raises(TextError, match="2 texts, where one is asked for; try: explanation"):
            ask()  # type: ignore[operator]
    with pytest.raises(TextError, match="text 2; allowed: 0 to 1"):
        batch.words(2)
    with pytest.raises(IndexError, match="text 2 of an explanation of 2"):
        batch[2]
    with pytest.raises(ClassSelectionError, match="'neutral', which was not explained"):
        batch[0].top(3, "neutral")


def test_scores_and_tokens_must_be_of_one_number() -> None:
    with pytest.raises(TextError, match=r"scores \(1, 1, 3\) for 1 texts of \[2\] tokens"):
        TextExplanation(
            torch.zeros(1, 1, 3), torch.zeros(1, 1).long(), torch.zeros(1, 2), (tokenised(""),)
        )


def test_words_that_were_not_read_have_no_score() -> None:
    one = explained("great film, not bad", read=2)
    assert [found.is_read for found in one.scored_words()] == [True, True, False, False]
    assert [found.word.text for found in one.top(9)] == ["great", "film,"]
    assert one.word_scores()[:, 2:].isnan().all()


def test_files_keep_everything(tmp_path: Path) -> None:
    batch = explained(*TEXTS, pair="\ud800 é wonderful")
    batch.save(tmp_path / "why.safetensors")
    again = TextExplanation.load(tmp_path / "why.safetensors")
    assert again.texts == batch.texts and dict(again.provenance) == dict(batch.provenance)
    for name in ("maps", "classes", "logits", "probabilities"):
        assert torch.equal(getattr(again, name), getattr(batch, name))
    assert (again.signed, again.method, again.class_names) == (
        True, "input_x_gradient", ("negative", "positive")
    )  # fmt: skip
    assert (tmp_path / "why.safetensors").read_bytes() == batch.to_bytes()


def test_files_of_images_and_of_texts_are_not_mixed_up(tmp_path: Path) -> None:
    explained("great").save(tmp_path / "text.safetensors")
    photo = Explanation(torch.rand(1, 1, 4, 4), torch.zeros(1, 1).long(), torch.zeros(1, 2), (4, 4))
    photo.save(tmp_path / "photo.safetensors")
    with pytest.raises(ExplainerError, match="not a saved explanation of texts"):
        TextExplanation.load(tmp_path / "photo.safetensors")
    with pytest.raises(ExplainerError, match="not a saved explanation"):
        Explanation.load(tmp_path / "text.safetensors")
