from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Literal

import onnx
import pytest
import torch
from PIL import Image

from ttame.errors import ExplainerError, MissingExtraError, OutputError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import AttentionExplainer, new_attention_explainer
from ttame.explainers.trained.head_settings import SharedHeadSettings
from ttame.exporting import export_explainer as exporting
from ttame.exporting import graph_formats
from ttame.exporting.comparison import images_of
from ttame.exporting.explainable_classifier import ExplainableClassifier
from ttame.exporting.export_explainer import export_explainer
from ttame.exporting.exported_explainer import load_exported
from ttame.exporting.exported_facts import OUTPUTS, ExportedFacts
from ttame.testing import tiny_classifier, tiny_text_classifier


def test_the_file_agrees_with_pytorch_and_is_small(
    exported: tuple[Path, ExportedFacts], explainer: AttentionExplainer
) -> None:
    path, facts = exported
    assert max(facts.parity.values()) < 1e-5
    weights = sum(p.numel() for p in explainer.classifier.network.parameters())
    weights += sum(p.numel() for p in explainer.head.parameters())
    # Weights once, and a graph of a few hundred nodes.
    assert 4 * weights < path.stat().st_size < 4 * weights + 60_000


def test_tensors_have_the_documented_names(exported: tuple[Path, ExportedFacts]) -> None:
    graph = onnx.load(exported[0]).graph

    def described(values: Any) -> dict[str, tuple[int, list[Any]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    assert described(graph.input)["pixels"] == (onnx.TensorProto.UINT8, ["batch", 32, 32, 3])
    results = described(graph.output)
    assert list(results) == ["logits", "probabilities", "classes", "maps"]
    assert results["logits"] == (onnx.TensorProto.FLOAT, ["batch", 7])
    assert results["classes"][0] == onnx.TensorProto.INT64


def test_a_file_takes_photos_of_any_size(tmp_path: Path, photos: list[Image.Image]) -> None:
    """Tall and wide ones, smaller and larger than the input; maps have the photo's size."""
    explainer = make_explainer("cam", tiny_classifier())
    path = tmp_path / "why.onnx"
    facts = export_explainer(explainer, path, takes="photos", photos=photos)
    assert max(facts.parity.values()) < 1e-5
    assert "height, width" in facts.inputs["photos"] and "on the photo" in facts.results["maps"]
    run = graph_formats.run_onnx(path.read_bytes())
    module = ExplainableClassifier(explainer, takes="photos")
    for size in ((9, 70), (55, 21)):
        pixels = torch.randint(256, (1, *size, 3), dtype=torch.uint8)
        found = run({"photos": pixels.numpy()})
        assert found["maps"].shape == (1, 3, *size)
        assert torch.allclose(torch.from_numpy(found["maps"]), module(pixels).maps, atol=1e-5)
    with pytest.raises(ExplainerError, match="maps lie on photos of any size.*pixels"):
        load_exported(path)


def test_photos_of_any_size_are_for_float32(tmp_path: Path) -> None:
    explainer = make_explainer("cam", tiny_classifier())
    with pytest.raises(ExplainerError, match="half in a file that takes photos"):
        export_explainer(explainer, tmp_path / "why.onnx", takes="photos", half=True)


def test_a_file_that_differs_is_refused_and_not_written(
    explainer: AttentionExplainer,
    photos: list[Image.Image],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def changed(inputs: Any) -> graph_formats.Arrays:
        said = explainer(images_of(inputs["pixels"], explainer.classifier), "top3")
        results = {name: getattr(said, name).numpy() for name in OUTPUTS}
        return {**results, "maps": results["maps"] * 1.001}

    monkeypatch.setattr(exporting, "pt2_bytes", lambda *_, **__: b"")
    monkeypatch.setattr(exporting, "run_pt2", lambda _content: changed)
    with pytest.raises(ExplainerError, match=r"maps differ .* by 0\.001"):
        export_explainer(explainer, tmp_path / "why.pt2", format="pt2", photos=photos)
    assert not list(tmp_path.iterdir())


def test_a_file_of_torch_export_says_the_same(
    explainer: AttentionExplainer, photos: list[Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / "why.pt2"
    facts = export_explainer(explainer, path, format="pt2", photos=photos)
    assert max(facts.parity.values()) < 1e-5
    extra = {"ttame.json": ""}
    program = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=extra)
    assert json.loads(extra["ttame.json"])["method"] == "few_shot"
    assert len(program.module()(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))) == 4
    with pytest.raises(OutputError, match="exists"):
        export_explainer(explainer, path, format="pt2")


@pytest.mark.parametrize(
    ("kind", "format", "choose"),
    [("cnn", "onnx", True), ("vit", "onnx", False), ("vit", "pt2", True)],
)
def test_heads_that_contrast_classes_agree(
    kind: Literal["cnn", "vit"], format: Literal["onnx", "pt2"], choose: bool, tmp_path: Path
) -> None:
    explainer = new_attention_explainer(
        tiny_classifier(kind, size=32), SharedHeadSettings(contrast=True), method="few_shot"
    )
    path = tmp_path / f"why.{format}"
    facts = export_explainer(explainer, path, format=format, choose_classes=choose)
    assert max(facts.parity.values()) < 1e-5
    assert facts.provenance["contrast"] is True


def test_half_precision_says_what_it_costs(
    explainer: AttentionExplainer, photos: list[Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / "half.pt2"
    facts = export_explainer(explainer, path, format="pt2", photos=photos, half=True)
    assert facts.precision == "half" and facts.parity["same top-1"] == 1
    assert 0.99 < facts.parity["map correlation"] <= 1
    assert 1e-6 < facts.parity["logits"] < 1e-2


def test_what_is_missing_or_cannot_be_is_said_first(
    explainer: AttentionExplainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExplainerError, match="half and int8"):
        export_explainer(explainer, tmp_path / "why.onnx", half=True, int8=["a.jpg"])
    with pytest.raises(ExplainerError, match="int8 as pt2; allowed: onnx or openvino"):
        export_explainer(explainer, tmp_path / "why.pt2", format="pt2", int8=["a.jpg"])
    with pytest.raises(ExplainerError, match="allowed: onnx, pt2, openvino"):
        export_explainer(explainer, tmp_path / "why", format="tflite")  # type: ignore[arg-type]
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "ttame\[export\]"'):
        export_explainer(explainer, tmp_path / "why.onnx")


def test_an_explainer_of_texts_is_refused(tmp_path: Path) -> None:
    explainer = make_explainer("input_x_gradient", tiny_text_classifier())
    with pytest.raises(ExplainerError, match="tiny BERT, a classifier of texts; allowed: classif"):
        export_explainer(explainer, tmp_path / "why.onnx")


def test_a_method_with_gradients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExplainerError, match="grad_cam cannot be exported"):
        export_explainer(make_explainer("grad_cam", tiny_classifier()), tmp_path / "why.onnx")
