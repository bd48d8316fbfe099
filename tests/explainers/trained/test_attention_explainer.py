"""The few-shot explainer on classifiers of every kind: what it reads, saves, and says of itself."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.classifiers.test_linear_end import (
    tiny_convnext,
    tiny_fully_convolutional,
    tiny_mobilenet,
    tiny_vgg,
)
from tests.conftest import assert_close
from tests.tiny_networks import TINY, VIT, tiny_cnn, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, ExplainerFolderError, TapError
from ttame.evaluation.randomisation import randomised_copies
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.activation.cam import Cam
from ttame.explainers.trained.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.head_cost import head_cost
from ttame.explainers.trained.head_settings import HeadSettings, MinMaxMaps, RawMaps
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.explainers.trained.known_heads import plan_head
from ttame.explainers.trained.shared_head import SharedHead
from ttame.features.token_contributions import TokenContributions
from ttame.images.map_details import with_details

FEW_SHOT = head_settings("few-shot", maps="sigmoid")
PRIOR_ALONE = dataclasses.replace(FEW_SHOT, maps=RawMaps(), without=("embedding", "gate"))
NETWORKS: dict[str, Callable[[], Classifier]] = {
    **{kind: TINY[kind] for kind in ("cnn", "timm vit", "timm swin", "timm vit, distilled")},
    "convnext": tiny_convnext,
    "mobilenet": tiny_mobilenet,
    "vgg": tiny_vgg,
    "fully convolutional": tiny_fully_convolutional,
}


def few_shot(
    classifier: Classifier, settings: HeadSettings = FEW_SHOT, seed: int = 3
) -> AttentionExplainer:
    """With weights and statistics unlike those of an untrained head."""
    explainer = new_attention_explainer(classifier, settings, method="few_shot", seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in explainer.head.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return explainer


def noise(classifier: Classifier, images: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(images, 3, *classifier.preprocessing.input_size, generator=generator)


def layers(explainer: AttentionExplainer) -> list[str]:
    return [str(tap) for tap in explainer.classifier.taps]


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_saved_explainer_gives_the_same_maps(kind: str, tmp_path: Path) -> None:
    explainer = few_shot(NETWORKS[kind]())
    explainer.save(tmp_path / "saved")
    classifier = copy.copy(explainer.classifier).with_taps(explainer.classifier.taps[:1])
    again = load_explainer(tmp_path / "saved", classifier=classifier)
    images = noise(classifier)
    assert torch.equal(again(images, "all").maps, explainer(images, "all").maps)
    assert again.method == "few_shot"
    assert again.provenance() == explainer.provenance()
    assert isinstance(again.head, SharedHead) and isinstance(explainer.head, SharedHead)
    assert again.head.settings == explainer.head.settings
    assert again.head.inputs == explainer.head.inputs


@pytest.mark.parametrize("part", ["prior", "embedding", "gate"])
def test_a_part_that_is_left_out_stays_out_when_loaded(part: str, tmp_path: Path) -> None:
    settings = dataclasses.replace(FEW_SHOT, without=(part,))
    explainer = few_shot(tiny_cnn(), settings)
    explainer.save(tmp_path / "saved")
    again = load_explainer(tmp_path / "saved", classifier=tiny_cnn())
    assert again.head.settings == explainer.head.settings == settings
    assert part not in again.head.settings.parts
    assert again.provenance()["parts"] == list(settings.parts)
    images = noise(again.classifier)
    assert torch.equal(again(images).maps, explainer(images).maps)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_prior_is_made_where_there_is_something_pooled(kind: str) -> None:
    explainer = few_shot(NETWORKS[kind]())
    head = explainer.head
    assert isinstance(head, SharedHead)
    has_prior = kind in ("cnn", "timm vit", "timm swin", "convnext")
    assert ("prior" in head.settings.parts) == (head.inputs.pooled is not None) == has_prior
    embeds_weights = isinstance(head.class_embedding, nn.Linear)
    assert embeds_weights == bool(head.inputs.class_layer) == (kind != "fully convolutional")


def test_pooled_features_that_are_tapped_already_are_read_once() -> None:
    """The last tap of a plain CNN is what it pools; a ViT's tokens add to what comes after."""
    cnn, vit = few_shot(tiny_cnn()), few_shot(TINY["timm vit"]())
    assert layers(cnn) == ["2", "4", "6"] and layers(vit)[-1] == "contributions:norm"
    assert isinstance(cnn.head, SharedHead) and isinstance(vit.head, SharedHead)
    assert (cnn.head.inputs.branched, cnn.head.inputs.pooled) == ((0, 1, 2), 2)
    assert (vit.head.inputs.branched, vit.head.inputs.pooled) == ((0, 1, 2), 3)


def test_four_taps_leave_no_room_for_the_pooled_features() -> None:
    blocks = ["blocks.0", "blocks.1", "blocks.2", "blocks.3"]
    classifier = TINY["timm vit"]().with_taps(blocks)
    with pytest.raises(ExplainerError, match="4 taps and the features.*4 taps.*without='prior'"):
        plan_head(classifier, FEW_SHOT)
    without = plan_head(classifier, dataclasses.replace(FEW_SHOT, without=("prior",)))
    assert [tap.layer for tap in without.classifier.taps] == blocks
    with pytest.raises(ExplainerError, match="4 taps and the features"):
        plan_head(classifier.with_taps([*blocks[:3], "norm"]), FEW_SHOT)
    tapped = plan_head(classifier.with_taps([*blocks[:3], "contributions:norm"]), FEW_SHOT)
    assert tapped.config.inputs["pooled"] == 3
    assert tapped.config.inputs["branched"] == [0, 1, 2, 3]


def sharp_and_broad(maps: Tensor) -> Tensor:
    """What an untrained head makes of its evidence: the map and its blur, by one and a half."""
    return 1.5 * (maps + with_details(maps, 0)) / (1 + 1e-5) ** 0.5


def test_the_prior_of_a_cnn_is_cam() -> None:
    classifier = tiny_cnn()
    explainer = new_attention_explainer(classifier, PRIOR_ALONE, method="few_shot")
    images = noise(classifier)
    cam = sharp_and_broad(Cam(classifier)(images, "all").maps)
    enlarged = nn.functional.interpolate(cam, size=(16, 16), mode="bilinear")
    assert_close(explainer(images, "all").maps, enlarged, 1e-5)


def test_the_prior_is_cam_where_the_average_is_normalised_too() -> None:
    classifier = tiny_convnext()
    explainer = new_attention_explainer(classifier, PRIOR_ALONE, method="few_shot")
    assert layers(explainer)[-1] == "normalised:norm_pre:head.norm"
    images = noise(classifier)
    cam = sharp_and_broad(Cam(classifier)(images, "all").maps)
    enlarged = nn.functional.interpolate(cam, size=(8, 8), mode="bilinear")
    assert_close(explainer(images, "all").maps, enlarged, 1e-5)


def test_the_prior_of_a_vit_is_what_each_token_adds_to_the_logit() -> None:
    """Without a token's part in all blocks, at frozen attention and norm, the logit misses it."""
    classifier = TINY["timm vit"]()
    explainer = new_attention_explainer(classifier, PRIOR_ALONE, method="few_shot")
    images = noise(classifier)
    tokens = classifier.with_taps(["contributions:norm"]).read_features(images).layer_outputs[0]
    weight = classifier.network.head.weight.detach()  # type: ignore[union-attr]
    evidence = (tokens[:, 1:] @ weight.t()).transpose(1, 2).reshape(2, -1, 4, 4)  # type: ignore[operator]
    assert_close(explainer(images, "all").maps, sharp_and_broad(evidence), 1e-4)


def test_the_prior_of_a_vit_whose_contributions_are_not_found_is_its_last_norm() -> None:
    """Blocks that normalise after attention have none; the class-embedding projection is left."""
    torch.manual_seed(1)
    classifier = tiny_timm("vit_tiny_patch16_224", 64, **VIT, scale_attn_norm=True)
    explainer = new_attention_explainer(classifier, PRIOR_ALONE, method="few_shot")
    assert layers(explainer)[-1] == "norm"
    images = noise(classifier)
    network = classifier.network
    with torch.no_grad():
        tokens = network.forward_features(images)[:, 1:]  # type: ignore[operator]
        evidence = tokens @ network.head.weight.t()  # type: ignore[operator,union-attr]
    expected = sharp_and_broad(evidence.transpose(1, 2).reshape(2, -1, 4, 4))
    assert_close(explainer(images, "all").maps, expected, 1e-4)


def test_maps_are_the_sigmoid_if_the_settings_say_so(tmp_path: Path) -> None:
    raw = few_shot(tiny_cnn(), dataclasses.replace(FEW_SHOT, maps=RawMaps()))
    sigmoid = few_shot(tiny_cnn())
    images = noise(raw.classifier)
    assert_close(sigmoid(images, "top2").maps, raw(images, "top2").maps.sigmoid(), 1e-6)
    assert raw.provenance()["maps"] == "raw"
    for name, explainer, words in (
        ("raw", raw, "the head's output before the sigmoid"),
        ("sigmoid", sigmoid, "the sigmoid of the head's output, in [0, 1]"),
    ):
        explainer.save(tmp_path / name)
        card = (tmp_path / name / "README.md").read_text(encoding="utf-8")
        assert f"| maps | {words}" in card


def test_the_card_names_the_parts_that_the_head_has_and_lacks(tmp_path: Path) -> None:
    few_shot(tiny_cnn()).save(tmp_path / "whole")
    few_shot(tiny_mobilenet()).save(tmp_path / "without")
    new_attention_explainer(tiny_cnn()).save(tmp_path / "published")
    whole, without, published = (
        (tmp_path / name / "README.md").read_text(encoding="utf-8")
        for name in ("whole", "without", "published")
    )
    (row,) = [line for line in whole.splitlines() if line.startswith("| parts of the head |")]
    assert all(part in row for part in ("prior (", "embedding (", "gate ("))
    assert "without" not in row
    (row,) = [line for line in without.splitlines() if line.startswith("| parts of the head |")]
    assert "prior (" not in row and row.endswith("; without prior |")
    assert "parts of the head" not in published


def test_the_class_weights_are_those_of_the_classifier_that_is_explained() -> None:
    """With all of a network random but its features, a head that is kept gives other maps."""
    explainer = few_shot(tiny_cnn(), dataclasses.replace(FEW_SHOT, maps=RawMaps()))
    images = noise(explainer.classifier)
    original = explainer(images, "all").maps
    layers_random, randomised = next(randomised_copies(explainer.classifier))
    assert layers_random == 1, "only the linear layer"
    other = explainer.for_classifier(randomised)
    assert isinstance(other, AttentionExplainer)
    assert other.head is explainer.head
    found = other(images, "all").maps
    assert (found - original).abs().mean() > 0.01
    # Classes that change their weights change their maps.
    swapped = copy.copy(explainer.classifier)
    swapped.network = copy.deepcopy(explainer.classifier.network)
    order = torch.tensor([1, 0, 2, 3, 4, 5, 6])
    with torch.no_grad():
        linear = swapped.network.get_submodule("10")
        assert isinstance(linear, nn.Linear)
        linear.weight.copy_(linear.weight[order])
    assert_close(explainer.for_classifier(swapped)(images, "all").maps, original[:, order], 1e-5)
    assert torch.equal(explainer(images, "all").maps, original), "the original is as it was"


@pytest.mark.parametrize("kind", ["cnn", "timm vit"])
def test_a_named_method_loads_the_folder(kind: str, tmp_path: Path) -> None:
    explainer = few_shot(TINY[kind]())
    explainer.save(tmp_path / "saved")
    again = make_explainer("few_shot", TINY[kind](), folder=tmp_path / "saved")
    images = noise(explainer.classifier)
    assert torch.equal(again(images).maps, explainer(images).maps)
    with pytest.raises(ExplainerError, match="trained as few_shot, not t_tame"):
        make_explainer("t_tame", TINY[kind](), folder=tmp_path / "saved")
    with pytest.raises(ExplainerError, match="training_settings..few-shot"):
        make_explainer("few_shot", TINY[kind]())


def test_a_classifier_without_the_linear_layer_is_refused() -> None:
    head = few_shot(tiny_cnn()).head
    other = tiny_cnn()
    convolution = nn.Conv2d(16, 7, 1)
    other.network = nn.Sequential(*list(other.network.children())[:7], convolution)  # type: ignore[assignment]
    with pytest.raises(ExplainerError, match=r"linear layer '10' of shape \(7, 16\)"):
        AttentionExplainer(other, head, method="few_shot")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head["settings"].update(kind="t-tame"), "unknown setting"),
        (lambda head: head.update(inputs={}), "a few-shot head with inputs"),
        (lambda head: head["inputs"].update(pooled=1), "pooled features with"),
        (lambda head: head["inputs"].update(pooled="one"), "inputs of a few-shot head"),
        (lambda head: head["inputs"].update(class_width=10**9), "rows of length"),
        (lambda head: head["settings"].update(maps="raw"), "unknown maps"),
        (lambda head: head["settings"].update(without=["gait"]), "unknown without"),
    ],
)
def test_a_head_that_does_not_fit_together_is_a_broken_file(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    few_shot(tiny_cnn()).save(tmp_path / "saved")
    path = tmp_path / "saved" / "config.json"
    config = json.loads(path.read_text())
    change(config["head"])
    path.write_text(json.dumps(config))
    with pytest.raises(ExplainerFolderError, match=rf"broken at 'head' .*{message}"):
        load_explainer(tmp_path / "saved", classifier=tiny_cnn())


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_cost_is_that_of_the_head_that_would_be_made(kind: str) -> None:
    classifier = NETWORKS[kind]()
    cost = head_cost(classifier, FEW_SHOT)
    head = new_attention_explainer(classifier, FEW_SHOT, method="few_shot").head
    assert cost.parameters == sum(parameter.numel() for parameter in head.parameters())
    assert cost.parts == head.settings.parts
    assert 0 < cost.top1_share <= cost.all_share
    assert head_cost(classifier).parts == ()


# The prior of a Vision Transformer, and the details of all maps


def test_settings_of_the_maps_are_saved_with_a_vit(tmp_path: Path) -> None:
    settings = dataclasses.replace(FEW_SHOT, maps=MinMaxMaps(mean_map=0.4), details=0.25)
    explainer = few_shot(TINY["timm vit"](), settings)
    explainer.save(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["classifier"]["taps"][-1] == "contributions:norm"
    assert config["head"]["settings"]["details"] == 0.25
    assert config["head"]["settings"]["maps"] == {"kind": "min-max", "mean_map": 0.4}
    again = load_explainer(tmp_path / "saved", classifier=TINY["timm vit"]())
    assert again.head.settings == settings
    images = noise(again.classifier)
    assert torch.equal(again(images).maps, explainer(images).maps)
    in_full = few_shot(TINY["timm vit"](), dataclasses.replace(settings, details=1.0))
    assert (in_full(images).maps - explainer(images).maps).abs().max() > 0.01


def test_a_head_of_contributions_is_refused_where_there_are_none(tmp_path: Path) -> None:
    few_shot(TINY["timm vit"]()).save(tmp_path / "saved")
    other = tiny_timm("vit_tiny_patch16_224", 64, **VIT, scale_attn_norm=True)
    with pytest.raises(ExplainerError, match="contributions:norm") as caught:
        load_explainer(tmp_path / "saved", classifier=other)
    assert "\n" not in str(caught.value)


def test_the_card_says_what_the_prior_is_made_of(tmp_path: Path) -> None:
    without = dataclasses.replace(FEW_SHOT, without=("prior",))
    cards = {}
    for name, explainer in (
        ("vit", few_shot(TINY["timm vit"](), dataclasses.replace(FEW_SHOT, details=0.5))),
        ("cnn", few_shot(tiny_cnn())),
        ("without", few_shot(tiny_cnn(), without)),
    ):
        explainer.save(tmp_path / name)
        cards[name] = (tmp_path / name / "README.md").read_text(encoding="utf-8")
    row = "| the prior is made of | "
    added = "contributions:norm, what each token adds to the class token |\n"
    assert (
        f"{row}{added}| details | maps keep 0.5 of their short-range differences |\n| maps"
        in (cards["vit"])
    )
    assert f"{row}6, the features of each place |\n| maps" in cards["cnn"]
    assert row not in cards["without"]


@pytest.mark.parametrize("method", ["grad_cam", "score_cam", "ablation_cam", "eigen_cam"])
def test_no_method_takes_contributions_for_a_layer(method: str) -> None:
    """No logit depends on them. A classifier that reads them is explained by its other taps."""
    classifier = TINY["timm vit"]()
    with pytest.raises(TapError, match="contributions:norm.*layer='norm'") as caught:
        make_explainer(method, classifier, layer="contributions:norm")
    assert "\n" not in str(caught.value)
    reading = few_shot(classifier).classifier
    assert isinstance(reading.taps[-1], TokenContributions)
    images = noise(classifier, 1)
    expected = make_explainer(method, classifier)(images).maps
    assert torch.equal(make_explainer(method, reading)(images).maps, expected)


def test_reading_contributions_is_counted_as_cost() -> None:
    """A product of the width squared for each token and block, beside the head itself."""
    classifier = TINY["timm vit"]()
    prior = dataclasses.replace(FEW_SHOT, without=("embedding", "gate"))
    network = classifier.network
    tokens, width, blocks = 17, int(network.embed_dim), len(network.blocks)  # type: ignore[arg-type]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        classifier.logits(noise(classifier, 1))
    products = 2 * blocks * tokens * width * width / counter.get_total_flops()
    assert products <= head_cost(classifier, prior).top1_share <= 1.5 * products
