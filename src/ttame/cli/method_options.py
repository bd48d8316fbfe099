"""The options that choose methods and explainers, shared by every command that has them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ttame.cli.added_options import declared_options
from ttame.cli.refined_methods import checked_refinement, split_refinement
from ttame.errors import ExplainerError, UnknownNameError
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import parse_json

TypedSettings = dict[str, dict[str, Any]]
"""Method to name to value, of its settings that were typed."""

_PANEL = "Methods"


def methods_help(default: str) -> str:
    """What ``--methods`` may be.

    Args:
        default: in words, what a command takes if nothing is typed.
    """
    return (
        "Methods, folders of trained explainers and exported .onnx files separated by commas, "
        f"or all; `ttame methods` lists the methods. If not given, {default}."
    )


@dataclasses.dataclass(frozen=True)
class MethodOptions:
    """What was typed of methods, explainers and their settings.

    A command has those of the options that it has a use for, from :func:`method_parameters`; the
    others are as if nothing had been typed.
    """

    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help=methods_help("the trained explainer, or grad_cam for a --model that has none"),
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    method: Annotated[str | None, typer.Option("--method", hidden=True)] = None
    explainer: Annotated[
        str | None,
        typer.Option(
            "--explainer",
            "-e",
            help="A trained explainer, with its classifier: bundled, a folder, a hub repository or "
            "an exported .onnx file. If not given, efficientnet_lite0.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    memory_budget: Annotated[
        str,
        typer.Option(
            help="Memory for activations of methods with many passes.", rich_help_panel=_PANEL
        ),
    ] = "2GiB"
    option: Annotated[
        list[str] | None,
        typer.Option(
            help="METHOD.NAME=VALUE; may be given several times.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            help="Refine each map by so many steps of optimisation (10), perhaps on a grid of its "
            "own (10@14): slower, and figures like Average Drop are bought with it.",
            rich_help_panel=_PANEL,
            metavar="STEPS",
            show_default=False,
        ),
    ] = None
    allow_other_weights: Annotated[
        bool,
        typer.Option(
            "--allow-other-weights",
            help="Explain a classifier even if its weights differ from those that the explainer "
            "was trained for.",
            rich_help_panel=_PANEL,
        ),
    ] = False

    @classmethod
    def of(cls, typed: Mapping[str, Any]) -> MethodOptions:
        """Those among the options of a command.

        Args:
            typed: name of each option to its value.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: typed[name] for name in names if name in typed})

    def method_names(self) -> list[str]:
        """The methods that were typed, in whichever spelling.

        Raises:
            TtameError: as :func:`parse_methods`.
        """
        return parse_methods(self.methods, self.method)

    def memory_budget_in_bytes(self) -> int:
        """``--memory-budget`` as a number.

        Raises:
            TtameError: as :func:`ttame.explainers.contract.memory_budget.parse_memory`.
        """
        from ttame.explainers.contract.memory_budget import parse_memory

        return parse_memory(self.memory_budget)


@functools.cache
def _declarations() -> dict[str, inspect.Parameter]:
    """Every option, made once: all commands have the same objects."""
    return declared_options(MethodOptions)


def method_parameters(
    *names: str, panel: str | None = _PANEL, words: Mapping[str, str] | None = None
) -> list[inspect.Parameter]:
    """Some options of :class:`MethodOptions`, for :func:`ttame.cli.added_options.with_options`.

    Args:
        names: the names of the fields, in the order of the help; the hidden ``--method`` comes with
            ``--methods``.
        panel: the panel of the command's help.
        words: name of an option to its help, where it means something else to this command.
    """
    shown = [each for name in names for each in ([name, "method"] if name == "methods" else [name])]
    return [_said(_declarations()[name], panel, words or {}) for name in shown]


def _said(
    declared: inspect.Parameter, panel: str | None, words: Mapping[str, str]
) -> inspect.Parameter:
    """A declaration, in another panel or with other words if a command has such."""
    kind, info = get_args(declared.annotation)
    if info.hidden or (panel == info.rich_help_panel and declared.name not in words):
        return declared
    changed = typer.Option(
        info.default,
        *info.param_decls,
        help=words.get(declared.name, info.help),
        rich_help_panel=panel,
        show_default=info.show_default,
    )
    return declared.replace(annotation=Annotated[kind, changed])


def is_exported_file(name: str) -> bool:
    """Whether a name on the command line is that of an exported file, of any format."""
    return name.lower().endswith((".onnx", ".pt2"))


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
        refuse_unknown(name)
    return list(dict.fromkeys(names))


def refuse_unknown(name: str) -> None:
    """Refuse what is neither a method nor an explainer.

    Args:
        name: one of ``--methods``.

    Raises:
        UnknownNameError: with near matches.
    """
    from ttame.explainers.trained.explainer_places import bundled_explainers
    from ttame.files.leftovers import put_back

    known = [*every_method(), "all"]
    name = checked_refinement(name)
    if name in known:
        return
    put_back(Path(name))
    if is_exported_file(name) and Path(name).is_file():
        return
    if not Path(name).is_dir() and name not in bundled_explainers():
        raise UnknownNameError.of("method or explainer folder", name, known)


def parse_method_options(pairs: Sequence[str], methods: Sequence[str]) -> TypedSettings:
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
    options: TypedSettings = {}
    for pair in pairs:
        left, equals, value = pair.partition("=")
        method, dot, option = left.strip().rpartition(".")
        if not dot and len(methods) == 1:
            method, _ = split_refinement(methods[0])
        if not equals or not option or not method:
            raise ExplainerError(f"option {pair!r}", allowed="METHOD.NAME=VALUE")
        options.setdefault(method, {})[option] = _checked_value(method, option, value, methods)
    return options


def _checked_value(method: str, option: str, text: str, methods: Sequence[str]) -> Any:
    from ttame.explainers.known_explainers import method_options

    if method == "all":
        raise ExplainerError(f"option {option} of all methods", allowed="METHOD.NAME=VALUE")
    known = method_options(method)
    if "all" not in methods and method not in {split_refinement(each)[0] for each in methods}:
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


def every_method() -> list[str]:
    """What ``all`` stands for: the names in the registry."""
    from ttame.explainers.known_explainers import EXPLAINERS

    return list(EXPLAINERS)
