"""What a trained head costs in addition to its classifier, before it is trained."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.modules import module

from ttame.classifiers.any_classifier import Explainable
from ttame.explainers.trained.head_settings import AttentionHeadSettings, HeadSettings
from ttame.explainers.trained.known_heads import plan_head
from ttame.features.read_contributions import ReadContributions
from ttame.features.token_contributions import TokenContributions
from ttame.networks.function_replacement import replacing_functions
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InDispatchMode

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


@dataclasses.dataclass(frozen=True)
class HeadCost:
    """The cost of one head.

    Attributes:
        parameters: trained numbers.
        file_megabytes: the size of the saved head, in 10⁶ bytes.
        top1_share: multiplications for one class, as a share of the classifier's.
        all_share: for all classes.
        parts: that this classifier has material for, where a head can lack some.
        prior_layer: name of the tap that a prior is made of.
    """

    parameters: int
    file_megabytes: float
    top1_share: float
    all_share: float
    parts: tuple[str, ...] = ()
    prior_layer: str | None = None


@gives_everything_back
def head_cost(
    classifier: Explainable,
    settings: HeadSettings = AttentionHeadSettings(),  # noqa: B008 - frozen
) -> HeadCost:
    """Count parameters and multiplications of a head for this classifier.

    A few-shot head is counted without a prior where the classifier has none to give, and with what
    reading contributions costs where it has one made of them.
    Multiplications are counted by torch's own flop counter on one image; upsampling and
    activations are not counted on either side.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> head_cost(tiny_classifier()).parameters
        517
    """
    from torch.utils.flop_counter import FlopCounterMode

    plan = plan_head(classifier, settings)
    with torch.device("meta"):
        head = plan.make().eval()
        features = [
            torch.empty(1, tap.channels, *tap.grid, dtype=torch.float32)
            for tap in plan.classifier.taps
        ]
        one_class = torch.zeros(1, 1, dtype=torch.long)
        others = {
            name: torch.empty(shape, dtype=torch.float32)
            for name, shape in head.shapes_of_others.items()
        }

    def count(run: object) -> int:
        assert callable(run)
        with Lent(_CountingFlops(FlopCounterMode(display=False))) as counter, torch.no_grad():
            run()
        return int(counter.get_total_flops())

    def logits_in_parts() -> Tensor:
        # Contributions are read with attention in parts, which are counted one by one.
        contributions = any(
            isinstance(tap, TokenContributions | ReadContributions) for tap in plan.classifier.taps
        )
        with replacing_functions({}) if contributions else contextlib.nullcontext():
            return classifier.logits(image)

    image = classifier.blank_image()
    whole = max(count(lambda: classifier.logits(image)), 1)
    reading = count(lambda: plan.classifier.read_features(image)) - count(logits_in_parts)
    parameters = sum(parameter.numel() for parameter in head.parameters())
    saved = sum(tensor.numel() * tensor.element_size() for tensor in head.state_dict().values())
    return HeadCost(
        parameters=parameters,
        file_megabytes=saved / 1e6,
        top1_share=(reading + count(lambda: head(features, one_class, **others))) / whole,
        all_share=(reading + count(lambda: head(features, **others))) / whole,
        parts=head.settings.parts,
        prior_layer=None if head.evidence is None else str(plan.classifier.taps[head.evidence]),
    )


class _CountingFlops(InDispatchMode[Any]):
    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__(counter.__enter__)
        self.tracker = counter.mod_tracker

    def undo(self) -> None:
        super().undo()
        # The counter watches all modules of the process.
        for hooks in (module._global_forward_pre_hooks, module._global_forward_hooks):
            for key, hook in hooks.copy().items():
                if getattr(hook, "__self__", None) is self.tracker:
                    hooks.pop(key, None)
