"""``ttame export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ttame.cli.added_options import with_options
from ttame.cli.method_options import MethodOptions, is_exported_file, method_parameters
from ttame.cli.network_options import NamedClassifier, OptionalModelName, network_parameters

if TYPE_CHECKING:
    from ttame.exporting.exported_facts import ExportedFacts
    from ttame.exporting.graph_formats import Format

_METHODS = method_parameters(
    *("explainer", "methods", "option", "allow_other_weights"),
    panel="The method",
    words={
        "explainer": "A trained explainer, which brings its classifier: bundled, a folder, or a "
        "hub repository. If not given, efficientnet_lite0.",
        "methods": "Instead of a trained explainer: cam, class_evidence, raw_attention, "
        "attention_rollout, class_embedding, recipro_cam or vit_recipro_cam.",
        "allow_other_weights": "Export a classifier even if its weights differ from those that "
        "the explainer was trained for.",
    },
)


@with_options(*network_parameters(), before={"format": _METHODS})
def export(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="The file to write: why.onnx, why.pt2, or why.xml (OpenVINO).",
            show_default=False,
        ),
    ],
    format: Annotated[
        str | None,
        typer.Option(
            help="onnx, pt2 (torch.export) or openvino. If not given, the ending of --out decides.",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[
        str | None,
        typer.Option(
            help="How many of the most probable classes are explained, or all. If not given, 3 (2 "
            "where there are two classes).",
            show_default=False,
        ),
    ] = None,
    choose_classes: Annotated[
        bool,
        typer.Option(
            "--choose-classes",
            help="Add a second input, asked: the classes to explain; -1 is the most probable one.",
        ),
    ] = False,
    takes: Annotated[
        str,
        typer.Option(
            help="pixels (uint8, normalised inside), images (float, normalised already) or photos "
            "(uint8 of any size, resized and cropped inside, with maps that lie on the photos)."
        ),
    ] = "pixels",
    dynamic_size: Annotated[
        bool,
        typer.Option("--dynamic-size", help="Accept photos of any size: the same as takes photos."),
    ] = False,
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="Accept any number of images instead of one.")
    ] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Let the network compute in half precision.")
    ] = False,
    int8: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photos, or a folder of some dozens, on which the network's numbers are rounded "
            "to 8 bits; may be given several times. Without --photos, every fourth of them "
            "measures what that costs instead.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photos, or a folder of them, on which the file is compared with PyTorch; may be "
            "given several times. Without any, sample photos of scikit-image.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace --out if it exists.")
    ] = False,
    model: OptionalModelName = None,
    **typed: Any,
) -> None:
    """Write a classifier and its maps as one file, and check it against PyTorch.

    Example: ttame export --explainer efficientnet_lite0 --out why.onnx
    """
    from ttame.cli.chosen_explainers import choose_explainers
    from ttame.cli.sample_photos import sample_photos
    from ttame.errors import ExplainerError
    from ttame.exporting.export_explainer import export_explainer
    from ttame.files.atomic_writing import refuse_existing

    refuse_existing(out, overwrite=overwrite)
    said = MethodOptions.of(typed)
    if said.explainer is not None and is_exported_file(said.explainer):
        raise ExplainerError(
            f"{said.explainer} is an exported file already", allowed="the explainer it was made of"
        )
    if dynamic_size and takes == "images":
        raise ExplainerError("--dynamic-size with --takes images", allowed="--takes photos")
    kind = _format(format, out)
    names = said.method_names()
    if len(names) > 1:
        raise ExplainerError(f"{len(names)} methods in one file", allowed="one")
    chosen = choose_explainers(said, NamedClassifier.of(model, typed))
    calibration, compared = divided(listed(int8 or []), listed(photos or []))
    facts = export_explainer(
        next(iter(chosen.explainers.values())),
        out,
        format=kind,
        top_k=_top(top_k),
        choose_classes=choose_classes,
        takes="photos" if dynamic_size else takes,  # type: ignore[arg-type]  # checked there
        dynamic_batch=dynamic_batch,
        half=half,
        int8=calibration,
        photos=compared or sample_photos(),
        overwrite=overwrite,
    )
    for line in summary(facts, out):
        typer.echo(line)


_MOST_PHOTOS = 200
"""Of one option; spread over a larger folder."""


def listed(places: Sequence[Path]) -> list[Path]:
    """The photos that were named, and those of folders."""
    from ttame.datasets.open_photos import open_photos
    from ttame.errors import ImageError

    found: list[Path] = []
    for place in places:
        if place.is_dir():
            photos = open_photos(place)
            found += [Path(photos.location(number)) for number in range(len(photos))]
        else:
            found.append(place)
    for path in found:
        if not path.is_file():
            raise ImageError(f"no file {path}", allowed="photos, or folders of photos")
    return found[:: -(-len(found) // _MOST_PHOTOS) or 1]


def divided(calibration: list[Path], compared: list[Path]) -> tuple[list[Path], list[Path]]:
    """Photos to round numbers on and photos to compare on, which are not the same ones."""
    if compared or len(calibration) < 4:
        return calibration, compared
    measuring = calibration[::4]
    return [path for path in calibration if path not in measuring], measuring


def summary(facts: ExportedFacts, out: Path) -> Sequence[str]:
    """What was written, in lines for people."""
    given = ", ".join(f"{name} {words}" for name, words in facts.inputs.items())
    parity = ", ".join(f"{name} {value:.3g}" for name, value in facts.parity.items())
    files = [out, *([out.with_suffix(".bin")] if out.suffix == ".xml" else [])]
    size = sum(file.stat().st_size for file in files) / 2**20
    return (
        f"{' and '.join(map(str, files))}: {facts.classifier} with {facts.method}, {size:.1f} MB",
        f"takes {given}",
        f"gives {', '.join(facts.results)}",
        f"compared with PyTorch: {parity}",
    )


def _format(typed: str | None, out: Path) -> Format:
    from ttame.errors import ExplainerError

    kinds: dict[str, Format] = {"onnx": "onnx", "pt2": "pt2", "openvino": "openvino"}
    kind = kinds.get(typed or {".xml": "openvino"}.get(out.suffix, out.suffix[1:]))
    if kind is not None:
        return kind
    raise ExplainerError(
        f"format {typed!r}" if typed else f"no format for {out.name}",
        allowed="onnx, pt2, openvino",
        remedy="--format onnx",
    )


def _top(text: str | None) -> int | Literal["all"] | None:
    from ttame.errors import ExplainerError

    if text is None:
        return None
    if text == "all":
        return "all"
    try:
        return int(text)
    except ValueError as problem:
        raise ExplainerError(f"--top-k {text}", allowed="a number, or all") from problem
