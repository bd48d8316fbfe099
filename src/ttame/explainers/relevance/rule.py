"""What a relevance rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from ttame.explainers.relevance.operation_calls import OperationCall

Carried = Literal["relevance", "gradient", "either"]


class Rule(ABC):
    """How an operation gives the relevance of its output to its inputs.

    Rules are frozen dataclasses. Most derive from
    :class:`ttame.explainers.relevance.weighted_rules.WeightedRule`, which leaves a formula to be
    filled in.

    Attributes:
        carries: what goes backwards: the ``"relevance"`` R of every value z, or the ``"gradient"``
            R/z. A table is of one kind. ``"either"`` for a rule to which it makes no difference.
    """

    carries: ClassVar[Carried] = "relevance"

    @property
    def is_linear(self) -> bool:
        """Whether twice the relevance, or the sum of two, gives twice the shares, or their sum.

        Then relevance may start at several classes at once.
        """
        return True

    @abstractmethod
    def apply(self, call: OperationCall) -> Any:
        """Run the operation of a call, so that its backward pass is the rule's.

        Args:
            call: at least one of its tensors depends on the image.

        Returns:
            What the operation returns, computed out of place; ``NotImplemented`` if the rule is
            not meant for such a call.
        """
