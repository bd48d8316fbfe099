"""What a training looks like on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ttame.training.training_line import TrainingLine

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.explainers.trained.head_settings import HeadSettings
    from ttame.training.learning_rate_test import LearningRateTest
    from ttame.training.training_settings import TrainingSettings


class TrainingDisplay(TrainingLine):
    """The line of a training, with notes for whoever types commands."""

    def __init__(
        self,
        classifier: Classifier,
        settings: TrainingSettings,
        features_from: Classifier | None = None,
        *,
        nothing_to_resume: bool = False,
    ) -> None:
        notes = [*_notes(classifier, settings, features_from)]
        if nothing_to_resume:
            notes.insert(0, "no checkpoint to resume from; starting over")
        super().__init__(classifier.name, settings, notes)

    def summarise(self, record: Mapping[str, Any], out: Path) -> None:
        """Say what was skipped and where the explainer is."""
        skipped = record.get("skipped_images", {})
        if skipped:
            typer.echo(f"{len(skipped)} unreadable images were skipped:", err=True)
            for name, reason in list(skipped.items())[:10]:
                typer.echo(f"  {name}: {reason}", err=True)
            if len(skipped) > 10:
                typer.echo(f"  … and {len(skipped) - 10} more, all in {out}/config.json", err=True)
        typer.echo(f"saved the explainer to {out}")
        typer.echo(f"try: ttame explain PHOTO --explainer {out}")


def print_range_test(found: LearningRateTest, out: Path) -> None:
    """Say which rate to use and where the plot is."""
    if found.suggested_rate is None:
        typer.echo(f"no learning rate to suggest: {found.reason}")
    else:
        typer.echo(f"suggested: --learning-rate {found.suggested_rate:.1e}")
    typer.echo(f"open {(out / 'learning_rate.svg').resolve()}")


def _notes(
    classifier: Classifier, settings: TrainingSettings, other: Classifier | None
) -> Iterator[str]:
    from ttame.classifiers.recipe_rules import refused_in_a_file

    recipe = classifier.recipe
    if recipe is not None and recipe.weights == "none":
        yield f"the network's weights are random; seed {recipe.weights_seed} reproduces them"
    elif recipe is not None and (refused := refused_in_a_file(recipe)):
        yield (
            f"{refused} is not read from a file: pass it again when you load this explainer, "
            "with ttame explain --model next to --explainer, or "
            "load_explainer(..., classifier=...)"
        )
    if other is not None:
        yield f"the head reads the features of {other.name}"
        yield from _part_lost(settings)
        return
    planned = _planned(classifier, settings)
    if "prior" in set(settings.head.parts) - set(planned.parts):
        yield (
            f"{classifier.name} is not linear in pooled features or a class token, so its "
            "head is trained without a prior"
        )
    elif settings.head.flat().get("contrast") and not planned.flat()["contrast"]:
        yield (
            f"the classes of {classifier.name} do not compete in a softmax, so its head is "
            "trained without a contrast"
        )


def _part_lost(settings: TrainingSettings) -> Iterator[str]:
    if "prior" in settings.head.parts:
        yield "features of another network are not evidence of this one, so there is no prior"


def _planned(classifier: Classifier, settings: TrainingSettings) -> HeadSettings:
    """The settings of the head that this classifier has material for."""
    from ttame.explainers.trained.known_heads import plan_head

    return plan_head(classifier, settings.head).config.settings
