"""The results of explaining a set of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ttame.errors import OutputError
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import checked_as
from ttame.files.record_files import read_about, read_records
from ttame.results.text_explanation import TextExplanation

CONTENTS = "explanations.json"


@dataclasses.dataclass(frozen=True)
class ExplainedTextClass:
    """An explained class of a text.

    Attributes:
        name: the name of the class, or what else was explained.
        probability: the probability of the class, in [0, 1].
        no_evidence: methods whose scores are the same for every word.
        strongest: method to the words of highest score, with their scores, the highest first.

    Example:
        >>> ExplainedTextClass("positive", 0.75, (), {"attn_lrp": (("fine", 0.5),)}).name
        'positive'
    """

    name: str
    probability: float
    no_evidence: tuple[str, ...]
    strongest: Mapping[str, tuple[tuple[str, float], ...]]


@dataclasses.dataclass(frozen=True)
class ExplainedText:
    """What was found about one text.

    Attributes:
        name: such as ``"line 3"``.
        text: the text itself.
        prediction: name of its most probable class.
        probability: the probability of that class.
        classes: the explained ones.
        maps: method to the path of its explanation within the folder.
        pair: the second text of a pair, if there is one.
    """

    name: str
    text: str
    prediction: str
    probability: float
    classes: tuple[ExplainedTextClass, ...]
    maps: Mapping[str, str]
    pair: str | None = None


@dataclasses.dataclass(frozen=True)
class ExplainedTexts:
    """The results of explaining a set of texts.

    Attributes:
        folder: with ``index.html``, ``explanations.json``, ``words.csv`` and the explanations.
        methods: labels, in order.
        explained: how many texts.
        skipped: name and reason of each text that could not be explained.
        left_out: methods that did not take part, to the reason why.

    Example:
        >>> found = ExplainedTexts(Path("why"), ("attn_lrp",), 2, (("line 3", "too long"),))
        >>> found.explained, [name for name, _ in found.skipped]
        (2, ['line 3'])
    """

    folder: Path
    methods: tuple[str, ...]
    explained: int
    skipped: tuple[tuple[str, str], ...] = ()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path | str) -> ExplainedTexts:
        """Read what is in a folder of explanations of texts.

        Raises:
            OutputError: there is no readable ``explanations.json`` of texts.
        """
        path = Path(folder) / CONTENTS
        about: _About = _checked(path, _About, read_about(path, "texts"))
        skipped = [_checked(path, _Skipped, each) for each in read_records(path, "not_explained")]
        return cls(
            folder=Path(folder),
            methods=tuple(method.name for method in about.methods),
            explained=sum(1 for _ in read_records(path, "texts")),
            skipped=tuple((each.name, each.reason) for each in skipped),
            left_out=about.methods_left_out,
        )

    def rows(self) -> Iterator[ExplainedText]:
        """Read what was found, text by text, in their order.

        Raises:
            OutputError: ``explanations.json`` is gone or damaged.
        """
        path = self.folder / CONTENTS
        for content in read_records(path, "texts"):
            record: _Record = _checked(path, _Record, content)
            yield ExplainedText(
                name=record.name,
                text=record.text,
                prediction=record.prediction.name,
                probability=record.prediction.probability,
                classes=tuple(map(_class_of, record.classes)),
                maps=record.maps,
                pair=record.pair,
            )

    def explanation(self, row: ExplainedText, method: str) -> TextExplanation:
        """What a method says of a text, with all scores.

        Args:
            row: one of :meth:`rows`.
            method: one of :attr:`methods`.

        Raises:
            ExplainerError: the file is gone or damaged.
            OutputError: no such method, or a file outside of the folder.
        """
        if method not in row.maps:
            raise OutputError(f"no explanation by {method}", allowed=", ".join(row.maps))
        path = self.folder / row.maps[method]
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise OutputError(f"{row.maps[method]} is outside of {self.folder}")
        return TextExplanation.load(path)


@dataclasses.dataclass(frozen=True)
class _Method:
    name: str


@dataclasses.dataclass(frozen=True)
class _About:
    methods: tuple[_Method, ...]
    methods_left_out: dict[str, str]


@dataclasses.dataclass(frozen=True)
class _Skipped:
    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class _Prediction:
    name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class _Scores:
    has_evidence: bool
    strongest: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class _Class:
    name: str
    probability: float
    scores: dict[str, _Scores]


@dataclasses.dataclass(frozen=True)
class _Record:
    name: str
    text: str
    pair: str | None
    prediction: _Prediction
    classes: tuple[_Class, ...]
    maps: dict[str, str]


def _class_of(described: _Class) -> ExplainedTextClass:
    return ExplainedTextClass(
        described.name,
        described.probability,
        no_evidence=tuple(
            method for method, scores in described.scores.items() if not scores.has_evidence
        ),
        strongest={method: scores.strongest for method, scores in described.scores.items()},
    )


def _checked(path: Path, kind: Any, content: Any) -> Any:
    try:
        return checked_as(kind, content)
    except UnreadableFileError as problem:
        raise OutputError(
            f"{path} cannot be read ({problem})", allowed="a file that ttame wrote"
        ) from problem
