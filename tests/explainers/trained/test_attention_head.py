"""The head against golden tensors, an independent slow formula, and a hand-computed example."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conftest import Golden, assert_close
from tests.golden_networks import golden_head
from ttame.errors import ExplainerError
from ttame.explainers.trained.attention_head import (
    AttentionHead,
    map_grid,
)
from ttame.explainers.trained.class_token import gate_with_class_token
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.explainers.trained.known_heads import HEADS
from ttame.explainers.trained.l_cam_head import LCamHead
from ttame.features.feature_taps import LayerOutput

ABLATIONS = {
    "no-skip": "noskip",
    "no-skip-no-batch-norm": "noskip_nobn",
    "sigmoid-in-branch": "sigmoid_branch",
}


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_cnn_head_equals_the_published_one(mode: str) -> None:
    golden = Golden("attention_cnn")
    head = golden_head(golden.under("weights.")).train(mode == "train")
    maps = head(golden.several("input.feature{i}"))
    assert_close(maps, golden[f"output.c_{mode}"], 2e-5)
    assert_close(maps.sigmoid(), golden[f"output.a_{mode}"], 2e-5)


def test_running_statistics_after_a_training_pass_equal_the_published_ones() -> None:
    golden = Golden("attention_cnn")
    head = golden_head(golden.under("weights.")).train()
    head(golden.several("input.feature{i}"))
    for i, branch in enumerate(head.branches):
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            expected = golden[f"output.after_train.bns.{i}.{name}"]
            assert_close(getattr(branch.batch_norm, name), expected, 2e-5)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("gate", ["discard", "multiply"])
def test_vit_head_equals_the_published_one(gate: str, mode: str) -> None:
    golden = Golden("attention_vit")
    tap = LayerOutput("any", "tokens", 24, (14, 14), (224, 224), prefix_tokens=1)
    features = []
    for i, tokens in enumerate(golden.several("input.tokens{i}")):
        feature_map = tap.feature_map(tokens, (224, 224))
        if gate == "multiply":
            feature_map = gate_with_class_token(feature_map, tap.prefix(tokens)[:, 0])
        expected = golden.several(f"output.{gate}.feature{{i}}")[i]
        assert torch.equal(feature_map, expected)
        features.append(feature_map)
    head = golden_head(golden.under("weights.")).train(mode == "train")
    maps = head(features)
    assert_close(maps, golden[f"output.{gate}.c_{mode}"], 2e-5)
    assert_close(maps.sigmoid(), golden[f"output.{gate}.a_{mode}"], 2e-5)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("variant", ABLATIONS)
def test_ablations_equal_the_published_ones(variant: str, mode: str) -> None:
    golden = Golden("attention_ablations")
    published = ABLATIONS[variant]
    head = golden_head(golden.under(f"weights.{published}."), variant).train(mode == "train")  # type: ignore[arg-type]
    maps = head(golden.several("input.feature{i}"))
    assert_close(maps, golden[f"output.{published}.c_{mode}"], 2e-5)


def published_order(head: AttentionHead, features: list[Tensor]) -> Tensor:
    """The formula in the paper's order: upsample every branch, concatenate, fuse all classes."""
    grid = map_grid(tuple(features[0].shape[2:]))  # type: ignore[arg-type]
    upsampled = []
    branches = [None] if head.settings.kind == "l-cam" else head.branches
    for branch, feature_map in zip(branches, features, strict=True):
        if branch is None:
            active = feature_map
        else:
            before = branch.convolution(feature_map)
            if hasattr(branch, "batch_norm"):
                norm = branch.batch_norm
                before = F.batch_norm(
                    before, norm.running_mean, norm.running_var, norm.weight, norm.bias
                )
            if head.settings.kind in ("t-tame", "sigmoid-in-branch"):
                before = before + feature_map
            active = torch.sigmoid(before) if "sigmoid" in head.settings.kind else F.relu(before)
        upsampled.append(F.interpolate(active, size=grid, mode="bilinear", align_corners=False))
    return head.fusion(torch.cat(upsampled, dim=1))


def random_head(variant: str, channels: list[int], classes: int) -> AttentionHead:
    head = HEADS[variant](channels, classes, head_settings(variant), seed=3).double()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                tensor.normal_()
            module.running_var.uniform_(0.5, 2)
    return head.eval()


@pytest.mark.parametrize(
    ("variant", "sizes"),
    [
        ("t-tame", [(28, 28), (14, 14), (7, 7)]),
        ("t-tame", [(9, 14), (5, 7)]),
        ("t-tame", [(14, 14)]),
        ("t-tame", [(80, 60), (40, 30)]),
        ("no-skip", [(8, 8), (4, 4), (4, 4)]),
        ("no-skip-no-batch-norm", [(8, 8), (4, 4)]),
        ("sigmoid-in-branch", [(8, 6), (4, 3)]),
        ("l-cam", [(7, 7)]),
    ],
)
def test_fusing_before_upsampling_changes_nothing(
    variant: str, sizes: list[tuple[int, int]]
) -> None:
    channels = [4 + 2 * i for i in range(len(sizes))]
    head = random_head(variant, channels, classes=6)
    features = [
        torch.randn(3, width, *size, dtype=torch.double)
        for width, size in zip(channels, sizes, strict=True)
    ]
    expected = published_order(head, features)
    assert_close(head(features), expected, 1e-10)


def test_asking_for_some_classes_gives_their_rows() -> None:
    head = random_head("t-tame", [4, 6], classes=7)
    features = [torch.randn(3, 4, 8, 8).double(), torch.randn(3, 6, 4, 4).double()]
    everything = head(features)
    shared = torch.tensor([6, 0, 6])
    assert_close(head(features, shared), everything[:, shared], 1e-10)
    own = torch.tensor([[0, 5], [3, 3], [6, 1]])
    rows = torch.arange(3)[:, None]
    assert_close(head(features, own), everything[rows, own], 1e-10)


def test_hand_computed_map() -> None:
    """One tap, two channels, one pixel row, two classes; every number worked out on paper."""
    head = AttentionHead([2], number_of_classes=2)
    branch = head.branches[0]
    with torch.no_grad():
        branch.convolution.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]])[:, :, None, None])
        branch.convolution.bias.copy_(torch.tensor([1.0, -1.0]))
        branch.batch_norm.running_mean.copy_(torch.tensor([1.0, 1.0]))
        branch.batch_norm.running_var.copy_(torch.tensor([4.0, 1.0]) - branch.batch_norm.eps)
        head.fusion.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, -1.0]])[:, :, None, None])
        head.fusion.bias.copy_(torch.tensor([0.5, 0.0]))
    features = torch.tensor([[2.0, -4.0], [3.0, -1.0]]).reshape(1, 2, 1, 2)
    # Channel 0: (x·1 + 1 − 1)/2 + x = 1.5x → 3, −6 → ReLU 3, 0
    # Channel 1: (2x − 1 − 1)/1 + x = 3x − 2 → 7, −5 → ReLU 7, 0
    # Class 0: sum + 0.5 → 10.5, 0.5;  class 1: −channel 1 → −7, 0
    maps = head.eval()([features])
    expected = torch.tensor([[[10.5, 0.5]], [[-7.0, 0.0]]])[None]
    assert_close(maps, expected, 1e-6)


def test_head_has_the_published_number_of_parameters() -> None:
    sizes = {"VGG-16": [256, 512, 512], "ResNet-50": [512, 1024, 2048], "ViT-B/16": [768] * 3}
    counts = {}
    for name, channels in sizes.items():
        with torch.device("meta"):
            head = AttentionHead(channels, 1000)
        counts[name] = sum(parameter.numel() for parameter in head.parameters())
    assert counts == {"VGG-16": 1_874_664, "ResNet-50": 9_100_776, "ViT-B/16": 4_081_384}


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, second = AttentionHead([4], 3, seed=1), AttentionHead([4], 3, seed=1)
    other = AttentionHead([4], 3, seed=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.fusion.weight, second.fusion.weight)
    assert not torch.equal(first.fusion.weight, other.fusion.weight)


def test_class_permutation_permutes_the_maps() -> None:
    head = random_head("t-tame", [4], classes=5)
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = copy.deepcopy(head)
    with torch.no_grad():
        permuted.fusion.weight.copy_(head.fusion.weight[order])
        permuted.fusion.bias.copy_(head.fusion.bias[order])
    features = [torch.randn(2, 4, 6, 6).double()]
    assert_close(permuted(features), head(features)[:, order], 1e-12)


def test_l_cam_takes_one_tap_only() -> None:
    with pytest.raises(ExplainerError, match="one tap"):
        LCamHead([4, 8], 3)
