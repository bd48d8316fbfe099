"""What a model of transformers says about itself in its configuration."""

from __future__ import annotations

import os
from typing import Any

from torch import nn

from ttame.errors import ClassifierError, setting

_UNLIMITED = 10**9
"""What a tokenizer calls its limit where it knows none, or more."""


def model_name(model: nn.Module) -> str:
    """The folder or repository that it was loaded from; its class otherwise.

    Example:
        >>> model_name(nn.Linear(1, 1))
        'Linear'
    """
    path = str(getattr(getattr(model, "config", None), "_name_or_path", "") or "")
    return os.path.basename(path.rstrip("/")) or type(model).__name__


def refuse_other_tasks(model: nn.Module, name: str) -> None:
    """Refuse models that do something else than classify whole texts.

    Raises:
        ClassifierError: with what the model does.
    """
    kind = type(model).__name__
    found = next((words for end, words in _OTHER_TASKS.items() if kind.endswith(end)), None)
    if found is None and kind.endswith("Model"):
        found = "has no classifier on top"
    problem_type = getattr(getattr(model, "config", None), "problem_type", None)
    if problem_type == "regression":
        found = "is a regression (problem_type in its configuration): its outputs are measured "
        found += "values, not scores of classes"
    if found is not None:
        raise ClassifierError(
            f"{name}{'' if name == kind else f', a {kind},'} {found}",
            allowed="a model that classifies whole texts (AutoModelForSequenceClassification)",
        )


_OTHER_TASKS = {
    "ForTokenClassification": "classifies every token",
    "ForQuestionAnswering": "looks for answers in a text",
    "ForCausalLM": "generates texts",
    "ForConditionalGeneration": "generates texts",
    "LMHeadModel": "generates texts",
    "ForMaskedLM": "guesses masked words",
    "ForMultipleChoice": "chooses between several texts",
    "ForPreTraining": "is made for pretraining",
    "ForNextSentencePrediction": "tells whether sentences follow each other",
}
"""How the names of transformers' classes end, and what such models do."""


def configured_names(model: nn.Module) -> tuple[str, ...] | None:
    """The names in the configuration, unless it only has LABEL_0, LABEL_1 ..."""
    config: Any = getattr(model, "config", None)
    by_index = getattr(config, "id2label", None) or {}
    names = tuple(str(by_index[index]) for index in sorted(by_index, key=int))
    generic = all(name == f"LABEL_{index}" for index, name in enumerate(names))
    return None if generic or len(names) != getattr(config, "num_labels", 0) else names


def configured_outputs(model: nn.Module, number: int) -> tuple[str | None, str]:
    """What the configuration says of the outputs, and where it says it.

    Args:
        model: a model of transformers.
        number: the number of its outputs for each text.
    """
    problem_type = getattr(getattr(model, "config", None), "problem_type", None)
    said = f"problem_type in its configuration is {problem_type}"
    if problem_type == "multi_label_classification":
        return "sigmoid", said
    if number == 1:
        return "binary", "it returns a single number for each text"
    return (None, "") if problem_type is None else ("softmax", said)


def single_number_notices(model: nn.Module, number: int) -> tuple[str, ...]:
    """What to know of a model of one output whose configuration does not say what it means.

    Args:
        model: a model of transformers.
        number: the number of its outputs for each text.
    """
    if number != 1 or getattr(getattr(model, "config", None), "problem_type", None) is not None:
        return ()
    return (
        "its single number is read as a logit of yes and no; transformers trains such models as "
        f"regressions: {setting('outputs', 'binary')} says that it is one",
    )


def tokenizer_notices(model: nn.Module, tokenizer: Any) -> tuple[str, ...]:
    """What to know where the tokenizer may be that of another model of as many tokens.

    Args:
        model: a model of transformers.
        tokenizer: that was given with it.
    """
    said = getattr(getattr(model, "config", None), "pad_token_id", None)
    own = tokenizer.pad_token_id
    if said is None or own is None or said == own:
        return ()
    return (
        f"padding is token {said} in the model's configuration and token {own} of the tokenizer: "
        "if it is not the model's own tokenizer, the network reads other words than you",
    )


def most_tokens(model: nn.Module, tokenizer: Any) -> int:
    """How many tokens a model takes, special ones included.

    Its configuration says so, or the tokenizer. Models that count positions from behind that of
    padding, as RoBERTa does, take fewer than they have positions.

    Example:
        >>> class Positions(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.position_embeddings = nn.Embedding(24, 4, padding_idx=1)
        >>> class Tokenizer:
        ...     model_max_length = 512
        >>> most_tokens(Positions(), Tokenizer())
        22
    """
    config = getattr(model, "config", None)
    limits = [int(getattr(tokenizer, "model_max_length", _UNLIMITED) or _UNLIMITED)]
    for option in ("max_position_embeddings", "max_seq_len", "n_positions"):
        value = getattr(config, option, None)
        if isinstance(value, int) and value > 0:
            limits.append(value)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            behind = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - behind)
    return min(limits)
