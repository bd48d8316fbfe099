"""RISE: Petsiuk, Das and Saenko, BMVC 2018."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import (
    bytes_needed,
    in_chunks,
    items_at_once,
    most_at_once,
)
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import target_scores
from ttame.images.pixel_masking import MaskingSpace, mask_images


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Rise(Explainer):
    """Randomised input sampling: ``S_c = 1/(n·q) Σ_i p_c(x ⊙ M_i) M_i``.

    ``M_i`` are n random masks: an s×s grid of cells that are 1 with probability q, upsampled
    bilinearly to s+1 cells of ⌈H/s⌉×⌈W/s⌉ pixels and cropped to H×W at a random place. ``p_c`` is
    the probability of class c. The network is only asked, never looked into. All classes share the
    n forward passes, and all images of a batch the masks, which are made chunk by chunk: an
    image's map depends neither on its batch nor on the memory budget.

    Maps are large where the class is likely whatever is hidden; min–max takes that away.

    Args:
        classifier: any network.
        masks: n. The paper takes 4000 to 8000, its published code 2000 to 6000.
        cells: s, the cells a side of the grid.
        keep_probability: q.
        space: what a removed pixel looks like: ``"normalised"`` multiplies the normalised image,
            so that it has the data set's mean colour, as published; ``"raw"`` makes it black.
        seed: the seed of the masks.

    Raises:
        ExplainerError: an option out of range.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> Rise(classifier, masks=10, cells=4)(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="rise",
        title="RISE",
        family="perturbation",
        networks="any",
        cost="1 + masks forwards (2000), all classes",
        paper="Petsiuk et al., BMVC 2018",
        targets=EVERY_TARGET,
        random=True,
        map_is="pixels",
    )

    masks: int = 2000
    cells: int = 8
    keep_probability: float = 0.5
    space: MaskingSpace = "normalised"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("masks", self.masks), ("cells", self.cells)):
            if value < 1:
                raise ExplainerError(f"{name} {value}", allowed="at least 1")
        if not 0 < self.keep_probability < 1:
            raise ExplainerError(
                f"keep_probability {self.keep_probability}", allowed="between 0 and 1"
            )
        check_choice(self.method, "space", self.space, get_args(MaskingSpace))

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        classifier = self.classifier.for_many_passes()
        logits = self.classifier.logits(images)
        targets = request.targets(logits)
        masks = RandomMasks(
            self.masks, self.cells, self.keep_probability, images.shape[2:], self.seed
        )

        def one_masked_image() -> Tensor:
            mask = masks[0:1].to(images.device)
            masked = mask_images(images[:1], mask, classifier.preprocessing, self.space)
            return classifier.logits(masked)

        item = bytes_needed(one_masked_image)
        size = items_at_once(item, request.memory_budget, most_at_once(logits.device))
        chunks = (masks[part] for part in in_chunks(self.masks, size, request.progress))
        maps = rise_maps(
            classifier,
            images,
            targets,
            chunks,
            keep_probability=self.keep_probability,
            space=self.space,
        )
        return RawMaps(logits, targets, maps)


@torch.no_grad()
def rise_maps(
    classifier: Classifier,
    images: Tensor,
    targets: ExplainedTargets,
    mask_chunks: Iterable[Tensor],
    *,
    keep_probability: float,
    space: MaskingSpace = "normalised",
) -> Tensor:
    """The formula of RISE, for masks from anywhere.

    Args:
        classifier: asked once for every mask and image.
        images: (B, 3, H, W), normalised.
        targets: K of each image.
        mask_chunks: (n, 1, H, W) float32 in [0, 1] each; one is held at a time.
        keep_probability: q, the expected value of a mask.
        space: what a removed pixel looks like.

    Returns:
        (B, K, H, W) float32, on the device of the targets; at least 0 for classes.
    """
    images = images.to(targets.device)
    maps = torch.zeros(
        *targets.shape, *images.shape[2:], device=targets.device, dtype=torch.float32
    )
    flat_maps = maps.flatten(2)
    count = 0
    for masks in mask_chunks:
        masks = masks.to(targets.device)
        flat_masks = masks.flatten(1)
        count += len(masks)
        for index in range(len(images)):
            image = images[index : index + 1]
            masked = mask_images(image, masks, classifier.preprocessing, space)
            of_image = targets[torch.full((len(masks),), index, dtype=torch.long)]
            values = target_scores(
                classifier.logits(masked), of_image, "probability", classifier.outputs
            )
            flat_maps[index].addmm_(values.T, flat_masks)
    return maps / (count * keep_probability)


class RandomMasks:
    """Smooth random masks: the same for a seed, whatever part of them is asked for.

    Only the small grids are drawn and kept; pixels are made for the slice that is asked for.

    Args:
        count: n.
        cells: s, the cells a side of the grid.
        keep_probability: q, of a cell to be 1.
        size: (H, W) in pixels.
        seed: the seed of the grids and of where they are cropped.

    Example:
        >>> masks = RandomMasks(100, 4, 0.5, (20, 30), seed=0)
        >>> masks[10:13].shape, torch.equal(masks[12:13], masks[10:13][2:])
        (torch.Size([3, 1, 20, 30]), True)
    """

    def __init__(
        self, count: int, cells: int, keep_probability: float, size: Sequence[int], seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.size = (int(size[0]), int(size[1]))
        self.cell = (math.ceil(size[0] / cells), math.ceil(size[1] / cells))
        drawn = torch.rand(count, 1, cells, cells, generator=generator, dtype=torch.float32)
        self.grids = (drawn < keep_probability).float()
        self.offsets = torch.stack(
            [torch.randint(length, (count,), generator=generator) for length in self.cell], dim=1
        ).tolist()

    def __getitem__(self, part: slice) -> Tensor:
        grids = self.grids[part]
        larger = tuple((grids.shape[-1] + 1) * length for length in self.cell)
        upsampled = F.interpolate(grids, size=larger, mode="bilinear", align_corners=False)
        height, width = self.size
        return torch.stack(
            [
                mask[:, top : top + height, left : left + width]
                for mask, (top, left) in zip(upsampled, self.offsets[part], strict=True)
            ]
        )
