import numpy as np
import pytest
import torch
from PIL import Image

from ttame.drawing import explanation_panel
from ttame.drawing.explanation_panel import (
    ClassHeatmap,
    MethodHeatmap,
    draw_panel,
    fitted_size,
    scaled_region,
)
from ttame.drawing.heatmap_overlay import overlay_heatmap
from ttame.errors import ImageError
from ttame.images.photo_crop import PhotoRegion
from ttame.images.preprocessing import Preprocessing

LABELS = ["tabby", "Löwe", "tench, " * 40, "猫", "<script>"]


def classes(number):
    generator = torch.Generator().manual_seed(0)
    return [
        ClassHeatmap(label, 0.5, torch.rand(7, 7, generator=generator)) for label in LABELS[:number]
    ]


def written(monkeypatch):
    """Collects every text that a panel writes."""
    texts = []
    original = explanation_panel._write

    def remember(panel, corner, text, *rest, **options):
        texts.append(text)
        return original(panel, corner, text, *rest, **options)

    monkeypatch.setattr(explanation_panel, "_write", remember)
    return texts


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(2, 2), (3000, 500), (500, 3000), (640, 480)])
def test_panel_holds_the_photo_and_every_overlay(number, size):
    photo = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    )
    region = Preprocessing.imagenet(224).region(size)
    panel = draw_panel(photo, region, classes(number), title="a.png")
    tile = photo.resize(fitted_size(size, 320, 640), Image.Resampling.LANCZOS)
    pictures = [tile] + [
        overlay_heatmap(tile, shown.heatmap, scaled_region(region, size, tile.size))
        for shown in classes(number)
    ]
    layout = explanation_panel._layout(size, LABELS[:number], True)
    for place, picture in enumerate(pictures):
        left, top = layout.corner(place)
        box = (left, top, left + tile.width, top + tile.height)
        assert panel.crop(box).tobytes() == picture.tobytes()
        assert box[2] < panel.width
        assert box[3] < panel.height


def test_tiles_stay_legible_at_any_size():
    assert fitted_size((2, 2), 320, 640) == (320, 320)
    assert fitted_size((3000, 500), 320, 640) == (640, 107)
    assert fitted_size((400, 300), 320, 640) == (400, 300)
    assert fitted_size((1, 5000), 320, 640) == (1, 640)


def test_captions_say_class_probability_and_missing_evidence(monkeypatch):
    texts = written(monkeypatch)
    shown = [
        ClassHeatmap("tabby", 0.873, [[0.0, 1.0]]),
        ClassHeatmap("lynx", 0.0001, torch.zeros(7, 7)),
    ]
    draw_panel(Image.new("RGB", (64, 64)), PhotoRegion(0, 0, 64, 64), shown)
    assert texts[:6] == ["Photo", "", "tabby", "87.3%", "lynx", "<0.1% · no evidence"]
    assert texts[6:8] == ["low", "high"]


def test_frame_is_explained_only_where_there_is_one(monkeypatch):
    texts = written(monkeypatch)
    photo = Image.new("RGB", (64, 64))
    draw_panel(photo, PhotoRegion(0, 0, 64, 64), classes(1))
    assert "frame: what the network saw" not in texts
    draw_panel(photo, PhotoRegion(4, 4, 60, 60), classes(1))
    assert "frame: what the network saw" in texts


def test_photo_is_not_changed():
    photo = Image.new("RGB", (50, 40), (10, 20, 30))
    draw_panel(photo, PhotoRegion(5, 0, 45, 40), classes(2))
    assert photo.getcolors() == [(2000, (10, 20, 30))]


def test_panel_without_classes_is_refused():
    with pytest.raises(ImageError, match="panel without heatmaps"):
        draw_panel(Image.new("RGB", (8, 8)), PhotoRegion(0, 0, 8, 8), [])


def test_tiles_of_methods_are_captioned_by_method(monkeypatch):
    texts = written(monkeypatch)
    grid = [[0.0, 1.0]]
    tiles = [
        MethodHeatmap("Grad-CAM", grid),
        MethodHeatmap("Eigen-CAM", grid, "one map for all classes"),
        MethodHeatmap("CAM", [[0.5, 0.5]], "one map for all classes"),
    ]
    draw_panel(Image.new("RGB", (64, 48)), PhotoRegion(0, 0, 64, 48), tiles)
    assert texts[2:8] == [
        "Grad-CAM", "", "Eigen-CAM", "one map for all classes", "CAM", "no evidence"
    ]  # fmt: skip


def test_many_tiles_are_small_ones():
    photo, region = Image.new("RGB", (900, 600)), PhotoRegion(0, 0, 900, 600)
    many = [MethodHeatmap("m", [[0.0, 1.0]])] * explanation_panel.MOST_LARGE_TILES
    assert explanation_panel._layout(photo.size, ["m"] * 12, False).tile == (640, 427)
    assert explanation_panel._layout(photo.size, ["m"] * 13, False).tile == (320, 213)
    assert max(draw_panel(photo, region, many).size) < 2000
