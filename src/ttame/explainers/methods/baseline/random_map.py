"""A map that knows nothing: what every method must beat."""

from __future__ import annotations

import dataclasses
import hashlib

import torch
from torch import Tensor

from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RandomMap(Explainer[Explained]):
    """Uniform noise in [0, 1) on the grid of the classifier's last tap, or on a text's tokens.

    The baseline of a fair table: it has the grain of the methods that it stands next to, and no
    knowledge of image, network or class. Different images get different maps, so that the score
    of a dataset is that of many draws; the same image gets the same map in every batch, because
    the generator is seeded by ``seed`` and by the image's values. One map serves all classes.

    Args:
        classifier: gives the grid and the prediction.
        seed: the seed of the noise.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> random_map = RandomMap(tiny_classifier())
        >>> random_map(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="random",
        title="Random map",
        family="baseline",
        networks="any",
        cost="1 forward, for the prediction only",
        paper="none; a baseline",
        targets=EVERY_TARGET,
        class_specific=False,
        random=True,
        explains=("images", "texts"),
    )

    seed: int = 0

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        present = self.classifier.present(images)
        if present is not None:
            return self._of_tokens(images, present, request)
        read = self.classifier.read_features(images)
        targets = request.targets(read.logits)
        grid = torch.Size(read.grid)
        maps = torch.stack([self._noise(image, grid) for image in images]).to(read.logits.device)
        return RawMaps(read.logits, targets, maps[:, None].expand(-1, targets.shape[1], -1, -1))

    def _of_tokens(self, images: Tensor, present: Tensor, request: Request) -> RawMaps:
        """Noise for the tokens of each text, whatever padding stands behind them."""
        logits = self.classifier.logits(images)
        targets = request.targets(logits)
        maps = torch.zeros(len(images), 1, images.shape[3], device=logits.device)
        for row, text, here in zip(maps, images, present, strict=True):
            row[:, here] = self._noise(text[:, :, here], torch.Size((1, int(here.sum())))).to(row)
        return RawMaps(logits, targets, maps[:, None].expand(-1, targets.shape[1], -1, -1))

    def _noise(self, image: Tensor, grid: torch.Size) -> Tensor:
        values = image.detach().float().cpu().contiguous().numpy().tobytes()
        digest = hashlib.sha256(str(self.seed).encode() + b":" + values).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        return torch.rand(grid, generator=generator, dtype=torch.float32)
