"""What configurations say."""

from __future__ import annotations

import types
from typing import Any

import pytest
from torch import nn

from ttame.errors import ClassifierError
from ttame.text_classifiers.model_facts import (
    configured_names,
    configured_outputs,
    model_name,
    most_tokens,
    refuse_other_tasks,
    single_number_notices,
    tokenizer_notices,
)


def model(kind: str = "BertForSequenceClassification", **config: Any) -> nn.Module:
    made = type(kind, (nn.Module,), {})()
    made.config = types.SimpleNamespace(**config)
    return made


def test_names_of_models_and_classes() -> None:
    assert model_name(model(_name_or_path="/a/folder/")) == "folder"
    assert model_name(model(_name_or_path="")) == "BertForSequenceClassification"
    assert configured_names(model(id2label={1: "b", 0: "a"}, num_labels=2)) == ("a", "b")
    assert configured_names(model(id2label={0: "LABEL_0", 1: "LABEL_1"}, num_labels=2)) is None
    assert configured_names(model(id2label={0: "a"}, num_labels=2)) is None
    assert configured_names(nn.Linear(1, 1)) is None


def test_what_outputs_mean() -> None:
    assert configured_outputs(model(), 3) == (None, "")
    assert configured_outputs(model(), 1)[0] == "binary"
    assert configured_outputs(model(problem_type="multi_label_classification"), 3)[0] == "sigmoid"
    assert configured_outputs(model(problem_type="single_label_classification"), 3)[0] == "softmax"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("BertForTokenClassification", "classifies every token"),
        ("GPT2LMHeadModel", "generates texts"),
        ("LlamaForCausalLM", "generates texts"),
        ("BertForQuestionAnswering", "looks for answers"),
        ("BertModel", "has no classifier on top"),
    ],
)
def test_other_tasks_are_refused(kind: str, said: str) -> None:
    with pytest.raises(ClassifierError, match=f"net, a {kind}, {said}.*AutoModelForSequence"):
        refuse_other_tasks(model(kind), "net")


def test_regressions_are_refused() -> None:
    refuse_other_tasks(model(), "net")
    with pytest.raises(ClassifierError, match="is a regression"):
        refuse_other_tasks(model(problem_type="regression"), "net")


def test_the_shortest_limit_counts() -> None:
    tokenizer = types.SimpleNamespace(model_max_length=int(1e30))
    assert most_tokens(model(max_position_embeddings=512), tokenizer) == 512
    assert most_tokens(model(max_position_embeddings=-1), types.SimpleNamespace(
        model_max_length=64)) == 64  # fmt: skip
    made = model(max_position_embeddings=514)
    made.position_embeddings = nn.Embedding(514, 2, padding_idx=1)
    assert most_tokens(made, tokenizer) == 512


def test_a_single_number_without_a_meaning_gets_a_notice() -> None:
    (notice,) = single_number_notices(model(), 1)
    assert "regressions" in notice and "outputs='binary'" in notice
    assert single_number_notices(model(), 2) == ()
    assert single_number_notices(model(problem_type="multi_label_classification"), 1) == ()


def test_a_tokenizer_with_another_padding_gets_a_notice() -> None:
    """As BERT's for MPNet, whose five tokens more stand in front, so that every word is another."""
    (notice,) = tokenizer_notices(model(pad_token_id=1), types.SimpleNamespace(pad_token_id=0))
    assert "token 1 in the model's configuration and token 0 of the tokenizer" in notice
    for said, own in ((1, 1), (None, 1), (0, None)):
        given = types.SimpleNamespace(pad_token_id=own)
        assert tokenizer_notices(model(pad_token_id=said), given) == ()
    assert tokenizer_notices(nn.Linear(1, 1), types.SimpleNamespace(pad_token_id=0)) == ()
