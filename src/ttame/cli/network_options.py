"""The options that name a classifier, shared by every command that loads one."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.added_options import declared_options
from ttame.cli.class_names import read_class_names
from ttame.cli.pixel_options import PixelOptions, typed_changes
from ttame.errors import ClassifierError, ImageError, on_command_line
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import parse_json
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier

DEFAULT_MODEL = "efficientnet_lite0"
"""The classifier, and the explainer, that ship with ttame."""

DEFAULT_TEXT_MODEL = "minilm_reviews"
"""The classifier of texts that ships with ttame."""

_PANEL = "Classifier"

MODEL_HELP = (
    "torchvision/NAME, timm/NAME, hf/REPO_OR_FOLDER, timm/hf-hub:REPO, timm/local-dir:FOLDER; "
    "your own Python code, which runs: package.module:callable, path/to/file.py:callable; "
    "bundled: efficientnet_lite0, which is the default, hybrid_vit_lite0, and for texts "
    "minilm_reviews."
)

OptionalModelName = Annotated[
    str | None,
    typer.Option("--model", "-m", help=MODEL_HELP, rich_help_panel=_PANEL, show_default=False),
]


@dataclasses.dataclass(frozen=True)
class NetworkOptions(PixelOptions):
    """Options of every command that loads a classifier, besides its name."""

    weights: Annotated[
        str,
        typer.Option(
            help='"default", "none" (random), or a file: .safetensors, or .pth, .pt, .bin, .ckpt '
            "with a state dict, whose code is never run.",
            rich_help_panel=_PANEL,
        ),
    ] = "default"
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Input size, 224 or 224x320 (height x width), if not the network's own.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    taps: Annotated[
        str | None,
        typer.Option(
            help="Layers to read features from, separated by commas; if not given, chosen "
            "automatically. LAYER#0 is the first run of a layer that is used several times; LAYER "
            "is the last.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    class_names: Annotated[
        Path | None,
        typer.Option(
            help="Text file with one class name per line, in the order of the outputs, or "
            "bird,dog; one name is enough for one logit.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    outputs: Annotated[
        str | None,
        typer.Option(
            "--outputs",
            help="What the outputs mean: softmax (one class is true; assumed unless the "
            "configuration of the network says otherwise), sigmoid "
            "(independent findings), binary (one logit), softmax-probabilities, "
            "sigmoid-probabilities.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    network_option: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE for the library that builds the network, e.g. num_classes=10. "
            "trust_remote_code=true lets an hf/ network run Python code of its repository with "
            "your rights, in this command only.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=_PANEL)
    ] = "auto"


@functools.cache
def network_parameters() -> tuple[inspect.Parameter, ...]:
    """The options of :class:`NetworkOptions`, for :func:`ttame.cli.added_options.with_options`.

    Made once: all commands have the same objects.
    """
    declared = declared_options(NetworkOptions)
    # Those that say nothing about pixels stand first in every help.
    of_pixels = [declared.pop(field.name) for field in dataclasses.fields(PixelOptions)]
    return (*declared.values(), *of_pixels)


@dataclasses.dataclass(frozen=True)
class NamedClassifier:
    """The classifier that a command's options name.

    Attributes:
        model: ``None`` if ``--model`` was not typed.
        weights: ``"default"``, ``"none"`` or a file.
        details: the other options, with ``None`` where nothing was typed.
        device: resolved.
    """

    model: str | None
    weights: str
    details: Mapping[str, Any]
    device: str

    @classmethod
    def of(cls, model: str | None, typed: Mapping[str, Any]) -> NamedClassifier:
        """Read the options of a command.

        Args:
            model: the classifier's name, if there is one.
            typed: name of each option to its value, those of :class:`NetworkOptions` among them.

        Raises:
            ClassifierError: no such device here.
        """
        said = {field.name: typed[field.name] for field in dataclasses.fields(NetworkOptions)}
        weights, device = said.pop("weights"), choose_device(said.pop("device"))
        return cls(model, weights, {name: said[name] or None for name in said}, device)

    def load(self) -> Classifier:
        """Load the named classifier, or the one that ships with ttame.

        Raises:
            TtameError: as :func:`load_named_classifier`.
        """
        return load_named_classifier(
            self.model or DEFAULT_MODEL, self.weights, device=self.device, **self.details
        )

    def refuse_details(self, explainer: str, *, weights_too: bool) -> None:
        """Refuse options that nothing would obey: an explainer brings its own classifier.

        Args:
            explainer: its name or folder.
            weights_too: whether ``--weights`` is such an option.

        Raises:
            ClassifierError: something about a classifier was typed without ``--model``.
        """
        typed = [name for name, value in self.details.items() if value is not None]
        typed += ["weights"] if self.weights != "default" and weights_too else []
        if typed:
            raise ClassifierError(
                f"--{typed[0].replace('_', '-')} without --model, while the explainer {explainer} "
                "brings its own classifier",
                remedy="--model NAME",
            )


def load_named_classifier(
    model: str,
    weights: str,
    image_size: str | None,
    taps: str | None,
    class_names: Path | None,
    outputs: str | None,
    network_option: Sequence[str] | None,
    device: str,
    **pixels: Any,
) -> Classifier:
    """Load the classifier that the options describe, and say what its user should know of it.

    Args:
        model: its name.
        weights: ``"default"``, ``"none"`` or a file.
        image_size: as typed, like all that follow; ``None`` for what was not.
        taps: between commas.
        class_names: a file of them.
        outputs: their kind.
        network_option: ``NAME=VALUE`` each.
        device: resolved or not.
        pixels: the options of :class:`ttame.cli.pixel_options.PixelOptions`.

    Raises:
        TtameError: as :func:`ttame.load_classifier`, and for options that cannot be read.
    """
    from ttame.classifiers.known_classifiers import load_classifier

    classifier = load_classifier(
        model,
        weights,
        image_size=parse_size(image_size) if image_size else None,
        preprocessing=typed_changes(**pixels),
        taps=[name.strip() for name in taps.split(",")] if taps else None,
        class_names=read_class_names(class_names) if class_names else None,
        outputs=outputs,
        network_options=parse_options(network_option or ()),
        device=choose_device(device),
    )
    for notice in classifier.notices:
        typer.echo(f"ttame: note: {printable(on_command_line(notice))}", err=True)
    return classifier


def parse_size(text: str) -> tuple[int, int]:
    """Read ``224`` or ``224x320``.

    Raises:
        ImageError: anything else.

    Example:
        >>> parse_size("224x320")
        (224, 320)
    """
    found = re.fullmatch(r"(\d+)(?:[x×,](\d+))?", text.strip())
    if not found or int(found[1]) < 1 or int(found[2] or 1) < 1:
        raise ImageError(f"image size {text!r}", allowed="224, or 224x320 (height x width)")
    return int(found[1]), int(found[2] or found[1])


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` pairs; values are JSON where they can be, else text.

    Raises:
        ClassifierError: a pair without ``=``.

    Example:
        >>> parse_options(["num_classes=10", "act_layer=gelu"])
        {'num_classes': 10, 'act_layer': 'gelu'}
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ClassifierError(f"network option {pair!r}", allowed="NAME=VALUE")
        try:
            options[name] = parse_json(value)
        except UnreadableFileError:
            options[name] = value
    return options


def choose_device(name: str) -> str:
    """Resolve ``auto`` and refuse what this machine does not have.

    Processes that were started together take a GPU each.

    Raises:
        ClassifierError: no such device here.
    """
    import torch

    from ttame.processes import launched_processes, local_process

    if name == "auto":
        if not torch.cuda.is_available():
            return "cpu"
        return f"cuda:{local_process()}" if launched_processes() > 1 else "cuda"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, ValueError) as problem:
        reason = str(problem).splitlines()[0]
        raise ClassifierError(
            f"device {name!r} cannot be used ({reason})", allowed="auto, cpu, cuda, mps"
        ) from problem
    return name
