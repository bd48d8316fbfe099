"""AttnLRP against its formulas in autograd's own words, identities, and scalar loops."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.explainers.relevance.slow_cnn_relevance import SIZE, small_images
from tests.plain_vit import BLOCKS, HEADS, PlainVit, golden_vit, plain_vit, two_images
from tests.tiny_networks import TINY
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.errors import ExplainerError
from ttame.explainers.methods.gradient.input_x_gradient import InputXGradient
from ttame.explainers.methods.relevance.attn_lrp import AttnLrp, attn_lrp_rules
from ttame.explainers.relevance.pixel_relevance import pixel_relevance
from ttame.images.preprocessing import Preprocessing


def halved(left: Tensor, right: Tensor) -> Tensor:
    """A matrix product whose factors have half their gradients."""
    return (left @ right.detach() + left.detach() @ right) / 2


class GammaLinear(torch.autograd.Function):
    """γ rule by output and input: a share zw of the output's sign counts 1 + γ times."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(values, weight, bias)
        ctx.gamma = gamma
        return values @ weight.T + bias

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        values, weight, bias = ctx.saved_tensors
        result = torch.zeros_like(values)
        for row, z in enumerate(values):
            shares = weight * z
            outputs = shares.sum(dim=1) + bias
            same_sign = shares * outputs.sign()[:, None] > 0
            modified = weight * (1 + ctx.gamma * same_sign)
            constant = bias * (1 + ctx.gamma * (bias * outputs > 0))
            totals = modified @ z + constant
            result[row] = (gradient[row] * outputs / totals) @ modified
        return result, None, None, None


class SlowAttnLrp(PlainVit):
    """The network with constants where the rules see constants, so that autograd applies them."""

    def __init__(self, weights: dict[str, Tensor], constant: bool, gamma: float) -> None:
        super().__init__(weights)
        self.constant, self.gamma = constant, gamma

    def norm(self, name: str, tokens: Tensor) -> Tensor:
        centred = tokens - tokens.mean(dim=-1, keepdim=True)
        deviation = (centred.pow(2).mean(dim=-1, keepdim=True) + 1e-6).sqrt().detach()
        return centred / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def linear(self, name: str, tokens: Tensor) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        rows = tokens.reshape(-1, tokens.shape[-1])
        out: Tensor = GammaLinear.apply(rows, weight, bias, self.gamma)
        return out.reshape(*tokens.shape[:-1], -1)

    def attend(self, index: int, normalised: Tensor, change: Any = None) -> Tensor:
        q, k, v = (
            part.reshape(len(part), HEADS, -1).transpose(0, 1)
            for part in self.linear(f"blocks.{index}.attn.qkv", normalised).chunk(3, dim=-1)
        )
        attention = (halved(q, k.mT) / q.shape[-1] ** 0.5).softmax(dim=-1)
        mixed = attention.detach() @ v if self.constant else halved(attention, v)
        return self.linear(f"blocks.{index}.attn.proj", mixed.transpose(0, 1).flatten(1))

    def __call__(self, image: Tensor, change: Any = None) -> Tensor:
        tokens = self.embed(image)
        for index in range(BLOCKS):
            name = f"blocks.{index}"
            tokens = tokens + self.attend(index, self.norm(f"{name}.norm1", tokens))
            hidden = self.linear(f"{name}.mlp.fc1", self.norm(f"{name}.norm2", tokens))
            slope = (F.gelu(hidden) / hidden).detach()
            tokens = tokens + self.linear(f"{name}.mlp.fc2", hidden * slope)
        return self.classify(tokens[0])


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("gamma", [0, 0.25])
def test_replica(constant: bool, gamma: float) -> None:
    images = two_images().double()
    options = {"attention_is_constant": constant, "gamma_linear": gamma}
    explainer = AttnLrp(golden_vit(torch.float64), **options)  # type: ignore[arg-type]
    assert explainer.options == {**options, "gamma_convolution": 0.0}
    found = explainer(images, [[7, 2], [0, 9]])
    slow = SlowAttnLrp(plain_vit().weights, constant, gamma)
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            leaf = image.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(slow(leaf)[label], leaf)
            expected = (leaf.detach() * gradient).sum(dim=0)
            assert_close(found.maps[index, place].double(), expected, 1e-6)


@pytest.mark.parametrize(
    ("gamma_linear", "gamma_convolution"), [(0, 0), (0.1, 0), (0, 0.25), (1, 100)]
)
@pytest.mark.parametrize("network", ["timm vit", "torchvision vit", "timm swin"])
def test_without_biases_the_pixels_sum_to_the_logit(
    network: str, gamma_linear: float, gamma_convolution: float
) -> None:
    """No position embedding, class token or bias keeps any relevance, and the softmax is held."""
    classifier = TINY[network]()
    model = classifier.network.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name or "token" in name or "pos_embed" in name:
                parameter.zero_()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size).double()
    explainer = AttnLrp(
        classifier,
        attention_is_constant=True,
        gamma_linear=gamma_linear,
        gamma_convolution=gamma_convolution,
    )
    explanation = explainer(images, "all")
    assert_close(explanation.maps.sum(dim=(2, 3)), explanation.logits, 1e-4)


def rectified_cnn() -> Classifier:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2),
        nn.LeakyReLU(0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ).double()
    return Classifier(network, preprocessing=Preprocessing.imagenet(12))


def gradient_pass_maps(classifier: Classifier, images: Tensor, label: int, **rules: Any) -> Tensor:
    """AttnLRP's rules where there is no attention, which the method itself refuses."""
    targets = ExplainedClasses(torch.full((len(images), 1), label))
    propagated = pixel_relevance(
        classifier, attn_lrp_rules(**rules), images, lambda _scores: targets
    )
    (gradient,) = propagated.by_target
    return (images * gradient).sum(dim=1)


def test_where_activations_are_homogeneous_it_is_input_times_gradient() -> None:
    """ReLU's slope is f(z)/z, and every other layer here keeps its gradient."""
    classifier, images = rectified_cnn(), small_images()
    expected = InputXGradient(classifier)(images, 3).maps[:, 0]
    assert_close(gradient_pass_maps(classifier, images, 3).float(), expected, 1e-6)


def test_one_attention_by_hand() -> None:
    """Half of the gradient through attention's values, a quarter through queries and keys.

    softmax(q kᵀ) v with q = k = v = x has the gradient of its three uses of x; each is known.
    """
    torch.manual_seed(4)
    weight = torch.randn(5, 3).double()

    class OneAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Identity()
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = nn.Parameter(weight)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.features(images).flatten(2).transpose(1, 2)
            mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
            out: Tensor = self.head(mixed[:, 0])
            return out

    classifier = Classifier(
        OneAttention(), preprocessing=Preprocessing.imagenet(4), taps=["features"]
    )
    image = torch.randn(1, 3, 4, 4).double()
    maps = AttnLrp(classifier)(image, 2).maps

    tokens = image[0].flatten(1).T
    uses = [tokens.clone().requires_grad_() for _ in range(3)]
    attention = (uses[0][:1] @ uses[1].T / 3**0.5).softmax(dim=-1)
    gradients = torch.autograd.grad((attention @ uses[2] @ weight[2]).sum(), uses)
    expected = sum(
        share * (tokens * gradient).sum(dim=1)
        for share, gradient in zip((0.25, 0.25, 0.5), gradients, strict=True)
    )
    assert isinstance(expected, Tensor)
    assert_close(maps[0, 0].double(), expected.reshape(4, 4), 1e-6)


@pytest.mark.parametrize("gamma", [0.25, 100])
def test_the_gamma_rule_of_a_convolution_by_loops(gamma: float) -> None:
    convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1).double()
    network = nn.Sequential(convolution, nn.Flatten(), nn.Linear(4 * 6 * 4, 2).double())
    preprocessing = dataclasses.replace(Preprocessing.imagenet(12), input_size=SIZE)
    classifier = Classifier(network, preprocessing=preprocessing, taps=["0"])
    images = small_images()
    found = gradient_pass_maps(classifier, images, 1, gamma_convolution=gamma)
    weight, bias = convolution.weight.detach(), convolution.bias.detach()  # type: ignore[union-attr]
    of_outputs = network[2].weight[1].detach().reshape(4, 6, 4)  # type: ignore[index]
    for index, image in enumerate(F.pad(images, (1, 1, 1, 1))):
        expected = torch.zeros_like(image)
        for channel, y, x in torch.cartesian_prod(*map(torch.arange, (4, 6, 4))).tolist():
            here = (slice(None), slice(2 * y, 2 * y + 3), slice(2 * x, 2 * x + 3))
            shares = weight[channel] * image[here]
            output = shares.sum() + bias[channel]
            more = shares * (1 + gamma * (shares * output > 0))
            constant = bias[channel] * (1 + gamma * float(bias[channel] * output > 0))
            expected[here] += of_outputs[channel, y, x] * output * more / (more.sum() + constant)
        assert_close(found[index], expected.sum(dim=0)[1:-1, 1:-1], 1e-9)


@pytest.mark.parametrize("name", ["gamma_linear", "gamma_convolution"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_a_gamma_that_is_refused(name: str, value: float) -> None:
    with pytest.raises(ExplainerError, match=f"{name}={value} for attn_lrp; allowed: at least 0"):
        AttnLrp(golden_vit(), **{name: value})  # type: ignore[arg-type]


def test_a_network_without_attention_is_refused() -> None:
    with pytest.raises(ExplainerError, match="it has no attention; try: full_lrp"):
        AttnLrp(TINY["cnn"]())
