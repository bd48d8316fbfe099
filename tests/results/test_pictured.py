"""Pictures of explanations: the right place under every geometry, sizes, and what they say."""

from __future__ import annotations

import gc
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageShow

from tests.notebook.test_cards import NASTY, Tags
from ttame.drawing.heatmap_overlay import overlay_heatmap
from ttame.drawing.pixel_heatmaps import pixel_heatmaps
from ttame.errors import ClassSelectionError, ExplainerError, ImageError, MissingExtraError
from ttame.explainers.known_explainers import make_explainer
from ttame.images.photo_crop import PhotoCrop, PhotoRegion
from ttame.images.picture_files import open_picture
from ttame.images.preprocessing import Preprocessing
from ttame.results.explanation import Explanation
from ttame.results.remembered_photo import remembered
from ttame.testing import tiny_classifier, tiny_photos

GEOMETRIES: dict[str, Any] = {"crop": 24, "squash": (16, 16), "padding": "pad"}


def explanation_of(maps: torch.Tensor, crop: PhotoCrop | None = None, **more: Any) -> Explanation:
    count, classes = maps.shape[:2]
    return Explanation(
        maps,
        torch.arange(classes).expand(count, -1),
        torch.zeros(count, classes + 1),
        (16, 16),
        crop=crop or PhotoCrop((16, 16), 24),
        **more,
    )


def opened_turned(stored: np.ndarray[Any, Any], orientation: int) -> Image.Image:
    picture = Image.fromarray(stored)
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    content = io.BytesIO()
    picture.save(content, "PNG", exif=exif)
    return Image.open(io.BytesIO(content.getvalue()))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_marker_is_drawn_where_it_lies(geometry: str, orientation: int) -> None:
    """The map is the photo's one white spot; on a black photo it is bright where the spot was."""
    stored = np.zeros((48, 80, 3), dtype=np.uint8)
    stored[21:26, 36:41] = 255
    photo = opened_turned(stored, orientation)
    preprocessing = Preprocessing((16, 16), GEOMETRIES[geometry], (0.0,) * 3, (1.0,) * 3)
    seen = preprocessing.prepare(open_picture(photo))[None, :1]  # as classifier.prepare
    explanation = explanation_of(seen, preprocessing.crop)
    black = opened_turned(np.zeros_like(stored), orientation)
    picture = explanation.overlay(black, opacity=1.0)
    assert picture.size == photo.size
    inside = np.asarray(picture, dtype=float)[12:36, 28:52, 1]  # not the frame around the crop
    rows, columns = np.nonzero(inside > 0.8 * inside.max())
    assert abs(rows.mean() + 12 - 23) <= 1.5 and abs(columns.mean() + 28 - 38) <= 1.5


def test_a_class_in_the_place_of_the_photo_is_told_where_it_belongs() -> None:
    explanation = explanation_of(torch.rand(1, 2, 4, 4), class_names=("cat", "dog"))
    with pytest.raises(ImageError, match=r"overlay\(class_='dog'\)"):
        explanation.overlay("dog")
    with pytest.raises(ImageError, match="does not exist"):
        explanation.overlay("dog.jpg")


def test_an_overlay_is_what_the_pages_draw() -> None:
    photo, maps = tiny_photos(1, size=48)[0], torch.rand(1, 2, 4, 4)
    maps = (maps - maps.amin((2, 3), keepdim=True)) / (
        maps.amax((2, 3), keepdim=True) - maps.amin((2, 3), keepdim=True)
    )
    region = PhotoRegion(8, 8, 40, 40)
    drawn = explanation_of(maps).overlay(photo, 1, opacity=0.5, colour_scale="viridis")
    by_hand = overlay_heatmap(photo, maps[0, 1], region, scale="viridis", opacity=0.5)
    assert np.array_equal(np.asarray(drawn), np.asarray(by_hand))
    pixels = torch.randn(1, 1, 16, 16)
    of_pixels = explanation_of(pixels, of_pixels=True).overlay(photo)
    by_hand = overlay_heatmap(photo, pixel_heatmaps(pixels)[0, 0], region)
    assert np.array_equal(np.asarray(of_pixels), np.asarray(by_hand))


def test_an_explainer_remembers_its_photos(tmp_path: Path) -> None:
    photos = tiny_photos(2, size=24)
    photos[1].save(tmp_path / "dog.png")
    explanation = make_explainer("grad_cam", tiny_classifier())([photos[0], tmp_path / "dog.png"])
    expected = [explanation.overlay(photo, image=n) for n, photo in enumerate(photos)]
    for image, picture in enumerate(expected):
        assert np.array_equal(np.asarray(explanation[image].overlay()), np.asarray(picture))
    assert explanation.to("cpu").photos == explanation.photos
    del photos, expected
    gc.collect()
    with pytest.raises(ImageError, match="no longer in memory; try: photo="):
        explanation[0].overlay()
    assert explanation[1].overlay().size == (24, 24)
    assert "no longer in memory" in Tags(explanation[0]._repr_html_()).text


def test_a_tensor_has_no_photo_and_one_line_says_so() -> None:
    classifier = tiny_classifier()
    photo = tiny_photos(1)[0]
    explanation = make_explainer("grad_cam", classifier)(classifier.prepare(photo))
    for draw in (explanation.overlay, explanation.to_pil, explanation.show, explanation.plot):
        with pytest.raises(ImageError, match=r"given a tensor.*; try: photo=\.\.\."):
            draw()
    assert explanation.overlay(photo).size == photo.size
    page = explanation._repr_html_()
    assert page.count("<img") == 1 and "given a tensor" in page


def test_classes_are_asked_for_by_place_or_name() -> None:
    photo = tiny_photos(1)[0]
    explanation = explanation_of(torch.rand(1, 2, 4, 4), class_names=("ant", "bee", "cat"))
    first, second = (np.asarray(explanation.overlay(photo, place)) for place in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(second, np.asarray(explanation.overlay(photo, "bee")))
    for wrong in (2, -3, "cat"):
        with pytest.raises(ClassSelectionError, match=r"not explained; allowed: 0 to 1.*ant, bee"):
            explanation.overlay(photo, wrong)


def test_batches_want_to_know_which_image_or_one_photo_each() -> None:
    photos = tiny_photos(2)
    explanation = explanation_of(torch.rand(2, 1, 4, 4))
    with pytest.raises(ImageError, match="image=0 to image=1"):
        explanation.overlay(photos[0])
    with pytest.raises(ExplainerError, match="1 photo and an explanation of 2 images"):
        explanation.to_pil(photos[0])
    assert explanation.to_pil(photos).height > 1.9 * explanation[0].to_pil(photos[0]).height
    with pytest.raises(ImageError, match="image=0"):
        list(explanation.each_class())


def test_an_explanation_is_a_row_of_images_and_classes() -> None:
    maps = torch.rand(3, 2, 4, 4)
    names = (("a rather than b", "b"),) * 3
    explanation = explanation_of(maps, target_labels=names, photos=remembered(tiny_photos(3)))
    assert len(explanation) == len(list(explanation)) == 3
    for number, one in enumerate(explanation):
        assert torch.equal(one.maps, maps[number : number + 1]) and len(one.photos) == 1
        found = list(one.each_class())
        assert [each.label for each in found] == ["a rather than b", "b"]
        assert [each.index for each in found] == [0, 1]
        assert found[0].probability == pytest.approx(1 / 3)
        assert torch.equal(found[1].map, maps[number, 1])
    assert torch.equal(explanation[-1].maps, maps[2:])
    with pytest.raises(IndexError):
        explanation[3]
    assert np.array_equal(explanation.numpy(), maps.numpy())


@pytest.mark.parametrize(("images", "classes"), [(1, 1), (40, 1), (1, 40), (10, 10)])
def test_cards_stay_small_and_say_what_they_leave_out(images: int, classes: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (images, 300, 300, 3), dtype=np.uint8)
    photos = [Image.fromarray(pixels) for pixels in noise]
    explanation = explanation_of(
        torch.rand(images, classes, 8, 8), photos=remembered(photos), method=NASTY,
        class_names=tuple(f"{NASTY}{number}" for number in range(classes + 1)),
    )  # fmt: skip
    page = explanation._repr_html_()
    found = Tags(page)
    assert len(page) <= 200_000
    assert "script" not in found.tags and NASTY in found.text
    assert found.tags.count("img") >= 2
    shown = found.tags.count("figure")
    if images == 1 and classes > 1:
        assert f"the {shown - 1} most probable of {classes} classes" in found.text
    if images > 1:
        assert f"of {images} photos" in found.text


def test_show_puts_a_picture_below_the_cell_or_opens_a_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = tiny_photos(1)[0]
    explanation = explanation_of(torch.rand(1, 1, 4, 4))
    shown: list[Any] = []
    monkeypatch.setattr("ttame.results.picturing._without_screen", lambda: False)
    monkeypatch.setattr(ImageShow, "show", lambda picture, **_: shown.append(picture) or True)
    explanation.show(photo)
    assert shown[0].size == explanation.to_pil(photo).size
    monkeypatch.setattr(ImageShow, "show", lambda *_, **__: False)
    with pytest.raises(ImageError, match=r"no program here that shows pictures.*to_pil\(\)\.save"):
        explanation.show(photo)
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setattr("ttame.results.picturing.show_jpeg", shown.append)
    explanation.show(photo)
    assert Image.open(io.BytesIO(shown[-1])).format == "JPEG"


def test_figures_need_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tiny_photos(2)
    explanation = explanation_of(torch.rand(2, 3, 4, 4))
    figure = explanation.plot(photos)
    assert sum(1 for axes in figure.axes if axes.images) == 8
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "ttame.drawing.notebook_figure")
    with pytest.raises(MissingExtraError, match="try: pip install matplotlib$"):
        explanation.plot(photos)


def test_strength_makes_classes_comparable(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Image.new("RGB", (24, 24), "white")
    maps = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]])
    probabilities = torch.tensor([[0.8, 0.2, 0.0]])
    same = explanation_of(maps, probabilities=probabilities)
    own, faded, contrast = (
        np.asarray(same.overlay(photo, 1, opacity=1.0, strength=strength), dtype=float)
        for strength in ("own", "probability", "contrast")
    )
    right = (12, 18)  # Where both maps are 1: a quarter of the opacity, then nothing.
    assert np.allclose(255 - faded[right], (255 - own[right]) / 4, atol=1.5)
    inside = contrast[6:18, 6:18]
    assert (inside == 255).all()
    shown = []
    monkeypatch.setattr(ImageShow, "show", lambda picture, title: shown.append(picture) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    same.show(photo, strength="contrast")
    assert shown[0].size == same.to_pil(photo, strength="contrast").size
    with pytest.raises(ClassSelectionError, match="contrast of a single class"):
        explanation_of(maps[:, :1]).to_pil(photo, strength="contrast")
