"""The results of explaining a set of photos."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ttame.errors import OutputError
from ttame.files.record_files import read_about, read_records
from ttame.notebook.cards import card, facts, link

_MOST_NAMED = 5
"""Unreadable photos that a notebook shows by name."""


@dataclasses.dataclass(frozen=True)
class ClassProbability:
    """A class of one photo.

    Attributes:
        name: the name of the class, or ``"class 7"``.
        probability: in [0, 1].

    Example:
        >>> ClassProbability("tabby", 0.75).name
        'tabby'
    """

    name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class ExplainedPhoto:
    """What was found about one photo.

    Attributes:
        name: what the user calls it, usually its path.
        prediction: its most probable class.
        found: of independent findings, those that count as found, the most probable first; empty
            for "none of them", and ``None`` where exactly one class is true.
        classes: the explained ones.
        no_evidence: (method, class) of each map that is constant and so points nowhere.
        files: ``"pictures"`` to their paths within the folder, and ``"maps"`` to method to path.

    Example:
        >>> tabby = ClassProbability("tabby", 0.75)
        >>> photo = ExplainedPhoto("cat.jpg", tabby, (tabby,), (), {"pictures": ["cat.png"]})
        >>> photo.prediction.name, photo.files["pictures"]
        ('tabby', ['cat.png'])
    """

    name: str
    prediction: ClassProbability
    classes: tuple[ClassProbability, ...]
    no_evidence: tuple[tuple[str, str], ...]
    files: Mapping[str, Any]
    found: tuple[ClassProbability, ...] | None = None


@dataclasses.dataclass(frozen=True)
class ExplainedPhotos:
    """The results of explaining a set of photos.

    Attributes:
        folder: with ``index.html``, ``explanations.json``, pictures and maps.
        methods: labels, in order.
        explained: how many photos.
        skipped: name and reason of each photo that could not be read.
        left_out: methods that did not take part, to the reason why.
        rather_than: name of the class that the explained ones were compared with, if any.

    Example:
        >>> found = ExplainedPhotos(Path("why"), ("grad_cam",), 2, (("torn.jpg", "truncated"),))
        >>> found.explained, [name for name, _ in found.skipped]
        (2, ['torn.jpg'])
    """

    folder: Path
    methods: tuple[str, ...]
    explained: int
    skipped: tuple[tuple[str, str], ...] = ()
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rather_than: str | None = None

    def _repr_html_(self) -> str:
        """What a notebook shows: how many photos, by what, and a link to the page."""
        page = self.folder / "index.html"
        skipped = "; ".join(f"{name} ({reason})" for name, reason in self.skipped[:_MOST_NAMED])
        more = len(self.skipped) - _MOST_NAMED
        return card(
            f"{self.explained:,} explained {'photo' if self.explained == 1 else 'photos'}",
            facts(
                [
                    ("methods", ", ".join(self.methods)),
                    ("rather than", self.rather_than),
                    ("not readable", skipped + (f"; and {more} more" if more > 0 else "")),
                    ("left out", ", ".join(self.left_out)),
                ]
            ),
            link(str(page), page),
        )

    @classmethod
    def read(cls, folder: Path | str) -> ExplainedPhotos:
        """Read what is in a folder of explanations.

        Raises:
            OutputError: there is no readable ``explanations.json``.
        """
        path = Path(folder) / "explanations.json"
        with _naming_what_is_missing(path):
            about = read_about(path, "images")
            skipped = read_records(path, "not_explained")
            compared = about.get("rather_than")  # not in files of before it was noted
            return cls(
                folder=Path(folder),
                methods=tuple(_checked(str, method["name"]) for method in about["methods"]),
                explained=sum(1 for _ in read_records(path, "images")),
                skipped=tuple(
                    (_checked(str, record["name"]), _checked(str, record["reason"]))
                    for record in skipped
                ),
                left_out=_checked(dict, about["methods_left_out"]),
                rather_than=None if compared is None else _checked(str, compared["name"]),
            )

    def rows(self) -> Iterator[ExplainedPhoto]:
        """Read what was found, photo by photo, in the order of the photos.

        Raises:
            OutputError: ``explanations.json`` is gone or damaged.
        """
        path = self.folder / "explanations.json"
        for record in read_records(path, "images"):
            with _naming_what_is_missing(path):
                photo = self._row(record)
            yield photo

    def _row(self, record: Mapping[str, Any]) -> ExplainedPhoto:
        classes = record["classes"]
        found = record["prediction"].get("found")
        return ExplainedPhoto(
            name=_checked(str, record["name"]),
            prediction=_class_of(record["prediction"]),
            classes=tuple(map(_class_of, classes)),
            no_evidence=tuple(
                (method, _checked(str, described["name"]))
                for method in self.methods
                for described in classes
                if not described["maps"][method]["has_evidence"]
            ),
            files=_checked(dict, record["files"]),
            found=None if found is None else tuple(map(_class_of, found)),
        )


@contextlib.contextmanager
def _naming_what_is_missing(path: Path) -> Iterator[None]:
    try:
        yield
    except KeyError as problem:
        raise _unreadable(path, f"{problem} is missing") from problem
    except TypeError as problem:
        raise _unreadable(path, "a value is of another kind than it should be") from problem


def _unreadable(path: Path, reason: str) -> OutputError:
    return OutputError(f"{path} cannot be read ({reason})", allowed="a file that ttame wrote")


def _class_of(described: Mapping[str, Any]) -> ClassProbability:
    name, probability = described["name"], described["probability"]
    return ClassProbability(_checked(str, name), _checked((int, float), probability))


def _checked(kind: type | tuple[type, ...], value: Any) -> Any:
    """A value that is of a kind; pydantic would refuse file names that are not UTF-8.

    Raises:
        TypeError: it is of another.
    """
    if not isinstance(value, kind):
        raise TypeError(type(value).__name__)
    return value
