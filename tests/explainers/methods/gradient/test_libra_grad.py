"""LibraGrad against the network written with constants, and its completeness."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.gradient.libra_grad import LibraGrad
from ttame.images.preprocessing import Preprocessing

SIZE, PATCH, WIDTH = 8, 4, 6


class EveryPath(nn.Module):
    """Tokens through all that LibraGrad treats otherwise; ``held`` writes its constants out."""

    held = False

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.gate, self.up = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.squeeze = nn.Linear(WIDTH, WIDTH)
        self.rectified = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 4)
        nn.init.normal_(self.norm.bias)

    def constant(self, values: Tensor) -> Tensor:
        return values.detach() if self.held else values

    def half(self, left: Tensor, right: Tensor) -> Tensor:
        if not self.held:
            return left * right
        return (left * right.detach() + left.detach() * right) / 2

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).mT
        if self.held:
            centred = tokens - tokens.mean(dim=-1, keepdim=True)
            deviation = (centred.square().mean(dim=-1, keepdim=True) + self.norm.eps).sqrt()
            normal = centred / deviation.detach() * self.norm.weight + self.norm.bias
        else:
            normal = self.norm(tokens)
        q, k, v = self.qkv(normal).chunk(3, dim=-1)
        tokens = tokens + self.constant((q @ k.mT).softmax(dim=-1)) @ v
        gate, up = self.gate(tokens), self.up(tokens)
        if self.held:
            tokens = tokens + self.half(gate * gate.sigmoid().detach(), up)
            hidden = self.rectified(tokens)
            tokens = tokens + hidden * ((1 + torch.erf(hidden / 2**0.5)) / 2).detach()
        else:
            tokens = tokens + F.silu(gate) * up
            tokens = tokens + F.gelu(self.rectified(tokens))
        tokens = tokens * self.constant(torch.sigmoid(self.squeeze(tokens)))
        return self.head(torch.relu_(tokens + 0.1).mean(dim=1))


def every_path() -> Classifier:
    return Classifier(EveryPath().double(), preprocessing=Preprocessing.imagenet(SIZE))


def two_images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)


def test_maps_are_those_of_the_network_with_its_constants_written_out() -> None:
    classifier, images = every_path(), two_images()
    found = LibraGrad(classifier)(images, "all").maps
    slow = EveryPath().double()
    slow.held = True
    for index in range(4):
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(slow(leaf)[:, index].sum(), leaf)
        assert_close(found[:, index].double(), (images * gradient).sum(dim=1), 1e-6)
    plain = make_explainer("input_x_gradient", classifier)(images, "all").maps
    assert float((plain - found).abs().max()) > 0.05 * float(found.abs().max())


def test_the_map_and_what_the_biases_contribute_sum_to_the_logit() -> None:
    """Biases contribute b ⊙ ∂f/∂b; 0.1 that is added to each token is one more."""
    images = two_images()[:1]
    explanation = LibraGrad(every_path())(images, "all")
    slow = EveryPath().double()
    slow.held = True
    biases = [bias for name, bias in slow.named_parameters() if name.endswith("bias")]
    shift = torch.full((), 0.1, dtype=torch.float64, requires_grad=True)
    tail = slow.head
    kept: list[Tensor] = []
    slow.squeeze.register_forward_pre_hook(lambda _layer, args: kept.append(args[0]))
    slow(images)
    gated = kept[0] * torch.sigmoid(slow.squeeze(kept[0])).detach()
    logits = tail(torch.relu(gated + shift).mean(dim=1))
    for index, logit in enumerate(logits[0]):
        gradients = torch.autograd.grad(
            logit, [*biases, shift], retain_graph=True, allow_unused=True
        )
        of_biases = sum(
            float((bias * gradient).detach().sum())
            for bias, gradient in zip([*biases, shift], gradients, strict=True)
            if gradient is not None
        )
        found = float(explanation.maps[0, index].double().sum()) + of_biases
        assert found == pytest.approx(float(logit.detach()), abs=1e-6)


def test_a_product_of_two_pixels_by_hand() -> None:
    """f = x₀ x₁ has twice its value in plain input times gradient; halved, it has its value."""

    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Conv2d(3, 3, 1, bias=False)
            nn.init.dirac_(self.same.weight)

        def forward(self, images: Tensor) -> Tensor:
            red, green, blue = self.same(images).unbind(dim=1)
            return torch.stack([red * green, blue], dim=1).mean(dim=(2, 3))

    classifier = Classifier(Product(), preprocessing=Preprocessing.imagenet(4), taps=["same"])
    image = torch.tensor([3.0, -2.0, 5.0]).reshape(1, 3, 1, 1).expand(-1, -1, 4, 4)
    plain, libra = make_explainer("input_x_gradient", classifier), LibraGrad(classifier)
    assert float(plain(image, 0).maps.sum()) == -12
    assert float(libra(image, 0).maps.sum()) == float(libra(image, 0).logits[0, 0]) == -6
    assert float(libra(image, 1).maps.sum()) == 5


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(0.2)])
def test_a_locally_affine_network_keeps_its_gradient(activation: nn.Module) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        activation,
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(SIZE))
    images = 8 * two_images().float()
    plain = make_explainer("input_x_gradient", classifier)(images, "all").maps
    assert float(plain.abs().max()) > 0
    assert torch.equal(LibraGrad(classifier)(images, "all").maps, plain)


def test_without_sigmoid_gates_it_is_attn_lrp_with_constant_attention() -> None:
    classifier = TINY["timm vit"]()
    images = torch.randn(1, 3, *classifier.preprocessing.input_size)
    other = make_explainer("attn_lrp", classifier, attention_is_constant=True)(images, "top2")
    assert_close(LibraGrad(classifier)(images, "top2").maps, other.maps, 1e-6)


def test_it_is_an_option_of_the_gradient_family() -> None:
    classifier, images = every_path(), two_images().float().double()
    own = LibraGrad(classifier)(images, "top2").maps
    option = make_explainer("input_x_gradient", classifier, libra=True)
    assert option.options == {"libra": True}
    assert torch.equal(option(images, "top2").maps, own)
    one_point = {"steps": 1, "quadrature": "right", "baseline": "mean", "libra": True}
    integrated = make_explainer("integrated_gradients", classifier, **one_point)
    assert_close(integrated(images, "top2").maps, own, 1e-6)
    smooth, plain = (
        make_explainer("smooth_grad", classifier, samples=2, libra=libra)(images).maps
        for libra in (True, False)
    )
    assert float((smooth - plain).abs().max()) > 0.05 * float(plain.abs().max())


def test_what_has_no_rule_is_refused() -> None:
    class Sine(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return torch.sin(values)

    network = nn.Sequential(nn.Conv2d(3, 4, 3), Sine(), nn.Flatten(), nn.Linear(144, 3))
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(SIZE))
    for method, options in (("libra_grad", {}), ("smooth_grad", {"libra": True})):
        with pytest.raises(ExplainerError, match=f"{method}.* is not defined for .*sin"):
            make_explainer(method, classifier, **options)
    with pytest.raises(ExplainerError, match="libra='yes' for input_x_gradient"):
        make_explainer("input_x_gradient", classifier, libra="yes")
