"""``ttame explain --text``: what is explained is texts."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ttame.errors import DatasetError, OutputError, TextError, UnknownNameError

if TYPE_CHECKING:
    from ttame.datasets.texts.text_lines import NamedText

WINDOWS = "windows"
"""What becomes of a long text: it is read in windows that overlap."""

_TOO_LONG = ("refuse", "truncate", WINDOWS)

_OF_PHOTOS: Mapping[str, Any] = {
    "images": (),
    "data": (),
    "format_": "folder",
    "shard_size": None,
    "workers": None,
    "pictures": None,
    "colour_scale": "inferno",
    "opacity": 0.8,
}
"""Options of ``ttame explain`` that texts have no use for, with their defaults."""


@dataclasses.dataclass(frozen=True)
class TypedTexts:
    """What was typed of texts.

    Attributes:
        texts: behind ``--text``.
        pairs: behind ``--pair``, one for each text, or none at all.
        file: behind ``--texts``; ``-`` for standard input.
        too_long: what becomes of a text that is longer than the classifier takes.
    """

    texts: Sequence[str]
    pairs: Sequence[str]
    file: Path | None
    too_long: str | None

    @property
    def any(self) -> bool:
        """Whether it is texts at all that are explained."""
        return bool(self.texts) or bool(self.pairs) or self.file is not None

    def refuse_options_of_photos(self, typed: Mapping[str, Any]) -> None:
        """Refuse options that nothing would obey.

        Args:
            typed: name of each option of the command to its value.

        Raises:
            TextError: photos, or an option about them, were typed along with texts.
        """
        for name, default in _OF_PHOTOS.items():
            if name in typed and (typed[name] or default) != default:
                words = "photos" if name == "images" else f"--{name.strip('_').replace('_', '-')}"
                raise TextError(f"{words} along with texts", allowed="photos or texts")

    def refuse_other_ways_with_long_texts(self) -> None:
        """Refuse what ``--too-long`` does not know.

        Raises:
            UnknownNameError: such a word was typed.
        """
        if self.too_long not in (None, *_TOO_LONG):
            raise UnknownNameError(
                f"unknown way to handle long texts {self.too_long!r}",
                allowed=", ".join(_TOO_LONG),
            )

    def source(self) -> Any:
        """The texts, as :func:`ttame.reporting.texts.explain_texts.explain_texts` takes them.

        Raises:
            TextError: pairs without texts, or another number of them.
            DatasetError: standard input holds no text.
        """
        if self.file is not None:
            if self.texts or self.pairs:
                other = "--text" if self.texts else "--pair"
                raise TextError(
                    f"{other} and --texts",
                    allowed="one of them",
                    remedy=""
                    if self.texts
                    else "a .tsv file, with a text, a tab and its pair per line",
                )
            return self._of_file(self.file)
        if self.pairs and len(self.pairs) != len(self.texts):
            raise TextError(
                f"{len(self.pairs)} --pair for {len(self.texts)} --text", allowed="one for each"
            )
        return [*zip(self.texts, self.pairs, strict=True)] if self.pairs else [*self.texts]

    def _of_file(self, file: Path) -> Path | list[NamedText]:
        from ttame.datasets.texts.text_lines import piped_text_lines

        if str(file) == "-":
            return [*piped_text_lines(sys.stdin.buffer)]
        if file.is_dir():
            raise DatasetError(f"{file} is a folder", allowed="a file with one text per line")
        return file


def explain_typed_texts(typed_texts: TypedTexts, out: Path, typed: Mapping[str, Any]) -> None:
    """Explain texts, write the report, and print what was found.

    Args:
        typed_texts: what is explained.
        out: folder of the report.
        typed: name of every other option of ``ttame explain`` to its value.

    Raises:
        TtameError: whatever was typed does not exist or does not fit together.
    """
    from ttame.cli.chosen_explainers import typed_classes
    from ttame.cli.method_options import MethodOptions
    from ttame.cli.methods import short_reasons
    from ttame.cli.text_display import summarise_texts
    from ttame.cli.text_networks import choose_text_explainers
    from ttame.drawing.word_strength import check_word_strength
    from ttame.files.atomic_writing import refuse_existing
    from ttame.processes import is_first_process
    from ttame.progress.explaining_progress import ExplanationProgress
    from ttame.reporting.texts.explain_texts import explain_texts, named_texts

    typed_texts.refuse_options_of_photos(typed)
    typed_texts.refuse_other_ways_with_long_texts()
    check_word_strength(typed["strength"])
    if not typed["resume"]:
        refuse_existing(out, overwrite=typed["overwrite"])
    said = MethodOptions.of(typed)
    budget = said.memory_budget_in_bytes()
    texts, _ = named_texts(typed_texts.source())
    windows = typed_texts.too_long == WINDOWS
    classifier, explainers, left_out = choose_text_explainers(
        said, typed["model"], typed, too_long=None if windows else typed_texts.too_long
    )
    shown = is_first_process()
    with ExplanationProgress(list(explainers), len(texts), shown=shown, what="text") as progress:
        found = explain_texts(
            texts,
            explainers,
            out,
            classes=typed_classes(typed["classes"], classifier.class_names),
            rather_than=typed["rather_than"],
            threshold=typed["threshold"],
            batch_size=typed["batch_size"],
            memory_budget=budget,
            overwrite=typed["overwrite"],
            resume=typed["resume"],
            listener=progress,
            left_out=short_reasons(left_out, classifier.name),
            strength=typed["strength"],
            # Of a file, or of what comes through a pipe, a text that is too long is skipped.
            strict=typed_texts.file is None,
            windows=windows,
        )
    if shown:
        page = summarise_texts(found, typed["strength"], already_said=progress.said)
        if typed["open_page"]:
            typer.launch(str(page))


def refuse_lone_text_options(too_long: str | None) -> None:
    """Refuse what only texts have a use for, where there are none.

    Raises:
        OutputError: such an option was typed.
    """
    if too_long is not None:
        raise OutputError("--too-long without texts", remedy="--text or --texts")
