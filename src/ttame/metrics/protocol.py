"""Everything that two numbers must share before they may stand in one table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Literal

from ttame.errors import TtameError
from ttame.images.pixel_masking import MaskingSpace

MapScaling = Literal["grid", "pixels"]
Upsampling = Literal["bilinear", "bicubic"]
MaskKind = Literal["soft", "binary"]
Ties = Literal["kept", "trimmed"]
RoadScore = Literal["accuracy", "probability"]
_CHANGE_NO_NUMBER = (
    "name", "title", "source", "metrics", "annotated_metrics", "gate_images",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How maps are turned into masks, images into scores, and scores into numbers.

    Attributes:
        name: the name of the preset; not part of the hash, nor are ``title``, ``source``,
            ``metrics``, ``annotated_metrics`` and ``gate_images``, which change no number.
        title: as a heading.
        source: the paper or code that it repeats.
        metrics: what is measured unless something else is asked for; names of the registry.
        annotated_metrics: what is measured as well where the data are annotated.
        gate_images: on how many images at least the randomisation check is made, whose failure
            takes a method out of the columns of gated metrics.
        explained_class: the network's ``"top-1"``, or the ``"label"`` that the data names.
        masked_in: where masks multiply: ``"raw"`` pixels (removed is black) or ``"normalised"``
            ones (removed is the mean colour).
        map_scaling: ``"grid"``: to [0, 1] on the map's own grid, then resized; ``"pixels"``:
            resized, then to [0, 1].
        upsampling: how maps are enlarged to the image's size.
        mask: ``"soft"`` keeps the map's values, ``"binary"`` makes those that stay 1.
        ties: at the threshold of a share: ``"kept"`` keeps every pixel that equals it,
            ``"trimmed"`` keeps exactly the share, by one fixed order of the pixels.
        kept_shares: the shares of the pixels, for Average Drop, Increase in Confidence, Average
            Gain.
        removed_shares: the shares of the pixels, for ROAD and for perturbation curves.
        road_noise: standard deviation of ROAD's noise on pixels in [0, 1].
        road_score: ``"accuracy"``: share of images whose explained class is still top-1;
            ``"probability"`` of that class.
        step: pixels at a time in insertion and deletion at 224x224; scaled with the image's area.
        blur: (kernel size, sigma) in pixels of the blurred image from which insertion starts.
        adcc_average: ``"means first"`` combines the means over images, as published;
            ``"per image"`` is the mean of the images' own.
        seed: the seed of noise and of the order of equal values.

    Example:
        >>> from ttame.metrics.known_protocols import known_protocol
        >>> published = known_protocol("t-tame")
        >>> mine = dataclasses.replace(published, name="mine", kept_shares=(1.0, 0.3))
        >>> mine.hash == published.hash
        False
        >>> dataclasses.replace(published, name="another name").hash == published.hash
        True
    """

    name: str
    title: str = ""
    source: str = ""
    metrics: tuple[str, ...] = ()
    annotated_metrics: tuple[str, ...] = ()
    gate_images: int = 0
    explained_class: Literal["top-1", "label"] = "top-1"
    masked_in: MaskingSpace = "raw"
    map_scaling: MapScaling = "grid"
    upsampling: Upsampling = "bilinear"
    mask: MaskKind = "soft"
    ties: Ties = "kept"
    kept_shares: tuple[float, ...] = (1.0, 0.5, 0.15)
    removed_shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)
    road_noise: float = 0.01
    road_score: RoadScore = "accuracy"
    step: int = 1792
    blur: tuple[int, float] = (11, 5.0)
    adcc_average: Literal["means first", "per image"] = "means first"
    seed: int = 0

    def __post_init__(self) -> None:
        for share in self.kept_shares:
            if not 0 < share <= 1:
                raise TtameError(f"kept share {share}", allowed="above 0, at most 1", remedy="0.15")
        for share in self.removed_shares:
            if not 0 < share < 1:
                raise TtameError(f"removed share {share}", allowed="between 0 and 1", remedy="0.1")
        if self.step < 1:
            raise TtameError(f"step {self.step}", allowed="at least 1 pixel")
        if self.blur[0] < 1 or self.blur[0] % 2 == 0 or self.blur[1] <= 0:
            raise TtameError(f"blur {self.blur}", allowed="an odd kernel size and a sigma above 0")

    def settings(self) -> dict[str, Any]:
        """Everything that a number depends on, as JSON takes it."""
        fields = dataclasses.asdict(self)
        for name in _CHANGE_NO_NUMBER:
            del fields[name]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
        }

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of the settings.

        Example:
            >>> Protocol("a").hash == Protocol("b", metrics=("adcc",)).hash
            True
            >>> Protocol("a").hash == Protocol("a", masked_in="normalised").hash
            False
        """
        text = json.dumps(self.settings(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


SETTINGS = frozenset(field.name for field in dataclasses.fields(Protocol)) - {*_CHANGE_NO_NUMBER}
"""Names of everything that a number may depend on."""


def percent(share: float) -> str:
    """A share as it stands in the name of a column.

    Example:
        >>> percent(0.15), percent(1.0), percent(0.125)
        ('15', '100', '12.5')
    """
    return f"{100 * share:.10g}"
