"""Which methods explain which classifier, from what was typed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ttame.cli.method_options import (
    MethodOptions,
    TypedSettings,
    every_method,
    is_exported_file,
    parse_method_options,
    refuse_unknown,
)
from ttame.cli.network_options import DEFAULT_MODEL, NamedClassifier
from ttame.cli.refined_methods import refine_each, split_refinement
from ttame.errors import ExplainerError
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.explainers.contract.explainer import Explainer
    from ttame.explainers.trained.attention_explainer import AttentionExplainer

QUICK_METHODS = "grad_cam,layer_cam,random,centre_gaussian"
"""What is compared if no method is named."""

METHOD_WITHOUT_TRAINING = "grad_cam"
"""The method for a network of the user's own if no other is named."""


@dataclasses.dataclass(frozen=True)
class ChosenExplainers:
    """What is going to explain.

    Attributes:
        classifier: the explained network.
        explainers: method to explainer, in the order of the command line; at least one.
        left_out: of ``--methods all``: method to the reason why it cannot explain this network.
    """

    classifier: Classifier
    explainers: dict[str, Explainer]
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)


def choose_explainers(said: MethodOptions, named: NamedClassifier) -> ChosenExplainers:
    """Load the classifier, and the trained explainer if one is wanted, and make the explainers.

    Args:
        said: what was typed of methods; nothing for the trained explainer alone, or for Grad-CAM
            where the network that was typed has none.
        named: the classifier that was typed.

    Raises:
        TtameError: whatever was typed does not exist or does not fit together.
    """
    explainer, allow_other_weights = said.explainer, said.allow_other_weights
    names = said.method_names() or _method_without_training(explainer, named)
    typed = parse_method_options(said.option or (), names)
    trained: Explainer | None = None
    if explainer is not None and is_exported_file(explainer):
        trained = load_exported(explainer, named)
        classifier = trained.classifier
    elif explainer is not None or not names:
        trained = _load_trained(explainer, named, allow_other_weights=allow_other_weights)
        classifier = trained.classifier
    else:
        classifier = named.load()
    making = _Making(classifier, typed, trained, explainer, allow_other_weights)
    wanted = names or [trained.method] if trained else names
    made, left_out = making.make_all(wanted, lenient=False)
    if not made:
        raise ExplainerError(f"no method is defined for {classifier.name}")
    return ChosenExplainers(classifier, refine_each(made, said.refine), left_out)


def typed_classes(text: str | None, names: tuple[str, ...]) -> str | list[str] | None:
    """Read ``--classes``: a name, or several separated by commas.

    Args:
        text: as it was typed, if it was.
        names: the names of the classifier's classes.
    """
    from ttame.classifiers.class_selection import classes_in_text

    if not text:
        return None
    wanted = classes_in_text(text, names)
    return wanted[0] if len(wanted) == 1 else wanted


def choose_methods(
    names: Sequence[str],
    classifier: Classifier,
    options: Sequence[str],
    any_will_do: bool,
) -> tuple[dict[str, Explainer], dict[str, str]]:
    """Make the explainers that ``--methods`` names, or some that suit the classifier.

    Args:
        names: the names of methods, folders of trained explainers, or ``all``; empty for a choice.
        classifier: the explained network.
        options: as typed behind ``--option``.
        any_will_do: whether a method that is not defined for the classifier is left out.

    Returns:
        Label to explainer, and method to the reason why it is left out.

    Raises:
        UnknownNameError: neither a method nor a folder; with near matches.
        ExplainerError: a named method is not defined for the classifier.
    """
    from ttame.explainers.trained.explainer_places import bundled_methods

    wanted = list(names) or [
        *QUICK_METHODS.split(","),
        *list(bundled_methods(classifier.name))[:1],
    ]
    making = _Making(classifier, parse_method_options(options, wanted))
    return making.make_all(wanted, lenient=any_will_do or not names)


@dataclasses.dataclass(frozen=True)
class _Making:
    """What methods are made from.

    Attributes:
        classifier: the explained network.
        options: the options of the methods.
        trained: the explainer that ``--explainer`` names, or that is explained with by default.
        place: what ``--explainer`` says, if it was typed.
        allow_other_weights: of trained explainers that are named among the methods.
    """

    classifier: Classifier
    options: TypedSettings
    trained: Explainer | None = None
    place: str | None = None
    allow_other_weights: bool = False

    def make_all(
        self, wanted: Sequence[str], *, lenient: bool
    ) -> tuple[dict[str, Explainer], dict[str, str]]:
        """Make each method once; return them by their labels, and why others are left out.

        What stands behind ``all`` may be left out; so may all the others, if it is ``lenient``.
        """
        known = every_method()
        expanded = [name for entry in wanted for name in (known if entry == "all" else [entry])]
        made: dict[str, Explainer] = {}
        left_out: dict[str, str] = {}
        for entry in dict.fromkeys(expanded):
            name, refinement = split_refinement(entry)
            if name not in known:
                label, explainer = self._load(name)
            else:
                try:
                    label, explainer = name, self._make(name, any_will_do="all" in wanted)
                except ExplainerError as problem:
                    if name in self.options or (entry in wanted and not lenient):
                        raise
                    left_out[entry] = problem.problem
                    continue
            made.update(refine_each({label: explainer}, refinement))
        return made, left_out

    def _make(self, name: str, *, any_will_do: bool) -> Explainer:
        from ttame.explainers.known_explainers import make_explainer
        from ttame.explainers.trained.trained_cards import TRAINED_CARDS

        options = self.options.get(name, {})
        if self.trained is not None and self.trained.method == name and not options:
            return self.trained
        if name in TRAINED_CARDS and self.place is not None and not any_will_do:
            # Named, but the folder holds another method: the error says which.
            options = {"folder": self.place, **options}
        return make_explainer(name, self.classifier, **options)

    def _load(self, name: str) -> tuple[str, Explainer]:
        """A trained explainer that is named by its folder, and its label."""
        from ttame.explainers.trained.explainer_folder import load_explainer
        from ttame.explainers.trained.explainer_places import bundled_explainers

        refuse_unknown(name)
        if is_exported_file(name):
            from ttame.exporting.file_explainer import load_file_explainer

            return printable(os.path.normpath(name)), load_file_explainer(name, self.classifier)
        explainer = load_explainer(
            name, classifier=self.classifier, allow_other_weights=self.allow_other_weights
        )
        # Two spellings of a folder are one explainer.
        label = name if name in bundled_explainers() else printable(os.path.normpath(name))
        return label, explainer


def _method_without_training(explainer: str | None, named: NamedClassifier) -> list[str]:
    """What explains a network that was named without a method and has no trained explainer."""
    from ttame.explainers.trained.explainer_places import bundled_explainers

    if explainer is not None or named.model is None or named.model in bundled_explainers():
        return []
    typer.echo(
        f"ttame: note: there is no trained explainer for {printable(named.model)}, so "
        f"{METHOD_WITHOUT_TRAINING} explains it; --methods names others, and ttame methods lists "
        "them",
        err=True,
    )
    return [METHOD_WITHOUT_TRAINING]


def _load_trained(
    explainer: str | None, named: NamedClassifier, *, allow_other_weights: bool
) -> AttentionExplainer:
    from ttame.explainers.trained.explainer_folder import load_explainer

    if named.model is None:
        place = explainer or DEFAULT_MODEL
        # Where the weights of a trained explainer's classifier are now, only its user knows.
        file = named.weights if named.weights not in ("default", "none") else None
        named.refuse_details(place, weights_too=explainer is None or file is None)
        return load_explainer(
            place,
            weights=file,
            allow_other_weights=allow_other_weights,
            device=named.device,
        )
    return load_explainer(
        explainer or named.model,
        classifier=named.load(),
        allow_other_weights=allow_other_weights,
        device=named.device,
    )


def load_exported(path: str, named: NamedClassifier) -> Explainer:
    """An exported file, with the classifier that was typed or the one that it describes."""
    from ttame.exporting.file_explainer import load_file_explainer

    if named.model is not None:
        return load_file_explainer(path, named.load())
    file = named.weights if named.weights not in ("default", "none") else None
    named.refuse_details(path, weights_too=file is None)
    return load_file_explainer(path, weights=file, device=named.device)
