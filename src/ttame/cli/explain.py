"""``ttame explain``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.added_options import with_options
from ttame.cli.explain_texts import TypedTexts, explain_typed_texts, refuse_lone_text_options
from ttame.cli.method_options import MethodOptions, method_parameters
from ttame.cli.network_options import NamedClassifier, OptionalModelName, network_parameters

if TYPE_CHECKING:
    from ttame.datasets.photo_source import PhotoSource

_DRAWING = "Pictures"
_MANY = "Very many photos"
_TEXTS = "Texts instead of photos"


_METHODS = method_parameters(
    *("methods", "explainer", "memory_budget", "option", "refine", "allow_other_weights"),
    words={
        "option": "METHOD.NAME=VALUE; may be given several times. `ttame methods METHOD` shows "
        "a method's options."
    },
)


@with_options(*network_parameters(), before={"classes": _METHODS})
def explain(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Photos or folders of photos; - for a photo from standard input. If not given, "
            "sample photos of scikit-image.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            help="Folder of photos, list file or tar shards ('photos-*.tar'); may be given several "
            "times.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            help="A text to explain instead of photos, by a classifier of texts; may be "
            "given several times.",
            rich_help_panel=_TEXTS,
            show_default=False,
        ),
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            "--pair",
            help="The second text of a pair, such as an answer to the question behind --text; as "
            "often as --text.",
            rich_help_panel=_TEXTS,
            show_default=False,
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(
            "--texts",
            help="File with a text per line; .tsv: a text, a tab and its pair; .jsonl: objects "
            "with text, perhaps pair and id; - for standard input.",
            rich_help_panel=_TEXTS,
            show_default=False,
        ),
    ] = None,
    too_long: Annotated[
        str | None,
        typer.Option(
            help="What becomes of a text that is longer than the classifier takes: refuse (in a "
            "file: it is skipped), truncate, or windows that overlap. If not given, refuse.",
            rich_help_panel=_TEXTS,
            show_default=False,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            "-c",
            help="top1, top3, all, or names or indices separated by commas. If not given, top3 "
            "(top2 where there are two classes), or top1 with several methods.",
            show_default=False,
        ),
    ] = None,
    rather_than: Annotated[
        str | None,
        typer.Option(
            help="A class to compare with: the maps show what speaks for --classes rather than for "
            "this one (the difference of the scores).",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Probability from which one of several independent findings (--outputs sigmoid) "
            "counts as found; 0.5 if not given.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pictures and page.")] = Path(
        "explanations"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace --out if it exists.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an earlier run into --out that was stopped."),
    ] = False,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="What is written: folder (pictures, and a page of all photos) or shards (maps and "
            "numbers in Parquet files, and a page of a few photos), for very many photos.",
            rich_help_panel=_MANY,
        ),
    ] = "folder",
    shard_size: Annotated[
        int | None,
        typer.Option(
            help="Photos per shard; 512 if not given.",
            rich_help_panel=_MANY,
            min=1,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that read photos for shards ahead, for each process that explains; "
            "2 if not given.",
            rich_help_panel=_MANY,
            min=0,
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(
            help="Picture files next to the page: none, overlays, or all (overlays and panels). If "
            "not given, all; next to the page of --format shards, none.",
            rich_help_panel=_DRAWING,
            show_default=False,
        ),
    ] = None,
    colour_scale: Annotated[
        str,
        typer.Option(
            help="Colours of the maps: inferno, viridis, magma or cividis.",
            rich_help_panel=_DRAWING,
        ),
    ] = "inferno",
    opacity: Annotated[
        float,
        typer.Option(
            help="Opacity of the colours where a map is highest.",
            rich_help_panel=_DRAWING,
            min=0.0,
            max=1.0,
        ),
    ] = 0.8,
    strength: Annotated[
        str,
        typer.Option(
            help="How strongly maps are drawn: own (each on its own scale), probability "
            "(improbable classes fade), or contrast (where a map is above that of the most "
            "probable class). Of texts: own, shared (one scale for all classes of a text), "
            "probability, or stretched (from lowest to highest). The page offers all of them.",
            rich_help_panel=_DRAWING,
        ),
    ] = "own",
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.", rich_help_panel=_DRAWING)
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Photos or texts at a time.", min=1)] = 8,
    model: OptionalModelName = None,
    **typed: Any,
) -> None:
    """Explain photos, or texts: pictures or marked words, the maps, and a page to look at.

    Example: ttame explain photo.jpg --methods grad_cam,t_tame --classes "tabby,Egyptian cat"
    """
    typed_texts = TypedTexts(text or (), pair or (), texts, too_long)
    if typed_texts.any:
        explain_typed_texts(typed_texts, out, {**locals(), **typed})
        return
    refuse_lone_text_options(too_long)
    from ttame.cli.chosen_explainers import choose_explainers, typed_classes
    from ttame.cli.explanation_display import said_of_shards, summarise
    from ttame.cli.methods import short_reasons
    from ttame.files.atomic_writing import refuse_existing
    from ttame.processes import is_first_process
    from ttame.progress.explaining_progress import ExplanationProgress
    from ttame.reporting.explain import explain as explain_photos
    from ttame.reporting.explain_to_shards import explain_to_shards

    for_shards = _settings_of_shards(format_, shard_size, workers, threshold)
    if not resume:
        refuse_existing(out, overwrite=overwrite)
    photos = _photos(images or [], data or [])
    said = MethodOptions.of(typed)
    budget = said.memory_budget_in_bytes()
    chosen = choose_explainers(said, NamedClassifier.of(model, typed))
    shown = is_first_process()
    with ExplanationProgress(list(chosen.explainers), len(photos), shown=shown) as progress:
        asked: dict[str, Any] = {
            "classes": typed_classes(classes, chosen.classifier.class_names),
            "rather_than": rather_than,
            "batch_size": batch_size,
            "memory_budget": budget,
            "overwrite": overwrite,
            "resume": resume,
            "listener": progress,
            "left_out": short_reasons(chosen.left_out, chosen.classifier.name),
            "scale": colour_scale,
            "opacity": opacity,
            "strength": strength,
            **({} if pictures is None else {"pictures": pictures}),
        }
        if for_shards is not None:
            shards = explain_to_shards(photos, chosen.explainers, out, **asked, **for_shards)
        else:
            found = explain_photos(photos, chosen.explainers, out, threshold=threshold, **asked)
    if shown:
        if for_shards is not None:
            page = said_of_shards(shards)
        else:
            page = summarise(found, already_said=progress.said)
        if open_page:
            typer.launch(str(page))


def _settings_of_shards(
    format_: str, shard_size: int | None, workers: int | None, threshold: float | None
) -> dict[str, Any] | None:
    """What was said of shards; ``None`` for a folder of pictures.

    Raises:
        UnknownNameError: no such format.
        OutputError: a setting that the format has no use for.
    """
    from ttame.errors import OutputError, UnknownNameError

    given = {"shard_size": shard_size, "workers": workers}
    settings = {name: value for name, value in given.items() if value is not None}
    if format_ not in ("folder", "shards"):
        raise UnknownNameError(f"format {format_!r}", allowed="folder, shards")
    if format_ == "folder" and settings:
        option = f"--{next(iter(settings)).replace('_', '-')}"
        raise OutputError(f"{option} with --format folder", remedy="--format shards")
    if format_ == "shards" and threshold is not None:
        raise OutputError(
            "--threshold with --format shards, which hold the probabilities of all classes",
            remedy="Explanation.found(threshold) of what load_explanations reads",
        )
    return settings if format_ == "shards" else None


def _photos(images: Sequence[Path], data: Sequence[str]) -> PhotoSource:
    """The photos that were named, then those of folders and of data."""
    from ttame.cli.sample_photos import sample_photos
    from ttame.datasets.joined_photos import JoinedPhotos
    from ttame.datasets.named_photos import NamedPhotos
    from ttame.datasets.open_photos import open_photos
    from ttame.datasets.piped_photo import PipedPhoto

    places = images or ([] if data else sample_photos())
    piped = [place for place in places if str(place) == "-"]
    places = [place for place in places if place not in piped]
    named = [place for place in places if not place.is_dir()]
    folders = [place for place in places if place.is_dir()]
    sources: list[PhotoSource] = [PipedPhoto(sys.stdin.buffer)] if piped else []
    sources += [NamedPhotos(named)] if named else []
    sources += [open_photos(place) for place in [*map(str, folders), *data]]
    photos = sources[0] if len(sources) == 1 else JoinedPhotos(sources)
    for note in photos.notes:
        typer.echo(f"ttame: note: {note}", err=True)
    return photos
