"""FullGrad: Srinivas and Fleuret, NeurIPS 2019, arXiv 1905.00780."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ttame.errors import ExplainerError
from ttame.explainers.contract.differentiation import (
    differentiating,
    require_graph,
    requiring_gradients,
)
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.images.saliency_maps import resize_maps

SMALLEST_RANGE = 1e-7
"""Added to a map's largest value before it is divided by it."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FullGrad(Explainer):
    """What the pixels and the biases of every layer contribute to a class.

    ``S = Σ_rgb ψ(x ⊙ ∂f_c/∂x) + Σ_l Σ_k ψ(b_lk · ∂f_c/∂z_lk)``. ``x`` is the normalised image,
    ``f_c`` the class's logit, ``z_lk`` channel k of the output of convolution or batch
    normalisation l, ``b_lk`` its bias. For batch normalisation that is the bias at the network's
    running statistics, ``β − μ γ / √(σ² + ε)``. ``ψ(m)`` takes the absolute value, brings it to
    [0, 1] (minus the minimum, over the maximum) and resizes it bilinearly to the image. Maps are
    (B, K, H, W) on the pixels, not negative. Biases of linear layers have no place in the image and
    take no part, as in the paper.

    Args:
        classifier: a CNN. Other networks have their biases in layers that the paper does not treat.

    Raises:
        ExplainerError: the network is not a CNN.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> FullGrad(tiny_classifier())(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="full_grad",
        title="FullGrad",
        family="gradient",
        networks="CNNs",
        cost="1 forward, 1 backward per class",
        paper="Srinivas and Fleuret, arXiv 1905.00780",
        targets=EVERY_TARGET,
        map_is="pixels",
    )

    def __post_init__(self) -> None:
        if self.classifier.family != "CNN":
            raise ExplainerError(
                f"{self.method} is not defined for {self.classifier.name}, a "
                f"{self.classifier.family}: its biases are not those of convolutions and batch "
                "normalisation",
                remedy="input_x_gradient or integrated_gradients",
            )

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        size = (int(images.shape[-2]), int(images.shape[-1]))
        with differentiating():
            images = requiring_gradients(images)
            with _ReadingBiases() as read:
                logits = self.classifier.logits(images)
            targets = request.targets(logits.detach())
            factors = [images.detach(), *(bias for bias, _ in read.outputs)]
            places = [images, *(output for _, output in read.outputs)]
            values = targets.of(logits).sum(dim=0).unbind()
            require_graph(values[0])
            maps = []
            for number, value in enumerate(values):
                gradients = torch.autograd.grad(
                    value, places, retain_graph=number + 1 < len(values), allow_unused=True
                )
                maps.append(
                    sum(
                        _evidence(factor.float() * gradient.float(), size)
                        for factor, gradient in zip(factors, gradients, strict=True)
                        if gradient is not None
                    )
                )
        return RawMaps(logits, targets, torch.stack(maps, dim=1))  # type: ignore[arg-type]


def _evidence(contributions: Tensor, size: tuple[int, int]) -> Tensor:
    """``Σ_k ψ`` of (B, C, h, w), as (B, H, W). The sum comes first: resizing is linear."""
    strength = contributions.abs()
    strength = strength - strength.amin(dim=(-2, -1), keepdim=True)
    strength = strength / (strength.amax(dim=(-2, -1), keepdim=True) + SMALLEST_RANGE)
    return resize_maps(strength.sum(dim=1, keepdim=True), size)[:, 0]


class _ReadingBiases(TorchFunctionMode):
    """Keeps the outputs of convolutions and batch normalisations in this thread, with biases.

    It looks at operations rather than modules: some libraries' normalisation modules also
    activate, and their output would be the wrong place.

    Attributes:
        outputs: pairs of a bias, (C, 1, 1), and (B, C, h, w) in the graph.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        bias_of = _BIASES.get(function)
        if bias_of is None or output.ndim != 4 or not output.requires_grad:
            return output
        bias = bias_of(*args, **(kwargs or {}))
        if bias is None:
            return output
        self.outputs.append((bias.detach()[:, None, None], output))
        # The copy is for activations that work in place.
        return output.clone()


def _convolution_bias(
    _input: Tensor, _weight: Tensor, bias: Tensor | None = None, *_: Any, **__: Any
) -> Tensor | None:
    return bias


def _normalisation_bias(
    _input: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    scale = (variance + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    return (0 if bias is None else bias) - mean * scale


_BIASES: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    F.conv2d: _convolution_bias,
    F.batch_norm: _normalisation_bias,
}
"""Operation to the bias that a call of it adds, from the call's arguments."""
