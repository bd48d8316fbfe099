"""What a method says about itself, read from its docstring: for the terminal and the docs."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.known_explainers import EXPLAINERS, method_options
from ttame.explainers.trained.trained_cards import P_TAME, TRAINED_CARDS


@dataclasses.dataclass(frozen=True)
class MethodOption:
    """One keyword argument of a method.

    Attributes:
        name: as in :func:`ttame.make_explainer` and behind ``--option METHOD.``.
        default: what it is if nothing is said.
        meaning: what the docstring says of it; empty if it says nothing.
    """

    name: str
    default: Any
    meaning: str

    @property
    def shown_default(self) -> str:
        """The default as it is typed on the command line; "automatic" for ``None``.

        Example:
            >>> [MethodOption("x", default, "").shown_default for default in (50, True, None)]
            ['50', 'true', 'automatic']
        """
        if self.default is None:
            return "automatic"
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


@dataclasses.dataclass(frozen=True)
class MethodDescription:
    """A method's card with its formula in words and its options.

    Attributes:
        card: the facts.
        summary: the first paragraph of the docstring, on one line.
        options: in the order of the signature.
    """

    card: MethodCard
    summary: str
    options: tuple[MethodOption, ...]


def describe_method(name: str) -> MethodDescription:
    """Describe one method of the registry.

    Raises:
        UnknownNameError: no such method; with near matches.

    Example:
        >>> describe_method("cam").summary
        'Class activation mapping: ``S_c = Σ_k W_ck A_k``.'
    """
    options = method_options(name)
    method: Any = EXPLAINERS[name]
    if name in TRAINED_CARDS:
        # A trained method is an object: what it does stands in its class, its options in its call.
        summary = _P_TAME_SUMMARY if name == P_TAME else _TRAINED_SUMMARY
        meanings = argument_meanings(inspect.getdoc(type(method).__call__) or "")
    else:
        summary = " ".join((inspect.getdoc(method) or "").partition("\n\n")[0].split())
        meanings = {}
        # An option that a method shares with others may be described where it is defined.
        for parent in reversed(inspect.getmro(method)):
            meanings |= argument_meanings(inspect.cleandoc(parent.__dict__.get("__doc__") or ""))
    return MethodDescription(
        card=method.card,
        summary=summary,
        options=tuple(
            MethodOption(option, default, meanings.get(option, ""))
            for option, default in options.items()
        ),
    )


_TRAINED_SUMMARY = (
    "An attention head on top of the frozen classifier, trained on your images by ``ttame train``; "
    "one forward pass gives the maps of all classes."
)


_P_TAME_SUMMARY = (
    "An attention head that reads the features of another network, which sees the same images; "
    "trained by ``ttame train --features-from NETWORK`` to keep the explained network's "
    "prediction. One forward pass of each gives the maps of all classes."
)


def argument_meanings(docstring: str) -> dict[str, str]:
    """Read the ``Args:`` section of a docstring: name to what stands behind its colon.

    Example:
        >>> argument_meanings("Sum.\\n\\nArgs:\\n    steps: how many,\\n        at least 1.")
        {'steps': 'how many, at least 1.'}
    """
    section = re.search(r"^Args:\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    if section is None:
        return {}
    lines = inspect.cleandoc(section[1]).splitlines()
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in lines:
        entry = re.match(r"(\w+(?:, \w+)*)(?: \([^)]*\))?: (.*)", line)
        if entry:
            # Two arguments may share an entry.
            names = entry[1].split(", ")
            meanings.update(dict.fromkeys(names, entry[2].strip()))
        elif names and line.strip():
            meanings.update({name: f"{meanings[name]} {line.strip()}" for name in names})
    return meanings
