from __future__ import annotations

import pytest
import torch

from tests.conftest import assert_close
from tests.tiny_networks import CLASSES, tiny_cnn
from ttame.errors import ExplainerError
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.explainers.trained.l_cam_head import LCamHead


def test_a_map_is_a_weighted_sum_of_channels_and_a_bias() -> None:
    head, features = LCamHead([3], number_of_classes=4, seed=2), torch.randn(2, 3, 5, 6)
    weight, bias = head.fusion.weight[:, :, 0, 0], head.fusion.bias
    assert bias is not None
    expected = torch.zeros(2, 4, 5, 6)
    for kind in range(4):
        for channel in range(3):
            expected[:, kind] += weight[kind, channel] * features[:, channel]
        expected[:, kind] += bias[kind]
    with torch.no_grad():
        assert_close(head([features]), expected, 1e-6)
        assert_close(head([features], torch.tensor([3, 0])), expected[:, [3, 0]], 1e-6)
        own = head([features], torch.tensor([[1], [2]]))
    assert_close(own, torch.stack([expected[0, [1]], expected[1, [2]]]), 1e-6)


def test_the_seed_decides_and_the_users_numbers_stay() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    once, again, other = (LCamHead([3], 4, seed=seed).fusion.weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert once.equal(again) and not once.equal(other)


def test_it_reads_the_last_tap_alone() -> None:
    classifier = tiny_cnn()
    plan = LCamHead.plan(classifier, head_settings("l-cam"))
    assert plan.classifier.taps == classifier.taps[-1:]
    head = plan.make(seed=0)
    assert isinstance(head, LCamHead)
    assert (head.channels, head.number_of_classes) == ((classifier.taps[-1].channels,), CLASSES)


@pytest.mark.parametrize(
    ("channels", "classes", "words"),
    [([3, 4], 5, "an l-cam head on 2 taps"), ([0], 5, r"channels \[0\]"), ([3], 0, "0 classes")],
)
def test_other_shapes_are_refused(channels: list[int], classes: int, words: str) -> None:
    with pytest.raises(ExplainerError, match=words):
        LCamHead(channels, classes)
