"""A text classifier whose deciding words are known, and an explainer that was trained for it."""

from __future__ import annotations

import functools
import random
import tempfile
from pathlib import Path

import torch
from torch.nn import functional as F

from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.testing.tiny_texts import tiny_text_model, tiny_tokenizer
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.training.texts.train_text_explainer import train
from ttame.training.training_settings import training_settings

GOOD, BAD = ("good", "fine", "lovely", "brilliant"), ("dull", "awful", "boring", "poor")
OTHERS = ["the", "film", "it", "was", "this", "story", "and", "music", "actors", "an", "ending"]


def sentences(count: int, seed: int) -> tuple[list[str], torch.Tensor]:
    """Ten words each, one of which decides, or none: then the text is neither good nor bad."""
    drawn = random.Random(seed)
    texts, labels = [], []
    for number in range(count):
        words = drawn.choices(OTHERS, k=9)
        words.insert(drawn.randrange(10), drawn.choice((BAD, GOOD, OTHERS)[number % 3]))
        texts.append(" ".join(words))
        labels.append(number % 3)
    return texts, torch.tensor(labels)


@functools.cache
def classifier() -> TextClassifier:
    """It calls a text what its deciding word says."""
    model, tokenizer = tiny_text_model(classes=3), tiny_tokenizer()
    texts, labels = sentences(144, seed=0)
    ids = tokenizer(texts, return_tensors="pt", padding=True).input_ids
    # It knows that a masked word says nothing.
    others = torch.isin(ids, torch.tensor(tokenizer.convert_tokens_to_ids(OTHERS)))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(80):
            optimiser.zero_grad()
            masked = ids.masked_fill(others & (torch.rand(ids.shape) < torch.rand(())), 4)
            F.cross_entropy(model(input_ids=masked).logits, labels).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return TextClassifier(model.eval(), tokenizer, class_names=("bad", "good", "neither"))


@functools.cache
def folder() -> Path:
    """Of an explainer, trained in the usual way."""
    place = Path(tempfile.mkdtemp()) / "explainer"
    texts, _ = sentences(96, seed=1)
    settings = training_settings("few-shot-text", epochs=12, batch_size=16, learning_rate=0.01)
    train(classifier(), texts, place, settings, progress=False)
    return place


@functools.cache
def explainer() -> AttentionExplainer:
    """The same, loaded."""
    from ttame.training.texts.text_explainer_folder import load_explainer

    return load_explainer(folder(), classifier())
