"""The small CNN that the golden tensors were made with, built from their README's words."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from tests.conftest import Golden
from ttame.explainers.trained.attention_head import AttentionHead
from ttame.explainers.trained.head_settings import AttentionHeadSettings


def golden_cnn(weights: dict[str, Tensor]) -> nn.Sequential:
    """conv-bn-relu-pool twice, conv-relu, global average pool, linear."""
    network = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 3, padding=1),
            bn1=nn.BatchNorm2d(8),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(8, 16, 3, padding=1),
            bn2=nn.BatchNorm2d(16),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(16, 32, 3, padding=1),
            relu3=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(32, 10),
        )
    )
    network.load_state_dict(weights)
    return network.eval()


def golden_head(
    weights: dict[str, Tensor], variant: str = "t-tame", classes: int = 10
) -> AttentionHead:
    """A head with weights under their published names (convs, bns, fuser)."""
    count = sum(name.startswith("convs.") and name.endswith("bias") for name in weights)
    channels = [weights[f"convs.{i}.weight"].shape[1] for i in range(count)]
    head = AttentionHead(channels, classes, AttentionHeadSettings(variant))
    head.load_state_dict({our_name(name): tensor for name, tensor in weights.items()})
    return head


def our_name(published: str) -> str:
    """A published parameter name as this package calls it."""
    kind, _, rest = published.partition(".")
    if kind == "fuser":
        return f"fusion.{rest}"
    index, _, name = rest.partition(".")
    layer = {"convs": "convolution", "bns": "batch_norm"}[kind]
    return f"branches.{index}.{layer}.{name}"


def load_golden(name: str) -> Golden:
    return Golden(name)
