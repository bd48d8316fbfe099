"""Raw attention of the last block, a baseline in Chefer et al., arXiv 2012.09838."""

from __future__ import annotations

from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.explainers.contract.explainer import ChooseClasses, Explainer, RawMaps
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.passes.block_attention import (
    attending_layout,
    block_number,
    layout_for,
    read_head_means,
)


class RawAttention(Explainer):
    """What the class token attends to: ``S = (E_h A^L)[cls]``.

    ``A^L`` are the attention probabilities of the last of L blocks, ``E_h`` the mean over its
    heads. The row of the class token is read without the columns of prefix tokens (class,
    distillation, registers). For a network that pools otherwise, where the papers define nothing,
    the rows of all tokens that its head reads are averaged. Values lie in [0, 1]; one map serves
    all classes.

    Args:
        classifier: a Vision Transformer whose blocks attend from every token to every token.
        block: the block to read; negative numbers count from the last.

    Raises:
        ExplainerError: the network has no such blocks, or not so many.

    Example:
        >>> import timm
        >>> import torch
        >>> from ttame.images.preprocessing import Preprocessing
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=5)
        >>> attention = RawAttention(Classifier(network, preprocessing=Preprocessing.imagenet(32)))
        >>> attention(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 2, 2])
    """

    card = MethodCard(
        name="raw_attention",
        title="Raw attention",
        family="attention",
        networks="Vision Transformers of one resolution",
        cost="1 forward",
        paper="baseline in Chefer et al., CVPR 2021, arXiv 2012.09838",
        class_specific=False,
    )

    def __init__(self, classifier: Classifier, *, block: int = -1) -> None:
        self.classifier = classifier
        self.layout = attending_layout(classifier, self.method)
        self.block = block_number(block, self.layout, self.method)
        self.options = {"block": block, "pooling": self.layout.pooling}

    def _raw_maps(self, images: Tensor, choose_classes: ChooseClasses) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        logits, means = read_head_means(self.classifier, layout, images, self.block)
        classes = choose_classes(logits)
        maps = layout.read_out(means[0])
        return RawMaps(logits, classes, maps[:, None].expand(-1, classes.shape[1], -1, -1))
