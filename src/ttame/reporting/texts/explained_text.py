"""One explained text, as the report writes it into JSON, table and page."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ttame.drawing.captions import percent
from ttame.drawing.marked_words import marked_text, writable
from ttame.drawing.word_strength import ClassScale
from ttame.errors import ExplainerError
from ttame.reporting.explanation_table import as_text
from ttame.reporting.method_label import MethodLabel
from ttame.results.prediction import FOUND_FROM
from ttame.results.text_card import (
    STRONGEST,
    drawn_places,
    scales_of,
    strongest_in_words,
    unread_in_words,
)
from ttame.results.text_explanation import TextExplanation

_HEADING = 72
"""Characters of a text that stand for it."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedText:
    """A text with the explanations of just this text, of the same classes by each method.

    Attributes:
        name: what the user calls it, such as ``"line 3"``.
        explanations: one per method, each of one text; all of the same classes.
        threshold: the probability from which one of independent findings counts as found.
    """

    name: str
    explanations: tuple[TextExplanation, ...]
    threshold: float = FOUND_FROM

    @classmethod
    def of(cls, name: str, explanations: Sequence[TextExplanation], index: int) -> ExplainedText:
        """Cut one text out of explained batches.

        Raises:
            ExplainerError: the explanations are about different texts or classes.
        """
        cut = tuple(explanation[index].to("cpu") for explanation in explanations)
        first, *others = cut
        for other in others:
            if other.texts[0].texts != first.texts[0].texts or not other.classes.equal(
                first.classes
            ):
                raise ExplainerError(
                    f"explanations of different texts or classes in {name}",
                    allowed="one text and the same classes for every method",
                )
        return cls(name, cut)

    @property
    def first(self) -> TextExplanation:
        """The first method's, which stands for the prediction."""
        return self.explanations[0]

    @property
    def heading(self) -> str:
        """How the text begins, on one line."""
        whole = " / ".join(writable(text) for text in self.first.texts[0].texts)
        line = re.sub(r"\s+", " ", whole).strip()
        return line if len(line) <= _HEADING else f"{line[: _HEADING - 1].rstrip()}…"

    def record(self, maps: Mapping[str, str]) -> dict[str, Any]:
        """What ``explanations.json`` says about this text.

        Args:
            maps: method to the path of its explanation within the report's folder.
        """
        said, words = self.first.texts[0], self.first.words()
        return {
            "name": self.name,
            "text": said.text,
            "pair": said.pair,
            "maps": dict(maps),
            "prediction": self._prediction(),
            "words": [word.text for word in words],
            "places": [[word.part, word.start, word.end] for word in words],
            "classes": [
                {
                    **described,
                    "scores": {each.method: _scores(each, place) for each in self.explanations},
                }
                for place, described in enumerate(self._classes())
            ],
        }

    def page_entry(
        self, maps: Mapping[str, str], labels: Mapping[str, MethodLabel]
    ) -> dict[str, Any]:
        """What the page's template shows of this text.

        Args:
            maps: method to the path of its explanation within the report's folder.
            labels: method to label.
        """
        classes, drawn = self._classes(), drawn_places(self.first, 0)
        scales = {each.method: scales_of(each, 0) for each in self.explanations}
        return {
            "name": self.name,
            "heading": self.heading,
            "remarks": [*self._remarks(drawn)],
            "maps": dict(maps),
            "prediction": self._prediction()["name"],
            "percent": percent(self._prediction()["probability"]),
            "classes": [
                {
                    "name": writable(classes[place]["name"]),
                    "percent": _percent(classes[place]),
                    "width": f"{100 * classes[place]['probability']:.2f}%",
                    "rank": classes[place]["rank"],
                    "mark": self._mark(place),
                    "tiles": [
                        _tile(each, place, scales[each.method][place], labels[each.method])
                        for each in self.explanations
                    ],
                }
                for place in drawn
            ],
        }

    def table_rows(self) -> Iterator[list[Any]]:
        """For each class and word its place and its scores, method by method.

        Words that a spreadsheet would run as a formula get an apostrophe in front.
        """
        for place, described in enumerate(self._classes()):
            scored = [each.scored_words(place) for each in self.explanations]
            for words in zip(*scored, strict=True):
                word = words[0].word
                yield [
                    *(as_text(self.name), as_text(described["name"])),
                    f"{described['probability']:.6g}",
                    *(as_text(word.text), "pair" if word.part else "text", word.start, word.end),
                    *(f"{found.score:.6g}" if found.is_read else "" for found in words),
                ]

    def _remarks(self, drawn: Sequence[int]) -> Iterator[str]:
        """What must be said of the text as a whole."""
        if not bool(self.first.found(self.threshold).any()):
            yield f"none of them: no finding reaches {percent(self.threshold)}"
        n_explained = self.first.classes.shape[1]
        if len(drawn) < n_explained:
            yield f"the {len(drawn)} most probable of {n_explained} explained classes"
        unread = unread_in_words(self.first.scored_words(0))
        if unread:
            yield unread

    def _prediction(self) -> dict[str, Any]:
        """The most probable class, explained or not."""
        index = int(self.first.logits[0].argmax())
        return {
            "index": index,
            "name": self.first.class_label(index),
            "probability": float(self.first.probabilities[0, index]),
        }

    def _mark(self, place: int) -> str:
        """What stands next to the percentage of one of several independent findings."""
        if self.first.exclusive:
            return ""
        index = self.first.classes[0, place]
        return "" if self.first.found(self.threshold)[0, index] else "not found"

    def _classes(self) -> list[dict[str, Any]]:
        """One record per explained class, or other target."""
        logits = self.first.logits[0]
        probabilities = self.first.class_probabilities[0].tolist()
        return [
            {
                "index": index,
                "name": self.first.target_label(0, place),
                "class": self.first.class_label(index),
                "probability": probabilities[place],
                "rank": 1 + int((logits > logits[index]).sum()),
            }
            for place, index in enumerate(self.first.classes[0].tolist())
        ]


def _percent(described: Mapping[str, Any]) -> str:
    """The probability, and whose it is where the name alone does not say it."""
    behind = "" if described["class"] == described["name"] else writable(described["class"])
    return f"{behind} {percent(described['probability'])}".strip()


def _scores(explanation: TextExplanation, place: int) -> dict[str, Any]:
    """What a method says of one class: a score per word, null where it was not read."""
    words = explanation.scored_words(place)
    return {
        "signed": explanation.signed,
        "has_evidence": bool(explanation.has_evidence[0, place]),
        "strongest": [[each.word.text, each.score] for each in explanation.top(STRONGEST, place)],
        "words": [None if math.isnan(each.score) else each.score for each in words],
    }


def _tile(
    explanation: TextExplanation, place: int, scale: ClassScale, label: MethodLabel
) -> dict[str, Any]:
    """The marked words of one class by one method."""
    words, signed = explanation.scored_words(place), explanation.signed
    return {
        "title": label.title,
        "remark": label.remark,
        "blank": not bool(explanation.has_evidence[0, place]),
        "html": marked_text(explanation.texts[0], words, scale, signed=signed),
        "strongest": strongest_in_words(words, signed=signed),
    }
