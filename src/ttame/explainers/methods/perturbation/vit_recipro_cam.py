"""ViT-ReciproCAM: Byun and Lee, arXiv 2310.02588."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import MOST_AT_ONCE, Progress, in_chunks, items_at_once
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.suggested_methods import WITHOUT_ATTENTION
from ttame.explainers.contract.target_scores import ScoreKind, checked_score
from ttame.explainers.methods.perturbation.token_mosaics import (
    Kernel,
    MosaicRules,
    RunMosaics,
    Tail,
    TailRecorder,
    run_short_mosaics,
    run_whole_mosaics,
)
from ttame.explainers.passes.block_attention import (
    block_modules,
    block_number,
    layout_for,
    require_layout,
)
from ttame.explainers.passes.token_variants import (
    maps_of_scores,
    read_variant_of_each_patch,
)
from ttame.explainers.passes.widening import widening
from ttame.memory_limit import ran_out_of_memory
from ttame.networks.layer_outputs import reading, uncompiled
from ttame.signal_handlers import raised_by_signal_handler

Treatment = Literal["kept", "masked"]
ClassToken = Literal["kept", "zeroed"]
Way = Literal["auto", "whole", "short"]

SHORT_IS_EXACT = 1e-3
"""How far the short way may be off, as a share of the differences between mosaics, in a trial with
random tokens. Rounding is smaller by an order of magnitude, positions inside a block are larger."""

COPIES_IN_A_BLOCK = 16
"""Tensors of the tokens' size that a block holds at a time, cautiously."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ViTReciproCam(Explainer):
    """The class score with one patch left: ``S_c(i) = p_c(mosaic i)`` for every patch i.

    A mosaic is made of the output of the normalisation that a block begins with: prefix tokens
    (class token, registers) and patch i stay, all other patch tokens are 0. The rest of the network
    runs on it. ``p`` is the softmax of the logits. The residual stream leaves before the
    normalisation and is not masked. With the 3×3 kernel, patch i stays together with its
    neighbours, each with its own features times [1 2 1; 2 4 2; 1 2 1]/16, cut off at the border.

    The body of the network runs once for the batch, only the blocks from ``block`` on run for the
    N mosaics. For the last block and a head that reads prefix tokens only, there is a short way to
    the same numbers: all zeroed tokens have the same key and value, so that they count as one
    token whose attention score is raised by the logarithm of their number, and the rows that
    nobody reads need not be computed. It is taken where a trial with random tokens shows that it
    is exact (it is not for blocks with rotary or relative positions); ``options["way"]`` says so.

    Deviations that others made, and how to have them: the published code takes the second to last
    block (``block=-2``); OpenVINO's masks the residual too (``residual="masked"``) and takes logits
    (``score="logit"``); it can zero the class token. The paper's figure is the last block.

    Mosaics differ little: on the bundled transformer by 0.005 in logits of 8, far less than half
    precision tells apart. The body of a half-precision network runs as it is, and the mosaics run
    in float32 from the masked block on, with the network's own weights.

    All classes come from one run. Maps lie in [0, 1] for probabilities and are signed for logits.

    Args:
        classifier: a Vision Transformer of one resolution whose blocks begin with a normalisation.
        block: whose normalisation is masked; negative numbers count from the last.
        kernel: ``"gaussian"``, the 3×3 form, by far the better one in the paper's table, or
            ``"single"``.
        residual: ``"kept"`` or ``"masked"``.
        class_token: ``"kept"`` or ``"zeroed"``, all prefix tokens alike.
        score: ``"probability"`` or ``"logit"``.
        way: ``"auto"`` takes the short way where it is exact, ``"whole"`` never, ``"short"`` or not
            at all.

    Raises:
        ExplainerError: the network is not such a transformer, or an option is not known.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> recipro = ViTReciproCam(tiny_classifier("vit", size=32))
        >>> recipro(torch.zeros(3, 3, 32, 32), "all").maps.shape, recipro.options["way"]
        (torch.Size([3, 5, 2, 2]), 'short')
    """

    card = MethodCard(
        name="vit_recipro_cam",
        title="ViT-ReciproCAM",
        family="perturbation",
        networks="Vision Transformers of one resolution",
        cost="1 forward and N times the last block, or 2 forward where that is exact; all classes",
        paper="Byun and Lee, arXiv 2310.02588",
        targets=EVERY_TARGET,
    )

    block: int = -1
    kernel: Kernel = "gaussian"
    residual: Treatment = "kept"
    class_token: ClassToken = "kept"
    score: ScoreKind = "probability"
    way: Way = "auto"
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)
    number: int = dataclasses.field(init=False, repr=False)
    short: bool = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(self.method, "kernel", self.kernel, get_args(Kernel))
        check_choice(self.method, "residual", self.residual, get_args(Treatment))
        check_choice(self.method, "class_token", self.class_token, get_args(ClassToken))
        check_choice(self.method, "way", self.way, get_args(Way))
        checked_score(self.score)
        layout = require_layout(self.classifier, self.method)
        self._keep(layout=layout, number=block_number(self.block, layout, self.method))
        self._keep(short=self.way != "whole" and self._short_way_is_exact())
        if self.way == "short" and not self.short:
            raise ExplainerError(
                f"the short way of {self.method} is not exact for this block of "
                f"{self.classifier.name}",
                allowed="way auto or whole",
            )

    def _decided(self) -> dict[str, Any]:
        return {"way": "short" if self.short else "whole"}

    @property
    def rules(self) -> MosaicRules:
        """What the mosaics keep."""
        return MosaicRules(self.kernel, self.residual == "masked", self.class_token == "zeroed")

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        recorder = self._recorder(layout)
        run: RunMosaics = run_short_mosaics if self.short else run_whole_mosaics
        total = len(images) * (layout.number_of_tokens - layout.tokens.prefix_tokens)
        steps = _steps(request.progress, total)

        def mosaics(last: Tensor, patches: slice) -> Tensor:
            tail, rows = recorder.tail().with_float32_tokens(), []
            for image in range(len(last)):
                for masks in self._masks(patches, layout, request.memory_budget):
                    on_device = masks.to(last.device)
                    rows.append(run(tail, image, on_device, self.rules))
                    steps(len(masks))
            return torch.cat(rows)

        budget = request.memory_budget * self.classifier.dtype.itemsize // self._itemsize
        half = self.classifier.dtype.itemsize < self._itemsize
        with recorder.recording(), widening() if half else contextlib.nullcontext():
            logits, of_mosaics = read_variant_of_each_patch(
                self.classifier, layout, images, mosaics, budget
            )
        logits = logits.to(self.classifier.dtype)
        targets = request.targets(logits)
        outputs = self.classifier.outputs
        maps = maps_of_scores(of_mosaics, targets, layout, self.score, outputs)
        return RawMaps(logits, targets, maps)

    def _recorder(self, layout: TransformerLayout) -> TailRecorder:
        blocks = block_modules(self.classifier, layout)[self.number :]
        norm = layout.first_norms[self.number]
        if norm is None:
            raise ExplainerError(
                f"{self.method} is not defined for {self.classifier.name}: "
                f"{layout.blocks[self.number]} does not begin with a normalisation of its tokens",
                remedy=WITHOUT_ATTENTION["images"],
            )
        return TailRecorder(blocks, uncompiled(self.classifier.network).get_submodule(norm), layout)

    def _masks(
        self, patches: slice, layout: TransformerLayout, memory_budget: int
    ) -> Iterator[Tensor]:
        """The masks of some patches in groups whose tokens fit into the memory budget."""
        tokens, most = layout.number_of_tokens, MOST_AT_ONCE
        if self.short:
            tokens = layout.tokens.prefix_tokens + self.rules.patches_left + 1
            most = max(most, most * layout.number_of_tokens // tokens)
        bytes_each = tokens * layout.tokens.channels * self._itemsize
        size = items_at_once(bytes_each * COPIES_IN_A_BLOCK, memory_budget, most)
        for some in in_chunks(patches.stop - patches.start, size):
            yield self.rules.token_masks(
                slice(patches.start + some.start, patches.start + some.stop), layout
            )

    @property
    def _itemsize(self) -> int:
        """Bytes of a number in a mosaic."""
        return max(self.classifier.dtype.itemsize, torch.float32.itemsize)

    @torch.no_grad()
    def _short_way_is_exact(self) -> bool:
        """Try both ways on an image of noise, and check that the blocks can be run alone.

        Raises:
            ExplainerError: something happens between the blocks, so that they cannot.
        """
        layout, recorder = self.layout, self._recorder(self.layout)
        shape = self.classifier.blank_image().shape
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        name = layout.blocks[-1]
        with recorder.recording(), reading({name: recorder.blocks[-1]}) as outputs:
            self.classifier.logits(noise)
        last = layout.tokens.tensor(outputs[name])
        tail = recorder.tail()
        with self.classifier.frozen():
            again = tail.run(*(tokens[None] for tokens in tail.tokens_of(0)))
            if not torch.allclose(again, last, atol=0.02 * float(last.abs().max())):
                raise ExplainerError(
                    f"{self.method} is not defined for {self.classifier.name}: its blocks do not "
                    "follow each other directly",
                    remedy=f"block=-1, or {WITHOUT_ATTENTION['images']}",
                )
            if len(recorder.blocks) > 1 or layout.rows_for_head == layout.number_of_tokens:
                return False
            return _ways_agree(tail.in_float32() if last.dtype.itemsize < 4 else tail, self.rules)


def _steps(progress: Progress | None, total: int) -> Callable[[int], None]:
    """What counts the steps and tells how many are finished."""
    finished = 0

    def add(count: int) -> None:
        nonlocal finished
        finished += count
        if progress is not None:
            progress(min(finished, total), total)

    return add


def _ways_agree(tail: Tail, rules: MosaicRules) -> bool:
    """Whether both ways give the rows that the head reads, for mosaics of a few patches."""
    layout = tail.layout
    count = layout.number_of_tokens - layout.tokens.prefix_tokens
    few = sorted({0, count // 3, count // 2, count - 1})
    masks = torch.cat([rules.token_masks(slice(at, at + 1), layout) for at in few])
    masks = masks.to(tail.tokens_of(0)[0].device)
    read = list(layout.read_rows)
    whole = run_whole_mosaics(tail, 0, masks, rules)[:, read]
    try:
        short = run_short_mosaics(tail, 0, masks, rules)[:, read]
    except Exception as problem:  # a block for one number of tokens may raise anything for another
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        return False
    differences = (whole - whole.mean(dim=0)).abs().max()
    return bool((whole - short).abs().max() <= SHORT_IS_EXACT * differences)
