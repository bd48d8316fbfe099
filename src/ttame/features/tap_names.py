"""Taps as text: in configuration files, on the command line, and in Python where it is handier."""

from __future__ import annotations

import dataclasses

from ttame.features.feature_taps import LayerOutput, RectifiedOutput, split_run
from ttame.features.normalised_average import NormalisedShares
from ttame.features.read_contributions import ReadContributions
from ttame.features.token_contributions import TokenContributions

Tap = LayerOutput | RectifiedOutput | TokenContributions | ReadContributions | NormalisedShares


@dataclasses.dataclass(frozen=True)
class TapName:
    """A tap of which only the name is known; no network has been looked at.

    Attributes:
        kind: the kind of the tap.
        layers: the dotted names of the layers that it reads, the one that it is read at first.
        run: the run of the layer, for a layer's output; -1 is the last.
    """

    kind: type[Tap]
    layers: tuple[str, ...]
    run: int = -1

    @property
    def in_words(self) -> str:
        """What is read there.

        Example:
            >>> parse_tap("contributions:norm").in_words
            'what each token adds to the class token'
        """
        return self.kind.holds


def parse_tap(text: str) -> TapName:
    """Read the text that stands for a tap; ``tap.to_config()`` writes it.

    * ``LAYER``: what the layer puts out in its last run; ``LAYER#0`` in its first, ``LAYER#1`` in
      its second one.
    * ``rectified:LAYER``: the positive part of what it puts out.
    * ``contributions:NORM``: what each token adds to the class token that NORM normalises.
    * ``first-order:LAYER``: what each token adds to what LAYER, the last linear one, reads.
    * ``normalised:LAYER:NORM``: what each place of LAYER gives to the average that NORM normalises.

    Example:
        >>> parse_tap("features.pool#0").layers, parse_tap("features.pool#0").run
        (('features.pool',), 0)
        >>> parse_tap("normalised:stages.3:head.norm").layers
        ('stages.3', 'head.norm')
    """
    mark, colon, rest = text.partition(":")
    if colon and mark == NormalisedShares.mark:
        return TapName(NormalisedShares, tuple(rest.split(":")))
    for kind in (RectifiedOutput, TokenContributions, ReadContributions):
        if colon and mark == kind.mark:
            return TapName(kind, (rest,))
    layer, run = split_run(text)
    return TapName(LayerOutput, (layer,), run)
