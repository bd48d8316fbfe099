"""Which classifier of texts, and which methods, from what was typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from ttame.cli.class_names import read_class_names
from ttame.cli.method_options import MethodOptions, every_method
from ttame.cli.network_options import DEFAULT_TEXT_MODEL, NetworkOptions, choose_device
from ttame.errors import ClassifierError, ExplainerError, on_command_line
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from ttame.explainers.contract.explainer import Explainer
    from ttame.text_classifiers.text_classifier import TextClassifier

DEFAULT_TEXT_METHOD = "transformer_attribution"
"""What explains texts if no method is named and no trained explainer is bundled."""

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


def choose_text_explainers(
    said: MethodOptions, model: str | None, typed: Mapping[str, Any], *, too_long: str | None
) -> tuple[TextClassifier, dict[str, Explainer[Any]], dict[str, str]]:
    """Load the classifier, and make the explainers that ``--methods`` and ``--explainer`` name.

    Args:
        said: what was typed of methods.
        model: name of the classifier; that of ``--explainer`` if only this was typed, else the one
            that ships with ttame.
        typed: name of each option to its value.
        too_long: what becomes of long texts, if it was typed.

    Returns:
        The classifier; label to explainer; and of ``all``, method to why it is left out.

    Raises:
        TtameError: whatever was typed does not exist or does not fit together.
    """
    if said.refine is not None:
        raise ExplainerError("--refine for texts", allowed="--refine for photos")
    names = said.method_names()
    trained = _trained(said, model, typed, too_long)
    if trained is None:
        classifier = load_text_classifier(model, typed, too_long=too_long)
        if said.explainer is not None:
            names.append(said.explainer)
    else:
        classifier = trained.classifier
    default = "" if trained is not None else default_method(model or DEFAULT_TEXT_MODEL, typed)
    made, left_out = _made(names, said, classifier, default)
    if trained is not None:
        made = {trained.method: trained, **made}
    if not made:
        raise ExplainerError(f"no method is defined for {classifier.name}")
    return classifier, made, left_out


def default_method(model: str, typed: Mapping[str, Any]) -> str:
    """What explains a classifier of texts if nothing is named: its bundled explainer, as of photos.

    Args:
        model: name of the classifier.
        typed: name of each option to its value; an explainer is bundled for the outputs that the
            classifier has anyway.
    """
    from ttame.explainers.trained.explainer_places import bundled_explainers

    bundled = model in bundled_explainers() and not typed["outputs"]
    return "few_shot" if bundled else DEFAULT_TEXT_METHOD


def _trained(
    said: MethodOptions, model: str | None, typed: Mapping[str, Any], too_long: str | None
) -> Explainer[Any] | None:
    """The explainer of ``--explainer`` with the classifier that it was trained for."""
    if said.explainer is None or model is not None:
        return None
    from ttame.training.texts.text_explainer_folder import load_explainer

    others = {**{name: typed[name] for name in _OF_TEXTS if name != "device"}, "too_long": too_long}
    if any(others.values()):
        name = next(name for name, value in others.items() if value)
        raise ClassifierError(
            f"--{name.replace('_', '-')} without --model, while the explainer {said.explainer} "
            "brings its own classifier",
            remedy="--model NAME",
        )
    explainer: Explainer[Any] = load_explainer(
        said.explainer, allow_other_weights=said.allow_other_weights
    )
    explainer.classifier.network.to(choose_device(typed["device"]))
    return explainer


def _made(
    names: list[str], said: MethodOptions, classifier: TextClassifier, default: str
) -> tuple[dict[str, Explainer[Any]], dict[str, str]]:
    """The methods that are named; ``all`` stands for those that explain texts."""
    from ttame.cli.chosen_explainers import choose_methods

    wanted = names or ([default] if default else [])
    if not wanted:
        return {}, {}
    expanded = [
        name for entry in wanted for name in (methods_of_texts() if entry == "all" else [entry])
    ]
    of_texts: Any = classifier  # Methods say themselves which kinds of classifiers they explain.
    return choose_methods(
        list(dict.fromkeys(expanded)), of_texts, said.option or (), any_will_do="all" in wanted
    )


def methods_of_texts() -> list[str]:
    """The methods that explain classifiers of texts, by their cards."""
    from ttame.explainers.known_explainers import EXPLAINERS

    return [name for name in every_method() if "texts" in EXPLAINERS[name].card.explains]
