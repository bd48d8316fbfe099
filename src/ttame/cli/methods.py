"""``ttame methods``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ttame.cli.added_options import with_options
from ttame.cli.network_options import NamedClassifier, network_parameters

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ttame.explainers.contract.method_card import MethodCard

NARROWEST = 80
"""Columns that the tables are made for."""

WIDE = 120
"""From so many columns on, networks, cost and paper are columns next to each other."""


@with_options(*network_parameters())
def methods(
    name: Annotated[
        str | None, typer.Argument(help="Show this method in full.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Say which methods apply to this classifier, and why the others do not.",
            show_default=False,
        ),
    ] = None,
    options: Annotated[
        bool, typer.Option("--options", help="Also list every method's options.")
    ] = False,
    **network: Any,
) -> None:
    """List the explanation methods: what they are for, what they cost, who published them.

    Example: ttame methods --model timm/vit_tiny_patch16_224 --weights none
    """
    from ttame.explainers.known_explainers import EXPLAINERS, methods_for

    console = wide_console()
    if name is not None:
        _print_method(console, name)
        if model is None:
            return
    names = list(EXPLAINERS) if name is None else [name]
    if model is None:
        _print_cards(console, [EXPLAINERS[each].card for each in names], options=options)
        return
    classifier = NamedClassifier.of(model, network).load()
    applicable, reasons = methods_for(classifier, names)
    if name is None:
        cards = [EXPLAINERS[each].card for each in applicable]
        _print_cards(console, cards, options=options)
        console.print()
    verdict = f"{len(applicable)} of {len(names)} methods apply to {classifier.name}"
    if name is not None:
        verdict = f"{name} {'applies' if applicable else 'does not apply'} to {classifier.name}"
    console.print(verdict, style="bold")
    print_reasons(console, short_reasons(reasons, classifier.name))


def short_reasons(reasons: dict[str, str], classifier: str) -> dict[str, str]:
    """Reasons without the part that every one of them repeats.

    Example:
        >>> short_reasons({"cam": "cam is not defined for net: it has no head"}, "net")
        {'cam': 'it has no head'}
    """
    shortened = {}
    for name, reason in reasons.items():
        repeated = rf"{re.escape(name)} is not defined for {re.escape(classifier)}(, an? [^:]*)?:? "
        shortened[name] = re.sub(f"^{repeated}", "", reason)
    return shortened


def print_reasons(console: Console, reasons: dict[str, str]) -> None:
    """Print why methods are left out, those with the same reason together."""
    if not reasons:
        return
    table = _table("left out", "because")
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        table.add_row("\n".join(names), reason)
    console.print(table)


def wide_console() -> Console:
    """The terminal; what is piped into a file gets at least the columns that tables need."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if console.is_terminal or console.width >= NARROWEST:
        return console
    return Console(highlight=False, markup=False, width=NARROWEST)


def _print_cards(console: Console, cards: Sequence[MethodCard], *, options: bool) -> None:
    """One table a family; remarks about rights stand below, numbered."""
    from ttame.explainers.contract.method_card import MethodFamily

    families = get_args(MethodFamily)
    ordered = sorted(cards, key=lambda card: families.index(card.family))
    notes = list(dict.fromkeys(card.licence_note for card in ordered if card.licence_note))
    names = {
        card.name: card.name
        + (f" [{1 + notes.index(card.licence_note)}]" if card.licence_note else "")
        for card in ordered
    }
    titles = [*names.values(), *(card.family for card in ordered)]
    width = max((len(title) for title in titles), default=0)
    for family, members in groupby(ordered, key=lambda card: card.family):
        if console.width >= WIDE:
            table = _table(family, "networks", "cost", "paper")
            for column, ratio in zip(table.columns[1:], (4, 5, 4), strict=True):
                column.ratio = ratio
            table.expand = True
        else:
            table = _table(family, "networks, cost, paper")
        # The same in every family, so that the columns stand below one another.
        table.columns[0].width = width
        for card in members:
            facts = (card.networks_in_words, card.cost, card.paper)
            # Four narrow columns would be three times as long as lines below one another.
            shown = facts if console.width >= WIDE else ("\n".join(facts),)
            table.add_row(names[card.name], *shown)
        console.print(table)
        console.print()
    for number, note in enumerate(notes, start=1):
        console.print(f"[{number}] {note}")
    if options:
        console.print()
        _print_options(console, [card.name for card in ordered])
    console.print("C channels, N places, K classes; ttame methods NAME shows one in full")


def _print_options(console: Console, names: Sequence[str]) -> None:
    from ttame.explainers.method_description import describe_method

    table = _table("option", "default")
    for name in names:
        for option in describe_method(name).options:
            table.add_row(f"{name}.{option.name}", option.shown_default)
    console.print(table)
    console.print("set with: ttame explain --option METHOD.NAME=VALUE")
    console.print()


def _print_method(console: Console, name: str) -> None:
    from rich.table import Table

    from ttame.explainers.method_description import describe_method

    described = describe_method(name)
    card = described.card
    console.print(f"{card.name}: {card.title}", style="bold")
    console.print(_plain(described.summary))
    console.print()
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("family", card.family)
    facts.add_row("explains", card.explains_in_words)
    facts.add_row("networks", card.networks)
    facts.add_row("cost", card.cost)
    facts.add_row("paper", card.paper)
    facts.add_row("maps", card.maps_in_words)
    facts.add_row("targets", card.targets_in_words)
    if card.licence_note:
        facts.add_row("rights", card.licence_note)
    console.print(facts)
    console.print()
    if not described.options:
        console.print("no options")
        return
    table = _table("option", "default", "meaning")
    for option in described.options:
        table.add_row(option.name, option.shown_default, _plain(option.meaning))
    console.print(table)


def _plain(text: str) -> str:
    """A docstring's text without its marks: neither ``code`` nor :func:`roles`."""
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")


def _table(first: str, *others: str) -> Table:
    """A plain table whose first column is never cut or broken."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True, overflow="ignore")
    for other in others:
        table.add_column(other, overflow="fold")
    return table
