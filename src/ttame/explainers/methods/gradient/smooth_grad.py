"""SmoothGrad: Smilkov et al., arXiv 1706.03825."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.gradient.averaged_gradients import averaged_gradients
from ttame.explainers.relevance.libra_rules import check_libra, chosen_scores


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SmoothGrad(Explainer):
    """The gradient of the pixels, averaged over noisy copies of the image.

    ``S = Σ_rgb | 1/n Σ_i ∂f_c/∂x (x + ε_i) |``, ``ε_i ~ N(0, σ²)``, ``σ = noise · (max x − min x)``
    for each image. ``x`` is the normalised image, ``f_c`` the class's logit. Maps are (B, K, H, W)
    on the pixels.

    A gradient's sign says whether a pixel should get brighter, not whether it speaks for the
    class, so that the paper shows magnitudes for photos, and so does the default here; ``signed``
    gives the signed sum over the colours. Every image gets the same ``n`` noise patterns, drawn
    from the seed on the CPU: its map depends neither on the batch nor on the device.

    Args:
        classifier: the network to explain; any will do.
        samples: n, noisy copies.
        noise: σ as a share of the image's range of values; the paper advises 0.1 to 0.2.
        signed: whether to leave the magnitude out.
        seed: the seed of the noise.
        libra: whether paths of the backward pass are pruned and scaled as in LibraGrad, see
            :class:`ttame.explainers.methods.gradient.libra_grad.LibraGrad`; for transformers.

    Raises:
        ExplainerError: no samples, or negative noise.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> SmoothGrad(classifier, samples=4)(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="smooth_grad",
        title="SmoothGrad",
        family="gradient",
        networks="any",
        cost="1 + 25 forward, 25 backward per class",
        paper="Smilkov et al., arXiv 1706.03825",
        targets=EVERY_TARGET,
        random=True,
        map_is="pixels",
    )

    samples: int = 25
    noise: float = 0.15
    signed: bool = False
    seed: int = 0
    libra: bool = False

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ExplainerError(f"{self.samples} samples", allowed="at least 1")
        if not self.noise >= 0:
            raise ExplainerError(f"noise {self.noise}", allowed="at least 0; 0.1 to 0.2 is usual")
        check_libra(self.classifier, self.libra, self.method)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        with torch.no_grad():
            logits = self.classifier.logits(images)
        targets = request.targets(logits)
        gradients = averaged_gradients(
            self.classifier,
            images.detach().to(logits.device),
            targets,
            weights=(1 / self.samples,) * self.samples,
            variant=self._noisy,
            request=request,
            scores=chosen_scores(self.classifier, self.libra),
        )
        return RawMaps(logits, targets, (gradients if self.signed else gradients.abs()).sum(dim=2))

    def _noisy(self, images: Tensor, number: int) -> Tensor:
        # A generator for each sample: the draw must not depend on which samples run together.
        generator = torch.Generator().manual_seed(_mixed(self.seed, number))
        pattern = torch.randn(images.shape[1:], generator=generator, dtype=torch.float32).to(images)
        values = images.flatten(1)
        deviation = self.noise * (values.amax(dim=1) - values.amin(dim=1))
        return images + deviation[:, None, None, None] * pattern


def _mixed(seed: int, number: int) -> int:
    """A seed for the n-th sample that no neighbouring seed gives to another one."""
    return (seed * 1_000_003 + number) % 2**63
