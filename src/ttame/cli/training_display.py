"""What a training looks like on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ttame.cli.durations import duration_in_words

if TYPE_CHECKING:
    from ttame.classifiers.classifier import Classifier
    from ttame.training.learning_rate_test import LearningRateTest
    from ttame.training.training_progress import TrainingProgress
    from ttame.training.training_settings import TrainingSettings


class TrainingDisplay:
    """A progress line with loss parts, speed and time left, and one line of figures per epoch."""

    def __init__(
        self,
        classifier: Classifier,
        settings: TrainingSettings,
        *,
        nothing_to_resume: bool = False,
    ) -> None:
        from ttame.classifiers.recipe_rules import refused_in_a_file
        from ttame.processes import is_first_process

        self._header = (
            f"training a {settings.preset} head for {classifier.name}: "
            f"{settings.run.epochs} epoch{'s' * (settings.run.epochs != 1)}, "
            f"batches of {settings.run.batch_size}"
        )
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[parts]}"),
            TextColumn("{task.fields[speed]}"),
            console=self._console,
            transient=True,
            disable=not is_first_process(),
        )
        self._task = self._progress.add_task("", total=None, epoch="1", parts="", speed="")
        self._started = False
        recipe = classifier.recipe
        self._notes = []
        if nothing_to_resume:
            self._notes.append("no checkpoint to resume from; starting over")
        if recipe is not None and recipe.weights == "none":
            self._notes.append(
                f"the network's weights are random; seed {recipe.weights_seed} reproduces them"
            )
        elif recipe is not None and (refused := refused_in_a_file(recipe)):
            self._notes.append(
                f"{refused} is not read from a file: pass it again when you load this explainer, "
                "with ttame explain --model next to --explainer, or "
                "load_explainer(..., classifier=...)"
            )
        if _lacks_a_prior(classifier, settings):
            self._notes.append(
                f"{classifier.name} is not linear in pooled features or a class token, so its "
                "head is trained without a prior"
            )

    def __enter__(self) -> TrainingDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, state: TrainingProgress) -> None:
        """Draw one step."""
        if not self._started:
            # Only now: an error before the first step stays the only line.
            self._started = True
            self._console.print(self._header, highlight=False)
            for note in (*self._notes, *_joined(), *state.notes):
                self._console.print(f"note: {note}", highlight=False, soft_wrap=True)
            self._progress.start()
        self._progress.update(
            self._task,
            completed=state.step,
            total=state.steps,
            epoch=f"{state.epoch + 1}/{state.epochs}",
            parts=_loss(state.parts),
            speed=f"{state.images_per_second:.1f} images/s, "
            f"{duration_in_words(state.seconds_left)} left",
        )
        if state.validation is not None:
            self._progress.console.print(_figures(state.epoch, state.validation), highlight=False)

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


class RangeTestDisplay:
    """A progress bar for the learning-rate range test."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("range test"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[state]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, state="")

    def __enter__(self) -> RangeTestDisplay:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, step: int, steps: int, rate: float, loss: float) -> None:
        """Draw one step."""
        state = f"learning rate {rate:.1e}, loss {loss:.3f}"
        self._progress.update(self._task, completed=step, total=steps, state=state)

    def summarise(self, found: LearningRateTest, out: Path) -> None:
        """Say which rate to use and where the plot is."""
        if found.suggested_rate is None:
            typer.echo(f"no learning rate to suggest: {found.reason}")
        else:
            typer.echo(f"suggested: --learning-rate {found.suggested_rate:.1e}")
        typer.echo(f"open {(out / 'learning_rate.svg').resolve()}")


_MEASURED = ("average_drop", "increase_in_confidence", "mean_map_value")


def _loss(parts: Mapping[str, float]) -> str:
    """The loss, and its parts if there are several."""
    words = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in parts.items()]
    return f"{words[0]} = {' + '.join(words[1:])}" if len(words) > 2 else words[0]


def _figures(epoch: int, figures: Mapping[str, float]) -> str:
    loss = {name: value for name, value in figures.items() if name not in _MEASURED}
    return (
        f"epoch {epoch + 1}: held-out {_loss(loss)}, "
        f"AD {figures['average_drop']:.1f} %, IC {figures['increase_in_confidence']:.1f} %, "
        f"mean map {figures['mean_map_value']:.2f}"
    )


def _joined() -> list[str]:
    from ttame.processes import joined_in_words

    words = joined_in_words("each batch")
    return [words] if words else []


def _lacks_a_prior(classifier: Classifier, settings: TrainingSettings) -> bool:
    """Whether a head is to have a prior that this classifier cannot give."""
    from ttame.explainers.trained.known_heads import plan_head

    asked = settings.head
    planned = plan_head(classifier, asked).config.settings
    return "prior" in set(asked.parts) - set(planned.parts)
