"""Training the few-shot head: it learns on every kind of network, and goes on where it stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.training_material import (
    log_of,
    noise_photos,
    quick,
    tiny_cnn,
    tiny_vit,
    train,
    weights_of,
)
from ttame.classifiers.classifier import Classifier
from ttame.datasets.prepared_images import PreparedImages
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.errors import NonFiniteLossError, ResumeError
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.older_settings import FLAT_DEFAULTS, with_parts
from ttame.explainers.trained.shared_head import SharedHead
from ttame.images.preprocessing import Preprocessing
from ttame.training import kept_share_objective
from ttame.training.checkpoint import RunIdentity
from ttame.training.learning_rate_test import find_learning_rate
from ttame.training.run_preparation import make_accelerator, new_run
from ttame.training.training_folder import TrainingFolder
from ttame.training.training_progress import TrainingProgress
from ttame.training.training_run import TrainingRun
from ttame.training.training_settings import TrainingSettings, training_settings
from ttame.training.validation import measure_batches

PHOTOS = 23
SETTINGS = quick("few-shot-quick", learning_rate=0.02, epochs=3, checkpoint_every=2)


def tiny_mlp_end() -> Classifier:
    """Two linear layers on all places, as in VGG: nothing is pooled."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, 5),
    )  # fmt: skip
    with torch.no_grad():
        network[-1].weight.mul_(20)
    return Classifier(network, preprocessing=Preprocessing.imagenet(16), name="tiny mlp")


NETWORKS: dict[str, Callable[[], Classifier]] = {
    "cnn": tiny_cnn,
    "vit": tiny_vit,
    "no linear end": tiny_mlp_end,
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_short_training_lowers_the_loss(kind: str, tmp_path: Path) -> None:
    classifier = NETWORKS[kind]()
    settings = quick("few-shot-quick", learning_rate=0.02, epochs=6, augmentation="none")
    explainer = train(classifier, noise_photos(PHOTOS), tmp_path / "out", settings)
    losses = [line["loss"] for line in log_of(tmp_path / "out") if "loss" in line]
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])
    assert explainer.method == "few_shot"
    assert ("prior" in explainer.head.settings.parts) == (kind != "no linear end")

    again = load_explainer(tmp_path / "out", classifier=NETWORKS[kind]())
    images = torch.stack([classifier.prepare(photo)[0] for photo in noise_photos(2)])
    assert torch.equal(again(images, "all").maps, explainer(images, "all").maps)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert ("without prior" in card) == (kind == "no linear end")
    assert "ttame.training_settings('few-shot-quick'" in card


class StoppedError(Exception):
    """What ends a run in the middle."""


def test_an_interrupted_run_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    """AdamW's state, the exponent and the extra tap are in the checkpoint, what is drawn is not."""

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 7:
            raise StoppedError

    photos = noise_photos(PHOTOS)
    train(tiny_vit(), photos, tmp_path / "whole", SETTINGS)
    with pytest.raises(StoppedError):
        train(tiny_vit(), photos, tmp_path / "two", SETTINGS, watch=stop)
    train(tiny_vit(), photos, tmp_path / "two", SETTINGS, resume=True)
    expected = weights_of(tmp_path / "whole")
    found = weights_of(tmp_path / "two")
    assert found.keys() == expected.keys()
    assert "exponent" in found and float(found["exponent"]) != 1
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert log_of(tmp_path / "two") == log_of(tmp_path / "whole")


@pytest.mark.parametrize("part", ["prior", "embedding", "gate"])
def test_a_head_without_a_part_is_trained_and_saved(part: str, tmp_path: Path) -> None:
    settings = quick("few-shot-quick", epochs=1, without=part)
    explainer = train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", settings)
    assert isinstance(explainer.head, SharedHead)
    assert part not in explainer.head.settings.parts
    assert len(explainer.head.settings.parts) == 2
    saved = json.loads((tmp_path / "out" / "config.json").read_text())["head"]["settings"]
    assert saved["without"] == [part]
    assert f"without={part!r}" in explainer.training_record["command"]


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_preset_with_random_masks_explains_classes_of_any_network(
    kind: str, tmp_path: Path
) -> None:
    """It leaves the embedding out, without which no class would have a map of its own here."""
    settings = quick("few-shot", epochs=1, random_masks=4)
    classifier = NETWORKS[kind]()
    explainer = train(classifier, noise_photos(9), tmp_path / "out", settings)
    assert isinstance(explainer.head, SharedHead)
    has_prior = kind != "no linear end"
    assert explainer.head.settings.parts == (
        ("prior", "gate") if has_prior else ("embedding", "gate")
    )
    assert explainer.head.settings.contrast == has_prior
    maps = explainer(noise_photos(1), "all").maps[0]
    assert float((maps[0] - maps[1]).abs().max()) > 1e-3


def test_figures_are_those_of_the_maps_that_explanations_hold(tmp_path: Path) -> None:
    """A min-maxed sigmoid is another mask than a min-maxed raw map."""
    means = {}
    for maps in ("raw", "sigmoid"):
        settings = quick("few-shot-quick", epochs=1, maps=maps)
        explainer = train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / maps, settings)
        (figures,) = explainer.training_record["validation"]
        means[maps] = (figures["loss"], figures["mean_map_value"])
    assert means["raw"][0] == means["sigmoid"][0]
    assert abs(means["raw"][1] - means["sigmoid"][1]) > 1e-3


def test_the_range_test_trains_with_adamw_too() -> None:
    found = find_learning_rate(tiny_cnn(), noise_photos(PHOTOS), SETTINGS, steps=4, highest=1e-2)
    assert len(found.rates) == 4


def identity(**changes: object) -> RunIdentity:
    settings = training_settings("t-tame").changed(**changes).as_json()
    return RunIdentity(settings, data="d", classifier="c", taps=("a",))


def test_settings_that_older_checkpoints_lack_had_their_default() -> None:
    flat = {name: FLAT_DEFAULTS[name] for name in ("epochs", "head", "learning_rate", "momentum")}
    older = RunIdentity(with_parts(flat), data="d", classifier="c", taps=("a",))
    identity().refuse_other(older)
    with pytest.raises(ResumeError, match="optimiser was 'sgd', now 'adamw'"):
        identity(optimiser="adamw").refuse_other(older)
    with pytest.raises(ResumeError, match="objective was 't-tame', now 'kept-share'"):
        identity(objective="kept-share").refuse_other(older)
    with pytest.raises(ResumeError, match=r"area_weight was 2\.0, now 3\.0"):
        identity(area_weight=3.0).refuse_other(older)
    same = {**identity().settings, "optimiser": {"kind": "sgd"}}
    without_momentum = dataclasses.replace(older, settings=same)
    identity().refuse_other(without_momentum)
    with pytest.raises(ResumeError, match=r"momentum was 0\.9, now 0\.5"):
        identity(momentum=0.5).refuse_other(without_momentum)


# What a run draws


def small_run(settings: TrainingSettings = SETTINGS) -> TrainingRun:
    accelerator = make_accelerator(settings)
    return new_run(
        tiny_cnn(), noise_photos(PHOTOS), TrainingFolder(Path("nowhere")), settings, accelerator
    )


def draws(run: TrainingRun, part: int = 0, process: int = 0) -> float:
    """The first number that a batch would draw."""
    there = dataclasses.replace(run, accelerator=SimpleNamespace(process_index=process))
    return float(torch.rand((), generator=there.place(4, part).generator))


def test_every_step_part_and_seed_draws_for_itself_and_every_process_alike() -> None:
    run = small_run()
    reseeded = dataclasses.replace(run, settings=run.settings.changed(seed=1))
    found = []
    for step in range(5):
        run.step = reseeded.step = step
        found += [draws(run, part) for part in range(3)]
        assert [draws(run, part, process=1) for part in range(3)] == found[-3:]
        found += [draws(reseeded)]
    assert len(set(found)) == len(found)
    run.step = 0
    torch.rand(3)
    assert found[:2] == [draws(run), draws(run, 1)]
    assert 0.2 < sum(found) / len(found) < 0.8


def test_a_batch_knows_where_its_images_stand() -> None:
    run = small_run()
    there = dataclasses.replace(run, accelerator=SimpleNamespace(process_index=2))
    assert (run.place(4, 0).first_image, there.place(4, 1).first_image) == (0, 8)
    assert run.place(4, 0).wrapped_head is run.head


def test_no_two_batches_of_a_training_draw_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps, accumulated parts and epochs, as the loop counts them."""
    seeds: list[int] = []
    random_masks = kept_share_objective.random_masks

    def noted(
        maps: Tensor, objective: Any, generator: torch.Generator, *more: Any
    ) -> tuple[Tensor, Tensor]:
        seeds.append(generator.initial_seed())
        return random_masks(maps, objective, generator, *more)

    monkeypatch.setattr(kept_share_objective, "random_masks", noted)
    settings = quick("few-shot-quick", epochs=2, gradient_accumulation=2)
    train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", settings)
    validated = [seed for seed in seeds if seed < 10]
    trained = [seed for seed in seeds if seed >= 10]
    assert len(trained) == len(set(trained)) == 2 * 5 * 2
    assert validated == [*range(len(validated) // 2)] * 2


# The brightness of maps


def bright(mean: float, **changes: Any) -> TrainingSettings:
    return quick("few-shot-quick", mean_map=mean, **changes)


def some_maps(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 1, 5, 7, generator=generator).exp()


@pytest.mark.parametrize("mean", [0.2, 0.55, 0.8])
def test_the_exponent_moves_to_the_wanted_mean(mean: float) -> None:
    run, maps = small_run(bright(mean)), some_maps()
    distances = []
    for _ in range(60):
        run.follow(maps.requires_grad_())
        distances.append(abs(float(run.bare_head.explained(maps).mean().detach()) - mean))
    assert distances[-1] < 0.016
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.5 * distances[1] > 0


@pytest.mark.parametrize("mean", [0.55, 0.8])
def test_the_darkest_places_are_not_forgotten(mean: float) -> None:
    run, maps = small_run(bright(mean)), some_maps()
    for _ in range(80):
        run.follow(maps)
    assert float(run.bare_head.explained(maps).mean()) == pytest.approx(mean, abs=1e-3)


def test_one_batch_moves_the_exponent_a_tenth_of_the_way() -> None:
    """Of its logarithm: ``e ← e^0.9 · wanted^0.1``, over all maps of the batch together."""
    run, maps = small_run(bright(0.3)), some_maps()
    for _ in range(200):
        run.follow(maps)
    assert isinstance(run.bare_head, SharedHead)
    wanted = float(run.bare_head.exponent)
    assert float(run.bare_head.explained(maps).mean()) == pytest.approx(0.3, abs=1e-3)
    single = run.bare_head.explained(maps).mean(dim=(1, 2, 3))
    assert float(single.max() - single.min()) > 0.02
    run.bare_head.exponent.fill_(2.0)
    run.follow(maps)
    assert float(run.bare_head.exponent) == pytest.approx(2.0**0.9 * wanted**0.1, rel=1e-4)


def test_processes_follow_their_mean_together() -> None:
    run = small_run(bright(0.7))
    asked = []

    class Two:
        """Another process whose maps are white."""

        def gather(self, values: Tensor) -> Tensor:
            asked.append(values)
            return torch.cat([values, torch.ones_like(values)])

    assert isinstance(run.bare_head, SharedHead)
    run = dataclasses.replace(run, accelerator=Two())  # type: ignore[arg-type]
    for _ in range(80):
        run.follow(some_maps())
    assert float(run.bare_head.explained(some_maps()).mean()) == pytest.approx(0.4, abs=1e-3)
    assert float(asked[0].min()) == 0 and float(asked[0].max()) == 1


@pytest.mark.parametrize(
    "settings",
    [quick("few-shot-quick", maps="raw"), quick("few-shot-quick", maps="sigmoid"), quick()],
    ids=str,
)
def test_other_maps_have_nothing_to_follow(settings: TrainingSettings) -> None:
    run = small_run(settings)
    before = {name: tensor.clone() for name, tensor in run.bare_head.state_dict().items()}
    run.follow(some_maps())
    after = run.bare_head.state_dict()
    assert "exponent" not in after
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_trained_maps_have_the_mean_that_was_asked_for(tmp_path: Path) -> None:
    """Their ranking of places is that of any other mean."""
    classifier = tiny_cnn()
    images = classifier.prepare(noise_photos(PHOTOS))
    maps = {}
    for mean in (0.3, 0.7):
        settings = bright(mean, epochs=14, augmentation="none")
        explainer = train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / str(mean), settings)
        maps[mean] = explainer(images).maps
        assert float(maps[mean].mean()) == pytest.approx(mean, abs=0.06)
        (*_, figures) = explainer.training_record["validation"]
        assert figures["mean_map_value"] == pytest.approx(mean, abs=0.15)
        assert float(maps[mean].amax()) == 1 and float(maps[mean].amin()) == 0
    assert torch.equal(maps[0.3].flatten(1).argsort(), maps[0.7].flatten(1).argsort())


# Validation


def test_a_head_is_judged_alike_in_every_epoch() -> None:
    """What is drawn depends on the number of the batch alone."""
    run = small_run()
    first, second = run.validate(0), run.validate(1)
    assert first is not None and first == second
    assert first["loss"] == first["drop"]
    assert list(first) == [
        "loss", "drop", "average_drop", "increase_in_confidence", "mean_map_value",
    ]  # fmt: skip
    assert [figures["epoch"] for figures in run.validation] == [0, 1]


def test_batches_to_validate_on_draw_apart() -> None:
    """The same photos again in the next batch are masked at other shares."""
    classifier = tiny_cnn()
    explainer = new_attention_explainer(classifier, SETTINGS.head, method="few_shot")
    photos = noise_photos(4) * 2
    images = PreparedImages(WrappedDataset(photos), classifier.preprocessing)
    settings = SETTINGS.changed(batch_size=4)
    first, second = measure_batches(explainer.classifier, explainer.head, images, settings)
    assert first.figures["average_drop"] == second.figures["average_drop"]
    assert first.figures["drop"] != second.figures["drop"]


def test_a_loss_that_is_no_number_names_its_part(tmp_path: Path) -> None:
    settings = quick("few-shot-quick", learning_rate=1e30, epochs=4, checkpoint_every=1)
    with pytest.raises(NonFiniteLossError, match="lower learning_rate"):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", settings)
    from safetensors.torch import load_file

    for name, tensor in load_file(tmp_path / "out" / "checkpoint.safetensors").items():
        assert torch.isfinite(tensor).all(), name
