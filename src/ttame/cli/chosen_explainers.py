"""Which methods explain which classifier, from what was typed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.network_options import DEFAULT_MODEL, NamedClassifier
from ttame.errors import ExplainerError, UnknownNameError
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import parse_json
from ttame.files.printable_names import printable

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.explainers.contract.explainer import Explainer
    from ttame.explainers.trained.attention_explainer import AttentionExplainer

MethodOptions = dict[str, dict[str, Any]]
"""Method to option to value."""


QUICK_METHODS = "grad_cam,layer_cam,random,centre_gaussian"
"""What is compared if no method is named."""

METHOD_WITHOUT_TRAINING = "grad_cam"
"""The method for a network of the user's own if no other is named."""

OtherSpelling = Annotated[str | None, typer.Option("--method", hidden=True)]
"""Of ``--methods``."""


def methods_option(default: str, panel: str | None = None) -> Any:
    """``--methods``, as every command that takes methods has it.

    Args:
        default: in words, what is taken if nothing is typed.
        panel: of the command's help.
    """
    return typer.Option(
        "--methods",
        help="Methods, folders of trained explainers and exported .onnx files separated by commas, "
        "or all; "
        f"`ttame methods` lists the methods. If not given, {default}.",
        rich_help_panel=panel,
        show_default=False,
    )


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


def choose_explainers(
    names: Sequence[str],
    explainer: str | None,
    named: NamedClassifier,
    options: Sequence[str],
    *,
    allow_other_weights: bool,
) -> ChosenExplainers:
    """Load the classifier, and the trained explainer if one is wanted, and make the explainers.

    Args:
        names: as :func:`parse_methods` returns them; empty for the trained explainer alone, or for
            Grad-CAM where the network that was typed has none.
        explainer: what ``--explainer`` says, if it was typed.
        named: the classifier that was typed.
        options: as typed behind ``--option``.
        allow_other_weights: of :func:`ttame.load_explainer`.

    Raises:
        TtameError: whatever was typed does not exist or does not fit together.
    """
    names = names or _method_without_training(explainer, named)
    typed = parse_method_options(options, names)
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
    return ChosenExplainers(classifier, made, left_out)


def choose_methods(
    names: Sequence[str],
    classifier: Classifier,
    options: Sequence[str],
    any_will_do: bool,
) -> tuple[dict[str, Explainer], dict[str, str]]:
    """Make the explainers that ``--methods`` names, or some that suit the classifier.

    Args:
        names: of methods, folders of trained explainers, or ``all``; empty for a choice.
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
        options: of the methods.
        trained: the explainer that ``--explainer`` names, or that is explained with by default.
        place: what ``--explainer`` says, if it was typed.
        allow_other_weights: of trained explainers that are named among the methods.
    """

    classifier: Classifier
    options: MethodOptions
    trained: Explainer | None = None
    place: str | None = None
    allow_other_weights: bool = False

    def make_all(
        self, wanted: Sequence[str], *, lenient: bool
    ) -> tuple[dict[str, Explainer], dict[str, str]]:
        """Make each method once; return them by their labels, and why others are left out.

        What stands behind ``all`` may be left out; so may all the others, if it is ``lenient``.
        """
        known = _every_method()
        expanded = [name for entry in wanted for name in (known if entry == "all" else [entry])]
        made: dict[str, Explainer] = {}
        left_out: dict[str, str] = {}
        for name in dict.fromkeys(expanded):
            if name not in known:
                label, explainer = self._load(name)
            else:
                try:
                    label, explainer = name, self._make(name, any_will_do="all" in wanted)
                except ExplainerError as problem:
                    if name in self.options or (name in wanted and not lenient):
                        raise
                    left_out[name] = problem.problem
                    continue
            made[label] = explainer
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

        _refuse_unknown(name)
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


def is_exported_file(name: str) -> bool:
    """Whether a name on the command line is that of an exported file."""
    return name.endswith(".onnx")


def load_exported(path: str, named: NamedClassifier) -> Explainer:
    """An exported file, with the classifier that was typed or the one that it describes."""
    from ttame.exporting.file_explainer import load_file_explainer

    if named.model is not None:
        return load_file_explainer(path, named.load())
    file = named.weights if named.weights not in ("default", "none") else None
    named.refuse_details(path, weights_too=file is None)
    return load_file_explainer(path, weights=file, device=named.device)


def parse_methods(text: str | None, other_spelling: str | None = None) -> list[str]:
    """Read ``--methods``: names and folders between commas, each once; ``all`` is every method.

    Args:
        text: as typed behind ``--methods``, if it was.
        other_spelling: as typed behind ``--method``, if it was.

    Raises:
        UnknownNameError: neither a method nor a folder; with near matches.
        ExplainerError: nothing is named.

    Example:
        >>> parse_methods("grad_cam, cam,grad_cam")
        ['grad_cam', 'cam']
    """
    given = [typed for typed in (text, other_spelling) if typed is not None]
    names = [name.strip() for typed in given for name in typed.split(",") if name.strip()]
    if given and not names:
        raise ExplainerError("an empty --methods", remedy="ttame methods, which lists them")
    for name in names:
        _refuse_unknown(name)
    return list(dict.fromkeys(names))


def _refuse_unknown(name: str) -> None:
    from ttame.explainers.trained.explainer_places import bundled_explainers
    from ttame.files.leftovers import put_back

    known = [*_every_method(), "all"]
    if name in known:
        return
    put_back(Path(name))
    if is_exported_file(name) and Path(name).is_file():
        return
    if not Path(name).is_dir() and name not in bundled_explainers():
        raise UnknownNameError.of("method or explainer folder", name, known)


def parse_method_options(pairs: Sequence[str], methods: Sequence[str]) -> MethodOptions:
    """Read ``--option`` pairs: ``METHOD.NAME=VALUE``, or ``NAME=VALUE`` with one method.

    Values are JSON where they can be, else text.

    Raises:
        UnknownNameError: no such method or option; with near matches.
        ExplainerError: a pair that cannot be read, an option of a method that is not asked for,
            or a value of another kind than the default's.

    Example:
        >>> parse_method_options(["t_tame.folder=mine"], ["t_tame", "cam"])
        {'t_tame': {'folder': 'mine'}}
    """
    options: MethodOptions = {}
    for pair in pairs:
        left, equals, value = pair.partition("=")
        method, dot, option = left.strip().rpartition(".")
        if not dot and len(methods) == 1:
            method = methods[0]
        if not equals or not option or not method:
            raise ExplainerError(f"option {pair!r}", allowed="METHOD.NAME=VALUE")
        options.setdefault(method, {})[option] = _checked_value(method, option, value, methods)
    return options


def _checked_value(method: str, option: str, text: str, methods: Sequence[str]) -> Any:
    from ttame.explainers.known_explainers import method_options

    if method == "all":
        raise ExplainerError(f"option {option} of all methods", allowed="METHOD.NAME=VALUE")
    known = method_options(method)
    if method not in methods and "all" not in methods:
        raise ExplainerError(
            f"an option of {method}, which is not asked for",
            remedy=f"naming {method} among the methods",
        )
    if option not in known:
        if not known:
            raise ExplainerError(f"option {option} of {method}, which has no options")
        raise UnknownNameError.of(f"option of {method}", option, known)
    try:
        value = parse_json(text)
    except UnreadableFileError:
        value = text
    default = known[option]
    if not _same_kind(value, default):
        raise ExplainerError(
            f"{method}.{option}={text}",
            allowed=f"{_kind(default)}, as the default {default} is",
        )
    return value


def _same_kind(value: Any, default: Any) -> bool:
    """Whether a value may stand where this default stands; methods check the rest themselves."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) == isinstance(value, bool) or default is None
    if isinstance(default, float):
        return isinstance(value, int | float) or value is None
    if isinstance(default, int):
        return isinstance(value, int | list) or value is None
    if isinstance(default, str):
        return isinstance(value, str | int | float | list) or value is None
    return True


def _kind(default: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(type(default), "something")


def _every_method() -> list[str]:
    from ttame.explainers.known_explainers import EXPLAINERS

    return list(EXPLAINERS)
