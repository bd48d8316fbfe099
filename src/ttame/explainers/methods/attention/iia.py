"""IIA: Barkan et al., Visual Explanations via Iterated Integrated Attributions, ICCV 2023."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.classifiers.transformer_layout import TransformerLayout, replace_first_tensor
from ttame.errors import ExplainerError
from ttame.explainers.contract.differentiation import requiring_gradients
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import bytes_per_image, in_chunks, items_at_once
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice, check_count
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.activation.activation_gradients import on_one_layer
from ttame.explainers.methods.attention.attention_rollout import with_residual
from ttame.explainers.methods.attention.generic_attention import positive_product
from ttame.explainers.passes.block_attention import (
    attending_layout,
    block_modules,
    gradients_by_target,
    layout_for,
    roll_out,
)
from ttame.networks.attention_reading import watching_attention
from ttame.networks.layer_outputs import watching_inputs

Form = Literal["auto", "attention", "features"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Iia(Explainer):
    """Iterated integrated attributions, along the image and along what the network makes of it.

    *Attention form*, for Vision Transformers: ``M^b = mean (∇A^b ⊙ A^b)⁺``, the mean over heads
    and over the runs of two nested interpolations, ``S = (Â^L ⋯ Â^1)[cls]`` with
    ``Â^b = rownorm(I + M^b)``. The outer interpolation goes from the zero tensor (the data set's
    mean colour after normalisation) to the image, ``x_i = i/(n−1) · x``; the inner one scales the
    last block's attention, ``i/(m−1) · A^L``, next to one run with the attention as it is.
    ``A^b`` are the attention probabilities of block b of L in each run, ``∇A^b = ∂f_c/∂A^b`` the
    gradient of the class's logit. The published counts are n = 6 and m = 6, i.e. 6 · (1 + 6)
    runs. Only the last block differs between the inner ones, so each x_i goes forward once here.

    *Feature form*, for networks without such attention, as the published code effectively computes
    it: ``S = Σ_i Σ_k g_k ⊙ A_k⁺`` over n = 11 images ``x_i``; ``A_k`` is channel k of the
    classifier's last tap, ``g = ∂f_c/∂A``. The code's inner interpolation starts from a minimum
    over an axis of length one, which is the activation itself, and so has no effect.

    With pooling by other than the class token, the rows of all tokens that the head reads are
    averaged. Maps of the attention form are not negative, those of the feature form signed.

    Args:
        classifier: any with feature maps, patch tokens or attention.
        form: ``"attention"``, ``"features"``, or ``"auto"``: attention where every block attends
            from all tokens to all tokens, else features.
        image_steps: n; ``None`` for 6 in the attention form, 11 in the other.
        attention_steps: m of the attention form.

    Raises:
        ExplainerError: the attention form is asked for and the network has no such blocks.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> iia = Iia(tiny_classifier("vit", size=32))
        >>> iia(torch.zeros(2, 3, 32, 32)).maps.shape
        torch.Size([2, 1, 2, 2])
    """

    card = MethodCard(
        name="iia",
        title="IIA",
        family="attention",
        networks="Vision Transformers of one resolution; any with feature maps",
        cost="6 forward, 42 backward per class; by features 11 forward, 11 backward per class",
        paper="Barkan et al., ICCV 2023",
        targets=EVERY_TARGET,
    )

    form: Form = "auto"
    image_steps: int | None = None
    attention_steps: int = 6
    layout: TransformerLayout | None = dataclasses.field(init=False, repr=False)
    images_on_the_way: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(self.method, "form", self.form, get_args(Form))
        check_count(self.method, "attention_steps", self.attention_steps, least=2)
        if self.image_steps is not None:
            check_count(self.method, "image_steps", self.image_steps, least=2)
        layout = None if self.form == "features" else self._attending_layout()
        if layout is None:
            self._keep(classifier=on_one_layer(self.classifier, None))
        published = 11 if layout is None else 6
        self._keep(layout=layout, images_on_the_way=self.image_steps or published)

    def _decided(self) -> dict[str, Any]:
        return {
            "form": "features" if self.layout is None else "attention",
            "image_steps": self.images_on_the_way,
        }

    def _attending_layout(self) -> TransformerLayout | None:
        try:
            return attending_layout(self.classifier, self.method)
        except ExplainerError:
            if self.form == "attention":
                raise
            return None

    def _layout(self, classifier: Classifier, form: Form) -> TransformerLayout | None:
        try:
            return attending_layout(classifier, self.method)
        except ExplainerError:
            if form == "attention":
                raise
            return None

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        with torch.no_grad():
            logits = self.classifier.logits(images)
        targets = request.targets(logits)
        layout = self.layout and layout_for(self.classifier, self.layout, images)
        bytes_each = bytes_per_image(self.classifier, images, gradients=True)
        size = items_at_once(bytes_each, request.memory_budget)
        maps = []
        for some in in_chunks(len(images), size, request.progress):
            if layout is None:
                maps.append(self._feature_maps(images[some], targets[some]))
            else:
                maps.append(
                    self._attention_maps(images[some], targets[some], layout, request.memory_budget)
                )
        return RawMaps(logits, targets, torch.cat(maps))

    def _interpolated(self, images: Tensor) -> Iterator[Tensor]:
        for index in range(self.images_on_the_way):
            yield images.detach() * (index / (self.images_on_the_way - 1))

    def _feature_maps(self, images: Tensor, targets: ExplainedTargets) -> Tensor:
        tap = self.classifier.taps[0]
        size = (int(images.shape[2]), int(images.shape[3]))
        total: Tensor | None = None
        for step in self._interpolated(images):
            read = self.classifier.read_features(requiring_gradients(step))
            positive = read.feature_maps[0].detach().float().relu()
            values = targets.of(read.logits)
            products = [
                (tap.feature_map(gradient, size).float() * positive).sum(dim=1)
                for (gradient,) in gradients_by_target(values, read.layer_outputs)
            ]
            maps = torch.stack(products, dim=1)
            total = maps if total is None else total + maps
        assert total is not None
        return total

    def _attention_maps(
        self,
        images: Tensor,
        targets: ExplainedTargets,
        layout: TransformerLayout,
        memory_budget: int,
    ) -> Tensor:
        """(B, K, h, w), with the targets in groups whose matrices fit into the memory budget."""
        matrix = len(images) * layout.number_of_tokens**2 * 4
        together = items_at_once(matrix * len(layout.blocks), memory_budget)
        maps = []
        for some in in_chunks(targets.shape[1], together):
            for matrices in self._mean_products(images, targets.columns(some), layout):
                maps.append(roll_out([with_residual(matrix) for matrix in matrices], layout))
        return torch.stack(maps, dim=1)

    def _mean_products(
        self, images: Tensor, targets: ExplainedTargets, layout: TransformerLayout
    ) -> list[list[Tensor]]:
        """``M^b``, (B, T, T), for each target and each block."""
        shape = (len(images), layout.number_of_tokens, layout.number_of_tokens)
        sums = [
            [
                torch.zeros(shape, device=self.classifier.device, dtype=torch.float32)
                for _ in layout.blocks
            ]
            for _ in range(targets.shape[1])
        ]
        runs = 1 + self.attention_steps
        for step in self._interpolated(images):
            logits, attention = self._scaled_runs(step, layout)
            for run, of_run in enumerate(logits.chunk(runs)):
                values = targets.of(of_run)
                more = run + 1 < runs
                for sums_of_target, gradients in zip(
                    sums, gradients_by_target(values, attention, keep_graph=more), strict=True
                ):
                    for block, (matrix, gradient) in enumerate(
                        zip(attention, gradients, strict=True)
                    ):
                        # Only the last block ran once for each run; the others serve all.
                        if block == len(attention) - 1:
                            matrix, gradient = matrix.chunk(runs)[run], gradient.chunk(runs)[run]
                        sums_of_target[block] += positive_product(matrix, gradient, len(images))
        return [
            [total / (runs * self.images_on_the_way) for total in of_target] for of_target in sums
        ]

    def _scaled_runs(
        self, images: Tensor, layout: TransformerLayout
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits (runs · B, C), run by run, and each block's attention in their graph."""
        steps = self.attention_steps
        scales = torch.tensor(
            [1.0, *(index / (steps - 1) for index in range(steps))], dtype=torch.float32
        )
        blocks = block_modules(self.classifier, layout)
        attention: list[Tensor] = []

        def repeat_tokens(
            _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            tokens = layout.tokens.tensor((args, kwargs))
            return replace_first_tensor(args, kwargs, tokens.repeat(len(scales), 1, 1))

        def scale_last(block: int, probabilities: Tensor) -> Tensor:
            if not probabilities.requires_grad:
                probabilities.requires_grad_()
            if block == len(blocks) - 1:
                each = scales.to(probabilities).repeat_interleave(len(probabilities) // len(scales))
                probabilities = probabilities * each.view(-1, *[1] * (probabilities.ndim - 1))
            attention.append(probabilities)
            return probabilities

        with (
            watching_inputs([(blocks[-1], repeat_tokens)]),
            watching_attention(blocks, scale_last),
        ):
            logits = self.classifier.logits(images.clone(), rows=len(scales) * len(images))
        return logits, attention
