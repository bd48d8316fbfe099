"""What patches give to a class token, block by block, against slow formulas and direct sums."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.tiny_networks import TINY, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.explainers.contract.request import Request
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.activation.class_evidence import ClassEvidence
from ttame.explainers.methods.activation.token_reads import (
    TokenReads,
    find_token_reads,
    token_evidence,
)
from ttame.images.preprocessing import Preprocessing

WIDTH, CLASSES, PATCHES = 6, 4, 9


class Block(nn.Module):
    """Single-head attention; the tokens come out second, so that no block shows them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        nn.init.normal_(self.norm.weight)
        nn.init.normal_(self.norm.bias)

    def attention(self, read: Tensor) -> Tensor:
        return (self.query(read) @ self.key(read).mT).softmax(dim=-1)

    def forward(self, nothing: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        read = self.norm(tokens)
        mixed = self.attention(read) @ self.value(read)
        return nothing, tokens + self.out(mixed)


class Net(nn.Module):
    def __init__(self, *, pooled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.patches, self.token = nn.Conv2d(3, WIDTH, 8, 8), nn.Parameter(torch.randn(1, 1, WIDTH))
        self.blocks = nn.ModuleList([Block(), Block(), Block()])
        self.last, self.head, self.pooled = nn.Identity(), nn.Linear(WIDTH, CLASSES), pooled

    def tokens(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images)
        for block in self.blocks:
            _, tokens = block(images.new_zeros(1), tokens)
        tokens = self.last(tokens)
        scores: Tensor = self.head(tokens.mean(dim=1) if self.pooled else tokens[:, 0])
        return scores


def classifier_of(network: nn.Module) -> Classifier:
    taps = ["blocks.1.norm", "blocks.2.norm"]
    return Classifier(network.eval(), Preprocessing.imagenet(24), taps=taps)


def noise(size: int = 24) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))


def slow_evidence(network: Net, images: Tensor) -> Tensor:
    """(B, C, N): what a patch adds to the class token in a block, and what later blocks make of it.

    A later block keeps what is there, and adds to it what its class token sees in itself.
    """
    result = torch.zeros(len(images), CLASSES, PATCHES)
    all_tokens = network.tokens(images)
    for number, tokens in enumerate(all_tokens):
        # (N, D): what the class token holds of each patch so far.
        held = torch.zeros(PATCHES, WIDTH)
        for block in network.blocks:
            scale = (tokens.var(dim=1, correction=0, keepdim=True) + block.norm.eps).sqrt()
            read = block.norm(tokens)
            probabilities = block.attention(read[None])[0, 0]
            added = probabilities[1:, None] * (read[1:] @ block.value.weight.T)
            seen = (held - held.mean(dim=1, keepdim=True)) / scale[0] * block.norm.weight
            added = added + probabilities[0] * (seen @ block.value.weight.T)
            held = held + added @ block.out.weight.T
            tokens = block(tokens.new_zeros(1), tokens[None])[1][0]
        result[number] = (held @ network.head.weight.T).T
    return result


def test_it_is_what_a_slow_formula_finds() -> None:
    network = Net()
    classifier = classifier_of(network)
    found = ClassEvidence(classifier, details=1)
    assert isinstance(found.end, TokenReads)
    assert [tap.layer for tap in found.end.layers] == [f"blocks.{i}.norm" for i in range(3)]
    assert found.provenance()["evidence"] == "to first order"
    with torch.no_grad():
        expected = slow_evidence(network, noise()).reshape(2, CLASSES, 3, 3)
    assert_close(found(noise(), "all").maps, expected, 1e-5)


def test_on_one_block_it_is_what_tokens_add_to_the_class_token() -> None:
    classifier = tiny_timm("vit_tiny_patch16_224", 64, embed_dim=24, depth=1, num_heads=2)
    last = classifier.network.blocks[0].mlp.fc2
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    nn.init.zeros_(classifier.network.blocks[0].attn.qkv.bias)
    reads = find_token_reads(classifier)
    assert reads is not None

    def every_class(scores: Tensor) -> ExplainedClasses:
        return ExplainedClasses(torch.arange(scores.shape[1]).expand(len(scores), -1))

    found = token_evidence(classifier, reads, noise(64), Request(every_class)).maps
    direct = ClassEvidence(classifier, details=1)
    assert not isinstance(direct.end, TokenReads)
    assert_close(found, direct(noise(64), "all").maps, 1e-4)


def test_patches_that_are_read_behind_the_blocks_are_not_left_out() -> None:
    """An average of all tokens is not what the class token gathers."""
    assert find_token_reads(classifier_of(Net())) is not None
    pooled = tiny_timm("vit_tiny_patch16_224", 64, embed_dim=24, depth=2, num_heads=2,
                       global_pool="avg")  # fmt: skip
    assert find_token_reads(pooled) is None


def test_scores_of_two_grids_are_not_explained_on_one_of_them() -> None:
    """Half of the scores comes from tokens elsewhere, as in CrossViT."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.coarse, self.fine = Net(), Net()
            self.fine.patches = nn.Conv2d(3, WIDTH, 4, 4)

        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = self.coarse(images) + self.fine(images)
            return scores

    network = Two().eval()
    taps = ["coarse.blocks.2.norm"]
    assert find_token_reads(Classifier(network, Preprocessing.imagenet(24), taps=taps)) is None


@pytest.mark.parametrize("network", ["timm vit, distilled"])
def test_a_token_for_distillation_counts_as_a_class_token(network: str) -> None:
    classifier = TINY[network]()
    explainer = make_explainer("class_evidence", classifier)
    size = classifier.preprocessing.input_size
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    first, contrast = explainer(images, [[0, 1]]).maps[0]
    assert first.std() > 0 and not torch.equal(first, contrast)


def test_the_network_and_its_modes_are_left_alone() -> None:
    network = Net().train()
    classifier = classifier_of(network)
    network.train()
    make_explainer("class_evidence", classifier)(noise(), "all")
    assert network.training and all(each.requires_grad for each in network.parameters())
    assert all(each.grad is None for each in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
