from __future__ import annotations

import pytest
from torch import Tensor, nn

from tests.classifiers.small_networks import small_cnn
from tests.features.reused_layers import ReusedPool
from ttame.errors import TapError
from ttame.features.feature_taps import LayerOutput
from ttame.features.named_taps import named_taps
from ttame.features.tap_choice import TapChoice
from ttame.networks.network_trace import trace_network


def layers_of(choice: TapChoice) -> list[str]:
    return [str(tap) for tap in choice.taps]


def test_named_taps_stand_in_the_order_of_the_network() -> None:
    network = small_cnn()
    choice = named_taps(network, trace_network(network, (32, 32)), ["5", "3"])
    assert layers_of(choice) == ["3", "5"]
    assert choice.reason == "named by the user"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "one to four"),
        (["0", "1", "3", "4", "6"], "one to four"),
        (["3", "3"], "one to four different"),
        (["33"], "layer '33' does not exist; try: 3"),
        (["8"], r"shape (1, 5), which is no feature map"),
    ],
)
def test_wrong_names_say_what_to_type(names: list[str], message: str) -> None:
    network = small_cnn()
    with pytest.raises(TapError) as caught:
        named_taps(network, trace_network(network, (32, 32)), names)
    assert message in str(caught.value)


def test_a_layer_that_is_not_run_gives_no_features() -> None:
    network = small_cnn()
    network[2].spare = nn.Conv2d(3, 3, 1)
    with pytest.raises(TapError, match=r"'2\.spare' gives no features"):
        named_taps(network, trace_network(network, (32, 32)), ["2.spare"])


def test_a_ready_tap_is_taken_as_it_is() -> None:
    class Oblong(nn.Module):
        """Tokens on a grid that no rule would guess."""

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 8, (4, 16), (4, 16))
            self.mix = nn.Linear(8, 8)
            self.head = nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.mix(self.embed(images).flatten(2).transpose(1, 2))
            logits: Tensor = self.head(tokens.mean(1))
            return logits

    network = Oblong()
    trace = trace_network(network, (32, 32))
    ready = LayerOutput("mix", "tokens", 8, (8, 2), (32, 32))
    assert named_taps(network, trace, [ready]).taps == (ready,)
    with pytest.raises(TapError, match="does not exist"):
        named_taps(network, trace, [LayerOutput("nix", "tokens", 8, (8, 2), (32, 32))])


def test_runs_of_a_layer_are_named_and_ordered_as_they_come() -> None:
    network = ReusedPool()
    trace = trace_network(network, (32, 32))
    choice = named_taps(network, trace, ["pool", "c", "pool#1", "pool#0"])
    assert layers_of(choice) == ["pool#0", "pool#1", "c", "pool"]
    assert [tap.channels for tap in choice.taps] == [8, 16, 32, 32]
    assert named_taps(network, trace, choice.taps).taps == choice.taps
    with pytest.raises(TapError, match="one to four different"):
        named_taps(network, trace, ["pool", "pool#-1"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pool#3", "run 3 of layer 'pool', which runs 3 times.*pool#0 to pool#2, or pool"),
        ("a#1", "run 1 of layer 'a', which runs 1 time.*: a$"),
        ("pol#0", "layer 'pol' does not exist; try: pool"),
    ],
)
def test_a_run_that_there_is_not_says_what_there_is(name: str, message: str) -> None:
    network = ReusedPool()
    trace = trace_network(network, (32, 32))
    with pytest.raises(TapError, match=message):
        named_taps(network, trace, [name])
    beyond = LayerOutput("pool", "channels first", 8, (16, 16), (32, 32), run=3)
    with pytest.raises(TapError, match="run 3"):
        named_taps(network, trace, [beyond])


def test_a_feature_map_of_another_aspect_ratio_is_taken_by_name() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, (2, 1), 1), nn.Conv2d(8, 8, 3, (2, 1), 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    choice = named_taps(network, trace_network(network, (16, 32)), ["1"])
    assert choice.taps[0].grid == (4, 32)


class TokensFirst(nn.Module):
    """torch's own encoder, with tokens before the batch unless told otherwise."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=batch_first, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 5)
        self.axis = 1 if batch_first else 0

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2)
        tokens = tokens.transpose(1, 2) if self.axis else tokens.permute(2, 0, 1)
        logits: Tensor = self.head(self.encoder(tokens).mean(self.axis))
        return logits


def test_tokens_before_the_batch_are_called_by_name_and_the_remedy_helps() -> None:
    network = TokensFirst(batch_first=False).eval()
    with pytest.raises(TapError, match=r"tokens come before the batch.*batch_first=True"):
        named_taps(network, trace_network(network, (32, 32)), ["encoder.layers.1.norm1"])
    network = TokensFirst(batch_first=True).eval()
    choice = named_taps(network, trace_network(network, (32, 32)), ["encoder.layers.1.norm1"])
    assert choice.taps[0].grid == (4, 4)
