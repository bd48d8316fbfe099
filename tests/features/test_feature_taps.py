from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import ttame
from tests.features.reused_layers import ReusedPool, classifier_of
from ttame.errors import TapError
from ttame.features.feature_taps import LayerOutput, RectifiedOutput
from ttame.networks.network_trace import trace_network

TOKENS = LayerOutput("block", "tokens", 4, (2, 3), (32, 48), prefix_tokens=2)


def test_tokens_become_a_map_row_by_row() -> None:
    output = torch.arange(8.0)[None, :, None].expand(1, 8, 4)
    feature_map = TOKENS.feature_map(output, (32, 48))
    assert feature_map.shape == (1, 4, 2, 3)
    assert feature_map[0, 0].tolist() == [[2, 3, 4], [5, 6, 7]]
    assert TOKENS.prefix(output)[0, :, 0].tolist() == [0, 1]


def test_channels_last_is_turned() -> None:
    tap = LayerOutput("stage", "channels last", 5, (2, 3), (32, 48))
    output = torch.randn(1, 2, 3, 5)
    assert torch.equal(tap.feature_map((output, None), (32, 48)), output.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("image_size", "patches", "grid"),
    [((32, 48), 6, (2, 3)), ((64, 48), 12, (4, 3)), ((40, 48), 9, (3, 3))],
)
def test_the_grid_follows_the_image(
    image_size: tuple[int, int], patches: int, grid: tuple[int, int]
) -> None:
    assert TOKENS.grid_at(image_size, patches) == grid


def test_patches_that_fill_no_grid_are_refused() -> None:
    with pytest.raises(TapError, match="7 patch tokens"):
        TOKENS.grid_at((32, 48), 7)
    with pytest.raises(TapError, match="6 patch tokens"):  # 2x3 or 3x2
        TOKENS.grid_at((40, 40), 6)


@pytest.mark.parametrize("output", [None, torch.zeros(1, 8, 5), torch.zeros(1, 4, 2, 3)])
def test_another_output_than_at_making_is_refused(output: object) -> None:
    with pytest.raises(TapError, match="block gave"):
        TOKENS.feature_map(output, (32, 48))


def test_the_public_name_makes_a_layers_output() -> None:
    tap = ttame.FeatureTap("layer4", "channels first", 8, (7, 7), (224, 224))
    assert isinstance(tap, LayerOutput) and tap.run == -1


def test_a_run_before_the_last_one_has_a_number() -> None:
    with pytest.raises(TapError, match="run -2 of layer 'block'.*-1 for the last"):
        dataclasses.replace(TOKENS, run=-2)


def test_each_run_of_a_layer_can_be_read() -> None:
    network = ReusedPool().eval()
    classifier = classifier_of(network, taps=["pool#0", "pool#1", "pool"])
    images = torch.randn(2, 3, 32, 32)
    first, second, last = classifier.read_features(images).feature_maps
    assert [tap.grid for tap in classifier.taps] == [(16, 16), (8, 8), (4, 4)]
    features = []
    with torch.no_grad():
        for conv in (network.a, network.b, network.c):
            images = network.pool(network.relu(conv(images)))
            features.append(images)
    for found, expected in zip((first, second, last), features, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("run", [-1, 0, 1])
def test_only_the_run_that_is_read_is_exchanged(run: int) -> None:
    network = ReusedPool().eval()
    trace = trace_network(network, (32, 32))
    tap = LayerOutput("pool", "channels first", 8, (4, 4), (32, 32), run=run)
    given: list[tuple[int, ...]] = []

    def double(output: Tensor) -> Tensor:
        given.append(tuple(output.shape))
        return 2 * output

    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        with tap.exchanging(network, trace, double):
            found = network(images)
        for number, conv in enumerate((network.a, network.b, network.c)):
            images = network.pool(network.relu(conv(images)))
            images = 2 * images if number == (run if run >= 0 else 2) else images
        assert torch.equal(found, network.fc(images.mean((2, 3))))
    assert given == [[(1, 8, 16, 16), (1, 16, 8, 8), (1, 32, 4, 4)][run]]


class FewerForBatches(nn.Module):
    """Runs its convolution once more for a single image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        for _ in range(2 if len(images) == 1 else 1):
            images = self.conv(images)
        return images.mean((2, 3))


@pytest.mark.parametrize("run", [-1, 1])
def test_a_run_that_does_not_come_is_an_error_and_no_map(run: int) -> None:
    network = FewerForBatches()
    trace = trace_network(network, (8, 8))
    tap = LayerOutput("conv", "channels first", 3, (8, 8), (8, 8), run=run)
    with (
        pytest.raises(TapError, match="ran 1 times in this pass, and 2 times.*conv#0"),
        tap.exchanging(network, trace, lambda output: output),
    ):
        network(torch.zeros(2, 3, 8, 8))
    first = dataclasses.replace(tap, run=0)
    with first.exchanging(network, trace, lambda output: output):
        network(torch.zeros(2, 3, 8, 8))


def test_a_rectified_output_is_its_positive_part() -> None:
    classifier = classifier_of(ReusedPool().eval(), taps=["c", "rectified:c"])
    plain, rectified = classifier.read_features(torch.randn(2, 3, 32, 32)).feature_maps
    assert isinstance(classifier.taps[1], RectifiedOutput)
    assert float(plain.min()) < 0
    assert torch.equal(rectified, plain.clamp(min=0))
