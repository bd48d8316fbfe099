"""What kind of trained head to build; loads nothing heavy."""

from __future__ import annotations

import dataclasses
from typing import Literal

HeadVariant = Literal[
    "t-tame", "no-skip", "no-skip-no-batch-norm", "sigmoid-in-branch", "l-cam", "few-shot"
]
ClassTokenUse = Literal["drop", "multiply"]
MapScale = Literal["raw", "sigmoid", "min-max"]


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """What kind of head to build.

    Attributes:
        variant: ``"t-tame"`` is the published head, the same in TAME and T-TAME. ``"no-skip"``
            (the branch goes straight to class channels), ``"no-skip-no-batch-norm"`` and
            ``"sigmoid-in-branch"`` are its published ablations. ``"l-cam"`` has no branches: one
            1×1 convolution of the features. ``"few-shot"`` is another head; see
            :mod:`ttame.explainers.trained.shared_head`.
        class_token: ``"drop"``, or ``"multiply"`` each patch token by the class token of its
            layer (a variant of T-TAME's code for Vision Transformers; not for few-shot heads).
        maps: what an explanation holds: the ``"raw"`` output, as T-TAME's test protocol takes it,
            its ``"sigmoid"``, which is what training masks the images with, or, of a few-shot
            head, its ``"min-max"`` over the picture, to the power that training has found.
        prior: whether a few-shot head has one; heads of other variants never do.
        embedding: whether a few-shot head compares places and classes.
        gate: whether a few-shot head has a part that is the same for all classes.
        details: how much of the differences over short distances the explanations of a few-shot
            head keep, from 0 to 1; see :func:`ttame.images.map_details.with_details`.

    Example:
        >>> HeadSettings("few-shot", maps="min-max", embedding=False).parts
        ('prior', 'gate')
    """

    variant: HeadVariant = "t-tame"
    class_token: ClassTokenUse = "drop"
    maps: MapScale = "raw"
    prior: bool = True
    embedding: bool = True
    gate: bool = True
    details: float = 1.0

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that a few-shot head has; none for other variants.

        Example:
            >>> HeadSettings("few-shot", gate=False).parts, HeadSettings().parts
            (('prior', 'embedding'), ())
        """
        if self.variant != "few-shot":
            return ()
        return tuple(part for part in ("prior", "embedding", "gate") if getattr(self, part))
