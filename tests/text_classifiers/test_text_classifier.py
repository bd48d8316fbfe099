"""A text classifier: its scores, what it is given, and what does not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ttame
from ttame.errors import ClassifierError, ExplainerError, TextError, UnknownNameError
from ttame.testing.tiny_texts import tiny_text_classifier, tiny_text_model, tiny_tokenizer
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.text_classifiers.token_signal import is_shown

TEXTS = ["a fine film", "the story was not very good, unlikely", ("good?", "bad!")]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def classifier() -> Iterator[TextClassifier]:
    classifier = tiny_text_classifier()
    before = {name: value.clone() for name, value in classifier.network.state_dict().items()}
    yield classifier
    assert all(torch.equal(value, before[name]) for name, value in
               classifier.network.state_dict().items())  # fmt: skip


def test_it_says_what_the_model_says(classifier: TextClassifier, tokenizer: Any) -> None:
    model = tiny_text_model()
    for text in TEXTS:
        pair = text if isinstance(text, tuple) else (text,)
        with torch.no_grad():
            expected = model(**tokenizer(*pair, return_tensors="pt")).logits
        assert torch.allclose(classifier.logits(classifier.prepare(text)), expected, atol=1e-6)


def test_a_padded_batch_equals_single_texts(classifier: TextClassifier) -> None:
    together = classifier.logits(classifier.prepare(TEXTS))
    alone = torch.cat([classifier.logits(classifier.prepare(text)) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-6)


def test_outputs_and_names_are_read_from_the_configuration(tokenizer: Any) -> None:
    def made(classes: int, **options: Any) -> TextClassifier:
        return TextClassifier(tiny_text_model(classes=classes, **options), tokenizer)

    findings = made(3, problem_type="multi_label_classification")
    assert (findings.outputs.kind, findings.class_names) == ("sigmoid", ())
    assert "problem_type" in findings.outputs_reason
    named = made(2, id2label={0: "down", 1: "up"})
    assert (named.outputs.kind, named.class_names) == ("softmax", ("down", "up"))
    one = made(1)
    assert (one.outputs.kind, one.class_names) == ("binary", ("no", "yes"))
    assert one.logits(one.prepare("a film")).shape == (1, 2)


def test_what_does_not_fit_together_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ClassifierError, match="60 tokens for .*, which has 59"):
        TextClassifier(tiny_text_model(vocab_size=59), tokenizer)
    with pytest.raises(ClassifierError, match="3 class names for 2 classes"):
        TextClassifier(tiny_text_model(), tokenizer, class_names=["a", "b", "c"])
    with pytest.raises(ClassifierError, match="a str as network"):
        TextClassifier("bert", tokenizer)  # type: ignore[arg-type]
    odd = TextClassifier(tiny_text_model(pad_token_id=0), tokenizer)
    assert any("padding is token 0 in the model's configuration" in each for each in odd.notices)
    with pytest.raises(ClassifierError, match="None as tokenizer"):
        TextClassifier(tiny_text_model(), None)


def test_embeddings_must_mean_what_token_numbers_mean(tokenizer: Any) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = tiny_text_model()

        def get_input_embeddings(self) -> nn.Module:
            return self.model.get_input_embeddings()

        def forward(
            self, input_ids: Any = None, attention_mask: Any = None, inputs_embeds: Any = None
        ) -> Tensor:
            if inputs_embeds is None:
                inputs_embeds = 4 * self.get_input_embeddings()(input_ids)
            return self.model(inputs_embeds=inputs_embeds, attention_mask=attention_mask).logits

    with pytest.raises(ClassifierError, match="another answer to word embeddings"):
        TextClassifier(Scaled(), tokenizer)


def test_grounds_take_words_away_and_leave_the_rest(classifier: TextClassifier) -> None:
    signal = classifier.prepare(TEXTS)
    words = is_shown(signal)
    table = classifier.network.model.get_input_embeddings().weight.detach()
    expected = {"mask": table[4], "padding": table[1], "zero": torch.zeros(16)}
    assert classifier.grounds == tuple(expected)
    for name, vector in expected.items():
        ground = classifier.ground(signal, name)
        assert bool((ground[:, :16, 0].transpose(1, 2)[words] == vector).all())
        assert torch.equal(ground[:, :, 0].transpose(1, 2)[~words],
                           signal[:, :, 0].transpose(1, 2)[~words])  # fmt: skip
        assert torch.equal(ground[:, 16:], signal[:, 16:])
    with pytest.raises(UnknownNameError, match="ground of texts 'black'"):
        classifier.ground(signal, "black")
    assert classifier.token_vector("padding")[16:].tolist() == [1, 0, 0]
    assert torch.equal(classifier.token_vector("mask"), torch.cat([table[4], torch.zeros(3)]))


def test_a_cut_text_is_said_to_be_one() -> None:
    model = tiny_text_model()
    classifier = TextClassifier(model, tiny_tokenizer(8), too_long="truncate")
    explained = ttame.make_explainer("input_x_gradient", classifier)(["a film", "good " * 20])
    assert explained.provenance["truncated"] == [1]


def test_images_for_texts_and_texts_for_images_are_refused(classifier: TextClassifier) -> None:
    explainer = ttame.make_explainer("input_x_gradient", classifier)
    with pytest.raises(TextError, match="a Tensor as text; .*try: a ttame.Classifier"):
        explainer(torch.zeros(1, 3, 8, 8))  # type: ignore[arg-type]
    with pytest.raises(TextError, match="signal of shape"):
        classifier.logits(torch.zeros(1, 3, 8, 8))
    with pytest.raises(TextError, match="a Tensor as text"):
        explainer.attribute(classifier.prepare("a film"))
    with pytest.raises(ExplainerError, match="grad_cam for tiny BERT, a classifier of texts"):
        ttame.make_explainer("grad_cam", classifier)
    with pytest.raises(ExplainerError, match="classifier of texts"):
        explainer.refined(3)  # type: ignore[misc]


def test_the_networks_modes_and_flags_are_as_before(classifier: TextClassifier) -> None:
    model = classifier.network.model.train()
    flags = [parameter.requires_grad for parameter in model.parameters()]
    ttame.make_explainer("input_x_gradient", classifier)(TEXTS)
    assert model.training
    assert flags == [parameter.requires_grad for parameter in model.parameters()]
    assert all(parameter.grad is None for parameter in model.parameters())
    model.eval()
