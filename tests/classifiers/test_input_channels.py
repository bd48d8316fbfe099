"""Networks of one, four and thirteen channels, through every method, a training and a measuring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import ExifTags, Image
from torch import nn

import ttame
from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError, ImageError
from ttame.images.band_photo import BandPhoto
from ttame.images.preprocessing import Preprocessing

SIZE = 16


def network(channels: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def classifier_of(channels: int) -> Classifier:
    return Classifier(network(channels), preprocessing=Preprocessing.imagenet(SIZE), name="mine")


def picture(channels: int, seed: int = 0) -> Image.Image | BandPhoto:
    rng = np.random.default_rng(seed)
    if channels > 4:
        return BandPhoto(rng.random((channels, 20, 28)))
    return Image.fromarray(rng.integers(0, 256, (20, 28, max(3, channels)), dtype=np.uint8))


@pytest.mark.parametrize(
    ("channels", "kind", "words"),
    [
        (1, "grey", "takes 1 channel: photos are made grey, with mean 0.449 and standard"),
        (4, "rgba", "red, green, blue and opacity, with mean 0.485, 0.456, 0.406, 0 and"),
        (13, 13, "takes 13 channels: give arrays of 13 bands as .npy or TIFF files"),
    ],
)
def test_channels_are_found_and_said(channels: int, kind: object, words: str) -> None:
    classifier = classifier_of(channels)
    assert classifier.preprocessing.channels == kind
    assert words in classifier.notices[0]
    assert str(classifier.notices[0]).isprintable()
    assert classifier.prepare(picture(channels)).shape == (1, channels, SIZE, SIZE)


def test_three_channels_are_as_ever() -> None:
    classifier = classifier_of(3)
    assert classifier.notices == ()
    assert classifier.preprocessing == Preprocessing.imagenet(SIZE)


def test_what_was_said_is_not_overruled() -> None:
    said = Preprocessing((SIZE, SIZE), SIZE, channels="grey")
    with pytest.raises(ClassifierError, match="try: preprocessing with channels=3, with which"):
        Classifier(network(3), preprocessing=said)
    bands = Preprocessing((SIZE, SIZE), SIZE, channels=4)
    assert Classifier(network(4), preprocessing=bands).preprocessing.channels == 4


def test_a_photo_for_thirteen_bands_is_refused_in_one_line() -> None:
    with pytest.raises(ImageError, match=r"a photo of mode RGB .* \(13, H, W\)"):
        classifier_of(13).prepare(picture(3))
    with pytest.raises(ImageError, match=r"allowed: \(B, 13, H, W\)"):
        classifier_of(13).logits(torch.zeros(1, 3, SIZE, SIZE))


OF_EACH_SORT = ("grad_cam", "rise", "occlusion", "lrp", "integrated_gradients")
"""Whose maps are of features, of masks, of windows, of relevance and of pixels."""


@pytest.mark.parametrize(("channels", "names"), [(1, None), (4, OF_EACH_SORT), (13, None)])
def test_every_method_explains_them(channels: int, names: tuple[str, ...] | None) -> None:
    classifier = classifier_of(channels)
    photo = picture(channels)
    methods, _ = ttame.methods_for(classifier, names)
    assert set(OF_EACH_SORT) <= set(methods)
    for name, method in methods.items():
        explanation = method(photo)
        assert explanation.maps.shape[:2] == (1, 1), name
        laid = explanation.heatmaps_on(photo)
        assert laid.shape == (1, 20, 28) and 0 <= laid.min() <= laid.max() <= 1, name


def test_a_vision_transformer_of_one_channel() -> None:
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", in_chans=1, img_size=32, patch_size=8, depth=2, num_classes=4
    )
    classifier = Classifier(vit, preprocessing=Preprocessing.imagenet(32))
    assert classifier.preprocessing.channels == "grey"
    methods, _ = ttame.methods_for(classifier, ["vit_recipro_cam", "attn_lrp", "attention_rollout"])
    assert len(methods) == 3
    for method in methods.values():
        assert method(picture(1)).maps.shape == (1, 1, 4, 4) or method.method == "attn_lrp"


@pytest.mark.parametrize("channels", [1, 13])
def test_they_are_trained_for_measured_and_loaded_again(channels: int, tmp_path: Path) -> None:
    classifier = classifier_of(channels)
    photos = [picture(channels, seed) for seed in range(12)]
    settings = ttame.training_settings(epochs=1, batch_size=4, workers=0)
    explainer = ttame.train_explainer(classifier, photos, tmp_path / "trained", settings)
    again = ttame.load_explainer(tmp_path / "trained", classifier=classifier_of(channels))
    images = classifier.prepare(photos)
    torch.testing.assert_close(again(images).maps, explainer(images).maps)
    stored = (tmp_path / "trained" / "config.json").read_text()
    assert f'"channels": {channels if channels > 4 else chr(34) + "grey" + chr(34)}' in stored
    methods = {"grad_cam": ttame.make_explainer("grad_cam", classifier), "trained": explainer}
    measured = ttame.evaluate(classifier, photos[:3], methods, tmp_path / "measured", batch_size=2)
    assert len(measured.methods) == 2
    written = ttame.explain(photos[:2], methods, tmp_path / "explained")
    assert written.explained == 2 and not written.skipped


def test_a_photo_that_lies_turned_is_seen_upright_and_its_map_laid_back(tmp_path: Path) -> None:
    """A bright marker in a corner of the upright photo, which the file holds turned by 90°."""
    pixels = np.zeros((48, 32, 3), dtype=np.uint8)
    pixels[8:14, 2:8] = 255
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(pixels)))
    exif = stored.getexif()
    exif[ExifTags.Base.Orientation] = 6
    stored.save(tmp_path / "photo.png", exif=exif)
    preprocessing = Preprocessing((32, 32), 32, (0.0,) * 3, (1.0,) * 3)
    bright = nn.Conv2d(3, 1, 4, 4)
    nn.init.ones_(bright.weight)
    nn.init.zeros_(bright.bias)
    summed = nn.Sequential(
        bright, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)
    )
    nn.init.ones_(summed[-1].weight)
    classifier = Classifier(summed, preprocessing=preprocessing, taps=["1"])
    grad_cam = ttame.make_explainer("grad_cam", classifier)
    opened = Image.open(tmp_path / "photo.png")
    assert opened.size == (48, 32)
    of_file, of_image = grad_cam(tmp_path / "photo.png"), grad_cam(opened)
    torch.testing.assert_close(of_file.maps, of_image.maps)
    upright = of_file.heatmaps_on(tmp_path / "photo.png")[0].numpy()
    lying = of_image.heatmaps_on(opened)[0].numpy()
    assert upright.shape == (48, 32) and lying.shape == (32, 48)
    for heat, photo in ((upright, pixels), (lying, np.asarray(stored))):
        rows, columns = np.nonzero(photo[..., 0])
        top = np.argwhere(heat > 0.9 * heat.max()).mean(axis=0)
        assert abs(top - (rows.mean(), columns.mean())).max() < 2.5
    np.testing.assert_array_equal(np.rot90(upright), lying)
