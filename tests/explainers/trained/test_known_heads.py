"""The contract of all heads."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import ttame
from tests.tiny_networks import TINY, tiny_cnn
from ttame.explainers.trained.head import Head
from ttame.explainers.trained.known_head_settings import head_settings, head_settings_from_json
from ttame.explainers.trained.known_heads import HEADS, make_head, plan_head

SOURCE = Path(ttame.__file__).parent


@pytest.mark.parametrize("network", ["cnn", "timm vit"])
@pytest.mark.parametrize("kind", HEADS)
def test_a_head_keeps_the_contract(kind: str, network: str) -> None:
    plan = plan_head(TINY[network](), head_settings(kind, maps="sigmoid"))
    classifier, head = plan.classifier, plan.make(3).eval()
    assert isinstance(head, HEADS[kind]) and head.settings.kind == kind
    head.check(classifier)
    size = classifier.preprocessing.input_size
    with torch.no_grad():
        reading = classifier.read_features(torch.randn(2, 3, *size))
        maps = head.maps(classifier, reading, torch.tensor([[1, 0], [2, 2]]))
        every = head.maps(classifier, reading, None)
    assert maps.shape[:2] == (2, 2) and every.shape[1] == classifier.number_of_classes
    torch.testing.assert_close(maps[1, 0], every[1, 2], rtol=1e-4, atol=1e-5)
    assert torch.equal(head.explained(maps), maps.sigmoid())
    inputs = head.inputs_of(classifier, reading)
    shapes = {name: tuple(tensor.shape) for name, tensor in inputs.others.items()}
    assert shapes == head.shapes_of_others
    config = head.to_config()
    assert head_settings_from_json(config.settings.as_json()) == config.settings
    again = make_head(config)
    again.load_state_dict(head.state_dict())
    assert again.to_config() == config == plan.config
    assert head.provenance()["head"] == kind
    assert all(isinstance(words, str) for words in head.facts(["a", "b", "c", "d"]).values())


def test_nobody_asks_which_head_it_is() -> None:
    """Outside its own file."""
    names = {head.__name__ for head in HEADS.values()}
    for path in SOURCE.rglob("*.py"):
        if path.stem.endswith("_head"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                assert not names & set(ast.unparse(node.args[1]).replace("|", " ").split()), path


def test_other_taps_are_refused() -> None:
    head = plan_head(tiny_cnn(), head_settings()).make()
    with pytest.raises(ttame.TtameError, match="a head for channels"):
        head.check(tiny_cnn().with_taps(["2", "6"]))
    assert isinstance(head, Head)
