"""The golden CNN as matrices, for rules written out layer by layer on one small image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.conftest import Golden
from tests.golden_networks import golden_cnn
from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing

SIZE = (12, 8)


def small_golden_cnn() -> Classifier:
    """Float64; every third channel of the batch norms is multiplied by a negative number."""
    network = golden_cnn(Golden("cams_cnn").under("weights.")).double()
    with torch.no_grad():
        for norm in (network.bn1, network.bn2):
            norm.weight[::3] *= -1  # type: ignore[union-attr,operator,index]
    return Classifier(network, preprocessing=Preprocessing.imagenet(SIZE[0]))


def small_images() -> Tensor:
    image = Golden("cams_cnn")["input.images"][:2, :, 20 : 20 + SIZE[0], 30 : 30 + SIZE[1]]
    return image.double()


def as_matrix(weight: Tensor, height: int, width: int) -> Tensor:
    """A 3x3 convolution with padding 1 as (out·h·w, in·h·w)."""
    out, into = weight.shape[:2]
    matrix = torch.zeros(out, height, width, into, height, width, dtype=weight.dtype)
    for y in range(height):
        for x in range(width):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        matrix[:, y, x, :, y + dy, x + dx] = weight[:, :, dy + 1, dx + 1]
    return matrix.reshape(out * height * width, into * height * width)


def to_winners(relevance: Tensor, values: Tensor) -> Tensor:
    """2x2 maximum pooling: (C, 2h, 2w) relevance from (C, h, w)."""
    result = torch.zeros_like(values)
    for channel, y, x in torch.cartesian_prod(*map(torch.arange, relevance.shape)).tolist():
        window = values[channel, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        row, column = divmod(int(window.argmax()), 2)
        result[channel, 2 * y + row, 2 * x + column] = relevance[channel, y, x]
    return result


def to_sign_of_mean(relevance: Tensor, values: Tensor) -> Tensor:
    """Global average pooling: (C, h, w) from (C,)."""
    result = torch.zeros_like(values)
    for channel, plane in enumerate(values):
        sign = -1.0 if float(plane.mean()) < 0 else 1.0
        kept = (sign * plane).clamp(min=0)
        if float(kept.sum()) > 0:
            result[channel] = relevance[channel] * kept / kept.sum()
    return result


def inputs_of(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """What goes into every layer, without the batch; not differentiable."""
    seen: dict[str, Tensor] = {}
    values = image[None]
    with torch.no_grad():
        for name, layer in network.named_children():
            seen[name] = values[0].clone()
            values = layer(values)
    return seen
