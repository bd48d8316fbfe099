"""What tokens add to the class token, against a slow replica of every head, token and block."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tests.classifiers.small_networks import small_cnn
from tests.conftest import assert_close
from tests.tiny_networks import CLASSES, TINY, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import find_linear_end
from ttame.errors import ClassifierError, TapError
from ttame.features.token_contributions import TokenContributions, contributions_tap
from ttame.images.preprocessing import Preprocessing
from ttame.networks.network_trace import trace_network

SIZE = 32
DEPTH, HEADS, WIDTH = 3, 2, 12


# The replica


@dataclasses.dataclass(frozen=True)
class SlowBlock:
    """A block's parts, wherever its library keeps them."""

    before_attention: nn.Module
    query_key_value: tuple[tuple[Tensor, Tensor | None], ...]
    output: nn.Linear
    mlp: Callable[[Tensor], Tensor]
    of_queries: nn.Module = dataclasses.field(default_factory=nn.Identity)
    of_keys: nn.Module = dataclasses.field(default_factory=nn.Identity)
    scale: Tensor | float = 1.0

    def weighted_values(self, tokens: Tensor) -> Iterator[tuple[int, int, Tensor]]:
        """For each query that is the class token: head, token, probability times value."""
        width = tokens.shape[1] // HEADS
        normalised = self.before_attention(tokens)
        query, key, value = (
            normalised @ weight.T + (0 if bias is None else bias)
            for weight, bias in self.query_key_value
        )
        for head in range(HEADS):
            own = slice(head * width, (head + 1) * width)
            asked = self.of_queries(query[:1, own])[0]
            scores = [float(asked @ self.of_keys(one[None])[0]) for one in key[:, own]]
            powers = [math.exp(score / width**0.5) for score in scores]
            for token in range(len(tokens)):
                yield head, token, powers[token] / sum(powers) * value[token, own]

    def added_by_tokens(self, tokens: Tensor) -> Tensor:
        """(T, D): what each token's value adds to the class token, without the bias."""
        width = tokens.shape[1] // HEADS
        added = torch.zeros_like(tokens)
        for head, token, values in self.weighted_values(tokens):
            columns = self.output.weight[:, head * width : (head + 1) * width]
            added[token] += columns @ values * self.scale
        return added

    def added_by_bias(self) -> Tensor | float:
        return 0.0 if self.output.bias is None else self.output.bias * self.scale


@dataclasses.dataclass(frozen=True)
class SlowVit:
    """A Vision Transformer in parts."""

    network: nn.Module
    layers: Sequence[nn.Module]
    blocks: tuple[SlowBlock, ...]
    norm: nn.Module
    head: nn.Linear

    def embed(self, image: Tensor) -> Tensor:
        """The (T, D) tokens that the first block gets."""
        got: list[Tensor] = []
        handle = self.layers[0].register_forward_pre_hook(lambda _, args: got.append(args[0][0]))
        self.network(image[None])
        handle.remove()
        return got[0]

    def normalised(self, vector: Tensor, token: Tensor) -> Tensor:
        """A part of the class token through the final norm, whose divisor is that of the token."""
        entries = token.tolist()
        eps = self.norm.eps
        if isinstance(self.norm, nn.LayerNorm):
            mean = sum(entries) / len(entries)
            vector = vector - sum(vector.tolist()) / len(entries)
            square = sum((entry - mean) ** 2 for entry in entries) / len(entries)
        else:
            square = sum(entry**2 for entry in entries) / len(entries)
        return vector / (square + eps) ** 0.5 * self.norm.weight  # type: ignore[operator]

    def parts(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``(T, D)`` contributions, ``(D,)`` all else that the token is, the logits ``(C,)``."""
        tokens = self.embed(image)
        contributions = torch.zeros_like(tokens)
        others = tokens[0].clone()
        for index, block in enumerate(self.blocks):
            added = block.added_by_tokens(tokens)
            contributions += added
            others += block.added_by_bias()
            attended = tokens[0] + added.sum(dim=0) + block.added_by_bias()
            others += block.mlp(attended)
            tokens = self.layers[index](tokens[None])[0]
            assert_close(attended + block.mlp(attended), tokens[0], 1e-6)
        token = tokens[0]
        logits = self.head(self.norm(token))
        through = torch.stack([self.normalised(one, token) for one in contributions])
        return through, self.normalised(others, token), logits


def split_linear(layer: nn.Linear) -> tuple[tuple[Tensor, Tensor | None], ...]:
    return split(layer.weight, layer.bias)


def split(weight: Tensor, bias: Tensor | None) -> tuple[tuple[Tensor, Tensor | None], ...]:
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return tuple(zip(weight.chunk(3), biases, strict=True))


def slow_timm(network: Any) -> SlowVit:
    def slow(block: Any) -> SlowBlock:
        attention = block.attn
        return SlowBlock(
            before_attention=block.norm1,
            query_key_value=split_linear(attention.qkv),
            of_queries=attention.q_norm,
            of_keys=attention.k_norm,
            output=attention.proj,
            scale=getattr(block.ls1, "gamma", 1.0),
            mlp=lambda token: block.mlp(block.norm2(token)) * getattr(block.ls2, "gamma", 1.0),
        )

    return SlowVit(
        network=network,
        layers=network.blocks,
        blocks=tuple(slow(block) for block in network.blocks),
        norm=network.norm,
        head=network.head,
    )


def slow_torchvision(network: Any) -> SlowVit:
    layers = list(network.encoder.layers)

    def slow(block: Any) -> SlowBlock:
        attention = block.self_attention
        return SlowBlock(
            before_attention=block.ln_1,
            query_key_value=split(attention.in_proj_weight, attention.in_proj_bias),
            output=attention.out_proj,
            mlp=lambda token: block.mlp(block.ln_2(token)),
        )

    return SlowVit(
        network=network,
        layers=layers,
        blocks=tuple(slow(block) for block in layers),
        norm=network.encoder.ln,
        head=network.heads[-1],
    )


def slow_transformers(network: Any) -> SlowVit:
    layers = list(network.vit.layers)

    def slow(block: Any) -> SlowBlock:
        attention = block.attention
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        return SlowBlock(
            before_attention=block.layernorm_before,
            query_key_value=tuple((layer.weight, layer.bias) for layer in three),
            output=attention.o_proj,
            mlp=lambda token: block.mlp(block.layernorm_after(token)),
        )

    return SlowVit(
        network=network,
        layers=layers,
        blocks=tuple(slow(block) for block in layers),
        norm=network.vit.layernorm,
        head=network.classifier,
    )


# The networks


def vit(**options: Any) -> VisionTransformer:
    """timm's, with two heads of six channels; no weight is where it began."""
    return drawn(
        VisionTransformer(
            **{
                "img_size": SIZE, "patch_size": 8, "embed_dim": WIDTH, "depth": DEPTH,
                "num_heads": HEADS, "num_classes": CLASSES, **options,
            }
        )
    )  # fmt: skip


def drawn(network: nn.Module) -> Any:
    """In float64 with the same weights each time; biases and layer scales too, which start at a
    constant."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_factor = parameter.ndim == 1 and not name.endswith("bias")
            parameter.copy_(0.4 * noise + 0.5 * is_factor)
    return network.double().eval()


def unfused(network: Any) -> Any:
    for block in network.blocks:
        block.attn.fused_attn = False
    return network


def torchvision_vit() -> nn.Module:
    from torchvision.models import VisionTransformer as TorchvisionVit

    return drawn(
        TorchvisionVit(
            image_size=SIZE, patch_size=8, num_layers=DEPTH, num_heads=HEADS, hidden_dim=WIDTH,
            mlp_dim=20, num_classes=CLASSES,
        )
    )  # fmt: skip


def transformers_vit(attention: str = "sdpa") -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=SIZE, patch_size=8, num_hidden_layers=DEPTH, hidden_size=WIDTH,
        num_attention_heads=HEADS, intermediate_size=20, num_labels=CLASSES,
        attn_implementation=attention,
    )  # fmt: skip
    return drawn(ViTForImageClassification(config))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], SlowVit]]] = {
    "timm": (vit, slow_timm),
    "timm, unfused": (lambda: unfused(vit(attn_drop_rate=0.3)), slow_timm),
    "timm, layer scale": (lambda: vit(init_values=1e-5), slow_timm),
    "timm, registers": (lambda: vit(reg_tokens=4, init_values=1e-5), slow_timm),
    "timm, normalised queries": (lambda: vit(qk_norm=True), slow_timm),
    "timm, no biases": (lambda: vit(qkv_bias=False, proj_bias=False), slow_timm),
    "timm, root mean square": (
        lambda: vit(norm_layer=partial(nn.RMSNorm, eps=1e-3)),
        slow_timm,
    ),
    "torchvision": (torchvision_vit, slow_torchvision),
    "transformers": (transformers_vit, slow_transformers),
    "transformers, unfused": (lambda: transformers_vit("eager"), slow_transformers),
}
every_network = pytest.mark.parametrize("kind", NETWORKS)


def classifier_of(network: nn.Module, *taps: str, size: int = SIZE) -> Classifier:
    """With a tap of contributions, found from what the linear end pools, if none is named."""
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(size), name="mine")
    if taps:
        return classifier.with_taps(taps)
    end = find_linear_end(classifier)
    assert end is not None and end.pooling == "class token"
    tap = contributions_tap(network, classifier.trace, end.features.layer)
    assert tap is not None
    return classifier.with_taps([tap])


def noise(images: int = 2, size: int | tuple[int, int] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    sides = (size, size) if isinstance(size, int) else size
    return torch.randn(images, 3, *sides, generator=generator).double()


def tokens_of(classifier: Classifier, images: Tensor) -> Tensor:
    """(B, T, D), as they were read."""
    return classifier.read_features(images).layer_outputs[0]


@every_network
@torch.no_grad()
def test_contributions_are_those_of_a_slow_replica(kind: str) -> None:
    make, slow = NETWORKS[kind]
    network = make()
    classifier = classifier_of(network)
    images = noise()
    reading = classifier.read_features(images)
    for image, found, logits in zip(images, reading.layer_outputs[0], reading.logits, strict=True):
        replica = slow(network)
        contributions, others, expected_logits = replica.parts(image)
        assert_close(logits, expected_logits, 1e-6)
        assert_close(found, contributions, 1e-6)
        # The closed form: all parts of the class token together are the logit.
        head, norm = replica.head, replica.norm
        constant = getattr(norm, "bias", None)
        bias = head.bias + (0 if constant is None else head.weight @ constant)
        for number, row in enumerate(head.weight):
            total = sum(float(row @ one) for one in found) + float(row @ others) + bias[number]
            assert float(total) == pytest.approx(float(logits[number]), rel=1e-6, abs=1e-6)
        # Not one of the parts is next to nothing, or the sum would say little.
        assert float((head.weight @ found.sum(dim=0)).abs().max()) > 0.05
        assert float((head.weight @ others).abs().max()) > 0.05
        assert float(found.abs().amax(dim=1).min()) > 1e-4 * float(found.abs().max())


@every_network
def test_the_tap_is_that_of_the_final_norm_by_another_name(kind: str) -> None:
    make, _ = NETWORKS[kind]
    classifier = classifier_of(make())
    (tap,) = classifier.taps
    prefix = 5 if kind == "timm, registers" else 1
    assert tap == TokenContributions(tap.layer, "tokens", WIDTH, (4, 4), (SIZE, SIZE), prefix)
    assert tap.to_config() == f"contributions:{tap.layer}"
    norm = {"torchvision": "encoder.ln", "transformers": "vit.layernorm"}
    assert tap.layer == norm.get(kind.partition(",")[0], "norm")
    named = classifier.with_taps([tap.to_config(), tap.layer])
    assert {str(one) for one in named.taps} == {tap.to_config(), tap.layer}
    assert tap in named.taps
    images = noise()
    by_name = named.read_features(images)
    position = named.taps.index(tap)
    found = by_name.layer_outputs[position]
    assert torch.equal(found, tokens_of(classifier, images))
    assert not torch.allclose(found, by_name.layer_outputs[1 - position])
    features = by_name.feature_maps[position]
    assert features.shape == (2, WIDTH, 4, 4)
    assert torch.equal(features[:, :, 1, 2], found[:, prefix + 6])


def test_a_layer_that_ends_with_the_norm_stands_for_it() -> None:
    """torchvision's encoder puts out what its final norm does."""
    network = torchvision_vit()
    trace = trace_network(network, (SIZE, SIZE))
    for features in ("encoder", "encoder.ln"):
        tap = contributions_tap(network, trace, features)
        assert tap is not None and tap.layer == "encoder.ln", features
    for features in ("encoder.layers", "heads", "conv_proj", "nothing", "", "encoder.l"):
        assert contributions_tap(network, trace, features) is None, features


# Networks without


def averaging() -> nn.Module:
    return vit(global_pool="avg")


def attention_with_a_norm() -> nn.Module:
    """Between values and projection stands a norm, whose divisor mixes the tokens."""
    return vit(scale_attn_norm=True)


class AttendingTwice(nn.Module):
    """A block whose class token is given something of the other tokens a second time."""

    def __init__(self, block: Any, again: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.block = block
        self.again = again

    def forward(self, tokens: Tensor, **_options: Any) -> Tensor:
        return self.again(self.block(tokens))


def attending_twice() -> nn.Module:
    network = vit()

    def again(tokens: Tensor) -> Tensor:
        mixed = (tokens @ tokens.transpose(1, 2)).softmax(dim=-1) @ tokens
        return tokens + nn.functional.linear(mixed, torch.eye(WIDTH).double())

    network.blocks = nn.Sequential(*[AttendingTwice(block, again) for block in network.blocks])
    return network


class NormalisingSums(nn.Module):
    """A block as in the Transformer of 2017: its norms act on the sums."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: Tensor, **_options: Any) -> Tensor:
        tokens = self.block.norm1(tokens + self.block.attn(tokens))
        return self.block.norm2(tokens + self.block.mlp(tokens))


class EndingWithANorm(nn.Module):
    """A block that adds as others do, and then normalises."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor, **_options: Any) -> Tensor:
        return self.norm(self.block(tokens))


def made_of(block_type: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = vit()
    network.blocks = nn.Sequential(*[block_type(block) for block in network.blocks])
    return drawn(network)


class OtherBlock(timm.models.vision_transformer.Block):  # type: ignore[misc]
    """Does what the others do, under another name: it is not among their like siblings."""


def with_another_block(place: int) -> nn.Module:
    network = vit(depth=4)
    network.blocks[place].__class__ = OtherBlock
    return network


class InTwoLists(nn.Module):
    """The same blocks, of which the longest run is one half."""

    def __init__(self, network: Any, between: nn.Module) -> None:
        super().__init__()
        self.first, self.second = network.blocks[:2], network.blocks[2:]
        self.between = between
        network.blocks = nn.Identity()
        self.ends = network

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.ends._pos_embed(self.ends.patch_embed(images))
        for block in (*self.first, self.between, *self.second):
            tokens = block(tokens)
        logits: Tensor = self.ends.head(self.ends.norm(tokens)[:, 0])
        return logits


class WithANormBetween(nn.Module):
    """One list of blocks, between which the tokens are normalised."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.ends, self.blocks = network, network.blocks
        network.blocks = nn.Identity()
        self.between = nn.LayerNorm(WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.ends._pos_embed(self.ends.patch_embed(images))
        for place, block in enumerate(self.blocks):
            tokens = block(self.between(tokens) if place == 1 else tokens)
        logits: Tensor = self.ends.head(self.ends.norm(tokens)[:, 0])
        return logits


WITHOUT: dict[str, tuple[Callable[[], nn.Module], int, tuple[str, ...]]] = {
    "averaging": (averaging, SIZE, ("norm", "fc_norm")),
    "a norm in the attention": (attention_with_a_norm, SIZE, ("norm",)),
    "attending twice": (attending_twice, SIZE, ("norm",)),
    "normalised sums": (lambda: made_of(NormalisingSums), SIZE, ("norm",)),
    "blocks that end with a norm": (lambda: made_of(EndingWithANorm), SIZE, ("norm",)),
    "parallel blocks": (
        lambda: vit(block_fn=timm.models.vision_transformer.ParallelThingsBlock),
        SIZE,
        ("norm",),
    ),
    "a last block of another class": (lambda: with_another_block(-1), SIZE, ("norm",)),
    "a first block of another class": (lambda: with_another_block(0), SIZE, ("norm",)),
    "blocks in two lists": (
        lambda: drawn(InTwoLists(vit(depth=4), nn.Identity())), SIZE, ("ends.norm",),
    ),
    "a norm between blocks": (lambda: drawn(WithANormBetween(vit())), SIZE, ("ends.norm",)),
    "cait": (
        lambda: drawn(
            timm.create_model(
                "cait_xxs24_224", img_size=SIZE, patch_size=8, embed_dim=WIDTH, depth=2,
                num_heads=HEADS, num_classes=CLASSES,
            )
        ),
        SIZE,
        ("norm",),
    ),
    "swin": (lambda: drawn(TINY["timm swin"]().network), 64, ("norm",)),
    "cnn": (lambda: drawn(small_cnn()), SIZE, ("1", "norm")),
    "patches pooled": (
        lambda: drawn(TINY["timm vit, patches pooled"]().network), 64, ("norm", "fc_norm"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WITHOUT)
def test_other_networks_have_none(kind: str) -> None:
    make, size, names = WITHOUT[kind]
    network = make()
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(size), name="mine")
    for name in names:
        assert contributions_tap(network, classifier.trace, name) is None
        with pytest.raises(TapError) as caught:
            classifier.with_taps([f"contributions:{name}"])
        assert "\n" not in str(caught.value)
        assert repr(f"contributions:{name}") in str(caught.value)
        assert "of mine" in str(caught.value) and "class token" in str(caught.value)


@pytest.mark.parametrize("name", ["", "nothing", "blocks.0", "head", "norms"])
def test_a_name_that_is_no_final_norm_is_refused(name: str) -> None:
    with pytest.raises(TapError, match=f"tap 'contributions:{name}' of mine"):
        classifier_of(vit(), f"contributions:{name}")


# How it is read


def test_blocks_after_the_norm_are_not_needed_and_names_in_blocks_not_taken() -> None:
    """The first block's second norm has a class token as well, but not the last word."""
    network = vit()
    trace = trace_network(network, (SIZE, SIZE))
    for features in ("blocks.0.norm2", "blocks.2", "blocks.2.norm2", "blocks"):
        assert contributions_tap(network, trace, features) is None, features


@pytest.mark.parametrize("kind", ["timm", "torchvision", "transformers", "transformers, unfused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_lower_precision_reads_the_same_roughly(kind: str, dtype: torch.dtype) -> None:
    make, _ = NETWORKS[kind]
    classifier = classifier_of(make())
    expected = tokens_of(classifier, noise())
    name = classifier.taps[0].to_config()
    found = tokens_of(classifier_of(make().to(dtype), name), noise())
    assert found.dtype == dtype
    assert_close(found.double(), expected, 1e-5 if dtype == torch.float32 else 0.05)


@pytest.mark.parametrize("kind", ["timm, registers", "torchvision", "transformers"])
def test_batches_are_read_as_single_images(kind: str) -> None:
    make, _ = NETWORKS[kind]
    classifier = classifier_of(make())
    images = noise(3)
    together = tokens_of(classifier, images)
    for image, found in zip(images, together, strict=True):
        assert_close(found, tokens_of(classifier, image[None])[0], 1e-9)
    assert not torch.allclose(together[0], together[1])


@every_network
def test_logits_are_those_without_the_tap(kind: str) -> None:
    make, _ = NETWORKS[kind]
    network = make().float()
    classifier = classifier_of(network)
    images = noise().float()
    with torch.no_grad():
        out = network(images)
    expected = out if isinstance(out, Tensor) else out.logits
    assert_close(classifier.read_features(images).logits, expected, 1e-5)
    assert_close(classifier.logits(images), expected, 1e-6)


def test_other_image_sizes_have_other_grids() -> None:
    network = vit(dynamic_img_size=True)
    classifier = classifier_of(network)
    images = noise(size=(24, 40))
    reading = classifier.read_features(images)
    assert reading.feature_maps[0].shape == (2, WIDTH, 3, 5)
    with torch.no_grad():
        contributions, _, logits = slow_timm(network).parts(images[1])
    assert_close(reading.layer_outputs[0][1], contributions, 1e-9)
    assert_close(reading.logits[1], logits, 1e-9)


class WithDecoys(nn.Module):
    """An attention that puts another softmax of the same shape before and after its own."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens: Tensor, **options: Any) -> Tensor:
        scores = (tokens @ tokens.transpose(1, 2))[:, None].repeat(1, HEADS, 1, 1)
        before = scores.softmax(dim=-1) @ tokens[:, None, :, : WIDTH // HEADS]
        attended: Tensor = self.attention(tokens + 0 * before.sum(), **options)
        after = scores.mul(2).softmax(dim=-1)
        return attended + 0 * after.sum()


def test_another_softmax_of_the_same_shape_is_not_taken_for_attention() -> None:
    plain, network = vit(), vit()
    for block in network.blocks:
        block.attn = WithDecoys(block.attn)
    images = noise()
    expected = tokens_of(classifier_of(plain), images)
    assert_close(tokens_of(classifier_of(network), images), expected, 1e-9)


def hooks_of(network: nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()
    )


class Failing(nn.Module):
    """Fails when it is told to."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.fails = False

    def forward(self, tokens: Tensor) -> Tensor:
        if self.fails:
            raise RuntimeError("no memory")
        out: Tensor = self.inner(tokens)
        return out


def test_nothing_is_left_behind_after_a_failure_either() -> None:
    network = vit()
    network.blocks[1].mlp = Failing(network.blocks[1].mlp)
    classifier = classifier_of(network)
    images = noise()
    expected = tokens_of(classifier, images)
    assert hooks_of(network) == 0
    network.blocks[1].mlp.fails = True
    with pytest.raises((ClassifierError, RuntimeError), match="no memory"):
        classifier.read_features(images)
    assert hooks_of(network) == 0
    assert torch.overrides._len_torch_function_stack() == 0
    network.blocks[1].mlp.fails = False
    assert torch.equal(tokens_of(classifier, images), expected)


def test_the_network_and_the_random_numbers_are_left_as_they_were() -> None:
    network = vit(drop_rate=0.5, proj_drop_rate=0.5).train()
    network.blocks[0].eval()
    network.head.weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    state = torch.get_rng_state()
    reading = classifier_of(network).read_features(noise())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled() and not reading.layer_outputs[0].requires_grad
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    assert all(parameter.grad is None for parameter in network.parameters())
    assert hooks_of(network) == 0


def test_contributions_have_a_graph_if_the_images_do() -> None:
    classifier = classifier_of(vit())
    images = noise().requires_grad_()
    reading = classifier.read_features(images)
    (gradient,) = torch.autograd.grad(reading.layer_outputs[0].square().sum(), images)
    step = 1e-5 * gradient / gradient.norm()
    with torch.no_grad():
        above, below = (
            float(tokens_of(classifier, images + sign * step).square().sum()) for sign in (1, -1)
        )
    assert (above - below) / 2e-5 == pytest.approx(float(gradient.norm()), rel=1e-5)


def test_threads_read_for_themselves() -> None:
    network = vit(init_values=0.3)
    classifier = classifier_of(network)
    batches = [noise(count) for count in (1, 2, 3, 4)]
    expected = [tokens_of(classifier, batch) for batch in batches]
    found: dict[int, list[Tensor]] = {number: [] for number in range(len(batches))}
    start = threading.Barrier(len(batches))

    def read(number: int) -> None:
        start.wait()
        for _ in range(6):
            found[number].append(tokens_of(classifier, batches[number]))

    threads = [threading.Thread(target=read, args=(number,)) for number in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hooks_of(network) == 0
    for number, readings in found.items():
        assert len(readings) == 6
        assert all(torch.equal(reading, expected[number]) for reading in readings)


class NoAttention(nn.Module):
    def forward(self, tokens: Tensor, **_options: Any) -> Tensor:
        return tokens


def test_a_network_that_does_otherwise_now_is_refused_in_one_line() -> None:
    """As it does when somebody takes an attention out after the tap was made."""
    network = vit()
    classifier = classifier_of(network)
    network.blocks[1].attn = NoAttention()
    with pytest.raises(TapError, match="contributions:norm gave no tensor") as caught:
        classifier.read_features(noise())
    assert "\n" not in str(caught.value)


def test_taps_beside_contributions_are_read_too() -> None:
    classifier = tiny_timm("vit_tiny_patch16_224", 64, embed_dim=24, depth=3, num_heads=3)
    both = classifier.with_taps([*classifier.taps[:2], "contributions:norm"])
    images = noise(size=64).float()
    reading = both.read_features(images)
    expected = classifier.read_features(images)
    for number in range(2):
        assert_close(reading.feature_maps[number], expected.feature_maps[number], 1e-5)
    assert len(reading.feature_maps) == 3
    token = reading.class_tokens[2]
    assert token is not None and torch.equal(token, reading.layer_outputs[2][:, 0])
