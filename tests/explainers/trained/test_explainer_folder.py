"""Saving and loading: round trips, refusals, and nothing half-written."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.tiny_networks import tiny_cnn, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import (
    ExplainerError,
    ExplainerFolderError,
    OtherClassifierError,
    OutputError,
    UnknownNameError,
)
from ttame.explainers.trained.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.explainers.trained.explainer_folder import load_explainer, push_to_hub, save_explainer
from ttame.explainers.trained.known_head_settings import head_settings


@pytest.fixture
def explainer() -> AttentionExplainer:
    return new_attention_explainer(tiny_cnn(), seed=4)


def test_a_saved_explainer_gives_the_same_maps(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    explainer.save(tmp_path / "saved")
    names = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert names == ["README.md", "config.json", "explainer.safetensors"]
    again = load_explainer(tmp_path / "saved", classifier=tiny_cnn())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(images).maps, explainer(images).maps)
    assert again.method == explainer.method


def test_taps_and_variant_come_back(tmp_path: Path) -> None:
    classifier = tiny_cnn().with_taps(["2", "6"])
    made = new_attention_explainer(classifier, head_settings("sigmoid-in-branch"))
    made.save(tmp_path / "saved")
    again = load_explainer(tmp_path / "saved", classifier=tiny_cnn())
    assert [tap.layer for tap in again.classifier.taps] == ["2", "6"]
    assert again.head.settings == made.head.settings


def test_the_card_names_classifier_fingerprint_and_licence(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    explainer.save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert explainer.classifier.fingerprint() in card
    assert "`6`" in card


def test_other_weights_are_refused_unless_allowed_by_name(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    explainer.save(tmp_path / "saved")
    other = tiny_cnn()
    with torch.no_grad():
        next(other.network.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(OtherClassifierError, match="allow_other_weights"):
        load_explainer(tmp_path / "saved", classifier=other)
    load_explainer(tmp_path / "saved", classifier=other, allow_other_weights=True)


def test_another_normalisation_is_refused_unless_allowed_by_name(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    explainer.save(tmp_path / "saved")
    same = tiny_cnn()
    preprocessing = dataclasses.replace(same.preprocessing, mean=(0.5, 0.5, 0.5))
    other = Classifier(same.network, preprocessing=preprocessing, class_names=same.class_names)
    with pytest.raises(OtherClassifierError, match=r"mean \(0.485.*\(0.5, 0.5, 0.5\).*allow_other"):
        load_explainer(tmp_path / "saved", classifier=other)
    load_explainer(tmp_path / "saved", classifier=other, allow_other_weights=True)


def test_a_refused_network_stays_where_it_is(explainer: AttentionExplainer, tmp_path: Path) -> None:
    explainer.save(tmp_path / "saved")
    other = tiny_cnn()
    with torch.no_grad():
        next(other.network.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(OtherClassifierError):
        load_explainer(tmp_path / "saved", classifier=other, device="meta")
    assert {parameter.device.type for parameter in other.network.parameters()} == {"cpu"}


def test_a_classifier_of_another_shape_is_refused(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    explainer.save(tmp_path / "saved")
    other = tiny_timm("resnet10t", 64)
    with pytest.raises(OtherClassifierError, match="reads layer"):
        load_explainer(tmp_path / "saved", classifier=other, allow_other_weights=True)


def test_class_names_that_were_given_come_back(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    network = timm.create_model("test_resnet", num_classes=2)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    classifier = load_classifier(
        "timm/test_resnet",
        tmp_path / "weights.safetensors",
        image_size=64,
        class_names=["ripe", "rotten"],
        network_options={"num_classes": 2},
    )
    new_attention_explainer(classifier).save(tmp_path / "saved")
    again = load_explainer(tmp_path / "saved")
    assert again.classifier.class_names == ("ripe", "rotten")
    assert again(torch.zeros(1, 3, 64, 64), "rotten").classes.tolist() == [[1]]


def test_names_of_the_library_are_not_copied(tmp_path: Path) -> None:
    classifier = load_classifier("efficientnet_lite0")
    new_attention_explainer(classifier).save(tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["classifier"]["recipe"]["class_names"] is None
    assert load_explainer(tmp_path / "saved").classifier.class_names == classifier.class_names


def test_a_network_that_cannot_be_loaded_by_name_must_be_passed(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    explainer.save(tmp_path / "own")
    with pytest.raises(ExplainerError, match="classifier=Classifier"):
        load_explainer(tmp_path / "own")


def test_random_weights_are_drawn_again(tmp_path: Path) -> None:
    made = new_attention_explainer(tiny_timm("test_resnet", 64))
    made.save(tmp_path / "random")
    again = load_explainer(tmp_path / "random").classifier
    assert again.fingerprint() == made.classifier.fingerprint()
    file = tmp_path / "random" / "config.json"
    config = json.loads(file.read_text())
    # Another version of torch draws other weights from the same seed.
    file.write_text(json.dumps(config).replace(made.classifier.fingerprint(), "0" * 64))
    with pytest.raises(OtherClassifierError, match="drawn with seed 1; other versions of torch"):
        load_explainer(tmp_path / "random")
    # Older versions of ttame had no seed.
    del config["classifier"]["recipe"]["weights_seed"]
    file.write_text(json.dumps(config))
    with pytest.raises(ExplainerError, match="random weights of timm/test_resnet without a seed"):
        load_explainer(tmp_path / "random")


def test_an_existing_folder_is_kept_unless_overwriting(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(OutputError, match="exists"):
        explainer.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"
    with pytest.raises(OutputError, match="nothing that ttame wrote"):
        save_explainer(explainer, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"
    (tmp_path / "mine" / "letter.txt").unlink()
    save_explainer(explainer, tmp_path / "mine")
    save_explainer(explainer, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "config.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_a_full_disk_leaves_nothing_behind(
    explainer: AttentionExplainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="disk is full"):
        explainer.save(tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "not readable JSON"),
        (lambda folder: _edit(folder, schema_version=99), "schema 99"),
        (lambda folder: _edit(folder, method=5), "broken at 'method'"),
        (lambda folder: _edit(folder, surprise=1), "broken at 'surprise'"),
        (lambda folder: (folder / "explainer.safetensors").unlink(), "do not exist"),
        (
            lambda folder: (folder / "explainer.safetensors").write_bytes(b"\x80\x02pickle"),
            "is a pickle",
        ),
    ],
)
def test_a_broken_folder_says_what_is_broken(
    explainer: AttentionExplainer, tmp_path: Path, break_it: object, message: str
) -> None:
    explainer.save(tmp_path / "saved")
    assert callable(break_it)
    break_it(tmp_path / "saved")
    with pytest.raises(ExplainerFolderError, match=message):
        load_explainer(tmp_path / "saved", classifier=tiny_cnn())


def _edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_head_of_another_shape_than_its_config_is_refused(
    explainer: AttentionExplainer, tmp_path: Path
) -> None:
    explainer.save(tmp_path / "a")
    new_attention_explainer(tiny_cnn().with_taps(["6"])).save(tmp_path / "b")
    shutil.copy(tmp_path / "b" / "explainer.safetensors", tmp_path / "a")
    with pytest.raises(ExplainerFolderError, match="does not fit its config.json"):
        load_explainer(tmp_path / "a", classifier=tiny_cnn())


def test_unknown_names_come_with_near_matches(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="efficientnet_lite0"):
        load_explainer("efficientnet_lite")
    file = tmp_path / "explainer.safetensors"
    file.touch()
    with pytest.raises(ExplainerFolderError, match="is a file"):
        load_explainer(file)


def test_the_hub_says_clearly_that_it_cannot_be_reached(
    explainer: AttentionExplainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def offline(*_args: object, **_options: object) -> str:
        raise huggingface_hub.errors.OfflineModeIsEnabled("cannot reach the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", offline)
    with pytest.raises(ExplainerFolderError, match="cannot be downloaded"):
        load_explainer("somebody/explainer")
    with pytest.raises(ExplainerError, match="cannot upload to somebody/explainer"):
        push_to_hub(explainer, "somebody/explainer")


def test_pushing_uploads_the_three_files(
    explainer: AttentionExplainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    uploaded: dict[str, list[str]] = {}

    def upload(_self: object, *, repo_id: str, folder_path: str) -> None:
        uploaded[repo_id] = sorted(path.name for path in Path(folder_path).iterdir())

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *a, **o: "address")
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    assert push_to_hub(explainer, "me/mine") == "address"
    assert uploaded == {"me/mine": ["README.md", "config.json", "explainer.safetensors"]}
