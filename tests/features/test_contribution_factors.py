"""Factors of contributions against the contributions, which are tested against a replica."""

from __future__ import annotations

import torch

from tests.conftest import assert_close
from tests.features.test_token_contributions import (
    NETWORKS,
    WIDTH,
    classifier_of,
    every_network,
    noise,
    tokens_of,
)
from ttame.features.contribution_factors import ContributionFactors, FactorReading
from ttame.features.token_contributions import TokenContributions
from ttame.networks.network_trace import run_network


@every_network
@torch.no_grad()
def test_products_and_averages_are_those_of_the_contributions(kind: str) -> None:
    make, _ = NETWORKS[kind]
    network = make()
    classifier, images = classifier_of(network), noise()
    (tap,) = classifier.taps
    assert isinstance(tap, TokenContributions)
    reading = FactorReading(network, classifier.trace, tap)
    with classifier.frozen(), reading.watching():
        run_network(network, images)
    found = reading.found()
    contributions = tokens_of(classifier, images)
    rows = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(0)).double()
    products = torch.einsum("bkd,btd->bkt", rows, contributions)
    average = contributions[:, tap.prefix_tokens :].mean(dim=1)
    assert_close(found.products(rows), products, 1e-9)
    assert_close(
        found.products(rows[:1]), torch.einsum("kd,btd->bkt", rows[0], contributions), 1e-9
    )
    assert_close(found.average(tap.prefix_tokens), average, 1e-9)
    again = ContributionFactors.of_tensors(found.tensors, centres=found.centres)
    assert again.gain.dtype == torch.float32 and len(again.blocks) == len(found.blocks)
    assert_close(again.products(rows.float()), products.float(), 1e-4)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_a_block_gives_one_set_of_factors() -> None:
    make, _ = NETWORKS["timm, layer scale"]
    network = make()
    classifier = classifier_of(network)
    (tap,) = classifier.taps
    assert isinstance(tap, TokenContributions)
    reading = FactorReading(network, classifier.trace, tap)
    with torch.no_grad(), reading.watching():
        run_network(network.eval(), noise(1))
    found = reading.found()
    assert len(found.tensors) == 2 + 4 * len(found.blocks) == 14
    assert found.centres
