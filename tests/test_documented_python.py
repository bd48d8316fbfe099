"""The Python of README and documentation runs as it stands there."""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageShow
from torch import nn

import ttame
from benchmarks.reliability.exported_files import exported_files
from tests.cli.test_commands import run
from tests.evaluation.texts.measured_texts import review_file, tiny
from tests.loaded_once import load_once
from tests.serving.tiny_server import explainers
from tests.tiny_networks import tiny_cnn
from ttame.classifiers.known_classifiers import SOURCES
from ttame.classifiers.recipe_rules import refused_in_a_file
from ttame.cli.setting_options import setting_options
from ttame.evaluation.evaluate_methods import evaluate
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer, method_options
from ttame.exporting.export_explainer import export_explainer
from ttame.metrics.known_metrics import METRICS
from ttame.serving.app import make_app
from ttame.serving.served_network import TorchNetwork
from ttame.serving.server import run_in_thread
from ttame.serving.settings import ServingSettings
from ttame.testing import tiny_text_classifier
from ttame.training.train_command import train_command
from ttame.training.training_settings import OBJECTIVES

ROOT = Path(__file__).parents[1]


def python_blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^( *)```python\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages name, and being in it; loading takes long once."""
    load_once(monkeypatch)
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    names = ["cat.jpg", "dog.jpg", "photo.jpg", *(f"photos/{number}.jpg" for number in range(36))]
    for name in names:
        colours = numbers.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((256, 240)).save(tmp_path / name)
    return tmp_path


def run_page(page: str, names: dict[str, Any], changes: dict[str, str] | None = None) -> int:
    """Run the blocks of a page one after the other, as a reader would; say how many.

    ``changes`` make what takes long shorter; each must be found.
    """
    blocks = python_blocks(page)
    for shown, shorter in (changes or {}).items():
        assert any(shown in block for block in blocks)
        blocks = [block.replace(shown, shorter) for block in blocks]
    for place, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {place}", "exec"), names)
    return len(blocks)


def my_network() -> nn.Module:
    network = tiny_cnn().network
    network[-1] = nn.Linear(16, 2)
    return network.eval()


def test_readme(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr("ttame.results.picturing._without_screen", lambda: False)
    monkeypatch.setattr(ImageShow, "show", lambda picture, **_: shown.append(picture) or True)
    network = ttame.load_classifier("efficientnet_lite0").network
    names = {"my_network": my_network(), "network": network, "photo": Image.open("cat.jpg")}
    quick = {
        '"photos/", "my-explainer")': '"photos/", "my-explainer", '
        "ttame.training_settings(epochs=2, workers=0))",
        "imagenet(224)": "imagenet(32)",
        '"photos/", grad_cam': '["cat.jpg", "dog.jpg"], grad_cam',
    }
    assert run_page("README.md", names, quick) == 3
    assert len(shown) == 1
    assert names["explanation"].heatmaps((480, 640)).shape == (2, 3, 480, 640)
    assert (desk / "my-explainer" / "config.json").exists()


def test_exporting(desk: Path) -> None:
    (desk / "why.onnx").write_bytes(exported_files()[0])
    page = "docs/how-to/export.md"
    names: dict[str, Any] = {"cam": make_explainer("cam", tiny_cnn())}
    quick = {'ttame.load_explainer("efficientnet_lite0")': "cam", "224, 224": "32, 32"}
    export_explainer(names["cam"], desk / "why.pt2", format="pt2")
    if importlib.util.find_spec("openvino") is None:
        (block,) = [block for block in python_blocks(page) if "openvino" in block]
        quick = {block: "", **quick}
    else:
        export_explainer(names["cam"], desk / "why.xml", format="openvino")
    assert run_page(page, names, quick) == 4
    assert names["maps"].shape == (1, 3, 4, 4)
    assert json.loads(names["extra"]["ttame.json"])["method"] == "cam"
    assert names["explanation"].method == "cam"


def test_serving(desk: Path) -> None:
    settings = ServingSettings(port=0)
    address, stop = run_in_thread(make_app(TorchNetwork(explainers()), settings), settings)
    names: dict[str, Any] = {}
    try:
        assert run_page("docs/how-to/serve.md", names, {"http://127.0.0.1:8000": address}) == 1
    finally:
        stop()
    expected = explainers()["cam"]("cat.jpg", classes="top3")
    assert found_classes(names) == expected.classes[0].tolist()
    assert names["covered"].shape == (7,)


def found_classes(names: dict[str, Any]) -> list[int]:
    return [each.index for each in names["found"].methods["cam"]]


def test_first_page(desk: Path) -> None:
    names: dict[str, Any] = {}
    assert run_page("docs/index.md", names) == 1
    assert names["explanation"].maps.shape[:2] == (1, 3)


def test_drawing(desk: Path) -> None:
    names: dict[str, Any] = {}
    assert run_page("docs/reference-drawing.md", names) == 1
    assert names["overlay"].size == names["photo"].size


def test_looking_at_a_map(desk: Path) -> None:
    names: dict[str, Any] = {}
    assert run_page("docs/how-to/look-at-a-map.md", names) == 4
    assert names["picture"].size == (256, 240)


def test_explaining_texts(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"tiny_text_classifier": tiny_text_classifier}
    changes = {'ttame.text.load("minilm_reviews")': "tiny_text_classifier()"}
    assert run_page("docs/how-to/explain-texts.md", names, changes) == 2
    assert (desk / "why.html").is_file() and (desk / "why.safetensors").is_file()
    assert capsys.readouterr().out.startswith("Explanation by attn_lrp\n")
    explanation = names["explanation"]
    page = (ROOT / "docs/how-to/explain-texts.md").read_text(encoding="utf-8")
    for call in re.findall(r"`(explanation\.(?:top|scored|word|token|numpy|select)[^`]*)`", page):
        assert eval(call.replace("[0, 2]", "[0]"), {"explanation": explanation}) is not None


def test_refining_a_map(desk: Path) -> None:
    names: dict[str, Any] = {}
    assert run_page("docs/how-to/refine-a-map.md", names) == 1
    assert names["explanation"].maps.shape == (1, 1, 7, 7)
    assert names["explanation"].method == "few_shot+refined3@7"


def test_comparing_methods(desk: Path) -> None:
    names: dict[str, Any] = {}
    changes = {'"rise", classifier)': '"rise", classifier, masks=4)', ", progress=print": ""}
    assert run_page("docs/how-to/compare-methods.md", names, changes) == 2
    assert names["contrast"].target_label(0, 0) == "tabby rather than tiger cat"
    assert [names[name].target_label(1, 0) for name in ("any_cat", "doubt")] == [
        "any cat",
        "entropy",
    ]
    assert names["same_classes"].classes.equal(names["explanation"].classes)
    assert "cam" in names["explainers"]
    assert "attention_rollout" in names["reasons"]


def test_explaining_many_photos(desk: Path) -> None:
    names: dict[str, Any] = {}
    changes = {'"photos/", methods': '["cat.jpg", "dog.jpg"], methods'}
    assert run_page("docs/how-to/explain-many-photos.md", names, changes) == 1
    assert names["found"].explained == 2
    assert names["maps"].maps.shape == (1, 2, 7, 7)


def test_a_million_photos(desk: Path) -> None:
    explainer = ttame.load_explainer("efficientnet_lite0")
    ttame.explain_to_shards(["cat.jpg", "dog.jpg"], explainer, "why", workers=0, progress=False)
    names: dict[str, Any] = {}
    assert run_page("docs/how-to/a-million-photos.md", names) == 1
    assert names["photo"].name == "dog.jpg"
    assert names["explanation"].heatmaps_on("dog.jpg").shape == (3, 240, 256)


def test_other_channels(desk: Path) -> None:
    names: dict[str, Any] = {"np": np, "ttame": ttame}
    assert run_page("docs/how-to/other-channels.md", names) == 3
    assert names["grey"].channels == "grey"
    assert names["sentinel"].prepare(names["field"]).shape == (13, 64, 64)
    assert names["sentinel"].drawn(names["field"]).size == (100, 80)
    assert names["explanation"].heatmaps_on("photo.jpg").shape == (1, 240, 256)


def test_evaluating(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small network: what the page measures runs a network hundreds of times."""
    classifier = tiny_cnn()
    monkeypatch.setattr(ttame, "load_classifier", lambda name: classifier)
    ttame.new_attention_explainer(classifier).save(desk / "my-explainer")
    methods = {name: ttame.make_explainer(name, classifier) for name in ("grad_cam", "layer_cam")}
    evaluate(classifier, "photos/", methods, "evaluation", metrics=["mean_map"], limit=4)
    blocks = python_blocks("docs/how-to/evaluate.md")
    with_pandas = [block for block in blocks if "import pandas" in block]
    assert (len(blocks), len(with_pandas)) == (4, 1)
    names: dict[str, Any] = {}
    for block in blocks:
        if block not in with_pandas:  # pandas is not among ttame's packages, as the page says.
            exec(block.replace("limit=4", "limit=2"), names)
    assert names["rows"].num_rows == 8
    assert names["evaluation"].protocol == "mine"


def test_evaluating_on_texts(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ttame.text, "load", lambda name, too_long: tiny(), raising=False)
    names = {"reviews.jsonl.gz": str(review_file(desk))}
    assert run_page("docs/how-to/evaluate-texts.md", {}, names) == 1
    assert (desk / "evaluation" / "results.json").is_file()


def test_training(desk: Path) -> None:
    blocks = python_blocks("docs/how-to/train-on-your-network.md")
    assert ["push_to_hub" in block for block in blocks] == [False, True]
    names: dict[str, Any] = {"ttame": ttame, "my_network": my_network()}
    exec(blocks[0], names)
    assert names["classifier"].number_of_classes == 2


def test_zero_shot_classifiers(desk: Path) -> None:
    names: dict[str, Any] = {}
    assert run_page("docs/how-to/zero-shot-classifiers.md", names) == 2
    assert names["explanation"].maps.shape[:2] == (1, 2)
    assert names["again"].classifier.class_names == ("cat", "dog")


def test_segmentation_detection_and_regression(desk: Path) -> None:
    names: dict[str, Any] = {}
    assert run_page("docs/how-to/segmentation-detection-regression.md", names) == 3
    assert names["regions"].shape == (4, 64, 64)
    assert names["by_masks"].maps.shape == (1, 1, 64, 64)
    assert names["in_years"].target_label(0, 0) == "age in years"
    assert float(names["in_years"].maps.abs().max()) > 0


def test_adding_an_explainer(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's file, registered as the page says, is a method like the others."""
    module = written_module("docs/how-to/add-an-explainer.md", desk / "my_method.py", monkeypatch)
    monkeypatch.setitem(EXPLAINERS, "my_method", module.MyMethod)
    classifier = tiny_cnn()
    explainer = ttame.make_explainer("my_method", classifier, power=2.0)
    explanation = explainer(torch.randn(2, 3, 32, 32), "top3")
    features = classifier.read_features(torch.randn(1, 3, 32, 32)).feature_maps[-1]
    assert explanation.maps.shape == (2, 3, *features.shape[2:])
    assert explanation.provenance["power"] == 2.0
    assert method_options("my_method") == {"power": 1.0}
    assert run(["methods", "my_method"], monkeypatch) == 0
    assert "p, above 0" in capsys.readouterr().out


def test_adding_a_relevance_rule(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's blocks: a table, a module with a rule, and what uses it."""
    page = "docs/how-to/add-a-relevance-rule.md"
    table, _, use, _ = python_blocks(page)
    module = written_module(page, desk / "by_weight_rule.py", monkeypatch, block=1)
    monkeypatch.setitem(sys.modules, "ttame.explainers.relevance.by_weight_rule", module)
    names: dict[str, Any] = {}
    exec(table, names)
    assert names["explanation"].maps.shape == (1, 3, 224, 224)
    assert names["explanation"].provenance["rules"] == names["rules"].in_words()
    exec(use, names)
    assert "ByWeight(power=2)" in names["explanation"].provenance["rules"]
    assert names["explanation"].maps.abs().sum() > 0


def test_adding_a_metric(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = written_module("docs/how-to/add-a-metric.md", desk / "my_metric.py", monkeypatch)
    monkeypatch.setitem(METRICS, "my_metric", module.MY_METRIC)
    classifier = tiny_cnn()
    methods = {"grad_cam": ttame.make_explainer("grad_cam", classifier)}
    found = evaluate(classifier, "photos/", methods, "evaluation", metrics=["my_metric"], limit=4)
    assert [column.title for column in found.columns] == ["My metric"]
    assert 0 < found.methods[0].scores["my_metric"].value <= 100
    names: dict[str, Any] = {}
    exec(python_blocks("docs/how-to/add-a-metric.md")[2], names)
    shared, images = names["SharedResults"](), torch.rand(2, 3, 32, 32)
    asked: list[torch.Tensor] = []

    def probabilities(images: torch.Tensor) -> torch.Tensor:
        asked.append(images)
        return torch.tensor([[0.25, 0.75], [0.5, 0.5]])

    for _ in range(2):
        assert names["certainty"](probabilities, images, shared=shared).tolist() == [0.75, 0.5]
    assert len(asked) == 1


def test_adding_a_source(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's file, registered as the page says, is a source like the others."""
    page = "docs/how-to/add-a-source.md"
    module = written_module(page, desk / "my_models.py", monkeypatch)
    monkeypatch.setitem(SOURCES, "mine", module.SOURCE)
    assert ttame.load_classifier("mine/wide", "none").number_of_classes == 10
    with pytest.raises(ttame.TtameError, match="try: narrow"):
        ttame.load_classifier("mine/narow")
    options = {"classes": 3}
    made = ttame.load_classifier("mine/narrow", "none", network_options=options)
    torch.save(made.network.state_dict(), "model.pth")
    assert ttame.load_classifier("mine/narrow", "model.pth").number_of_classes == 3
    assert made.recipe is not None
    assert refused_in_a_file(made.recipe) == "classifier 'mine/narrow'"


def test_adding_an_objective(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's file is trained with as it stands, and has options once it is in the table."""
    page = "docs/how-to/add-an-objective.md"
    module = written_module(page, desk / "my_objective.py", monkeypatch)
    monkeypatch.setitem(OBJECTIVES, "my-objective", module.MyObjective)
    settings = ttame.training_settings(
        objective="my-objective", shrinking=0.1, epochs=1, batch_size=8, workers=0
    )
    setting_options.cache_clear()
    assert "default: 0.2" in setting_options()["shrinking"].help
    setting_options.cache_clear()
    assert "--objective my-objective --shrinking 0.1" in train_command(settings, [], [], "out")
    names = {"ttame": ttame, "classifier": tiny_cnn(), "MyObjective": module.MyObjective}
    quick = python_blocks(page)[2].replace(
        "(shrinking=0.1)", "(shrinking=0.1), epochs=1, batch_size=8, workers=0"
    )
    exec(quick, names)
    figures = names["explainer"].training_record["validation"][-1]
    assert figures["loss"] == pytest.approx(figures["drop"] + figures["area"])
    assert names["explainer"].training_record["settings"]["objective"]["shrinking"] == 0.1


def written_module(
    page: str, path: Path, monkeypatch: pytest.MonkeyPatch, *, block: int = 0
) -> ModuleType:
    """The page's file as a module, its example tried."""
    path.write_text(python_blocks(page)[block], encoding="utf-8")
    plan = importlib.util.spec_from_file_location(path.stem, path)
    assert plan is not None
    assert plan.loader is not None
    module = importlib.util.module_from_spec(plan)
    monkeypatch.setitem(sys.modules, path.stem, module)
    plan.loader.exec_module(module)
    tried = doctest.testmod(module)
    assert tried.attempted > 0
    assert tried.failed == 0
    return module
