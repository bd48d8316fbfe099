"""The scores under LibraGrad's rules are the network's own, and the network is left as found."""

from __future__ import annotations

import torch

from tests.tiny_networks import TINY
from ttame.explainers.relevance.libra_rules import chosen_scores, libra_scores


def test_the_forward_pass_stays_as_it_is() -> None:
    classifier = TINY["timm vit"]()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    leaf = images.clone().requires_grad_()
    balanced, plain = libra_scores(classifier)(leaf), classifier.logits(images)
    assert float((balanced.detach() - plain).abs().max()) < 1e-5
    (pruned,) = torch.autograd.grad(balanced[:, 0].sum(), leaf)
    (gradient,) = torch.autograd.grad(classifier.logits(leaf)[:, 0].sum(), leaf)
    assert float((pruned - gradient).abs().max()) > 0.1 * float(gradient.abs().max())
    (again,) = torch.autograd.grad(chosen_scores(classifier, False)(leaf)[:, 0].sum(), leaf)
    assert torch.equal(again, gradient)
