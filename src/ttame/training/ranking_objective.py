"""The ranking loss: what insertion and deletion measure, with a sorting that can be differentiated.

After 'Learn to Rank: Visual Attribution by Learning Importance Ranking' (Schinagl et al., arXiv
2604.05819), of which the abstract alone is known here: it optimises deletion and insertion
directly, takes them for learning a permutation, and replaces the sorting by a Gumbel-Sinkhorn
relaxation. The rest is chosen here: cells instead of pixels, one step of the curve for each image
and training step, what the permutation is made of, and all constants.

With ``z`` the map of the class on n cells, standardised, ``g`` Gumbel noise, and ``a_1 ≥ … ≥ a_n``
the sorted values of ``z + γ g``, which count as constants::

    P     =  Sinkhorn( exp( −(z_i + γ g_i − a_r)² / τ ) )     row r: which cell i stands at rank r
    top   =  Σ of the first k rows of P                       k/n ~ U(0.05, 0.95)
    loss  =  mean over the images of  max(1 − q/p, −0.5)      behind the mask  top      (insertion)
                                  or  min(q/p, 1.5)           behind the mask  1 − top  (deletion)

``p`` and ``q`` are the class's probabilities on the whole and on the masked image. Sinkhorn divides
rows and columns by their sums in turn, so that a top of k cells has the sum k; with τ → 0 it is the
k largest cells themselves.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from ttame.explainers.trained.settings_part import ABOVE_ZERO, UP_TO_ONE, ZERO_OR_MORE, number
from ttame.training.kept_share_objective import kept_share_loss
from ttame.training.loss_parts import LossParts
from ttame.training.objective import Objective, ObjectiveBatch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SHARES = (0.05, 0.95)
_SMALLEST_SPREAD = 1e-6


@dataclasses.dataclass(frozen=True)
class RankingObjective(Objective):
    """The objective that trains the order of the places, by insertion and deletion.

    Attributes:
        ranked_cells: Rows of the grid whose cells are ranked; columns follow the map's shape.
        ranking_temperature: How soft the ranking is, in variances of the map: 0 would sort.
        ranking_noise: Scale of the Gumbel noise on the map, in standard deviations.
        sinkhorn_steps: How often rows and columns of the ranking are normalised.
        deleting: The share of images whose first-ranked cells are deleted instead of inserted.

    Example:
        >>> import ttame
        >>> ttame.training_settings("few-shot", objective="ranking").objective.ranked_cells
        8
    """

    kind: Literal["ranking"] = "ranking"
    ranked_cells: int = number(8, ABOVE_ZERO)
    ranking_temperature: float = number(0.05, ABOVE_ZERO)
    ranking_noise: float = number(0.1, ZERO_OR_MORE)
    sinkhorn_steps: int = number(10, ABOVE_ZERO)
    deleting: float = number(0.5, UP_TO_ONE)

    bounded: ClassVar[bool] = True

    def loss(self, batch: ObjectiveBatch) -> tuple[LossParts, Tensor]:
        """See the module."""
        rows = batch.labels[:, None]
        maps = batch.maps(rows)
        masks, deleted = self._masks(maps, batch.generator, batch.first_image)
        scores = batch.masked_scores(masks)
        before, after = (
            batch.classifier.outputs.probabilities(of).gather(1, rows)[:, 0]
            for of in (batch.scores, scores)
        )
        parts = kept_share_loss(before, after, deleted).weighted
        return LossParts({"insertion": parts["drop"], "deletion": parts["left"]}), maps

    def _masks(
        self, maps: Tensor, generator: torch.Generator, first_image: int
    ) -> tuple[Tensor, Tensor]:
        """Masks (B, 1, h, w) on the grid of cells, and (B,) bool, whether they delete the top."""
        import torch
        import torch.nn.functional as F

        height, width = maps.shape[2:]
        rows = min(self.ranked_cells, int(height))
        columns = min(int(width), max(1, round(rows * width / height)))
        cells = F.adaptive_avg_pool2d(maps, (rows, columns))
        # A row for each image, the earlier ones too, so that rows do not depend on them.
        count = first_image + len(maps)
        drawn = torch.rand(count, 2 + rows * columns, generator=generator, dtype=torch.float32)[
            first_image:
        ].to(maps.device)
        noise = -(-drawn[:, 2:].clamp(1e-6, 1 - 1e-6).log()).log()
        low, high = _SHARES
        ranks = ((low + (high - low) * drawn[:, 0]) * rows * columns).round().clamp_min(1)
        top = top_cells(
            standardised(cells.flatten(1)) + self.ranking_noise * noise,
            ranks,
            self.ranking_temperature,
            self.sinkhorn_steps,
        ).reshape(cells.shape)
        deleted = drawn[:, 1] < self.deleting
        return torch.where(deleted[:, None, None, None], 1 - top, top), deleted


def standardised(values: Tensor) -> Tensor:
    """(B, n) values without their mean, over their standard deviation; constant ones become 0."""
    values = values - values.mean(dim=1, keepdim=True)
    return values / values.std(dim=1, keepdim=True, correction=0).clamp_min(_SMALLEST_SPREAD)


def top_cells(values: Tensor, ranks: Tensor, temperature: float, steps: int) -> Tensor:
    """How far each cell is among the first k of its row, softly.

    Args:
        values: (B, n), any range.
        ranks: (B,), k of each row, from 1 to n.
        temperature: τ.
        steps: of Sinkhorn's normalisation.

    Returns:
        (B, n), at least 0, differentiable in the values; each row's sum is k.

    Example:
        >>> import torch
        >>> top_cells(torch.tensor([[3.0, 9.0, 5.0]]), torch.tensor([2.0]), 0.1, 20).round()
        tensor([[0., 1., 1.]])
    """
    import torch

    anchors = values.detach().sort(dim=1, descending=True).values
    logits = -(values[:, None, :] - anchors[:, :, None]).square() / temperature
    for _ in range(steps):
        logits = logits - logits.logsumexp(dim=1, keepdim=True)
        logits = logits - logits.logsumexp(dim=2, keepdim=True)
    first = torch.arange(values.shape[1], device=values.device) < ranks[:, None]
    # The rows are normalised last: a sum over columns may be off by what Sinkhorn has left.
    return (logits.exp() * first[:, :, None]).sum(dim=1).clamp_max(1)
