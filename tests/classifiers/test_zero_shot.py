"""Zero-shot classifiers of CLIP-like models, next to what the models themselves compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.classifiers.clip_like import (
    LikeOpenClip,
    Tokenizer,
    tiny_clip,
    tiny_siglip,
    token_numbers,
)
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.zero_shot import image_tower_of, text_embeddings
from ttame.errors import ClassifierError
from ttame.explainers.known_explainers import make_explainer
from ttame.images.preprocessing import Preprocessing

NAMES = ["cat", "dog", "hen"]
PIXELS = Preprocessing.imagenet(32)


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def zero_shot(model: Any, texts: Tensor, **more: Any) -> Classifier:
    return Classifier.zero_shot(model, texts, NAMES, **{"preprocessing": PIXELS, **more})


@pytest.mark.parametrize(
    ("make", "kind"),
    [(tiny_clip, "softmax"), (tiny_siglip, "sigmoid")],
    ids=["CLIP", "SigLIP"],
)
def test_scores_and_probabilities_are_those_of_the_model(make: Any, kind: str) -> None:
    model = make()
    tokens = token_numbers(NAMES)
    with torch.no_grad():
        expected = model(input_ids=tokens, pixel_values=images()).logits_per_image
        texts = model.get_text_features(input_ids=tokens).pooler_output
    classifier = zero_shot(model, texts * 3)
    assert torch.allclose(classifier.logits(images()), expected, atol=1e-5)
    assert classifier.outputs.kind == kind
    probabilities = expected.softmax(1) if kind == "softmax" else expected.sigmoid()
    assert torch.allclose(classifier.probabilities(images()), probabilities, atol=1e-5)
    assert classifier.class_names == tuple(NAMES)
    for method in ("attention_rollout", "transformer_attribution", "attn_lrp", "grad_cam"):
        maps = make_explainer(method, classifier)(images(), "all").maps
        assert maps.shape[:2] == (2, 3) and float(maps.abs().max()) > 0, method


def test_relevance_holds_the_length_of_the_embedding() -> None:
    """The relevance of a linear tower is its weights times the pixels, over the length."""
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Conv2d(3, 6, 4, 4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    texts = torch.randn(3, 6)
    classifier = zero_shot(tower, texts, scale=10.0, taps=["image_tower.0"])
    batch = images()
    relevance = make_explainer("lrp", classifier, rules="epsilon")(batch, 1).maps
    weight = tower[0].weight.detach()
    length = tower(batch).detach().norm(dim=1)
    direction = 10 * F.normalize(texts, dim=1)[1]
    per_pixel = torch.einsum("d,dcij->cij", direction, weight).repeat(1, 8, 8) / 64
    expected = (per_pixel * batch).sum(1) / length[:, None, None]
    assert torch.allclose(relevance[:, 0], expected, atol=1e-4)


def test_one_model_whole_or_its_image_tower() -> None:
    from transformers import CLIPVisionModelWithProjection

    model, texts = tiny_clip(), torch.randn(3, 20)
    alone = CLIPVisionModelWithProjection(model.config.vision_config).eval()
    alone.load_state_dict(
        {k: v for k, v in model.state_dict().items() if k.startswith(("vision", "visual"))}
    )
    whole = zero_shot(model, texts)
    half = zero_shot(alone, texts, scale=model.logit_scale.exp())
    assert torch.equal(whole.logits(images()), half.logits(images()))
    assert whole.fingerprint() == half.fingerprint()
    with pytest.raises(ClassifierError, match="that cosines are multiplied by"):
        zero_shot(alone, texts)
    with pytest.raises(ClassifierError, match="lacks the projection"):
        zero_shot(type(model.vision_model)(model.config.vision_config), texts, scale=1.0)


def test_open_clip_and_cam_with_the_length_held() -> None:
    """Where the embedding is an average, scores are averages of maps of the same shares."""
    model = LikeOpenClip()
    texts = text_embeddings(model, token_numbers, NAMES)
    classifier = zero_shot(model, texts)
    features = model.visual[:4](images())
    cosines = F.cosine_similarity(features.mean((2, 3))[:, None], texts[None], dim=2)
    assert torch.allclose(classifier.logits(images()), cosines * torch.tensor(3.0).exp(), atol=1e-4)
    length = features.mean((2, 3)).norm(dim=1)[:, None, None, None]
    places = torch.einsum("kc,bchw->bkhw", texts, features) / length * torch.tensor(3.0).exp()
    maps = make_explainer("cam", classifier)(images(), "all").maps
    assert torch.allclose(maps, places, atol=1e-4)
    assert torch.allclose(maps.mean((2, 3)), classifier.logits(images()), atol=1e-4)
    assert image_tower_of(model) is model.visual


def test_texts_are_embedded_as_the_model_does_and_averaged_over_templates() -> None:
    model, tokenizer = tiny_clip(), Tokenizer()
    templates = ("a {}.", "one {}")
    found = text_embeddings(model, tokenizer, NAMES, templates=templates)
    assert [call["text"][0] for call in tokenizer.calls] == ["a cat.", "one cat"]
    assert {call["max_length"] for call in tokenizer.calls} == {8}
    total = torch.zeros(3, 20)
    for template in templates:
        tokens = token_numbers([template.replace("{}", name) for name in NAMES])
        with torch.no_grad():
            one = model.get_text_features(input_ids=tokens).pooler_output
        total += one / one.norm(dim=1, keepdim=True)
    assert torch.allclose(found, total / total.norm(dim=1, keepdim=True), atol=1e-6)
    for names, used in ((["cat"], ["no place"]), ("cat", templates), ([], templates)):
        with pytest.raises(ClassifierError):
            text_embeddings(model, tokenizer, names, templates=used)
    with pytest.raises(ClassifierError, match="embeds no texts"):
        text_embeddings(nn.Linear(1, 1), tokenizer, NAMES)


def test_preprocessing_comes_from_a_processor_or_open_clips_transform() -> None:
    from torchvision import transforms as T
    from transformers import CLIPImageProcessor

    def _convert_to_rgb(photo: Any) -> Any:
        return photo.convert("RGB")

    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    transform = T.Compose(
        [
            T.Resize(32, interpolation=T.InterpolationMode.BICUBIC), T.CenterCrop(32),
            _convert_to_rgb, T.ToTensor(), T.Normalize(mean, std),
        ]
    )  # fmt: skip
    for given in (CLIPImageProcessor(**sizes), transform):
        found = zero_shot(LikeOpenClip(), torch.eye(6)[:3], preprocessing=given).preprocessing
        assert (found.input_size, found.resize, found.interpolation) == ((32, 32), 32, "bicubic")
        assert found.mean == pytest.approx(mean, abs=1e-5)
    with pytest.raises(ClassifierError, match="a str as preprocessing"):
        zero_shot(LikeOpenClip(), torch.eye(6)[:3], preprocessing="clip")


@pytest.mark.parametrize(
    ("texts", "more", "said"),
    [
        (torch.eye(6)[:1], {}, "a single text"),
        (torch.zeros(3, 6), {}, "length 0, that of class 0"),
        (torch.eye(3, dtype=torch.int64), {}, "torch.int64"),
        ("texts", {}, "a str as text embeddings"),
        (torch.eye(6)[:3], {"scale": -4.6}, "scale -4.6"),
        (torch.eye(6)[:3], {"scale": torch.ones(2)}, "allowed: one finite number"),
        (torch.eye(6)[:2], {}, "3 class names for 2 classes"),
        (torch.eye(7)[:3], {}, "6 numbers for text embeddings of 7"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(texts: Any, more: Any, said: str) -> None:
    with pytest.raises(ClassifierError, match=said) as refused:
        zero_shot(LikeOpenClip(), texts, **more)
    assert "\n" not in str(refused.value)
