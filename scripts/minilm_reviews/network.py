"""MiniLM-L6 of the package with a fresh classifier, and low-rank updates that training changes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ttame.networks.weights_files import load_weights
from ttame.text_classifiers.minilm_reviews import pretrained_weights, untrained_network

CLASSES = ("neg", "pos")

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)


class LowRankLinear(nn.Module):
    """A frozen dense layer W and its update: ``y = W x + up down x`` (LoRA, 2106.09685).

    Args:
        frozen: W, (out, in).
        rank: r; ``down`` is (r, in) and starts with rows of norm 1, ``up`` is (out, r) and starts
            at zero.
    """

    def __init__(self, frozen: nn.Linear, rank: int) -> None:
        super().__init__()
        self.frozen = frozen
        start = torch.randn(rank, frozen.in_features) / math.sqrt(frozen.in_features)
        self.down = nn.Parameter(start)
        self.up = nn.Parameter(torch.zeros(frozen.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Rows (..., in) to (..., out)."""
        update: Tensor = (x @ self.down.T) @ self.up.T
        changed: Tensor = self.frozen(x) + update
        return changed


def pretrained_network(folder: Path) -> nn.Module:
    """BERT's sequence classifier of two classes with the package's weights below the classifier.

    Args:
        folder: of the package, with ``config.json`` and ``model.safetensors``.
    """
    described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Without dropout of attention, the fused attention of PyTorch also serves training.
    options = {name: described[name] for name in _SIZES} | {"attention_probs_dropout_prob": 0.0}
    network: Any = untrained_network(**options)
    # The classifier starts at zero: no class is preferred, whatever the seed.
    own = {f"classifier.{name}": value for name, value in network.classifier.state_dict().items()}
    weights = pretrained_weights(folder / "model.safetensors")
    load_weights(network, weights | {name: value * 0 for name, value in own.items()}, str(folder))
    trained: nn.Module = network
    return trained


def give_low_rank_updates(network: Any, rank: int, first_layer: int) -> None:
    """Freeze all but pooler and classifier, and give the dense layers of the upper layers updates.

    Args:
        network: as :func:`pretrained_network` makes it; changed in place.
        rank: of the updates.
        first_layer: the first of the six layers that gets any; below it nothing is learned.
    """
    network.requires_grad_(False)
    network.bert.pooler.requires_grad_(True)
    network.classifier.requires_grad_(True)
    for layer in network.bert.encoder.layer[first_layer:]:
        for owner, name, linear in list(_dense_layers(layer)):
            setattr(owner, name, LowRankLinear(linear, rank))


def _dense_layers(layer: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for owner in layer.modules():
        for name, child in owner.named_children():
            if isinstance(child, nn.Linear):
                yield owner, name, child


def halve_frozen(network: nn.Module) -> None:
    """Keep frozen matrices in bfloat16, as autocast would convert them anew in every step."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.requires_grad:
            module.to(torch.bfloat16)


def learned_weights(network: nn.Module) -> dict[str, Tensor]:
    """What training changes, by name: ``...query.down``, ``...query.up``, pooler, classifier."""
    return {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
