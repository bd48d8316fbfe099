"""What an explainer says about a batch of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttame.errors import ClassSelectionError, TextError
from ttame.outputs import SOFTMAX
from ttame.results.prediction import Prediction, place_of_class
from ttame.results.text_explanation_files import (
    read_text_explanation,
    text_explanation_bytes,
    write_text_explanation,
)
from ttame.results.written_text import WrittenText
from ttame.words.tokenised_text import TokenisedText
from ttame.words.word_scores import ScoredWord, Word, merge_scores, words_of

_ROUNDINGS = 16
"""Scores that differ by fewer roundings of the largest are the same, as in maps of images."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedTextClass:
    """One explained class of one text.

    Attributes:
        label: the name of the class, or what else the scores explain.
        index: the index of the class, or of the one that stands for what is explained.
        probability: the probability of that class, in [0, 1].
        words: every word with its score, in the order of the text.
        scores: (T,) float32 of the tokens, as the method computes them.

    Example:
        >>> ExplainedTextClass("positive", 1, 0.75, (), torch.ones(4)).label
        'positive'
    """

    label: str
    index: int
    probability: float
    words: tuple[ScoredWord, ...]
    scores: Tensor


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TextExplanation(Prediction, WrittenText):
    """Class-specific scores of the tokens of a batch of texts, with the prediction they explain.

    People read words, so that is what is shown: a word's score is the highest score of its tokens,
    or, of a method whose scores have signs, the one of largest magnitude
    (:func:`ttame.words.word_scores.merge_scores`). Words are the pieces between white space.

    Attributes:
        maps: (B, K, T) float32 as the method computes them, possibly signed, on the device of the
            classifier. Higher means more evidence for the class. Special tokens and padding keep
            what the method gave them, and count in nothing that is shown.
        classes: (B, K) int64, the explained classes of every text. For targets that are not
            classes, those that stand for them, see :class:`ttame.Target`.
        logits: (B, C) float32, the classifier's scores of all C classes.
        texts: B texts, or pairs, with their T tokens each.
        class_names: C names, or empty if the classifier has none.
        method: the explainer's name in the registry, e.g. ``"transformer_attribution"``.
        provenance: strings and numbers that say how the scores came about: classifier,
            fingerprint, options.
        probabilities: (B, C) float32 in [0, 1], what the classifier makes of the logits; their
            softmax if not given.
        exclusive: whether exactly one class is true of a text.
        target_labels: for each text K labels of what is explained, e.g. ``"positive rather than
            negative"``; empty where it is the classes.
        signed: whether scores below 0 speak against the class.

    Raises:
        TextError: texts, tokens and scores of different numbers.

    Example:
        >>> text = TokenisedText.of(
        ...     "not bad", ("[CLS]", "not", "ba", "##d"), special=(True, False, False, False),
        ...     spans=(None, (0, 3), (4, 6), (6, 7)))
        >>> explanation = TextExplanation(
        ...     maps=torch.tensor([[[9.0, -0.5, 0.25, 0.75]]]), classes=torch.tensor([[1]]),
        ...     logits=torch.tensor([[0.0, 1.0]]), texts=(text,),
        ...     class_names=("negative", "positive"), signed=True)
        >>> [str(found) for found in explanation.top(2)]
        ['bad 0.75', 'not -0.5']
        >>> explanation
        <TextExplanation: 1 text of 4 tokens, 1 class each>
    """

    maps: Tensor
    classes: Tensor
    logits: Tensor
    texts: tuple[TokenisedText, ...]
    class_names: tuple[str, ...] = ()
    method: str = ""
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    probabilities: Tensor = None  # type: ignore[assignment]  # filled in below
    exclusive: bool = True
    target_labels: tuple[tuple[str, ...], ...] = ()
    signed: bool = False

    def __post_init__(self) -> None:
        if self.probabilities is None:
            object.__setattr__(self, "probabilities", SOFTMAX.probabilities(self.logits))
        lengths = [len(text.tokens) for text in self.texts]
        if self.maps.ndim != 3 or lengths != [self.maps.shape[2]] * len(self.maps):
            raise TextError(
                f"scores {tuple(self.maps.shape)} for {len(lengths)} texts of {lengths[:8]} tokens",
                allowed="(texts, classes, tokens), padding included",
            )

    def __repr__(self) -> str:
        n_texts, n_classes, n_tokens = self.maps.shape
        by = f" by {self.method}" if self.method else ""
        texts = f"{n_texts} text{'s' * (n_texts != 1)} of {n_tokens} tokens"
        return f"<TextExplanation{by}: {texts}, {n_classes} class{'es' * (n_classes != 1)} each>"

    def __len__(self) -> int:
        """B, the number of texts."""
        return len(self.maps)

    def __getitem__(self, text: int) -> TextExplanation:
        """The explanation of one text, as a batch of one.

        Raises:
            IndexError: no such text in the batch.
        """
        if not -len(self) <= text < len(self):
            raise IndexError(f"text {text} of an explanation of {len(self)}")
        return self.select([text % len(self)])

    def __iter__(self) -> Iterator[TextExplanation]:
        """The texts one after the other, each as a batch of one."""
        return (self[text] for text in range(len(self)))

    def each_class(self) -> Iterator[ExplainedTextClass]:
        """What was explained of one text, class by class.

        Raises:
            TextError: there are several texts.

        Example:
            >>> text = TokenisedText.of("so good", ("so", "good"), spans=((0, 2), (3, 7)),
            ...     special=(False, False))
            >>> explanation = TextExplanation(torch.tensor([[[0.25, 0.5], [0.5, 0.0]]]),
            ...     torch.tensor([[1, 0]]), torch.zeros(1, 2), (text,), ("negative", "positive"))
            >>> for found in explanation.each_class():
            ...     print(found.label, found.probability, *found.words)
            positive 0.5 so 0.25 good 0.5
            negative 0.5 so 0.5 good 0
        """
        self.one_text(None)
        probabilities = self.class_probabilities[0].tolist()
        for place, index in enumerate(self.classes[0].tolist()):
            label, words = self.target_label(0, place), self.scored_words(place)
            yield ExplainedTextClass(label, index, probabilities[place], words, self.maps[0, place])

    def words(self, text: int | None = None) -> tuple[Word, ...]:
        """The W words of a text, then those of its pair.

        Args:
            text: its place in the batch; may be left out for a batch of one.

        Raises:
            TextError: no such text, or several and none is named.
        """
        return words_of(self.texts[self.one_text(text)])

    def word_scores(self, text: int | None = None) -> Tensor:
        """(K, W) float32: for each explained class the scores of all words of a text.

        NaN for words that the network did not read, because the text was cut off.

        Raises:
            TextError: as :meth:`words`.
        """
        place = self.one_text(text)
        return merge_scores(words_of(self.texts[place]), self.maps[place], signed=self.signed)

    def scored_words(
        self, class_: int | str = 0, text: int | None = None
    ) -> tuple[ScoredWord, ...]:
        """The words of a text, each with its score for one class, in their order.

        Args:
            class_: its place among the explained classes, or its name.
            text: its place in the batch; may be left out for a batch of one.

        Raises:
            TextError: as :meth:`words`.
            ClassSelectionError: a class that was not explained.
        """
        one = self.one_text(text)
        words = words_of(self.texts[one])
        scores = self.maps[one, self._place_of(class_, one)]
        merged = merge_scores(words, scores, signed=self.signed).tolist()
        return tuple(map(ScoredWord, words, merged))

    def token_scores(
        self, class_: int | str = 0, text: int | None = None
    ) -> tuple[tuple[str, float], ...]:
        """The tokens of a text as the tokenizer writes them, each with its score for one class.

        Special tokens and padding are left out; :attr:`maps` has them.

        Raises:
            TextError, ClassSelectionError: as :meth:`scored_words`.

        Example:
            >>> text = TokenisedText.of("bad", ("[CLS]", "ba", "##d"), spans=(None, (0, 2), (2, 3)),
            ...     special=(True, False, False))
            >>> explanation = TextExplanation(torch.tensor([[[9.0, 0.25, 0.5]]]),
            ...     torch.tensor([[1]]), torch.zeros(1, 2), (text,))
            >>> explanation.token_scores()
            (('ba', 0.25), ('##d', 0.5))
        """
        one = self.one_text(text)
        said = self.texts[one]
        scores = self.maps[one, self._place_of(class_, one)].tolist()
        return tuple(
            (token, score)
            for token, score, special in zip(said.tokens, scores, said.special, strict=True)
            if not special
        )

    def top(
        self,
        k: int = 5,
        class_: int | str = 0,
        text: int | None = None,
        *,
        against: bool = False,
    ) -> tuple[ScoredWord, ...]:
        """The words that speak most for a class, or most against it.

        Args:
            k: so many at most; words that the network did not read are left out.
            class_: its place among the explained classes, or its name.
            text: its place in the batch; may be left out for a batch of one.
            against: the lowest scores first, rather than the highest.

        Raises:
            TextError, ClassSelectionError: as :meth:`scored_words`.
        """
        read = [found for found in self.scored_words(class_, text) if found.is_read]
        ordered = sorted(read, key=lambda found: found.score if against else -found.score)
        return tuple(ordered[:k])

    def select(
        self,
        texts: Sequence[int] | None = None,
        classes: Sequence[int | str] | None = None,
    ) -> TextExplanation:
        """Some of the texts, some of the explained classes.

        Args:
            texts: their places in the batch; all if not given.
            classes: their places among the explained classes, or their names; all if not given.
                By name, each text has to have the class at the same place.

        Raises:
            TextError: no such text.
            ClassSelectionError: a class that was not explained.

        Example:
            >>> text = TokenisedText.of("so", ("so",), spans=((0, 2),), special=(False,))
            >>> explanation = TextExplanation(torch.ones(2, 3, 1), torch.tensor([[2, 0, 1]] * 2),
            ...     torch.zeros(2, 3), (text, text))
            >>> explanation.select(texts=[1], classes=["class 1", 0]).classes.tolist()
            [[1, 2]]
        """
        rows = [self.one_text(text) for text in (range(len(self)) if texts is None else texts)]
        wanted = range(self.classes.shape[1]) if classes is None else classes
        columns = [[self._place_of(class_, row) for class_ in wanted] for row in rows]
        places = columns[0] if columns else []
        if any(other != places for other in columns):
            raise ClassSelectionError(
                f"classes {list(wanted)}, which do not stand at the same place for all texts",
                remedy="explanation[0].select(classes=...), text by text",
            )
        labels = self.target_labels
        return dataclasses.replace(
            self,
            maps=self.maps[rows][:, places],
            classes=self.classes[rows][:, places],
            logits=self.logits[rows],
            probabilities=self.probabilities[rows],
            texts=tuple(self.texts[row] for row in rows),
            target_labels=tuple(tuple(labels[row][place] for place in places) for row in rows)
            if labels
            else (),
        )

    def numpy(self) -> NDArray[np.float32]:
        """The raw scores, (B, K, T) float32, as an array; special tokens and padding included."""
        array: NDArray[np.float32] = self.maps.detach().cpu().numpy()
        return array

    @property
    def special(self) -> Tensor:
        """(B, T) bool: tokens that the tokenizer added, padding included."""
        marks = [text.special for text in self.texts]
        return torch.tensor(marks, dtype=torch.bool, device=self.maps.device).reshape(
            len(self), self.maps.shape[2]
        )

    @property
    def has_evidence(self) -> Tensor:
        """(B, K) bool: false where all words of a text have the same score, or none has any."""
        shown = self.special[:, None, :].expand_as(self.maps).logical_not()
        highest = self.maps.where(shown, -torch.inf).amax(dim=2)
        lowest = self.maps.where(shown, torch.inf).amin(dim=2)
        largest = torch.maximum(highest.abs(), lowest.abs())
        alone = (shown.sum(dim=2) == 1) & (largest > 0)
        differ = highest - lowest > _ROUNDINGS * torch.finfo(self.maps.dtype).eps * largest
        return differ.where(shown.any(dim=2), False) | alone

    def one_text(self, text: int | None) -> int:
        """The text that is meant; the only one if it is not said.

        Raises:
            TextError: it has to be said, or is not there.
        """
        if text is None and len(self) != 1:
            raise TextError(
                f"an explanation of {len(self)} texts, where one is asked for",
                remedy="explanation[0], which is of the first text alone",
            )
        if not 0 <= (text or 0) < len(self):
            raise TextError(f"text {text}", allowed=f"0 to {len(self) - 1}")
        return text or 0

    def _place_of(self, class_: int | str, text: int) -> int:
        """Where a class stands among the explained ones of a text."""
        count = self.classes.shape[1]
        return place_of_class([self.target_label(text, place) for place in range(count)], class_)

    def save(self, path: Path | str) -> None:
        """Write everything into one safetensors file, whole or not at all.

        The file holds the texts themselves.

        Raises:
            OutputError: the disk is full or the place is not writable.
        """
        write_text_explanation(path, self._fields())

    def to_bytes(self) -> bytes:
        """The file that :meth:`save` writes, to be sent to somebody."""
        return text_explanation_bytes(self._fields())

    @classmethod
    def load(cls, path: Path | str) -> TextExplanation:
        """Read what :meth:`save` wrote.

        Raises:
            ExplainerError: the file is not an explanation of texts of this schema version.
        """
        return cls(**read_text_explanation(path))
