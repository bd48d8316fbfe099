"""The few-shot head against its formula worked out slowly, and what its classes share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from ttame.errors import ExplainerError
from ttame.explainers.trained.head_settings import (
    MapScale,
    MinMaxMaps,
    RawMaps,
    SharedHeadSettings,
    SigmoidMaps,
)
from ttame.explainers.trained.shared_head import SharedHead
from ttame.explainers.trained.shared_head_inputs import SharedHeadInputs

CLASSES = 5
FEW_SHOT = SharedHeadSettings()
INPUTS = SharedHeadInputs((3, 2, 4), branched=(0, 1), pooled=2, class_layer="fc", class_width=4)
WITHOUT_PRIOR = dataclasses.replace(INPUTS, channels=(3, 2), pooled=None)
KINDS: dict[str, tuple[SharedHeadInputs, SharedHeadSettings]] = {
    "whole": (INPUTS, FEW_SHOT),
    "pooled features with a branch": (dataclasses.replace(INPUTS, branched=(0, 1, 2)), FEW_SHOT),
    "pooled features first": (
        SharedHeadInputs((4, 3), branched=(1,), pooled=0, class_layer="fc", class_width=4),
        FEW_SHOT,
    ),
    "without prior": (WITHOUT_PRIOR, dataclasses.replace(FEW_SHOT, without=("prior",))),
    "without class layer": (
        SharedHeadInputs((3, 2), branched=(0, 1)),
        dataclasses.replace(FEW_SHOT, without=("prior",)),
    ),
    "without embedding": (INPUTS, dataclasses.replace(FEW_SHOT, without=("embedding",))),
    "without gate": (INPUTS, dataclasses.replace(FEW_SHOT, without=("gate",))),
    "min-maxed": (INPUTS, dataclasses.replace(FEW_SHOT, maps=MinMaxMaps())),
    "prior alone": (INPUTS, dataclasses.replace(FEW_SHOT, without=("embedding", "gate"))),
    "gate alone": (WITHOUT_PRIOR, dataclasses.replace(FEW_SHOT, without=("prior", "embedding"))),
}
GRIDS = {3: (4, 5), 2: (2, 3), 4: (2, 2)}
"""Rows and columns of feature maps by their channels."""

every_kind = pytest.mark.parametrize("kind", KINDS)


def random_head(kind: str) -> SharedHead:
    """In float64, with no weight and no statistic where it began."""
    inputs, settings = KINDS[kind]
    head = SharedHead(inputs, CLASSES, settings).double()
    with torch.no_grad():
        for tensor in (*head.parameters(), *head.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand(tensor.shape) + 0.3 - 0.8 * (torch.rand(tensor.shape) > 0.5)
                )
        for name, buffer in head.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return head.eval()


def features_for(head: SharedHead, images: int = 2) -> list[Tensor]:
    return [torch.randn(images, width, *GRIDS[width]).double() for width in head.channels]


def weights_for(head: SharedHead) -> Tensor | None:
    return torch.randn(CLASSES, 4).double() if head.inputs.class_layer else None


def enlarge(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., h, w) bilinear with half-pixel centres and repeated edges, place by place."""
    rows, columns = maps.shape[-2:]
    found = torch.zeros(*maps.shape[:-2], *grid, dtype=maps.dtype)
    for y in range(grid[0]):
        for x in range(grid[1]):
            up = max(0.0, (y + 0.5) * rows / grid[0] - 0.5)
            left = max(0.0, (x + 0.5) * columns / grid[1] - 0.5)
            for row, by_row in ((int(up), 1 - up % 1), (min(int(up) + 1, rows - 1), up % 1)):
                for column, share in (
                    (int(left), by_row * (1 - left % 1)),
                    (min(int(left) + 1, columns - 1), by_row * (left % 1)),
                ):
                    found[..., y, x] += share * maps[..., row, column]
    return found


def normalise(values: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch norm of (B, C, h, w), channel by channel."""
    done = torch.zeros_like(values)
    for channel in range(values.shape[1]):
        entries = values[:, channel].flatten().tolist()
        mean = sum(entries) / len(entries)
        variance = sum((entry - mean) ** 2 for entry in entries) / len(entries)
        if not norm.training:
            assert norm.running_mean is not None and norm.running_var is not None
            mean, variance = float(norm.running_mean[channel]), float(norm.running_var[channel])
        centred = (values[:, channel] - mean) / math.sqrt(variance + norm.eps)
        done[:, channel] = centred * norm.weight[channel] + norm.bias[channel]
    return done


def at_each_place(features: Tensor, layer: nn.Conv2d) -> Tensor:
    done = torch.zeros(len(features), layer.out_channels, *features.shape[2:]).to(features)
    for image, one in enumerate(features):
        for y in range(features.shape[2]):
            for x in range(features.shape[3]):
                done[image, :, y, x] = layer.weight[:, :, 0, 0] @ one[:, y, x]
    return done if layer.bias is None else done + layer.bias[:, None, None]


@torch.no_grad()
def slowly(
    head: SharedHead, features: Sequence[Tensor], classes: Tensor, weights: Tensor | None
) -> Tensor:
    """The formula of the docstring for the (B, K) classes, place by place."""
    inputs, settings = head.inputs, head.settings
    grid = (features[inputs.branched[0]].shape[2], features[inputs.branched[0]].shape[3])
    maps = torch.zeros(*classes.shape, *grid).double()
    if settings.maps == MinMaxMaps():
        assert not hasattr(head, "bias")
    else:
        maps += head.bias
    if {"embedding", "gate"} & set(settings.parts):
        parts = [
            enlarge(branched(features[position], branch), grid)
            for branch, position in zip(head.branches, inputs.branched, strict=True)
        ]
        fused = surrounded(branched(torch.cat(parts, dim=1), head.fusion), head.surroundings)
    if "gate" in settings.parts:
        maps += at_each_place(fused, head.gate)
    if "embedding" in settings.parts:
        places = at_each_place(fused, head.place_embedding)
        for image, of_image in enumerate(classes.tolist()):
            for number, index in enumerate(of_image):
                vector = class_vector(head, index, weights, features, image)
                for y in range(grid[0]):
                    for x in range(grid[1]):
                        place = places[image, :, y, x]
                        cosine = vector @ place / (vector.norm() * place.norm())
                        maps[image, number, y, x] += head.embedding_scale * cosine
    if "prior" in settings.parts:
        assert weights is not None and inputs.pooled is not None
        evidence = torch.stack(
            [
                torch.stack([(weights[index, :, None, None] * one).sum(0) for index in of_image])
                for of_image, one in zip(classes.tolist(), features[inputs.pooled], strict=True)
            ]
        )
        sharp = evidence.flatten(0, 1)
        both = torch.stack([sharp, torch.stack([blurred(one) for one in sharp])], dim=1)
        flat = normalise(both, head.prior_norm).sum(dim=1)
        maps += enlarge(flat, grid).reshape(maps.shape)
    return maps


def blurred(one: Tensor) -> Tensor:
    """(h, w) under a Gaussian of a seventh of the shorter side; weights add up to 1 everywhere."""
    rows, columns = one.shape
    broad = min(rows, columns) / 7
    done = torch.zeros_like(one)
    for y in range(rows):
        for x in range(columns):
            total = weighted = 0.0
            for row in range(rows):
                for column in range(columns):
                    down, across = (row - y) / broad, (column - x) / broad
                    weight = math.exp(-(down**2 + across**2) / 2)
                    total += weight
                    weighted += weight * float(one[row, column])
            done[y, x] = weighted / total
    return done


def branched(features: Tensor, branch: nn.Module) -> Tensor:
    convolution, norm = branch.convolution, branch.batch_norm
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    return normalise(at_each_place(features, convolution), norm).clamp_min(0)


def surrounded(features: Tensor, layer: nn.Module) -> Tensor:
    """Every place with the sum over its 3×3 neighbourhood, channel by channel."""
    depthwise, norm, pointwise = layer.depthwise, layer.batch_norm, layer.pointwise
    assert isinstance(depthwise, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert isinstance(pointwise, nn.Conv2d)
    rows, columns = features.shape[2:]
    seen = torch.zeros_like(features)
    for y in range(rows):
        for x in range(columns):
            for row in range(max(0, y - 1), min(rows, y + 2)):
                for column in range(max(0, x - 1), min(columns, x + 2)):
                    factor = depthwise.weight[:, 0, row - y + 1, column - x + 1]
                    seen[:, :, y, x] += factor * features[:, :, row, column]
    return features + at_each_place(normalise(seen, norm).clamp_min(0), pointwise)


def class_vector(
    head: SharedHead, index: int, weights: Tensor | None, features: Sequence[Tensor], image: int
) -> Tensor:
    if weights is None:
        return head.class_embedding.weight[index]
    entries = weights.flatten().tolist()
    mean = sum(entries) / len(entries)
    spread = math.sqrt(sum((entry - mean) ** 2 for entry in entries) / len(entries))
    mean_row = torch.stack([column.sum() / CLASSES for column in weights.t()])
    embedding = head.class_embedding
    assert isinstance(embedding, nn.Linear)
    sought = (weights[index] - mean_row) / spread
    if head.inputs.pooled is not None:
        evidence = features[head.inputs.pooled][image]
        pooled = torch.stack([channel.sum() / channel.numel() for channel in evidence])
        deviation = math.sqrt(float(((pooled - pooled.mean()) ** 2).sum()) / len(pooled))
        sought = torch.cat([sought, sought * pooled / deviation])
    return embedding.weight @ sought + embedding.bias


@every_kind
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_maps_are_those_of_the_formula(kind: str, mode: str) -> None:
    head = random_head(kind).train(mode == "train")
    features, weights = features_for(head), weights_for(head)
    classes = torch.tensor([[3, 0], [1, 3]])
    expected = slowly(head, features, classes, weights)
    found = head(features, classes, class_weights=weights)
    assert found.dtype == torch.float64
    assert_close(found, expected, 1e-9)


@every_kind
def test_every_way_to_ask_for_classes_agrees(kind: str) -> None:
    head = random_head(kind)
    features, weights = features_for(head), weights_for(head)
    everything = head(features, class_weights=weights)
    assert everything.shape[:2] == (2, CLASSES)
    shared = head(features, torch.tensor([4, 1]), class_weights=weights)
    assert_close(shared, everything[:, [4, 1]], 1e-12)
    own = head(features, torch.tensor([[2, 0], [4, 2]]), class_weights=weights)
    expected = torch.stack([everything[0, [2, 0]], everything[1, [4, 2]]])
    assert_close(own, expected, 1e-12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0].class_layer])
def test_the_order_of_the_classes_is_that_of_their_weights(kind: str) -> None:
    head = random_head(kind)
    features, weights = features_for(head), weights_for(head)
    assert weights is not None
    order = torch.tensor([3, 0, 4, 1, 2])
    maps = head(features, class_weights=weights)
    assert_close(head(features, class_weights=weights[order]), maps[:, order], 1e-12)


def test_a_class_without_images_learns_from_the_others() -> None:
    """One step on the maps of class 0 moves those of class 4, in another way."""
    head = random_head("whole").train()
    features, weights = features_for(head), weights_for(head)
    never = torch.tensor([4])
    before = head.eval()(features, never, class_weights=weights).detach()
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
    head(features, torch.tensor([0]), class_weights=weights).square().mean().backward()
    optimiser.step()
    change = head(features, never, class_weights=weights).detach() - before
    assert change.abs().max() > 1e-3
    assert change.std() > 1e-3, "not by a constant alone"


@every_kind
def test_every_parameter_is_used_by_every_class(kind: str) -> None:
    """What has no gradient would make several processes wait for one another."""
    head = random_head(kind).train()
    maps = head(features_for(head), torch.tensor([[0, 1], [2, 3]]), class_weights=weights_for(head))
    (maps * torch.randn_like(maps)).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.requires_grad, name
        assert parameter.grad is not None, name
        # AdamW would make steps of the full size of a gradient that is only rounding.
        assert parameter.grad.abs().max() > 1e-9, name


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("whole", set()),
        ("without prior", {"prior_norm"}),
        ("without embedding", {"place_embedding", "class_embedding", "embedding_scale"}),
        ("without gate", {"gate"}),
        (
            "prior alone",
            {
                "branches",
                "fusion",
                "surroundings",
                "place_embedding",
                "class_embedding",
                "embedding_scale",
                "gate",
            },
        ),
    ],
)
def test_parts_that_are_left_out_do_not_exist(kind: str, missing: set[str]) -> None:
    def parts(kind: str) -> set[str]:
        return {name.partition(".")[0] for name in random_head(kind).state_dict()}

    assert parts("whole") == {
        "branches", "fusion", "surroundings", "prior_norm", "place_embedding", "class_embedding",
        "embedding_scale", "gate", "bias",
    }  # fmt: skip
    assert parts("whole") - parts(kind) == missing


def test_an_untrained_head_begins_at_its_prior() -> None:
    """Sharp and broad, each one and a half times."""
    inputs, settings = KINDS["without embedding"]
    head = SharedHead(inputs, CLASSES, settings).double().eval()
    features, weights = features_for(head), weights_for(head)
    evidence = torch.einsum("kd,bdhw->bkhw", weights, features[2])
    broad = torch.stack([blurred(one) for one in evidence.flatten(0, 1)]).reshape(evidence.shape)
    expected = nn.functional.interpolate(evidence + broad, size=GRIDS[3], mode="bilinear")
    found = head(features, class_weights=weights)
    assert_close(found, 1.5 * expected / math.sqrt(1 + 1e-5), 1e-9)


@pytest.mark.parametrize("maps", [RawMaps(), SigmoidMaps(), MinMaxMaps()], ids=str)
@pytest.mark.parametrize("details", [0.0, 0.5, 1.0])
def test_explanations_keep_a_share_of_the_details(maps: MapScale, details: float) -> None:
    """Before the scale, whatever it is; what training masks with has them all."""
    inputs, settings = KINDS["whole"]
    settings = dataclasses.replace(settings, maps=maps, details=details)
    head = SharedHead(inputs, CLASSES, settings).double()
    if maps == MinMaxMaps():
        head.exponent.fill_(0.7)
    logits = torch.randn(2, 3, 5, 4).double()
    broad = torch.stack([blurred(one) for one in logits.flatten(0, 1)]).reshape(logits.shape)
    wanted = details * logits + (1 - details) * broad
    low, high = wanted.amin(dim=(2, 3), keepdim=True), wanted.amax(dim=(2, 3), keepdim=True)
    unit = (wanted - low) / (high - low)
    expected = {"raw": wanted, "sigmoid": 1 / (1 + (-wanted).exp()), "min-max": unit**0.7}
    assert_close(head.explained(logits), expected[maps.kind], 1e-9)
    assert_close(head.unit_range(logits), unit, 1e-9)
    features, weights = features_for(head), weights_for(head)
    head.eval()
    in_full = SharedHead(inputs, CLASSES, dataclasses.replace(settings, details=1.0)).double()
    assert torch.equal(
        head(features, class_weights=weights), in_full.eval()(features, class_weights=weights)
    )


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    first, same, other = (SharedHead(INPUTS, CLASSES, FEW_SHOT, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.place_embedding.weight, same.place_embedding.weight)
    assert not torch.equal(first.place_embedding.weight, other.place_embedding.weight)


def test_the_size_of_the_head_does_not_depend_on_the_classes() -> None:
    sizes = [
        sum(parameter.numel() for parameter in SharedHead(INPUTS, classes, FEW_SHOT).parameters())
        for classes in (2, 1000)
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("weights", [torch.zeros(CLASSES, 4), torch.full((CLASSES, 4), 3.0)])
def test_class_weights_that_tell_nothing_apart_give_finite_maps(weights: Tensor) -> None:
    """A classifier whose last layer still is zero, as torchvision makes it."""
    head = random_head("whole").train()
    maps = head(features_for(head), class_weights=weights.double())
    assert torch.isfinite(maps).all()
    assert torch.equal(maps[:, 0], maps[:, 1])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"branched": ()}, r"branches on taps \[\] of 3"),
        ({"branched": (0,)}, "every tap read"),
        ({"branched": (0, 3)}, "every tap read"),
        ({"class_layer": ""}, "rows of length 4.*both or neither"),
        ({"class_width": 7}, "4 channels for class weights of 7.*pools"),
    ],
)
def test_inputs_that_do_not_fit_together_are_refused(
    inputs: dict[str, object], message: str
) -> None:
    with pytest.raises(ExplainerError, match=message):
        dataclasses.replace(INPUTS, **inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "settings", "classes", "message"),
    [
        (INPUTS, {"without": ("prior",)}, CLASSES, "prior=False with pooled=2"),
        (WITHOUT_PRIOR, {}, CLASSES, "prior=True with pooled=None"),
        (INPUTS, {}, 0, "at least one class"),
        (WITHOUT_PRIOR, {"without": ("prior", "embedding", "gate")}, 5, "at least one of"),
    ],
)
def test_settings_that_give_no_head_are_refused(
    inputs: SharedHeadInputs, settings: dict[str, object], classes: int, message: str
) -> None:
    changed = dataclasses.replace(FEW_SHOT, **settings)  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match=message):
        SharedHead(inputs, classes, changed)


def test_evidence_is_that_of_places_and_as_large_in_long_texts_as_in_short_ones() -> None:
    """Shares of a sum over twice as many places are half as large."""
    inputs = SharedHeadInputs((4,), branched=(0,), pooled=0, class_layer="fc", class_width=4)
    settings = SharedHeadSettings(without=("embedding", "gate"), blur=1.0)
    head = SharedHead(inputs, 3, settings).eval()
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    evidence = torch.randn(1, 4, 1, 6, generator=torch.Generator().manual_seed(1))
    places = torch.tensor([0, 1, 1, 1, 0, 0]).bool()[None, None, None]
    found = head([evidence], class_weights=rows, places=places)
    assert_close(found, head([3 * evidence * places], class_weights=rows), 1e-6)
    longer = torch.cat([evidence, evidence], dim=3) / 2
    twice = head([longer], class_weights=rows, places=torch.cat([places, places], dim=3))
    assert_close(twice[..., :3], found[..., :3], 1e-6)


def test_padding_decides_nothing_in_training() -> None:
    """Whatever stands behind the words of a batch, and however long: neither maps nor statistics.

    The last word of the first text is its last token, as of tokenizers without special ones.
    """
    inputs = SharedHeadInputs((3, 4), branched=(0,), pooled=1, class_layer="fc", class_width=4)
    settings = SharedHeadSettings(blur=1.0)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    features = [torch.randn(2, width, 1, 6, generator=generator).double() for width in (3, 4)]
    places = torch.tensor([[0, 1, 1, 1, 1, 1], [0, 1, 1, 0, 0, 0]]).bool()[:, None, None]
    present = torch.tensor([[1] * 6, [1] * 4 + [0] * 2]).bool()[:, None, None]
    padded = [
        torch.cat([each, 50 * torch.randn(2, each.shape[1], 1, 4, generator=generator)], dim=3)
        for each in features
    ]
    nothing = torch.zeros(2, 1, 1, 4).bool()
    longer, real = (torch.cat([each, nothing], dim=3) for each in (places, present))
    found = []
    for given, where, there in ((features, places, present), (padded, longer, real)):
        head = SharedHead(inputs, 3, settings).double().train()
        with torch.no_grad():
            for weight in head.parameters():
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
        maps = head(given, class_weights=rows, places=where, present=there)[..., :6]
        found.append((maps[places.expand_as(maps)].detach(), dict(head.named_buffers())))
    (maps, statistics), (again, others) = found
    assert_close(again, maps, 1e-10)
    for name, value in statistics.items():
        assert_close(others[name].double(), value.double(), 1e-10)
