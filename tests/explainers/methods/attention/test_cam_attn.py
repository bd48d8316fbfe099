from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import Golden, assert_close
from tests.plain_vit import golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY
from ttame.errors import ExplainerError
from ttame.explainers.methods.attention.cam_attn import CamAttn
from ttame.images.saliency_maps import to_unit_range


def test_golden() -> None:
    golden = Golden("chefer_vit")
    classes = torch.tensor([golden.number("class_indices")])
    explanation = CamAttn(golden_vit())(golden["input.image"], classes)
    for index in range(classes.shape[1]):
        expected = golden[f"output.baseline.class{index}.cam_attn"]
        assert_close(to_unit_range(explanation.maps[0, index]), expected, 2e-5)


@pytest.mark.parametrize("block", [1, -1])
def test_replica(block: int) -> None:
    images = two_images().double()
    found = CamAttn(golden_vit(torch.float64), block=block, rectified=False)(
        images, [[7, 2], [0, 9]]
    )
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            expected = map_of(image, label, block)
            assert_close(found.maps[index, place].double(), expected, 1e-6)


def map_of(image: Tensor, label: int, block: int) -> Tensor:
    read: list[Tensor] = []

    def keep(_block: int, attention: Tensor) -> Tensor:
        read.append(attention.requires_grad_())
        return attention

    score = plain_vit()(image, keep)[label]
    (gradient,) = torch.autograd.grad(score, [read[block]])
    total = torch.zeros(16, dtype=torch.float64)
    heads = read[block].detach()
    for head, slope in zip(heads, gradient, strict=True):
        weight = sum(slope[0, 1 + patch].item() for patch in range(16)) / 16
        total += weight * head[0, 1:] / len(heads)
    return total.reshape(4, 4)


def test_rectifying_only_cuts_off_what_is_negative() -> None:
    signed = CamAttn(golden_vit(), rectified=False)(two_images(), "all").maps
    assert (signed < 0).any()
    assert torch.equal(CamAttn(golden_vit())(two_images(), "all").maps, signed.relu())


def test_other_blocks_and_networks_are_refused() -> None:
    with pytest.raises(ExplainerError, match=r"block=3 for cam_attn; allowed: 0 to 2, or -3"):
        CamAttn(golden_vit(), block=3)
    with pytest.raises(ExplainerError, match=r"not defined for Sequential, a CNN.*try: grad_cam"):
        CamAttn(TINY["cnn"]())
