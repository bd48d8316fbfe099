"""A short run of everything that made the bundled text classifier, on a tiny BERT."""

from __future__ import annotations

import copy
import itertools
import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scripts.minilm_reviews import examples, fine_tune
from scripts.minilm_reviews.network import (
    LowRankLinear,
    give_low_rank_updates,
    learned_weights,
    pretrained_network,
)
from scripts.minilm_reviews.ship import ship, shipped_updates
from tests.conftest import assert_close
from tests.scripts.minilm_package import write_package, write_reviews
from ttame.networks.weights_files import load_weights
from ttame.text_classifiers.minilm_reviews import (
    pretrained_weights,
    tokenizer_of,
    untrained_network,
    updated,
)

pytest.importorskip("transformers")

OPTIONS = [
    "--rank",
    "2",
    "--first-layer",
    "1",
    "--epochs-of-reasons",
    "20",
    "--epochs-of-windows",
    "10",
    "--context",
    "2",
    "--tokens",
    "64",
    "--learning-rate",
    "0.01",
    "--checkpoint-every",
    "3",
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reviews")
    write_reviews(folder, "train", 8)
    write_reviews(folder, "no-rationales", 4, rationales=False)
    return folder


@pytest.fixture(scope="module")
def run(package: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(package, reviews, tmp_path_factory.mktemp("run"))


def trained(package: Path, reviews: Path, out: Path, *options: str) -> Path:
    places = ["--reviews", str(reviews), "--package", str(package), "--out", str(out)]
    fine_tune.train(fine_tune.read_options([*places, *OPTIONS, *options]))
    return out


def test_a_killed_run_goes_on_to_the_same_weights(
    package: Path, reviews: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = itertools.count()
    step = fine_tune.train_step

    def killed(*args: object) -> float:
        if next(steps) == 5:
            raise KeyboardInterrupt
        return step(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(fine_tune, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(package, reviews, tmp_path)
    assert fine_tune.step_of(tmp_path / "checkpoint.safetensors") == 3
    trained(package, reviews, tmp_path)
    whole, resumed = (load_file(each / "checkpoint.safetensors") for each in (run, tmp_path))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_another_run_is_refused(package: Path, reviews: Path, run: Path) -> None:
    with pytest.raises(SystemExit, match="another run .*seed 0, now 1"):
        trained(package, reviews, run, "--seed", "1")


def test_what_ships_is_what_was_trained(package: Path, run: Path, tmp_path: Path) -> None:
    """Updates in a network with low-rank layers, and merged into the package's weights."""
    torch.manual_seed(0)
    network = pretrained_network(package)
    give_low_rank_updates(network, rank=2, first_layer=1)
    fine_tune.load_learned(network, load_file(run / "checkpoint.safetensors"))
    ship([run], tmp_path)
    updates = load_file(tmp_path / "updates.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in updates.values())
    config = json.loads((package / "config.json").read_text())
    merged = untrained_network(**config).eval()
    pretrained = pretrained_weights(package / "model.safetensors")
    load_weights(merged, updated(pretrained, updates), "the weights")
    ids = torch.randint(5, 20, (2, 9))
    with torch.no_grad():
        expected = network.eval()(input_ids=ids).logits
        assert_close(merged(input_ids=ids).logits, expected, 5e-3)
    untouched = [name for name in pretrained if "layer.0." in name or "embeddings" in name]
    state = merged.state_dict()
    assert untouched and all(torch.equal(state[name], pretrained[name]) for name in untouched)
    first = (tmp_path / "updates.safetensors").read_bytes()
    ship([run], tmp_path)
    assert (tmp_path / "updates.safetensors").read_bytes() == first
    assert "Not measured yet" in (tmp_path / "README.md").read_text()


def test_the_word_that_decides_is_learned(package: Path, run: Path, tmp_path: Path) -> None:
    network = pretrained_network(package)
    give_low_rank_updates(network, rank=2, first_layer=1)
    fine_tune.load_learned(network, load_file(run / "checkpoint.safetensors"))
    tokenizer = tokenizer_of(package)
    odds = []
    for word in ("dull", "fine"):
        with torch.no_grad():
            ids = tokenizer(f"it is a {word} film .", return_tensors="pt").input_ids
            logits = network.eval()(input_ids=ids).logits[0]
        odds.append(float(logits[1] - logits[0]))
    assert odds[0] < 0 < odds[1]


def test_an_update_starts_at_nothing_and_learns_only_its_factors(package: Path) -> None:
    network = pretrained_network(package)
    before, ids = copy.deepcopy(network).eval(), torch.randint(5, 20, (1, 7))
    give_low_rank_updates(network, rank=2, first_layer=2)
    with torch.no_grad():
        assert_close(network.eval()(ids).logits, before(ids).logits, 1e-6)
    names = {name.rpartition(".")[2] for name in learned_weights(network) if "layer" in name}
    assert names == {"up", "down"}
    assert all("layer.2." in name for name in learned_weights(network) if "encoder" in name)


def test_low_rank_layer_by_hand() -> None:
    layer = LowRankLinear(torch.nn.Linear(2, 1), rank=1)
    with torch.no_grad():
        layer.frozen.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.frozen.bias.fill_(0.5)
        layer.down.copy_(torch.tensor([[3.0, -1.0]]))
        layer.up.fill_(2.0)
    # 1·1 + 2·4 + 0.5 and 2·(3·1 − 4)
    assert float(layer(torch.tensor([1.0, 4.0])).detach()) == pytest.approx(9.5 - 2.0)


def test_updates_that_are_too_large_are_refused() -> None:
    with pytest.raises(SystemExit, match="half precision"):
        shipped_updates({"network.a.up": torch.tensor([1e9])})
    with pytest.raises(SystemExit, match="--rank"):
        shipped_updates({"network.a.up": torch.zeros(5_000_000)})


def test_windows_cover_a_review_evenly() -> None:
    ids = list(range(23))
    windows = examples.even_windows(ids, most=12)
    assert [len(window) for window in windows] == [10, 10, 10]
    assert [window[0] for window in windows] == [0, 6, 13]  # 6.5 rounds to the even one
    assert sorted({token for window in windows for token in window}) == ids
    assert examples.even_windows(ids, most=25) == [ids]


def test_batches_hold_every_example_once_and_fit() -> None:
    drawn = [examples.Example([number] * (3 + number % 40), 0) for number in range(100)]
    found = examples.batches(drawn, 64, random.Random(0))
    assert sorted(example for batch in found for example in batch) == sorted(drawn)
    assert all(len(batch) * max(len(e.ids) for e in batch) <= 64 for batch in found)


def test_reasons_stand_in_a_little_context(package: Path, reviews: Path) -> None:
    tokenizer = tokenizer_of(package)
    marked = examples.read_reviews(reviews, "train")
    found = examples.reasons(tokenizer, marked, 2, random.Random(0))
    assert [example.label for example in found[:2]] == [1, 0]
    fine = tokenizer.convert_tokens_to_ids("fine")
    assert all(len(e.ids) in range(3, 8) for e in found)
    assert all((fine in e.ids) == (e.label == 1) for e in found)
    words = len(examples.review_ids(tokenizer, marked[0]))
    assert words == 11, "the file of the package asks for 128 tokens"


def test_stages_follow_each_other(package: Path, reviews: Path, run: Path, tmp_path: Path) -> None:
    options = ["--start-from", str(run), "--epochs-of-reasons", "0", "--epochs-of-windows", "1"]
    second = trained(package, reviews, tmp_path / "second", *options)
    ship([run, second], tmp_path)
    rows = [line for line in (tmp_path / "README.md").read_text().splitlines() if "| up to" in line]
    assert len(rows) == 2
    with pytest.raises(SystemExit, match="another run than the --run before"):
        ship([second], tmp_path)
    with pytest.raises(SystemExit, match="holds no checkpoint"):
        trained(package, reviews, tmp_path / "third", "--start-from", str(tmp_path))
