from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.plain_vit import BLOCKS, golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY
from ttame.errors import ExplainerError
from ttame.explainers.methods.attention.legrad import LeGrad, TokenPooling
from ttame.networks.attention_reading import reading_attention


def map_of(image: Tensor, label: int, blocks: int, pooling: TokenPooling) -> Tensor:
    """Block by block, head by head and query by query."""
    plain, total = plain_vit(), torch.zeros(16, dtype=torch.float64)
    tokens = plain.embed(image)
    for index in range(BLOCKS):
        read: list[Tensor] = []

        def keep(_block: int, attention: Tensor, read: list[Tensor] = read) -> Tensor:
            read.append(attention.detach().requires_grad_())
            return read[0]

        output = plain.block(index, tokens, keep)
        pooled = output.mean(dim=0) if pooling == "all tokens" else output[0]
        (gradient,) = torch.autograd.grad(plain.classify(pooled)[label], read[0])
        if index >= BLOCKS - blocks:
            for head in gradient:
                for query in head:
                    total += query[1:].clamp(min=0) / (len(gradient) * 17)
        tokens = output.detach()
    return total.reshape(4, 4)


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("pooling", ["all tokens", "classifier"])
def test_replica(blocks: int, pooling: TokenPooling) -> None:
    images = two_images().double()
    found = LeGrad(golden_vit(torch.float64), blocks=blocks, pooling=pooling)(
        images, [[7, 2], [0, 9]]
    )
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            expected = map_of(image, label, blocks, pooling)
            assert_close(found.maps[index, place].double(), expected, 1e-6)
        assert_close(found.logits[index].double(), plain_vit()(image), 1e-6)


def test_the_last_block_with_the_classifiers_pooling_explains_the_logit_itself() -> None:
    """Then ∂s_L/∂A^L is ∂f_c/∂A^L."""
    classifier = TINY["timm vit, patches pooled"]()
    images = torch.randn(1, 3, 64, 64)
    maps = LeGrad(classifier, blocks=1, pooling="classifier")(images, 3).maps
    leaf = images.clone().requires_grad_()
    with reading_attention(16) as attention:
        score = classifier.logits(leaf)[0, 3]
    (gradient,) = torch.autograd.grad(score, attention[-1])
    assert_close(maps[0, 0], gradient[0].clamp(min=0).mean(dim=(0, 1)).reshape(4, 4), 1e-5)


def test_default_and_options() -> None:
    explainer = LeGrad(golden_vit())
    assert explainer.options == {"blocks": 2, "pooling": "all tokens"}
    with pytest.raises(ExplainerError, match="blocks=4 for legrad; allowed: 1 to 3"):
        LeGrad(golden_vit(), blocks=4)
    with pytest.raises(ExplainerError, match="blocks=0 for legrad.*at least 1"):
        LeGrad(golden_vit(), blocks=0)
    with pytest.raises(ExplainerError, match="pooling='cls' for legrad; allowed: 'all tokens' or"):
        LeGrad(golden_vit(), pooling="cls")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="not defined for"):
        LeGrad(TINY["timm swin"]())
