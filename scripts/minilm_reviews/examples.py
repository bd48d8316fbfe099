"""What the classifier is trained on: marked reasons in a little context, and windows of reviews."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scripts.minilm_reviews.network import CLASSES
from ttame.datasets.texts.annotated_texts import AnnotatedText, AnnotatedTexts

MOST_TOKENS = 512
LONGEST_REASON = 128
"""Tokens of a marked reason with its context."""


class Example(NamedTuple):
    """Token numbers with [CLS] and [SEP], and the class."""

    ids: list[int]
    label: int


def read_reviews(folder: Path, *parts: str) -> list[AnnotatedText]:
    """The reviews of files of a folder, in their order."""
    files = [AnnotatedTexts(folder / f"{part}.jsonl.gz") for part in parts]
    return [texts[index] for texts in files for index in range(len(texts))]


def label_of(review: AnnotatedText) -> int:
    """0 for ``neg``, 1 for ``pos``."""
    return CLASSES.index(str(review.label))


def review_ids(tokenizer: Any, review: AnnotatedText) -> list[int]:
    """Token numbers of a whole review, without [CLS] and [SEP]."""
    ids: list[int] = tokenizer(review.text, add_special_tokens=False, verbose=False).input_ids
    return ids


def framed(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """With [CLS] before and [SEP] behind."""
    return [tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]


def reasons(
    tokenizer: Any, reviews: Sequence[AnnotatedText], context: int, random_numbers: random.Random
) -> list[Example]:
    """One example per marked reason: its words and up to ``context`` words on either side."""
    examples = []
    for review in reviews:
        words = review.text.split()
        for start, end in review.rationales or ():
            before, behind = random_numbers.randint(0, context), random_numbers.randint(0, context)
            text = " ".join(words[max(0, start - before) : end + behind])
            ids = tokenizer(text, add_special_tokens=False).input_ids[:LONGEST_REASON]
            examples.append(Example(framed(tokenizer, ids), label_of(review)))
    return examples


def random_windows(
    tokenizer: Any,
    reviews: Sequence[AnnotatedText],
    lengths: Sequence[int],
    random_numbers: random.Random,
) -> list[Example]:
    """One example per review: a window at a random place.

    Its length, with [CLS] and [SEP], is one of ``lengths``; each gets about the same share of the
    tokens.
    """
    weights = [1 / length for length in lengths]
    examples = []
    for review in reviews:
        ids = review_ids(tokenizer, review)
        (length,) = random_numbers.choices(lengths, weights)
        start = random_numbers.randint(0, max(0, len(ids) - (length - 2)))
        examples.append(
            Example(framed(tokenizer, ids[start : start + length - 2]), label_of(review))
        )
    return examples


def even_windows(ids: Sequence[int], most: int = MOST_TOKENS) -> list[list[int]]:
    """As few windows as hold a text, of equal length, with the room of [CLS] and [SEP].

    Example:
        >>> even_windows(list(range(5)), most=5)
        [[0, 1, 2], [2, 3, 4]]
    """
    room = most - 2
    if len(ids) <= room:
        return [list(ids)]
    count = -(-len(ids) // room)
    starts = [round(i * (len(ids) - room) / (count - 1)) for i in range(count)]
    return [list(ids[start : start + room]) for start in starts]


def batches(
    examples: Sequence[Example], tokens: int, random_numbers: random.Random
) -> list[list[Example]]:
    """Batches of examples of similar length in random order, of up to ``tokens`` with padding."""
    drawn = list(examples)
    random_numbers.shuffle(drawn)
    found = [
        batch
        for start in range(0, len(drawn), 1024)
        for batch in _filled(sorted(drawn[start : start + 1024], key=lambda e: len(e.ids)), tokens)
    ]
    random_numbers.shuffle(found)
    return found


def _filled(by_length: Sequence[Example], tokens: int) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for example in by_length:
        if batch and (len(batch) + 1) * len(example.ids) > tokens:
            yield batch
            batch = []
        batch.append(example)
    yield batch
