"""Writes ``docs/methods.md`` from the registry: python -m scripts.docs methods"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

from ttame.explainers.contract.method_card import MethodCard, MethodFamily
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.explainers.method_description import MethodDescription, describe_method

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def write_page() -> None:
    """Write the page anew."""
    PAGE.write_text(methods_page(), encoding="utf-8")


def methods_page() -> str:
    """The whole page, a table first and every method in full below."""
    families = get_args(MethodFamily)
    described = [describe_method(name) for name in EXPLAINERS]
    described.sort(key=lambda method: families.index(method.card.family))
    cards = [method.card for method in described]
    notes = list(dict.fromkeys(card.licence_note for card in cards if card.licence_note))
    return (
        "\n".join(
            [
                "# Methods",
                "",
                "<!-- Written by python -m scripts.docs methods; do not edit. -->",
                "",
                f"{len(cards)} methods, one call: `ttame.make_explainer(NAME, classifier)` in "
                "Python, `ttame explain --methods NAME`",
                "on the command line. `ttame methods --model MODEL` says which of them apply to a "
                "network and why the",
                "others do not. In the costs, *C* is the number of channels, *N* of places and *K* "
                "of classes asked for.",
                "",
                *(
                    line
                    for family, members in _by_family(cards)
                    for line in _table(family, members, notes)
                ),
                *(f"{number}. {_sentence(note)}" for number, note in enumerate(notes, start=1)),
                "",
                *(line for method in described for line in _in_full(method)),
            ]
        ).rstrip()
        + "\n"
    )


def _by_family(cards: Sequence[MethodCard]) -> list[tuple[str, list[MethodCard]]]:
    return [(family, list(members)) for family, members in groupby(cards, lambda c: c.family)]


def _table(family: str, cards: Sequence[MethodCard], notes: Sequence[str]) -> list[str]:
    rows = []
    for card in cards:
        mark = f" ({1 + notes.index(card.licence_note)})" if card.licence_note else ""
        networks = card.networks_in_words
        cells = [f"[`{card.name}`](#{card.name})", networks, card.cost, card.paper + mark]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return [
        f"## {family.capitalize()}",
        "",
        "| method | networks | cost | paper |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _in_full(method: MethodDescription) -> list[str]:
    card = method.card
    lines = [
        f"## {card.title} {{#{card.name}}}",
        "",
        _inline_code(method.summary),
        "",
        f"`{card.name}`: {card.family}; {card.paper}. Explains {card.explains_in_words}. "
        f"Maps: {card.maps_in_words}. Targets: {card.targets_in_words}.",
        "",
    ]
    if method.options:
        lines += ["| option | default | meaning |", "|---|---|---|"]
        for option in method.options:
            meaning = _cell(_inline_code(option.meaning))
            lines.append(f"| `{option.name}` | {_cell(option.shown_default)} | {meaning} |")
        lines.append("")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _inline_code(text: str) -> str:
    """A docstring's marks as Markdown's."""
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."
