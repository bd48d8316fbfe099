"""A measured value as a question of yes and no: is it above a reference?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError
from ttame.networks.given_module import refuse_other_than_module


class ValueAbove(nn.Module):
    """A regression network as one logit, for :class:`ttame.Classifier` with ``"binary"`` outputs.

    The logit is ``z = (value − reference) / unit``. Class 1, "yes", is that the value is above the
    reference, and *relevant* for it is what raises the value; class 0, "no", has the opposite
    score, and relevant for it is what lowers the value. Signed maps of the two are each other's
    negative. The reference decides at which value both are equally probable, and ``unit`` how
    quickly that changes: neither moves a place in a map of a method that differentiates.

    Args:
        network: maps (B, 3, H, W) to (B, N) or (B,) measured values, or to an output with
            ``.logits``. It is used as it is.
        reference: in the unit of the value.
        unit: positive; how far above the reference the answer is "yes" with odds of e : 1, such as
            the network's typical error.
        output: which of N values.
        number_of_outputs: N.

    Raises:
        ClassifierError: a unit that is not positive, or no such output.

    Example:
        >>> age = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1))
        >>> above = ValueAbove(age, 30.0, unit=5.0)
        >>> above(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        network: nn.Module,
        reference: float,
        *,
        unit: float = 1.0,
        output: int = 0,
        number_of_outputs: int = 1,
    ) -> None:
        super().__init__()
        refuse_other_than_module(network)
        if not unit > 0:
            raise ClassifierError(f"unit {unit!r}", allowed="a positive number")
        if not 0 <= output < number_of_outputs:
            raise ClassifierError(
                f"output {output!r} of {number_of_outputs}",
                allowed=f"0 to {number_of_outputs - 1}",
                remedy="number_of_outputs=N, if the network returns (B, N)",
            )
        like = next((p for p in network.parameters() if p.is_floating_point()), None)
        dtype = torch.float32 if like is None else like.dtype
        device = torch.device("cpu") if like is None else like.device
        self.network = network
        # A linear layer, since a single logit's last layer is asked for both answers.
        with torch.device("meta"):
            compare = nn.Linear(number_of_outputs, 1, dtype=dtype)
        self.compare = compare.to_empty(device=device).requires_grad_(False)
        self.compare.weight.zero_()
        self.compare.weight[0, output] = 1 / unit
        self.compare.bias.fill_(-reference / unit)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1)."""
        values = self.network(images)
        values = getattr(values, "logits", values)
        answer: Tensor = self.compare(values[:, None] if values.ndim == 1 else values)
        return answer
