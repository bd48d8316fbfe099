"""Grad-CAM: Selvaraju et al., arXiv 1610.02391."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.explainers.explainer import ChooseClasses, Explainer, RawMaps
from ttame.explainers.method_card import MethodCard


class GradCam(Explainer):
    """Gradient-weighted class activation mapping: ``S = (Σ_k w_k A_k)⁺``, ``w_k = mean_xy g_k``.

    ``A_k`` is channel k of the classifier's last tap, ``g = ∂f_c/∂A`` the gradient of the class's
    logit. One forward pass of the batch, and one backward pass for each class an image.

    Args:
        classifier: its last tap is used; ``classifier.with_taps([...])`` names another layer.

    Example:
        >>> from torch import nn
        >>> from ttame.preprocessing import Preprocessing
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(),
        ...                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> grad_cam = GradCam(Classifier(network, preprocessing=Preprocessing.imagenet(16)))
        >>> grad_cam(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 8, 8])
    """

    card = MethodCard(
        name="grad_cam",
        title="Grad-CAM",
        family="class activation",
        networks="any with feature maps or patch tokens",
        cost="1 forward, 1 backward a class",
        paper="Selvaraju et al., arXiv 1610.02391",
    )

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier.with_taps(classifier.taps[-1:])

    def _raw_maps(self, images: Tensor, choose_classes: ChooseClasses) -> RawMaps:
        tap = self.classifier.taps[0]
        size = (int(images.shape[2]), int(images.shape[3]))
        with torch.enable_grad():
            # The images require the gradient, so that every tap is part of the graph.
            reading = self.classifier.read_features(images.detach().clone().requires_grad_())
            output, features = reading.layer_outputs[0], reading.feature_maps[0].detach()
            classes = choose_classes(reading.logits.detach())
            scores = reading.logits.gather(1, classes).sum(dim=0)
            maps = []
            for index, score in enumerate(scores):
                more = index + 1 < len(scores)
                (gradient,) = torch.autograd.grad(score, output, retain_graph=more)
                weights = tap.feature_map(gradient, size).mean(dim=(2, 3), keepdim=True)
                maps.append((weights * features).sum(dim=1).relu())
        return RawMaps(reading.logits, classes, torch.stack(maps, dim=1))
