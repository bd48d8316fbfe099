"""The frozen result: its numbers, saving and loading."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ttame.errors import ExplainerError, ImageError
from ttame.files.tensor_files import read_tensors
from ttame.images.photo_crop import PhotoCrop
from ttame.results.explanation import Explanation
from ttame.results.remembered_photo import remembered


@pytest.fixture
def explanation() -> Explanation:
    return Explanation(
        maps=torch.tensor([[[[0.0, 1.0], [2.0, 4.0]], [[3.0, 3.0], [3.0, 3.0]]]]),
        classes=torch.tensor([[2, 0]]),
        logits=torch.tensor([[0.0, 1.0, 2.0]]),
        image_size=(4, 6),
        class_names=("ant", "bee", "cat"),
        method="t_tame",
        provenance={"classifier": "tiny", "taps": ["a"]},
    )


def test_numbers_follow_from_maps_and_logits(explanation: Explanation) -> None:
    assert explanation.heatmaps((2, 2))[0, 0].flatten().tolist() == [0, 0.25, 0.5, 1]
    assert explanation.heatmaps().shape == (1, 2, 4, 6)
    assert explanation.has_evidence.tolist() == [[True, False]]
    assert explanation.heatmaps()[0, 1].abs().max() == 0
    torch.testing.assert_close(
        explanation.class_probabilities[0, 0], explanation.probabilities[0, 2]
    )
    assert explanation.class_label(1) == "bee"
    assert dataclasses.replace(explanation, class_names=()).class_label(1) == "class 1"
    assert [explanation.target_label(0, place) for place in (0, 1)] == ["cat", "ant"]
    contrast = dataclasses.replace(explanation, target_labels=(("cat rather than bee", "mood"),))
    assert contrast.target_label(0, 1) == "mood"


@pytest.mark.parametrize("as_file", [False, True])
def test_maps_of_the_photo_s_size_in_the_frame_of_the_input_are_refused(
    as_file: bool, explanation: Explanation, tmp_path: Path
) -> None:
    photo = Image.new("RGB", (20, 10))
    photo.save(tmp_path / "photo.png")
    given = tmp_path / "photo.png" if as_file else photo
    cropped = dataclasses.replace(
        explanation, crop=PhotoCrop((4, 6), 8), photos=remembered([given])
    )
    with pytest.raises(ExplainerError, match=r"try: heatmaps_on\(photo\)"):
        cropped.heatmaps((10, 20))
    assert cropped.heatmaps_on(given).shape == (2, 10, 20)
    # Another size, the input's own, and a photo that is seen whole.
    assert cropped.heatmaps((11, 20)).shape[2:] == (11, 20)
    assert cropped.heatmaps((4, 6)).shape[2:] == (4, 6)
    whole = dataclasses.replace(cropped, crop=PhotoCrop((4, 6), (4, 6)))
    assert whole.heatmaps((10, 20)).shape[2:] == (10, 20)
    if as_file:
        given.unlink()
        assert cropped.heatmaps((10, 20)).shape[2:] == (10, 20)


def test_it_cannot_be_changed(explanation: Explanation) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        explanation.method = "other"  # type: ignore[misc]


@pytest.mark.parametrize("labels", [(), (("cat rather than bee", "mood"),)])
def test_saving_and_loading_keeps_everything(
    labels: tuple[tuple[str, ...], ...], explanation: Explanation, tmp_path: Path
) -> None:
    explanation = dataclasses.replace(explanation, target_labels=labels)
    explanation.save(tmp_path / "one.safetensors")
    again = Explanation.load(tmp_path / "one.safetensors")
    for field in dataclasses.fields(Explanation):
        first, second = getattr(explanation, field.name), getattr(again, field.name)
        if isinstance(first, torch.Tensor):
            assert torch.equal(first, second)
        else:
            assert first == second


def test_other_files_are_refused(explanation: Explanation, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no")
    with pytest.raises(ExplainerError, match="not a saved explanation"):
        Explanation.load(tmp_path / "text")
    with pytest.raises(ExplainerError, match="not a saved explanation"):
        Explanation.load(tmp_path / "missing")


def saved_otherwise(path: Path, **changed: Any) -> Path:
    """The file with other words beside its tensors; ``None`` leaves a word out."""
    tensors, metadata = read_tensors(path)
    described = {**json.loads(metadata["ttame_explanation"]), **changed}
    kept = {name: value for name, value in described.items() if value is not None}
    save_file(dict(tensors), path, {"ttame_explanation": json.dumps(kept)})
    return path


def test_files_of_the_version_before_have_classes_as_targets(
    explanation: Explanation, tmp_path: Path
) -> None:
    explanation.save(tmp_path / "one.safetensors")
    old = saved_otherwise(tmp_path / "one.safetensors", schema_version=2, target_labels=None)
    assert Explanation.load(old).target_labels == ()
    assert Explanation.load(old).target_label(0, 0) == "cat"


@pytest.mark.parametrize("labels", [[["one"]], [["a", "b"], ["c", "d"]], [[1, 2]]])
def test_labels_that_do_not_fit_the_maps_are_refused(
    labels: list[list[Any]], explanation: Explanation, tmp_path: Path
) -> None:
    explanation.save(tmp_path / "one.safetensors")
    other = saved_otherwise(tmp_path / "one.safetensors", target_labels=labels)
    with pytest.raises(ExplainerError, match="not a saved explanation"):
        Explanation.load(other)


def test_maps_on_the_photo_need_to_know_the_crop_and_the_image(tmp_path: Path) -> None:
    photo, crop = Image.new("RGB", (8, 4)), PhotoCrop((4, 4), 4)
    several = Explanation(
        torch.arange(8.0).reshape(2, 1, 2, 2), torch.zeros(2, 1, dtype=torch.int64),
        torch.zeros(2, 3), (4, 4), crop=crop,
    )  # fmt: skip
    several.save(tmp_path / "maps.safetensors")
    again = Explanation.load(tmp_path / "maps.safetensors")
    assert again.crop == crop
    laid = again.heatmaps_on(photo, 1, outside=math.nan)[0]
    assert laid[:, :2].isnan().all() and laid[:, 6:].isnan().all()
    assert laid[0, 2] == 0 and laid[3, 5] == 1
    with pytest.raises(ImageError, match="one photo, but the explanation is of 2 images"):
        again.heatmaps_on(photo)
    with pytest.raises(ImageError, match="image 2"):
        again.heatmaps_on(photo, 2)
    for unknown in (None, PhotoCrop((8, 8), 8)):
        with pytest.raises(ExplainerError, match="which part of a photo"):
            dataclasses.replace(again, crop=unknown).heatmaps_on(photo, 0)
