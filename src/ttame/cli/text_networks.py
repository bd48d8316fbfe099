"""Which classifier of texts, and which methods, from what was typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from ttame.cli.method_options import MethodOptions, every_method
from ttame.cli.network_options import NetworkOptions, choose_device, read_class_names
from ttame.errors import ClassifierError, ExplainerError, on_command_line
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from ttame.explainers.contract.explainer import Explainer
    from ttame.text_classifiers.text_classifier import TextClassifier

DEFAULT_TEXT_MODEL = "minilm_reviews"
"""The classifier of texts that ships with ttame."""

DEFAULT_TEXT_METHOD = "transformer_attribution"
"""What explains texts if no method is named."""

_OF_TEXTS = ("class_names", "outputs", "device")
"""Options of the network that classifiers of texts have too."""


def load_text_classifier(
    model: str | None, typed: Mapping[str, Any], *, too_long: str | None
) -> TextClassifier:
    """Load the classifier that the options describe, and say what its user should know of it.

    Args:
        model: its name; the one that ships with ttame if nothing was typed.
        typed: name of each option to its value, those of :class:`NetworkOptions` among them.
        too_long: ``"refuse"`` or ``"truncate"``, if it was typed.

    Raises:
        ClassifierError: an option that has no use for texts was typed, or no such device here.
        TtameError: as :func:`ttame.text.load`.
    """
    for field in dataclasses.fields(NetworkOptions):
        if field.name not in _OF_TEXTS and typed[field.name] not in (field.default, None, []):
            raise ClassifierError(
                f"--{field.name.replace('_', '-')} for a classifier of texts",
                allowed="--class-names, --outputs, --device",
            )
    from ttame.text_classifiers.sequence_classifiers import load

    device = choose_device(typed["device"])
    names = read_class_names(typed["class_names"]) if typed["class_names"] else None
    settings: dict[str, Any] = {} if too_long is None else {"too_long": too_long}
    classifier = load(
        model or DEFAULT_TEXT_MODEL, class_names=names, outputs=typed["outputs"], **settings
    )
    classifier.network.to(device)
    for notice in classifier.notices:
        typer.echo(f"ttame: note: {printable(on_command_line(notice))}", err=True)
    return classifier


def choose_text_methods(
    said: MethodOptions, classifier: TextClassifier
) -> tuple[dict[str, Explainer[Any]], dict[str, str]]:
    """Make the explainers that ``--methods`` and ``--explainer`` name.

    Args:
        said: what was typed of methods.
        classifier: the explained network.

    Returns:
        Label to explainer; and of ``all``, method to the reason why it is left out.

    Raises:
        ExplainerError: a method is not defined for the classifier, or nothing is left.
        UnknownNameError: neither a method nor a folder.
    """
    from ttame.cli.chosen_explainers import choose_methods

    if said.refine is not None:
        raise ExplainerError("--refine for texts", allowed="--refine for photos")
    named = said.method_names() + ([said.explainer] if said.explainer else [])
    names = list(
        dict.fromkeys(
            name
            for entry in named or [DEFAULT_TEXT_METHOD]
            for name in (methods_of_texts() if entry == "all" else [entry])
        )
    )
    of_texts: Any = classifier  # Methods say themselves which kinds of classifiers they explain.
    made, left_out = choose_methods(names, of_texts, said.option or (), any_will_do="all" in named)
    if not made:
        raise ExplainerError(f"no method is defined for {classifier.name}")
    return made, left_out


def methods_of_texts() -> list[str]:
    """The methods that explain classifiers of texts, by their cards."""
    from ttame.explainers.known_explainers import EXPLAINERS

    return [name for name in every_method() if "texts" in EXPLAINERS[name].card.explains]
