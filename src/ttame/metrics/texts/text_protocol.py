"""Everything that two numbers about texts must share before they may stand in one table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Literal

from ttame.errors import TtameError
from ttame.metrics.texts.auprc import CurveArea
from ttame.metrics.texts.erasure import SHARES
from ttame.metrics.texts.token_curves import STEPS
from ttame.metrics.texts.token_f1 import COUNTS
from ttame.metrics.texts.word_order import Merging

TakenAway = Literal["removed", "mask", "padding"]
"""``"removed"``: the rest moves up, so positions change; ``"mask"``: the mask token's embedding
stands there; ``"padding"``: the padding token stands there, and attention passes over it."""

_CHANGE_NO_NUMBER = ("name", "title", "source", "metrics", "rationale_metrics")


@dataclasses.dataclass(frozen=True)
class TextProtocol:
    """How maps of texts are turned into words, words into changed texts, and those into numbers.

    Attributes:
        name: the name of the preset; not part of the hash, nor are ``title``, ``source``,
            ``metrics`` and ``rationale_metrics``, which change no number.
        title: as a heading.
        source: the paper or code that it repeats.
        metrics: what is measured unless something else is asked for; names of the registry.
        rationale_metrics: what is measured as well where rationales are annotated.
        explained_class: the ``"label"`` that the data name, or the classifier's ``"top-1"``.
        merging: how the scores of a word's pieces become the word's: their ``"maximum"``, or the
            one of the ``"largest magnitude"``.
        clamped: whether scores below 0 become 0 before words are compared with rationales.
        unit: whether ``"words"`` or ``"tokens"`` are taken away.
        taken_away: how: ``"removed"``, ``"mask"`` or ``"padding"``.
        counts: numbers of words that are compared with rationales.
        shares: the shares of the words or tokens, for comprehensiveness and sufficiency.
        steps: the steps of deletion and insertion.
        area: under the curve of precision over recall.
        seed: the seed of the order of equal scores.

    Raises:
        TtameError: a number that makes no sense.

    Example:
        >>> from ttame.metrics.texts.known_text_protocols import known_text_protocol
        >>> published = known_text_protocol("chefer-text")
        >>> dataclasses.replace(published, taken_away="mask").hash == published.hash
        False
        >>> dataclasses.replace(published, name="another name").hash == published.hash
        True
    """

    name: str
    title: str = ""
    source: str = ""
    metrics: tuple[str, ...] = ()
    rationale_metrics: tuple[str, ...] = ()
    explained_class: Literal["label", "top-1"] = "label"
    merging: Merging = "maximum"
    clamped: bool = True
    unit: Literal["words", "tokens"] = "words"
    taken_away: TakenAway = "removed"
    counts: tuple[int, ...] = COUNTS
    shares: tuple[float, ...] = SHARES
    steps: int = STEPS
    area: CurveArea = "steps"
    seed: int = 0

    def __post_init__(self) -> None:
        for count in self.counts:
            if count < 1:
                raise TtameError(f"{count} words", allowed="at least 1", remedy="5")
        for share in self.shares:
            if not 0 < share <= 1:
                raise TtameError(f"share {share}", allowed="above 0, at most 1", remedy="0.2")
        if self.steps < 1:
            raise TtameError(f"{self.steps} steps", allowed="at least 1", remedy=f"{STEPS}")

    def settings(self) -> dict[str, Any]:
        """Everything that a number depends on, as JSON takes it."""
        fields = dataclasses.asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
            if name not in _CHANGE_NO_NUMBER
        }

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that stand for the settings."""
        settings = json.dumps({"texts": self.settings()}, sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()[:12]
