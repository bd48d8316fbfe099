"""Which methods explain which classifier, from what was typed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ttame.errors import ClassifierError, ExplainerError, UnknownNameError
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import parse_json

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.explainers.contract.explainer import Explainer
    from ttame.explainers.trained.attention_explainer import AttentionExplainer

DEFAULT_MODEL = "efficientnet_lite0"
"""The classifier, and the explainer, that ship with ttame."""

MethodOptions = dict[str, dict[str, Any]]
"""Method to option to value."""


@dataclasses.dataclass(frozen=True)
class NamedClassifier:
    """The options of the command line that name a classifier; see ``network_options``.

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

    def load(self) -> Classifier:
        """Load the named classifier, or the one that ships with ttame."""
        from ttame.cli.network_options import load_named_classifier

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


@dataclasses.dataclass(frozen=True)
class ChosenExplainers:
    """What is going to explain.

    Attributes:
        classifier: the explained network.
        explainers: method to explainer, in the order of the command line; at least one.
        left_out: of ``--method all``: method to the reason why it cannot explain this network.
    """

    classifier: Classifier
    explainers: dict[str, Explainer]
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)


def choose_explainers(
    methods: Sequence[str],
    explainer: str | None,
    named: NamedClassifier,
    options: MethodOptions,
    *,
    allow_other_weights: bool,
) -> ChosenExplainers:
    """Load the classifier and make an explainer for each method.

    Args:
        methods: as :func:`parse_methods` returns them; empty for the trained explainer.
        explainer: what ``--explainer`` says, if it was typed.
        named: the classifier that was typed.
        options: as :func:`parse_method_options` returns them.
        allow_other_weights: of :func:`ttame.load_explainer`.

    Raises:
        TtameError: whatever was typed does not exist or does not fit together.
    """
    trained = None
    if explainer is not None or not methods:
        trained = _load_trained(explainer, named, allow_other_weights=allow_other_weights)
        classifier = trained.classifier
    else:
        classifier = named.load()
    if not methods:
        assert trained is not None
        methods = [trained.method]
    chosen = ChosenExplainers(classifier, {})
    for name in _every_method() if "all" in methods else methods:
        set_options = options.get(name, {})
        try:
            made = _make(name, classifier, trained, explainer, set_options, "all" in methods)
        except ExplainerError as problem:
            if name in methods or set_options:
                raise
            chosen.left_out[name] = problem.problem
            continue
        chosen.explainers[name] = made
    if not chosen.explainers:
        raise ExplainerError(f"no method is defined for {classifier.name}")
    return chosen


def _make(
    name: str,
    classifier: Classifier,
    trained: AttentionExplainer | None,
    place: str | None,
    options: dict[str, Any],
    any_will_do: bool,
) -> Explainer:
    from ttame.explainers.known_explainers import make_explainer
    from ttame.explainers.trained.trained_cards import TRAINED_CARDS

    if trained is not None and trained.method == name and not options:
        return trained
    if name in TRAINED_CARDS and place is not None and not any_will_do:
        # Named, but the folder holds another method: the error says which.
        options = {"folder": place, **options}
    return make_explainer(name, classifier, **options)


def _load_trained(
    explainer: str | None, named: NamedClassifier, *, allow_other_weights: bool
) -> AttentionExplainer:
    from ttame.explainers.trained.explainer_folder import load_explainer
    from ttame.explainers.trained.explainer_places import bundled_explainers

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
    place = explainer or named.model
    if explainer is None and place not in bundled_explainers():
        raise ExplainerError(
            f"no trained explainer for {named.model}",
            remedy="--method grad_cam (ttame methods lists them all), or --explainer FOLDER",
        )
    return load_explainer(
        place,
        classifier=named.load(),
        allow_other_weights=allow_other_weights,
        device=named.device,
    )


def parse_methods(text: str | None) -> list[str]:
    """Read ``--method``: names between commas, each once; ``all`` stands for every method.

    Raises:
        UnknownNameError: no such method; with near matches.

    Example:
        >>> parse_methods("grad_cam, cam,grad_cam")
        ['grad_cam', 'cam']
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not names:
        raise ExplainerError("an empty --method", remedy="ttame methods, which lists them")
    if not names:
        return []
    known = _every_method()
    for name in names:
        if name not in known and name != "all":
            raise UnknownNameError.of("method", name, [*known, "all"])
    return list(dict.fromkeys(names))


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
