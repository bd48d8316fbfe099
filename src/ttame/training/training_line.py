"""What a training looks like while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from ttame.processes import is_first_process, joined_in_words
from ttame.progress.durations import duration_in_words
from ttame.progress.progress_line import ProgressLine
from ttame.training.training_progress import TrainingProgress
from ttame.training.training_settings import TrainingSettings

_MEASURED = ("average_drop", "increase_in_confidence", "mean_map_value")


class TrainingLine:
    """A line with loss parts, speed and time left, and one line of figures per epoch.

    Args:
        classifier: its name.
        settings: the settings of the run.
        notes: said before the first step.

    Attributes:
        line: what is shown.
    """

    def __init__(
        self, classifier: str, settings: TrainingSettings, notes: Sequence[str] = ()
    ) -> None:
        self._header = (
            f"training a {settings.preset} head for {classifier}: "
            f"{settings.run.epochs} epoch{'s' * (settings.run.epochs != 1)}, "
            f"batches of {settings.run.batch_size}"
        )
        self._notes = notes
        self._started = False
        self.line = ProgressLine(shown=is_first_process())

    def __enter__(self) -> Self:
        self.line.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self.line.__exit__(*problem)

    def show(self, state: TrainingProgress) -> None:
        """Draw one step."""
        if not self._started:
            # Only now: an error before the first step stays the only line.
            self._started = True
            self.line.say(self._header)
            for note in filter(None, (*self._notes, joined_in_words("each batch"), *state.notes)):
                self.line.say(f"note: {note}")
        left = duration_in_words(state.seconds_left)
        self.line.update(
            what=f"epoch {state.epoch + 1}/{state.epochs}",
            done=state.step,
            total=state.steps,
            remark=f"{state.step}/{state.steps} {loss_in_words(state.parts)} "
            f"{state.images_per_second:.1f} images/s, {left} left",
        )
        if state.validation is not None:
            self.line.say(_figures(state.epoch, state.validation))


class RangeTestLine:
    """A line for the learning-rate range test."""

    def __init__(self, *, shown: bool = True) -> None:
        self._line = ProgressLine(shown=shown)

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(self, *problem: object) -> None:
        self._line.__exit__(*problem)

    def show(self, step: int, steps: int, rate: float, loss: float) -> None:
        """Draw one step."""
        remark = f"{step}/{steps} learning rate {rate:.1e}, loss {loss:.3f}"
        self._line.update(what="range test", done=step, total=steps, remark=remark)


def loss_in_words(parts: Mapping[str, float]) -> str:
    """The loss, and its parts if there are several.

    Example:
        >>> loss_in_words({"loss": 0.5, "drop": 0.3, "area": 0.2})
        'loss 0.500 = drop 0.300 + area 0.200'
    """
    words = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in parts.items()]
    return f"{words[0]} = {' + '.join(words[1:])}" if len(words) > 2 else words[0]


def _figures(epoch: int, figures: Mapping[str, float]) -> str:
    loss = {name: value for name, value in figures.items() if name not in _MEASURED}
    return (
        f"epoch {epoch + 1}: held-out {loss_in_words(loss)}, "
        f"AD {figures['average_drop']:.1f} %, IC {figures['increase_in_confidence']:.1f} %, "
        f"mean map {figures['mean_map_value']:.2f}"
    )
