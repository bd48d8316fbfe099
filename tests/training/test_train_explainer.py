"""Whole trainings of tiny networks: every preset and option, what is written, what stops one."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tests.conftest import assert_close
from tests.training.training_material import (
    log_of,
    noise_photos,
    photo_folder,
    quick,
    tiny_cnn,
    tiny_vit,
    train,
    weights_of,
)
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import (
    ClassifierError,
    DatasetError,
    ExplainerError,
    MemoryLimitError,
    NonFiniteLossError,
    OutputError,
    TrainingError,
    TtameError,
)
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.training.masked_pass import masking_space
from ttame.training.run_preparation import augmentation
from ttame.training.train_explainer import train_explainer
from ttame.training.training_progress import TrainingProgress
from ttame.training.training_settings import PRESETS, TrainingSettings, training_settings

PHOTOS = 14  # 1 held out, 13 to train on: 3 steps of 4


def trained(
    folder: Path, settings: TrainingSettings, classifier: Classifier | None = None
) -> dict[str, Tensor]:
    train(classifier or tiny_cnn(), noise_photos(PHOTOS), folder, settings)
    return weights_of(folder)


def initial_weights(settings: TrainingSettings, classifier: Classifier) -> dict[str, Tensor]:
    explainer = new_attention_explainer(
        classifier, settings.head, method=settings.method, seed=settings.run.seed
    )
    return explainer.head.state_dict()


def unchanged(weights: dict[str, Tensor], start: dict[str, Tensor]) -> set[str]:
    """The weights that training has not moved, but should have.

    Batch norm takes away what the bias of the convolution before it adds.
    """
    return {
        name
        for name, weight in weights.items()
        if torch.equal(weight, start[name])
        and not (name.endswith("convolution.bias") and "branches.0.batch_norm.bias" in weights)
    }


OF_THEIR_OWN = ("few-shot-text", "p-tame")
"""Of texts, and with another network: they have their own tests."""

OPTIONS: dict[str, TrainingSettings] = {
    **{preset: quick(preset) for preset in PRESETS if preset not in OF_THEIR_OWN},
    "diagonal": quick(map_selection="diagonal"),
    "max": quick(map_selection="max"),
    "no-skip": quick(head="no-skip"),
    "no-skip-no-batch-norm": quick(head="no-skip-no-batch-norm"),
    "sigmoid-in-branch": quick(head="sigmoid-in-branch"),
    "bf16": quick(mixed_precision="bf16"),
    "accumulated": quick(gradient_accumulation=2),
}


NO_PARTS = ("step", "epoch", "loss", "lr")


@pytest.mark.parametrize("option", OPTIONS)
def test_a_cnn_head_learns_with_every_option(tmp_path: Path, option: str) -> None:
    settings = OPTIONS[option]
    weights = trained(tmp_path / "out", settings)
    start = initial_weights(settings, tiny_cnn())
    assert weights.keys() == start.keys()
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    assert unchanged(weights, start) == set()
    steps = [line for line in log_of(tmp_path / "out") if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    for line in steps:
        parts = sum(value for name, value in line.items() if name not in NO_PARTS)
        assert line["loss"] == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [quick(), quick("tame"), quick("l-cam-img"), quick(class_token="multiply")],
    ids=["t-tame", "tame", "l-cam-img", "class token"],
)
def test_a_vit_head_learns(tmp_path: Path, settings: TrainingSettings) -> None:
    weights = trained(tmp_path / "out", settings, tiny_vit())
    assert unchanged(weights, initial_weights(settings, tiny_vit())) == set()


def test_a_longer_training_lowers_the_loss(tmp_path: Path) -> None:
    settings = quick(epochs=12, learning_rate=0.1)
    trained(tmp_path / "out", settings)
    validation = [line["validation"] for line in log_of(tmp_path / "out") if "validation" in line]
    losses = [line["loss"] for line in log_of(tmp_path / "out") if "loss" in line]
    assert len(validation) == 12
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])


def test_the_explainer_is_the_one_that_was_saved(tmp_path: Path) -> None:
    classifier = tiny_cnn()
    settings = quick(mixed_precision="bf16")
    explainer = train(classifier, noise_photos(PHOTOS), tmp_path / "out", settings)
    loaded = load_explainer(tmp_path / "out", classifier=classifier)
    images = classifier.prepare(noise_photos(3))
    # In float32, although it was trained in bfloat16.
    assert torch.equal(explainer(images, "all").maps, loaded(images, "all").maps)
    assert explainer.method == loaded.method == "t_tame"


def test_the_classifier_is_bit_identical_afterwards(tmp_path: Path) -> None:
    classifier = tiny_cnn()
    network = classifier.network
    network.train()
    network[1].eval()
    network[0].weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    flags = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    modes = [module.training for module in network.modules()]
    train(classifier, noise_photos(PHOTOS), tmp_path / "out", quick())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert {name: p.requires_grad for name, p in network.named_parameters()} == flags
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_the_classifier_is_restored_after_an_error(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(_: TrainingProgress) -> None:
        raise StopError

    classifier = tiny_cnn()
    classifier.network.train()
    with pytest.raises(StopError):
        train(classifier, noise_photos(PHOTOS), tmp_path / "out", quick(), watch=stop)
    assert all(module.training for module in classifier.network.modules())
    assert all(parameter.requires_grad for parameter in classifier.network.parameters())


def test_the_generators_of_the_user_are_left_alone(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    classifier = tiny_cnn()
    state = torch.random.get_rng_state()
    train(classifier, noise_photos(PHOTOS), tmp_path / "out", quick())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_reading_in_worker_processes_changes_nothing(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"augmentation": "random crop and flip"}
    alone = trained(tmp_path / "alone", quick(workers=0, **changes))
    helped = trained(tmp_path / "helped", quick(workers=2, **changes))
    for name, weight in alone.items():
        assert torch.equal(weight, helped[name])


def test_another_seed_gives_another_head(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", quick(epochs=1))
    other = trained(tmp_path / "other", quick(epochs=1, seed=1))
    again = trained(tmp_path / "again", quick(epochs=1))
    assert torch.equal(first["fusion.weight"], again["fusion.weight"])
    assert not torch.equal(first["fusion.weight"], other["fusion.weight"])


def test_accumulated_parts_equal_the_whole_batch_where_parts_do_not_matter(tmp_path: Path) -> None:
    # Without batch norm and with own maps only, every image is on its own.
    same: dict[str, Any] = {"head": "no-skip-no-batch-norm", "map_selection": "diagonal"}
    whole = trained(tmp_path / "whole", quick(**same))
    parts = trained(tmp_path / "parts", quick(gradient_accumulation=4, **same))
    for name, weight in whole.items():
        assert_close(parts[name], weight, 1e-5)


def test_low_precision_is_near_and_really_used(tmp_path: Path) -> None:
    full = trained(tmp_path / "full", quick(epochs=1, learning_rate=1e-2))
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    settings = quick(epochs=1, learning_rate=1e-2, mixed_precision="bf16")
    half = trained(tmp_path / "half", settings)
    for name, weight in full.items():
        assert half[name].dtype == weight.dtype
        assert_close(half[name].double(), weight.double(), 0.15)
    assert not torch.equal(half["fusion.weight"], full["fusion.weight"])


def test_another_precision_in_the_same_process_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "out", quick(epochs=1))
    with pytest.raises(TrainingError, match="a new process"):
        trained(tmp_path / "other", quick(epochs=1, mixed_precision="bf16"))
    assert not (tmp_path / "other").exists()


def test_progress_is_told_after_every_step(tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", quick(), watch=seen.append)
    assert [(p.step, p.steps, p.epoch, p.epochs) for p in seen] == [
        (step, 6, (step - 1) // 3, 2) for step in range(1, 7)
    ]
    assert [p.validation is not None for p in seen] == [False, False, True] * 2
    assert all(p.images_per_second > 0 for p in seen)
    assert seen[-1].seconds_left == 0
    lines = [line for line in log_of(tmp_path / "out") if "loss" in line]
    assert [p.learning_rate for p in seen] == [line["lr"] for line in lines]
    assert seen[0].learning_rate == pytest.approx(0.05 / 25)
    assert [p.parts["loss"] for p in seen] == [line["loss"] for line in lines]


def test_families_have_their_published_masking_and_augmentation() -> None:
    settings = training_settings("t-tame")
    assert masking_space(tiny_cnn(), settings.objective.masked) == "raw"
    assert masking_space(tiny_vit(), settings.objective.masked) == "normalised"
    assert augmentation(tiny_cnn(), settings.data) == "none"
    assert augmentation(tiny_vit(), settings.data) == "random crop and flip"
    tame = training_settings("tame")
    assert masking_space(tiny_vit(), tame.objective.masked) == "raw"
    assert augmentation(tiny_cnn(), tame.data) == "random crop and flip"


# What is written


def test_unreadable_images_are_counted_and_named(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", PHOTOS)
    for number in (2, 5, 9):
        (photos / f"{number:03}.png").write_bytes(b"no photo")
    explainer = train(tiny_cnn(), photos, tmp_path / "out", quick(held_out_share=0.3))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    named = [str(photos / f"{number:03}.png") for number in (2, 5, 9)]
    assert list(config["training"]["skipped_images"]) == named
    assert explainer.training_record["skipped_images"] == config["training"]["skipped_images"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "3 unreadable and skipped" in card
    assert all(f"`{name}`" in card for name in named)


def test_the_record_says_how_it_was_made(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", PHOTOS)
    settings = quick()
    explainer = train(tiny_cnn(), photos, tmp_path / "out", settings)
    record = explainer.training_record
    assert record["settings"] == settings.as_json()
    assert record["data"] == str(photos)
    assert (record["training_images"], record["held_out_images"]) == (13, 1)
    assert (record["steps"], record["processes"], record["device"]) == (6, 1, "cpu")
    assert [figures["epoch"] for figures in record["validation"]] == [0, 1]
    # The network came from Python.
    assert record["command"].startswith("ttame.train_explainer(classifier, data, folder, ")


def test_the_record_has_the_command_where_it_can_be_typed(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", PHOTOS)
    classifier = load_classifier(
        "timm/test_resnet.r160_in1k", "none", image_size=64, taps=["layer3", "layer4"]
    )
    explainer = train(classifier, photos, tmp_path / "out", quick(epochs=1))
    words = shlex.split(explainer.training_record["command"])
    assert words[:4] == ["ttame", "train", "--model", "timm/test_resnet.r160_in1k"]
    for option, value in {
        "--weights": "none",
        "--image-size": "64x64",
        "--taps": "layer3,layer4",
        "--data": str(photos),
        "--out": str(tmp_path / "out"),
        "--epochs": "1",
    }.items():
        assert words[words.index(option) + 1] == value


@pytest.mark.parametrize("tensors", [True, False], ids=["torch dataset", "folders"])
def test_other_kinds_of_data(tmp_path: Path, tensors: bool) -> None:
    pixels = torch.stack([torch.rand(3, 1, 1).expand(3, 16, 16) for _ in range(PHOTOS)])
    data: Any = TensorDataset((255 * pixels).to(torch.uint8), torch.zeros(PHOTOS))
    if not tensors:
        data = [photo_folder(tmp_path / "a", 7), photo_folder(tmp_path / "b", 7)]
    explainer = train(tiny_cnn(), data, tmp_path / "out", quick(epochs=1))
    assert explainer.training_record["training_images"] == 13
    name = "TensorDataset" if tensors else f"{tmp_path / 'a'} {tmp_path / 'b'}"
    assert explainer.training_record["data"] == name


def test_a_single_step_is_refused(tmp_path: Path) -> None:
    """The rate of the one-cycle schedule would be next to nothing in it."""
    with pytest.raises(TrainingError, match=r"1 optimiser step.* at least 2; try: .*epochs"):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "o", quick(epochs=1, batch_size=8))


def test_a_single_image_is_trained_on_without_validation(tmp_path: Path) -> None:
    explainer = train(tiny_cnn(), noise_photos(1), tmp_path / "out", quick(batch_size=1))
    assert explainer.training_record["held_out_images"] == 0
    assert explainer.training_record["validation"] == []
    assert all("validation" not in line for line in log_of(tmp_path / "out"))


def test_a_held_out_part_of_bad_photos_does_not_stop_the_training(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", PHOTOS)
    from ttame.datasets.held_out_split import split_held_out

    (held_out,) = split_held_out(PHOTOS, 0.1, 0)[1]
    bad = photos / f"{held_out:03}.png"
    bad.write_bytes(b"no photo")
    explainer = train(tiny_cnn(), photos, tmp_path / "out", quick())
    assert explainer.training_record["validation"] == []
    assert list(explainer.training_record["skipped_images"]) == [str(bad)]


# What stops a training


class Poisoned(nn.Module):
    """Gives NaN logits from a certain masked pass on."""

    def __init__(self, network: nn.Module, good_passes: int) -> None:
        super().__init__()
        self.network, self.good_passes = network, good_passes
        self.counting = False

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        if self.counting and images.requires_grad:
            self.good_passes -= 1
            if self.good_passes < 0:
                return logits * torch.nan
        return logits


def poisoned(good_passes: int) -> Classifier:
    network = Poisoned(tiny_cnn().network, good_passes)
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16))
    network.counting = True
    return classifier


def test_a_loss_that_is_no_number_stops_with_the_last_good_state(tmp_path: Path) -> None:
    settings = quick(checkpoint_every=2)
    with pytest.raises(NonFiniteLossError) as caught:
        train(poisoned(4), noise_photos(PHOTOS), tmp_path / "out", settings)
    message = str(caught.value)
    assert "the loss became nan at step 5 (loss, cross_entropy)" in message
    assert f"the state after step 4 is kept in {tmp_path / 'out'}" in message
    assert "learning_rate" in message
    assert [line["step"] for line in log_of(tmp_path / "out")] == [1, 2, 3, 3, 4]
    # The cause removed, the run goes on to the weights of a run that was never disturbed.
    train(poisoned(99), noise_photos(PHOTOS), tmp_path / "out", settings, resume=True)
    train(poisoned(99), noise_photos(PHOTOS), tmp_path / "healthy", settings)
    healthy = weights_of(tmp_path / "healthy")
    for name, weight in weights_of(tmp_path / "out").items():
        assert torch.equal(weight, healthy[name])


def test_a_loss_that_is_no_number_at_once_says_that_nothing_was_saved(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match="no checkpoint had been written yet"):
        train(poisoned(0), noise_photos(PHOTOS), tmp_path / "out", quick())
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_an_absurd_learning_rate_ends_without_a_broken_checkpoint(tmp_path: Path) -> None:
    settings = quick(learning_rate=1e30, epochs=5, checkpoint_every=1)
    with pytest.raises(NonFiniteLossError, match="lower learning_rate"):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", settings)
    from safetensors.torch import load_file

    for name, tensor in load_file(tmp_path / "out" / "checkpoint.safetensors").items():
        assert torch.isfinite(tensor).all(), name
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("steps", [1, 3], ids=["checkpoint", "last step"])
def test_weights_that_are_no_numbers_are_never_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """The gradient of a finite loss may be infinite."""
    from ttame.training import train_explainer

    healthy = train_explainer.optimise

    def break_weights(run: Any, batches: Any) -> dict[str, float]:
        parts = healthy(run, batches)
        if run.step + 1 == steps:
            with torch.no_grad():
                run.bare_head.fusion.weight[0] = torch.nan
        return parts

    monkeypatch.setattr(train_explainer, "optimise", break_weights)
    settings = quick(epochs=1, checkpoint_every=1)
    with pytest.raises(NonFiniteLossError, match=f"at step {steps} "):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", settings)
    assert (tmp_path / "out" / "checkpoint.safetensors").exists() == (steps > 1)
    assert "NaN" not in (tmp_path / "out" / "training.jsonl").read_text()


def refused(folder: Path, error: type[Exception], message: str, *arguments: Any) -> None:
    with pytest.raises(error, match=message):
        train(*arguments[:2], folder, *arguments[2:])
    assert not folder.exists()


def test_data_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    bad = photo_folder(tmp_path / "bad", PHOTOS)
    for photo in bad.iterdir():
        photo.write_bytes(b"no photo")
    out = tmp_path / "out"
    refused(out, DatasetError, "holds no photos", tiny_cnn(), tmp_path / "empty", quick())
    refused(out, DatasetError, "none of the 13 photos is readable", tiny_cnn(), bad, quick())
    refused(out, DatasetError, "does not exist", tiny_cnn(), tmp_path / "nowhere", quick())


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    settings = quick(batch_size=16)
    message = "13 images to train on, fewer than a batch of 16; try: batch_size=13"
    refused(tmp_path / "out", TrainingError, message, tiny_cnn(), noise_photos(PHOTOS), settings)


def test_a_method_that_does_not_fit_the_classifier_is_refused(tmp_path: Path) -> None:
    photos, out = noise_photos(PHOTOS), tmp_path / "out"
    multiply = quick(class_token="multiply")
    refused(out, ExplainerError, "no class token", tiny_cnn(), photos, multiply)
    refused(out, ExplainerError, "which are tokens", tiny_vit(), photos, quick("l-cam-fm"))


def test_an_existing_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path, quick())
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_training_into_the_same_folder_is_refused(tmp_path: Path) -> None:
    refusals = []

    def begin_another(progress: TrainingProgress) -> None:
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputError, match="another run is writing .*try: waiting") as found:
                train(tiny_cnn(), noise_photos(PHOTOS), out, quick(), **options)
            refusals.append(str(found.value))

    out = tmp_path / "out"
    train(tiny_cnn(), noise_photos(PHOTOS), out, quick(epochs=1), watch=begin_another)
    assert len(refusals) == 3 * 3
    disturbed = weights_of(out)
    # Also where it replaces an explainer; and afterwards the folder is free again.
    train(
        tiny_cnn(),
        noise_photos(PHOTOS),
        out,
        quick(epochs=1),
        overwrite=True,
        watch=begin_another,
    )
    assert len(refusals) == 2 * 3 * 3
    train(tiny_cnn(), noise_photos(PHOTOS), out, quick(epochs=1), overwrite=True)
    assert all(torch.equal(disturbed[name], weight) for name, weight in weights_of(out).items())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_explainer_to_be_overwritten_survives_bad_input(tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(tiny_cnn(), noise_photos(PHOTOS), out, quick(epochs=1))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(DatasetError):
        train(tiny_cnn(), tmp_path / "nowhere", out, quick(), overwrite=True)
    with pytest.raises(TrainingError):
        train(tiny_cnn(), noise_photos(2), out, quick(), overwrite=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    train(tiny_cnn(), noise_photos(PHOTOS), out, quick(epochs=1, seed=1), overwrite=True)
    assert (out / "explainer.safetensors").read_bytes() != before["explainer.safetensors"]


def test_too_little_memory_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ttame.training import batch_loss

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(batch_loss, "masked_logits", fail)
    with pytest.raises(MemoryLimitError, match="a smaller batch_size, a larger gradient_accum"):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", quick())


def test_a_full_disk_stops_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ttame.files import atomic_writing

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_writing, "_flush_to_disk", fail)
    with pytest.raises(OutputError, match="disk is full"):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", quick())


class Probe(nn.Module):
    """A linear layer on features that have no graph."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
        )
        self.fc = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images).mean(dim=(2, 3)).detach()
        logits: Tensor = self.fc(features)
        return logits


def test_a_network_without_gradients_is_refused_in_words(tmp_path: Path) -> None:
    classifier = Classifier(Probe(), preprocessing=Preprocessing.imagenet(16))
    with pytest.raises(ExplainerError, match=r"no gradient reaches the images through Probe"):
        train(classifier, noise_photos(PHOTOS), tmp_path / "out", quick())
    photo = classifier.prepare(noise_photos(1)[0])
    for method in ("grad_cam", "integrated_gradients", "full_lrp", "agf"):
        with pytest.raises(ExplainerError, match="no gradient|no relevance reaches"):
            make_explainer(method, classifier)(photo)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_gradients_that_the_caller_has_switched_off(context: Any, tmp_path: Path) -> None:
    classifier = tiny_cnn()
    methods = ("grad_cam", "integrated_gradients", "full_lrp", "agf")
    explainers = {name: make_explainer(name, classifier) for name in methods}
    with context():
        train(classifier, noise_photos(PHOTOS), tmp_path / "out", quick())
        photo = classifier.prepare(noise_photos(1)[0])
        found = {name: explainer(photo, 0).maps for name, explainer in explainers.items()}
    train(classifier, noise_photos(PHOTOS), tmp_path / "usual", quick())
    expected = weights_of(tmp_path / "usual")
    assert all(
        torch.equal(weight, expected[n]) for n, weight in weights_of(tmp_path / "out").items()
    )
    photo = classifier.prepare(noise_photos(1)[0])
    for name, explainer in explainers.items():
        assert_close(found[name], explainer(photo, 0).maps, 1e-5)


def test_a_network_or_a_dict_instead_of_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClassifierError, match="a Sequential as classifier"):
        train(tiny_cnn().network, noise_photos(PHOTOS), tmp_path / "out", quick())  # type: ignore[arg-type]


def test_an_explainer_stays_until_the_one_that_replaces_it_is_complete(tmp_path: Path) -> None:
    out, alone = tmp_path / "out", tmp_path / "alone"
    train(tiny_cnn(), noise_photos(PHOTOS), out, quick(epochs=1))
    old = {file.name: file.read_bytes() for file in out.iterdir()}
    (out / "notes").mkdir()
    (out / "notes" / "mine.txt").write_text("mine")
    settings = quick(epochs=1, seed=1, checkpoint_every=1)

    def stop(progress: TrainingProgress) -> None:
        assert {name: (out / name).read_bytes() for name in old} == old
        if progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny_cnn(), noise_photos(PHOTOS), out, settings, overwrite=True, watch=stop)
    assert {name: (out / name).read_bytes() for name in old} == old
    with pytest.raises(OutputError, match="unfinished training; try: resume=True"):
        train(tiny_cnn(), noise_photos(PHOTOS), out, settings)
    train(tiny_cnn(), noise_photos(PHOTOS), out, settings, resume=True)
    train(tiny_cnn(), noise_photos(PHOTOS), alone, settings)
    for name in ("explainer.safetensors", "training.jsonl"):
        assert (out / name).read_bytes() == (alone / name).read_bytes() != old[name]
    assert {entry.name for entry in out.iterdir()} == {*old, "notes"}
    assert (out / "notes" / "mine.txt").read_text() == "mine"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_replacement_that_was_killed_before_its_first_checkpoint_begins_anew(
    tmp_path: Path,
) -> None:
    train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", quick(epochs=1))
    (tmp_path / "out" / "unfinished").mkdir()
    settings = quick(epochs=1, seed=1)
    train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", settings, resume=True)
    assert not (tmp_path / "out" / "unfinished").exists()
    with pytest.raises(OutputError, match="is complete"):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", settings, resume=True)


def test_where_nothing_can_be_exchanged_is_said_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", quick(epochs=1))
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    with pytest.raises(OutputError, match="volume begins.*try: a folder inside it$"):
        train(tiny_cnn(), noise_photos(PHOTOS), tmp_path / "out", quick(), overwrite=True)


def test_a_setting_in_the_wrong_place_is_told_where_it_belongs() -> None:
    with pytest.raises(TrainingError, match=r"training_settings\(epochs=2\)"):
        train_explainer(tiny_cnn(), "photos", "out", epochs=2)
    with pytest.raises(TtameError, match="unknown argument or setting 'epoch'; try: epochs"):
        train_explainer(tiny_cnn(), "photos", "out", epoch=2)
    with pytest.raises(TrainingError, match=r"try: ttame.training_settings\('few-shot'\)"):
        train_explainer(tiny_cnn(), "photos", "out", "few-shot")  # type: ignore[arg-type]
