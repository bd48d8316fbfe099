"""A tiny BERT that knows what it does: trained on made-up sentences whose deciding words are known.

A sentence praises or condemns something with one word, perhaps negated, among words that say
nothing. Its class is that of the word, or the other one behind "not" or "never".
"""

from __future__ import annotations

import functools
import random
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ttame.networks.giving_back import gives_everything_back
from ttame.testing.tiny_texts import tiny_text_model, tiny_tokenizer
from ttame.text_classifiers.text_classifier import TextClassifier

_PRAISE = ("good", "fine", "great", "brilliant", "lovely", "funny")
_BLAME = ("bad", "dull", "poor", "awful", "boring", "weak")
_THINGS = ("film", "movie", "story", "plot", "music", "ending")
_STEPS = 300
_BATCH = 64
_HIDDEN = 0.1
"""Of the words, in training."""


class PlantedSentence(NamedTuple):
    """A sentence with its class.

    Attributes:
        text: of words between blanks.
        label: 0 for negative, 1 for positive.
        deciding: numbers of the words that decide: the judging word, and its negation.
    """

    text: str
    label: int
    deciding: tuple[int, ...]


def planted_sentences(count: int, seed: int = 0) -> list[PlantedSentence]:
    """Made-up sentences, always the same for a seed; about a half of them negated.

    Example:
        >>> sentence = planted_sentences(1)[0]
        >>> [sentence.text.split()[number] for number in sentence.deciding], sentence.label
        (['brilliant'], 1)
    """
    chosen = random.Random(seed)
    return [_sentence(chosen) for _ in range(count)]


def _sentence(chosen: random.Random) -> PlantedSentence:
    label = chosen.randrange(2)
    negated = chosen.random() < 1 / 2
    word = chosen.choice(_PRAISE if label else _BLAME)
    front = ["the", chosen.choice(_THINGS), chosen.choice(["is", "was"])]
    judged = [chosen.choice(["not", "never"])] if negated else []
    filler = [chosen.choice(["very", "quite", "rather", "really"])] * chosen.randrange(2)
    behind = [
        *chosen.choice([[], ["and", "it", "was", "a", chosen.choice(_THINGS)], ["of", "that"]])
    ]
    words = [*front, *judged, *filler, word, *behind, "."]
    place = len(front) + len(judged) + len(filler)
    deciding = (len(front), place) if negated else (place,)
    return PlantedSentence(" ".join(words), 1 - label if negated else label, deciding)


@functools.cache
def trained_text_classifier() -> TextClassifier:
    """A tiny BERT trained on planted sentences, always the same; a few seconds the first time.

    Example:
        >>> classifier = trained_text_classifier()
        >>> classifier.class_names
        ('negative', 'positive')
    """
    return _trained()


@gives_everything_back
def _trained() -> TextClassifier:
    model = tiny_text_model(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, initializer_range=0.1
    )
    classifier = TextClassifier(
        model, tiny_tokenizer(), class_names=("negative", "positive"), name="trained tiny BERT"
    )
    sentences = planted_sentences(_STEPS * _BATCH, seed=1)
    tokens = classifier.tokenizer(
        [sentence.text for sentence in sentences], padding=True, return_tensors="pt"
    )
    labels = torch.tensor([sentence.label for sentence in sentences])
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    noise, special = torch.Generator().manual_seed(0), classifier.tokenizer.all_special_ids
    # A mask has to mean nothing: methods and metrics put it in the place of words.
    hidden = torch.rand(ids.shape, generator=noise) < _HIDDEN
    hidden &= ~torch.isin(ids, torch.tensor(special))
    ids = ids.masked_fill(hidden, classifier.tokenizer.mask_token_id)
    with torch.enable_grad():
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
        for step in range(_STEPS):
            some = slice(step * _BATCH, (step + 1) * _BATCH)
            logits = model(input_ids=ids[some], attention_mask=mask[some]).logits
            loss = F.cross_entropy(logits, labels[some])
            torch.autograd.backward(loss)
            optimiser.step()
            optimiser.zero_grad()
    return classifier
