"""``ttame inspect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.added_options import with_options
from ttame.cli.network_options import (
    MODEL_HELP,
    NamedClassifier,
    OptionalModelName,
    network_parameters,
)
from ttame.errors import ClassifierError

_REMEDY = "ttame inspect efficientnet_lite0"

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.explainers.trained.head_settings import HeadSettings


@with_options(*network_parameters())
def inspect(
    network: Annotated[
        str | None, typer.Argument(metavar="MODEL", help=MODEL_HELP, show_default=False)
    ] = None,
    model: OptionalModelName = None,
    layers: Annotated[bool, typer.Option(help="Also list every layer that can be tapped.")] = False,
    **network_options: Any,
) -> None:
    """Show which layers and settings are chosen for a classifier, and why.

    Example: ttame inspect torchvision/vit_b_16 --weights none
    """
    if (network is None) == (model is None):
        raise ClassifierError("no model" if model is None else "a model twice", remedy=_REMEDY)
    classifier = NamedClassifier.of(network or model, network_options).load()
    _print_classifier(classifier, network_options["weights"])
    _print_transformer(classifier)
    _print_methods(classifier)
    if layers:
        _print_layers(classifier)


def _print_classifier(classifier: Classifier, weights: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from ttame.explainers.trained.head_settings import AttentionHeadSettings
    from ttame.training.training_settings import training_settings

    console = Console()
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    parameters = sum(parameter.numel() for parameter in classifier.network.parameters())
    names = classifier.class_names
    kind = "random" if weights == "none" else weights
    facts.add_row("classifier", f"{classifier.name} ({kind} weights)")
    facts.add_row("family", classifier.family)
    facts.add_row("parameters", f"{parameters:,}")
    classes = f"{classifier.number_of_classes}"
    facts.add_row("classes", f"{classes} ({names[0]} … {names[-1]})" if names else classes)
    outputs = classifier.outputs
    meaning = f"{outputs.kind}: {outputs.in_words} ({classifier.outputs_reason})"
    facts.add_row("outputs", meaning)
    facts.add_row("preprocessing", classifier.preprocessing.in_words())
    channels_last = "channels_last" in str(classifier.memory_format)
    facts.add_row("memory format", "channels last" if channels_last else "contiguous")
    facts.add_row("taps", classifier.tap_choice.reason)
    for title, settings in (
        ("T-TAME head", AttentionHeadSettings()),
        ("few-shot head", training_settings("few-shot").head),
    ):
        facts.add_row(title, _cost_in_words(classifier, settings))
    console.print(facts)
    console.print()
    table = Table(title="feature taps", title_justify="left", box=None, pad_edge=False)
    for column in ("layer", "channels", "grid", "layout", "prefix tokens"):
        table.add_column(column, justify="left" if column in ("layer", "layout") else "right")
    for tap in classifier.taps:
        table.add_row(
            str(tap),
            str(tap.channels),
            f"{tap.grid[0]}x{tap.grid[1]}",
            tap.layout,
            str(tap.prefix_tokens),
        )
    console.print(table)
    for words in _several_runs(classifier):
        console.print(words, markup=False, soft_wrap=True)


def _several_runs(classifier: Classifier) -> list[str]:
    """Which of the tapped layers run several times, and which of the runs is read."""
    from ttame.features.feature_taps import LayerOutput

    records = classifier.trace.by_name()
    counted = [(tap, len(records[tap.layer].runs)) for tap in classifier.taps]
    return [
        f"{tap.layer} runs {runs} times in one pass; "
        + (
            f"run #{tap.run} of #0 to #{runs - 1} is read"
            if isinstance(tap, LayerOutput) and tap.run >= 0
            else f"the last run is read (--taps {tap.layer}#0 reads the first)"
        )
        for tap, runs in counted
        if runs > 1
    ]


def _cost_in_words(classifier: Classifier, settings: HeadSettings) -> str:
    """How large a head would be, and what explaining with it would add to a forward pass."""
    from ttame.explainers.trained.head_cost import head_cost
    from ttame.explainers.trained.shared_head_inputs import evidence_in_words

    cost = head_cost(classifier, settings)
    words = (
        f"{cost.parameters:,} parameters, {cost.file_megabytes:.1f} MB; {cost.top1_share:.1%} of "
        f"the classifier's multiplications for one class, {cost.all_share:.1%} for all"
    )
    if cost.parts:
        words += f"; parts: {', '.join(cost.parts)}"
    if cost.prior_layer is not None:
        words += f"; its prior is made of {evidence_in_words(cost.prior_layer)}"
    return words


def _print_transformer(classifier: Classifier) -> None:
    """What the attention methods know about a Vision Transformer; nothing for other networks."""
    from rich.console import Console
    from rich.table import Table

    from ttame.classifiers.transformer_layout import transformer_layout

    layout = transformer_layout(classifier)
    if layout is None:
        return
    prefix, (height, width) = layout.tokens.prefix_tokens, layout.tokens.grid
    table = Table(
        box=None,
        show_header=False,
        pad_edge=False,
        title="transformer layout",
        title_justify="left",
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    first, last = layout.blocks[0], layout.blocks[-1]
    named = first if first == last else f"{first} … {last}"
    table.add_row("blocks", f"{len(layout.blocks)} ({named})")
    table.add_row("tokens", f"{layout.number_of_tokens}: {prefix} prefix, {height}x{width} patches")
    table.add_row("the head reads", f"the {layout.pooling}")
    console = Console()
    console.print()
    console.print(table)


def _print_methods(classifier: Classifier) -> None:
    from rich.table import Table

    from ttame.cli.methods import wide_console
    from ttame.explainers.known_explainers import EXPLAINERS, methods_for

    applicable, _ = methods_for(classifier)
    by_family: dict[str, list[str]] = {}
    for name in applicable:
        by_family.setdefault(EXPLAINERS[name].card.family, []).append(name)
    title = f"methods that apply: {len(applicable)} of {len(EXPLAINERS)}"
    table = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for family, names in by_family.items():
        table.add_row(family, ", ".join(names))
    console = wide_console()
    console.print()
    console.print(table)
    console.print(f"why not the others: ttame methods --model {classifier.name}")


def _print_layers(classifier: Classifier) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="layers", title_justify="left", box=None, pad_edge=False)
    for column in ("layer", "kind", "output"):
        table.add_column(column)
    for layer in classifier.trace.layers:
        if len(layer.shape) in (3, 4):
            table.add_row(layer.name, layer.kind, " x ".join(map(str, layer.shape[1:])))
    console = Console()
    console.print()
    console.print(table)
