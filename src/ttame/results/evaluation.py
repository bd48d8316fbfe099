"""What an evaluation found: frozen numbers that something else draws."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ttame.errors import TtameError
from ttame.files.bounded_reading import UnreadableFileError, read_text
from ttame.files.json_files import LARGEST, checked_as, parse_json
from ttame.results.evaluation_card import evaluation_card

SCHEMA_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Called:
    """What sentences call what was measured.

    Example:
        >>> Called("photo", "photos", "image", "images").photos
        'photos'
    """

    photo: str
    photos: str
    image: str
    images: str


CALLED = {
    "images": Called("photo", "photos", "image", "images"),
    "texts": Called("text", "texts", "text", "texts"),
}
"""Kind of what is classified to its words: photos are what people have, images what is measured."""


@dataclasses.dataclass(frozen=True)
class Score:
    """One cell of the table.

    Attributes:
        value: over all images that have one.
        low: lower end of the 95 % bootstrap interval, over images, or over classes where the
            metric counts classes alike (unless there is only one).
        high: its upper end.
        rank: 1 for the best; equal values share a rank; 0 where nothing is better or worse.
        p_value: the p-value of the paired test against the best method, corrected for the number of
            methods, in [0, 1]; 1 for the best itself.
        images: how many images have a value.
        images_needed: how many would separate the method from the best with a power of 80 %, if the
            difference stays as it is; 0 where they are separate already, or nobody can say.
        p_known: false where only the decision of the test was kept: ``p_value`` is 1 where the
            method is not significantly different from the best, and 0 where it is.

    Example:
        >>> score = Score(value=8.1, low=6.0, high=10.4, rank=1, p_value=1.0, images=200)
        >>> f"{score.value} ({score.low} to {score.high})"
        '8.1 (6.0 to 10.4)'
    """

    value: float
    low: float
    high: float
    rank: int
    p_value: float
    images: int
    images_needed: int = 0
    p_known: bool = True


@dataclasses.dataclass(frozen=True)
class ColumnFacts:
    """A column of the table: key, heading, direction, unit, paper, what it means, and what the
    points of its metric's curve stand at, if it has one.

    Example:
        >>> ColumnFacts("average_drop@50", "Average Drop at 50 % kept", "average_drop", "lower",
        ...             "%", "Chattopadhyay et al., arXiv 1710.11063", "what is lost").better
        'lower'
    """

    key: str
    title: str
    metric: str
    better: Literal["higher", "lower", "neither"]
    unit: str
    paper: str
    measures: str
    curve_over: str = "% of the pixels"


@dataclasses.dataclass(frozen=True)
class MethodCost:
    """What a method's maps cost, per image.

    Attributes:
        forward: passes of the whole network.
        backward: backward passes.
        tail: runs of only the end of the network.
        milliseconds: wall-clock time of the maps alone, the median of the batches.
        peak_megabytes: size of the tensors alive at once beyond weights and images, for one batch.

    Example:
        >>> rise = MethodCost(1001, 0, 0, milliseconds=9000.0, peak_megabytes=300.0)
        >>> rise.forward + rise.backward
        1001
    """

    forward: float
    backward: float
    tail: float
    milliseconds: float
    peak_megabytes: float


@dataclasses.dataclass(frozen=True)
class CurvePoint:
    """One point of a curve: x (percent of pixels, or as the column says), mean, and 95 %
    bootstrap interval."""

    x: float
    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class MethodScores:
    """One row of the table.

    Attributes:
        name: as it was asked for: a method's name or an explainer folder.
        title: for people.
        family: the family of the method, e.g. ``"gradient"``.
        scores: column key to score.
        curves: metric name to its points.
        cost: the cost of the maps.
        options: the options of the method.
        published: column key to a published number of the same protocol, where one is known.
        no_evidence: how many maps were constant.
        sanity: the result of the randomisation check, where it was run; see ``RandomisationScore``.

    Example:
        >>> scores = {"average_drop@50": Score(31.0, 27.9, 34.2, 1, 1.0, 200)}
        >>> cost = MethodCost(1, 1, 0, 40.0, 80.0)
        >>> row = MethodScores("grad_cam", "Grad-CAM", "class activation", scores, {}, cost)
        >>> row.scores["average_drop@50"].value
        31.0
    """

    name: str
    title: str
    family: str
    scores: Mapping[str, Score]
    curves: Mapping[str, tuple[CurvePoint, ...]]
    cost: MethodCost
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)
    no_evidence: int = 0
    sanity: RandomisationScore | None = None


@dataclasses.dataclass(frozen=True)
class RandomisationScore:
    """How much maps change when the classifier's layers are re-initialised, from the end on.

    Attributes:
        similarity: Spearman rank correlation with the original map after all layers are random,
            mean over images; 1 means that the map does not depend on the weights.
        steps: (layers randomised so far, similarity), in order.
        passed: whether the similarity stays below the threshold.

    Example:
        >>> score = RandomisationScore(similarity=0.04, steps=((1, 0.31), (2, 0.04)), passed=True)
        >>> [similarity for _, similarity in score.steps]
        [0.31, 0.04]
    """

    similarity: float
    steps: tuple[tuple[int, float], ...]
    passed: bool


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """The table of one run.

    Attributes:
        classifier: its name.
        classifier_fingerprint: SHA-256 of its weights.
        data: where the images came from.
        data_fingerprint: over the names of the images.
        images: how many were evaluated.
        skipped: name of each photo that was not readable, with the reason.
        protocol: name of the preset.
        protocol_hash: the hash of the settings; tables of different hashes must not be joined.
        protocol_settings: all of them.
        protocol_words: the protocol in sentences: (what, how).
        columns: the columns of the table, in order.
        methods: the rows, in the order they were asked for.
        left_out: method to the reason why it is not defined for this classifier.
        notes: sentences a reader must know, such as what a reproduction differs in.
        machine: processor and versions.
        date: ISO 8601.
        kind: whether ``"images"`` or ``"texts"`` were classified; fields that are named after
            images count texts then.

    Example:
        >>> evaluation = Evaluation(
        ...     classifier="my network", classifier_fingerprint="", data="photos/",
        ...     data_fingerprint="", images=0, skipped=(), protocol="t-tame", protocol_hash="",
        ...     protocol_settings={}, protocol_words=(), columns=(), methods=(), left_out={},
        ...     notes=(), machine="", date="")
        >>> Evaluation.from_json(evaluation.to_json()) == evaluation
        True
    """

    classifier: str
    classifier_fingerprint: str
    data: str
    data_fingerprint: str
    images: int
    skipped: tuple[tuple[str, str], ...]
    protocol: str
    protocol_hash: str
    protocol_settings: Mapping[str, Any]
    protocol_words: tuple[tuple[str, str], ...]
    columns: tuple[ColumnFacts, ...]
    methods: tuple[MethodScores, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]
    machine: str
    date: str
    kind: Literal["images", "texts"] = "images"

    @property
    def called(self) -> Called:
        """What sentences call what was measured."""
        return CALLED[self.kind]

    def __repr__(self) -> str:
        methods = ", ".join(method.name for method in self.methods)
        return f"<Evaluation of {self.classifier} on {self.images} {self.called.images}: {methods}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table."""
        return evaluation_card(self.columns, self.methods, self._words(), per=self.called.image)

    def _words(self) -> tuple[str, ...]:
        """The title, what the table rests on, and the notes."""
        title = f"{self.classifier} on {self.images} {self.called.images} of {self.data}"
        protocol = f"protocol {self.protocol} ({self.protocol_hash})"
        one = len(self.skipped) == 1
        were = f"{self.called.photo} was" if one else f"{self.called.photos} were"
        skipped = f"{len(self.skipped)} {were} not readable" if self.skipped else ""
        return (title, protocol, *self.notes, *filter(None, [skipped]))

    def to_json(self) -> str:
        """Everything, readable by people and by :meth:`from_json`."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Evaluation:
        """Read what :meth:`to_json` wrote.

        Raises:
            TtameError: it is not an evaluation of this schema version.
        """
        try:
            raw = parse_json(text, allow_nan=True)
            if isinstance(raw, dict) and raw.get("schema_version") != SCHEMA_VERSION:
                raise TtameError("results of another schema", allowed=f"schema {SCHEMA_VERSION}")
            return checked_as(cls, raw)
        except UnreadableFileError as problem:
            raise TtameError(
                f"no results of an evaluation ({problem})", allowed="a results.json of ttame"
            ) from problem

    @classmethod
    def load(cls, path: Path | str) -> Evaluation:
        """Read a ``results.json``.

        Raises:
            TtameError: it cannot be read.
        """
        try:
            return cls.from_json(read_text(path, LARGEST))
        except UnreadableFileError as problem:
            raise TtameError(
                f"cannot read {path} ({problem})", allowed="a results.json of ttame"
            ) from problem
