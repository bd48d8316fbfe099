from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.tiny_networks import TINY, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.transformer_layout import transformer_layout
from ttame.networks.attention_reading import reading_attention, watching_attention

TRANSFORMERS = [name for name in TINY if "vit" in name]


def images_for(classifier: Classifier, count: int = 2) -> Tensor:
    return torch.randn(count, 3, *classifier.preprocessing.input_size)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_logits_stay_and_every_block_shows_its_attention(name: str) -> None:
    classifier = TINY[name]()
    layout = transformer_layout(classifier)
    assert layout is not None
    images, tokens = images_for(classifier), layout.number_of_tokens
    with torch.no_grad():
        expected = classifier.logits(images)
        with reading_attention(tokens) as probabilities:
            found = classifier.logits(images)
        assert_close(found, expected, 1e-6)
        assert [part.shape for part in probabilities] == [(2, 3, tokens, tokens)] * len(
            layout.blocks
        )
        for part in probabilities:
            assert_close(part.sum(dim=-1), torch.ones(2, 3, tokens), 1e-5)
        assert torch.equal(classifier.logits(images), expected), "fused attention is back"


@pytest.mark.parametrize("name", ["timm vit", "torchvision vit", "transformers vit"])
def test_probabilities_are_part_of_the_graph(name: str) -> None:
    """A step along the gradient of the collected attention is what moves the logit."""
    classifier = TINY[name]()
    layout = transformer_layout(classifier)
    assert layout is not None
    images = images_for(classifier, 1).requires_grad_()
    with reading_attention(layout.number_of_tokens) as probabilities:
        score = classifier.logits(images)[0, 2]
    gradients = torch.autograd.grad(score, probabilities)
    assert all(gradient.abs().max() > 0 for gradient in gradients)

    blocks = [classifier.network.get_submodule(block) for block in layout.blocks]
    step = torch.randn_like(gradients[1]) * 1e-3

    def move(block: int, attention: Tensor) -> Tensor | None:
        return attention + step if block == 1 else None

    with torch.no_grad(), watching_attention(blocks, move):
        moved = classifier.logits(images)[0, 2]
    expected = (gradients[1] * step).sum()
    assert_close(moved - score.detach(), expected, 0.05)


def test_blocks_are_told_apart_and_other_softmaxes_left_out() -> None:
    """CaiT has two blocks of class attention, from one token to all, behind its others."""
    classifier = tiny_timm("cait_xxs24_224", 64, embed_dim=24, depth=3, num_heads=3)
    layout = transformer_layout(classifier)
    assert layout is not None
    blocks = [classifier.network.get_submodule(block) for block in layout.blocks]
    seen: list[tuple[int, torch.Size]] = []
    with (
        torch.no_grad(),
        watching_attention(
            blocks[1:], lambda block, attention: seen.append((block, attention.shape))
        ),
    ):
        classifier.logits(images_for(classifier))
    assert seen == [(0, (2, 3, 16, 16)), (1, (2, 3, 16, 16))]


def test_all_softmaxes_without_a_number_of_tokens() -> None:
    query = torch.zeros(1, 2, 5, 4)
    with reading_attention() as everything, torch.no_grad():
        F.scaled_dot_product_attention(query, torch.zeros(1, 2, 7, 4), torch.zeros(1, 2, 7, 4))
        torch.zeros(3, 4).softmax(dim=1)
    assert [part.shape for part in everything] == [(1, 2, 5, 7)]


def test_nothing_is_left_after_an_exception() -> None:
    classifier = TINY["timm vit"]()
    block = classifier.network.get_submodule("blocks.1")

    def fail(_block: int, _attention: Tensor) -> None:
        raise KeyError("midway")

    with pytest.raises(Exception, match="midway"), watching_attention([block], fail):
        classifier.logits(images_for(classifier))
    assert not block._forward_hooks
    assert not block._forward_pre_hooks
    seen: list[int] = []
    with watching_attention([block], lambda number, _: seen.append(number)):
        classifier.logits(images_for(classifier))
    assert seen == [0]


def test_four_threads_read_their_own_attention() -> None:
    classifier = TINY["torchvision vit"]()
    batches = [images_for(classifier, count) for count in (1, 2, 3, 4)]
    expected = []
    for batch in batches:
        with torch.no_grad(), reading_attention(17) as probabilities:
            classifier.logits(batch)
        expected.append(probabilities)
    found: dict[int, list[list[Tensor]]] = {index: [] for index in range(4)}

    def work(index: int) -> None:
        for _ in range(5):
            with torch.no_grad(), reading_attention(17) as probabilities:
                classifier.logits(batches[index])
            found[index].append(probabilities)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(4):
        for run in found[index]:
            assert len(run) == len(expected[index]) == 3
            for actual, wanted in zip(run, expected[index], strict=True):
                assert_close(actual, wanted, 1e-6)
