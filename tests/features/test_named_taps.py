from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.classifiers.small_networks import small_cnn
from tests.conftest import assert_close
from tests.features.reused_layers import Mirrored, ReusedPool, classifier_of
from ttame.errors import TapError
from ttame.features.feature_taps import LayerOutput
from ttame.features.layer_layouts import with_batch_in_front
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
        (["8"], r"shape (1, 5), which is not a feature map"),
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


def test_tokens_before_the_batch_are_read_with_the_batch_in_front() -> None:
    first, last = (TokensFirst(batch_first=way).eval() for way in (True, False))
    last.load_state_dict(first.state_dict())
    images, layer = torch.randn(3, 3, 32, 32), "encoder.layers.1.norm1"
    read = [classifier_of(each, taps=[layer]).read_features(images) for each in (first, last)]
    assert_close(read[0].logits, read[1].logits, 1e-5)
    assert read[1].feature_maps[0].shape == (3, 8, 4, 4)
    assert_close(read[0].feature_maps[0], read[1].feature_maps[0], 1e-5)
    assert [tap.batch_axis for tap in classifier_of(last).taps] == [1, 1]
    assert "before the batch" in classifier_of(last).taps[0].in_words()


def test_tokens_before_the_batch_have_gradients_and_can_be_exchanged() -> None:
    network = TokensFirst(batch_first=False).eval()
    classifier = classifier_of(network, taps=["encoder.layers.1.norm1"])
    images = torch.randn(3, 3, 32, 32, requires_grad=True)
    read = classifier.read_features(images)
    (gradient,) = torch.autograd.grad(read.logits.sum(), read.layer_outputs[0])
    assert gradient.shape == (3, 16, 8)
    (tap,) = classifier.taps
    assert isinstance(tap, LayerOutput)
    seen: list[tuple[int, ...]] = []

    def only_first_image(output: Tensor) -> Tensor:
        seen.append(tuple(output.shape))
        return output[:1].expand(3, -1, -1)

    with torch.no_grad(), tap.exchanging(network, classifier.trace, only_first_image):
        network(images)
    assert seen == [(3, 16, 8)]


class FlatTokens(nn.Module):
    """The first dimension is patches, and the second one has nothing to do with the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix, self.head = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        mixed = self.mix(tokens.reshape(-1, 1, 8))
        logits: Tensor = self.head(mixed.reshape(len(images), -1, 8).mean(1))
        return logits


def test_a_second_dimension_of_one_is_not_the_batch_unless_it_grows_with_it() -> None:
    network = FlatTokens().eval()
    trace = trace_network(network, (32, 32))
    assert with_batch_in_front(network, trace) is None
    with pytest.raises(TapError, match="not a feature map"):
        named_taps(network, trace, ["mix"])


def test_of_runs_that_differ_the_upright_one_is_meant_and_any_can_be_named() -> None:
    network = Mirrored(small_cnn()).eval()
    trace = trace_network(network, (32, 32))
    for name, run in (("body.3", "body.3#0"), ("body.3#1", "body.3#1"), ("body.3#-1", "body.3#1")):
        choice = named_taps(network, trace, [name])
        assert layers_of(choice) == [run]
        assert "body.3#1 sees the photo mirrored from left to right" in choice.notices[0]
    assert not named_taps(network, trace, ["body.3#0"]).notices
    with pytest.raises(TapError, match=r"reads the last run.*taps=\['body\.3#0"):
        named_taps(network, trace, ["rectified:body.3"])
