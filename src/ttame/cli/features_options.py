"""The options of ``ttame train`` that name another network, whose features a head reads."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttame.cli.added_options import declared_options
from ttame.cli.network_options import choose_device

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier

_PANEL = "Features of another network"


@dataclasses.dataclass(frozen=True)
class FeaturesOptions:
    """What is typed of the other network."""

    features_from: Annotated[
        str | None,
        typer.Option(
            help="Another network, named as behind --model, whose features the head reads in "
            "place of the classifier's own (P-TAME). Loading the explainer loads both.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    features_weights: Annotated[
        str | None,
        typer.Option(
            help='Its weights, as behind --weights; "default" if not given.',
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    features_taps: Annotated[
        str | None,
        typer.Option(
            help="Its layers to read, separated by commas; if not given, the ends of its last four "
            "stages.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None

    @classmethod
    def of(cls, typed: Mapping[str, Any]) -> FeaturesOptions:
        """Read them from the options of a command.

        Raises:
            TrainingError: something about a network that is not named.
        """
        from ttame.errors import TrainingError

        said = cls(**{field.name: typed[field.name] for field in dataclasses.fields(cls)})
        for name in ("features_weights", "features_taps"):
            if getattr(said, name) is not None and said.features_from is None:
                raise TrainingError(
                    f"--{name.replace('_', '-')} without --features-from",
                    remedy="--features-from NETWORK",
                )
        return said

    def load(self, device: str) -> Classifier | None:
        """The other network, if one is named.

        Raises:
            TtameError: as :func:`ttame.load_classifier`.
        """
        from ttame.classifiers.known_classifiers import load_classifier

        if self.features_from is None:
            return None
        taps = self.features_taps
        return load_classifier(
            self.features_from,
            self.features_weights or "default",
            taps=[name.strip() for name in taps.split(",")] if taps else None,
            device=choose_device(device),
        )


def features_parameters() -> tuple[inspect.Parameter, ...]:
    """The options, for :func:`ttame.cli.added_options.with_options`."""
    return tuple(declared_options(FeaturesOptions).values())
