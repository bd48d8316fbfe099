import numpy as np
import pytest
import torch
from PIL import Image

from ttame.drawing import heatmap_overlay
from ttame.drawing.colour_scales import apply_colours, colour_scale
from ttame.drawing.heatmap_overlay import covers_photo, mark_unseen, opacity_scale, overlay_heatmap
from ttame.errors import ImageError, UnknownNameError
from ttame.images.photo_crop import PhotoRegion
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import resize_maps

GREY = (120, 120, 120)
HOTTEST = tuple(int(value) for value in colour_scale()[255])


def noise(width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def pixels(picture):
    return np.asarray(picture).astype(int)


def test_hot_quadrant_of_a_centre_crop_lands_on_its_pixels():
    # 40 x 20 is resized to 16 x 8 and cropped to 8 x 8: columns 10 to 30 of the photo were seen.
    region = Preprocessing(input_size=(8, 8), resize=8).region((40, 20))
    assert region == PhotoRegion(10, 0, 30, 20)
    heatmap = np.zeros((20, 20))
    heatmap[:10, 10:] = 1
    picture = pixels(overlay_heatmap(Image.new("RGB", (40, 20), GREY), heatmap, region, opacity=1))
    hot = (picture == HOTTEST).all(axis=2)
    expected = np.zeros((20, 40), dtype=bool)
    expected[:10, 20:30] = True
    np.testing.assert_array_equal(hot, expected)
    assert (picture[10:, 10:30] == GREY).all()
    assert (picture[:, 10:20] == GREY).all()


def test_rows_of_a_tall_photo_are_mapped_like_columns_of_a_wide_one():
    photo, heatmap = noise(24, 9), torch.rand(5, 3)
    wide = overlay_heatmap(photo, heatmap.T, PhotoRegion(5.5, 0, 17.25, 9))
    tall = overlay_heatmap(
        photo.transpose(Image.Transpose.TRANSPOSE), heatmap, PhotoRegion(0, 5.5, 9, 17.25)
    )
    np.testing.assert_array_equal(pixels(tall), pixels(wide).transpose(1, 0, 2))


def test_coarse_grid_covers_the_region_by_equal_cells():
    # Two cells over columns 4 to 12: centres at 6 and 10, so 0, 1/8 .. at half pixels between.
    photo = Image.new("RGB", (16, 4), "black")
    picture = overlay_heatmap(
        photo, [[0.0, 1.0]], PhotoRegion(4, 0, 12, 4), scale="viridis", opacity=1
    )
    values = np.array([[0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]])
    shown = np.rint(values * 255).astype(int)
    alpha = opacity_scale(1.0)[shown][..., None] / 255
    expected = apply_colours(values, "viridis") * alpha
    np.testing.assert_allclose(pixels(picture)[1:2, 4:12], expected, atol=1)


@pytest.mark.parametrize("grid", [(7, 7), (30, 40), (14, 9), (90, 120), (1, 3)])
def test_whole_photo_agrees_with_resize_maps(grid):
    heatmap = torch.rand(grid, generator=torch.Generator().manual_seed(0))
    photo = Image.new("RGB", (40, 30), "black")
    picture = overlay_heatmap(photo, heatmap, PhotoRegion(0, 0, 40, 30), opacity=1)
    resized = resize_maps(heatmap[None, None], (30, 40))[0, 0].numpy()
    alpha = opacity_scale(1.0)[np.rint(resized * 255).astype(int)][..., None] / 255
    np.testing.assert_allclose(pixels(picture), apply_colours(resized) * alpha, atol=3)


def test_region_with_padding_shows_only_the_part_inside_the_photo():
    # The frame is 8 x 8, the photo its middle rows: hot are the frame's lower two quarters.
    heatmap = np.zeros((8, 8))
    heatmap[4:] = 1
    photo = Image.new("RGB", (8, 4), GREY)
    picture = pixels(overlay_heatmap(photo, heatmap, PhotoRegion(0, -2, 8, 6), opacity=1))
    assert (picture[:2] == GREY).all()
    assert (picture[2:] == HOTTEST).all()


def test_region_beside_the_photo_leaves_no_colour():
    picture = overlay_heatmap(noise(6, 5), [[0.0, 1.0]], PhotoRegion(20, 20, 30, 30))
    assert np.ptp(pixels(picture), axis=2).max() == 0


def test_edge_pixels_are_coloured_by_the_share_that_was_seen():
    photo = Image.new("RGB", (4, 1), "black")
    heatmap = [[1.0, 1.0, 1.0, 0.0]]
    region = PhotoRegion(0.25, 0, 400, 1)
    picture = pixels(overlay_heatmap(photo, heatmap, region, opacity=1))
    np.testing.assert_allclose(picture[0, 0], 0.75 * np.array(HOTTEST), atol=2)
    np.testing.assert_allclose(picture[0, 1], HOTTEST, atol=1)


def test_outside_the_region_is_grey_dark_and_without_heat():
    photo = noise(60, 40)
    region = PhotoRegion(20.4, 10, 40, 30.5)
    one = overlay_heatmap(photo, torch.rand(7, 7), region)
    other = overlay_heatmap(photo, torch.eye(7), region)
    outside = np.ones((40, 60), dtype=bool)
    outside[10:31, 20:40] = False
    np.testing.assert_array_equal(pixels(one)[outside], pixels(other)[outside])
    assert np.ptp(pixels(one)[outside], axis=1).max() == 0
    beyond_the_outline = np.ones((40, 60), dtype=bool)
    beyond_the_outline[8:33, 18:42] = False
    grey = pixels(photo.convert("L"))[beyond_the_outline]
    assert (pixels(one)[beyond_the_outline, 0] <= 0.5 * grey + 1).all()


def test_outline_surrounds_the_region_without_hiding_any_of_it():
    picture = pixels(mark_unseen(Image.new("RGB", (20, 20), GREY), PhotoRegion(5, 5, 15, 15)))
    white = (picture == 255).all(axis=2)
    expected = np.zeros((20, 20), dtype=bool)
    expected[4:16, 4:16] = True
    expected[5:15, 5:15] = False
    np.testing.assert_array_equal(white, expected)
    assert (picture[5:15, 5:15] == GREY).all()


def test_no_outline_where_everything_was_seen():
    photo = noise(9, 7)
    assert covers_photo(PhotoRegion(0, 0, 9, 7), photo.size)
    assert not covers_photo(PhotoRegion(0, 0, 9, 6.5), photo.size)
    assert pixels(mark_unseen(photo, PhotoRegion(0, -3, 9, 10))).tolist() == pixels(photo).tolist()


@pytest.mark.parametrize("value", [0.0, 0.7, 1.0])
def test_constant_heatmap_leaves_the_photo(value):
    photo = noise(12, 8)
    picture = overlay_heatmap(photo, torch.full((7, 7), value), PhotoRegion(0, 0, 12, 8))
    np.testing.assert_array_equal(pixels(picture), pixels(photo))


def test_low_relevance_leaves_the_photo_and_high_relevance_covers_it():
    photo = Image.new("RGB", (9, 1), (40, 90, 200))
    picture = pixels(overlay_heatmap(photo, [[0.0, 1.0]], PhotoRegion(0, 0, 9, 1)))[0]
    distances = np.abs(picture - (40, 90, 200)).sum(axis=1)
    assert distances[0] == 0
    assert distances[-1] > 200
    assert (np.diff(opacity_scale().astype(int)) >= 0).all()


def test_nothing_wraps_around_on_black_and_white_photos():
    for colour in ("black", "white"):
        photo = Image.new("RGB", (32, 1), colour)
        heatmap = torch.linspace(0, 1, 32)[None]
        picture = pixels(overlay_heatmap(photo, heatmap, PhotoRegion(0, 0, 32, 1)))[0]
        assert np.abs(np.diff(picture, axis=0)).max() < 40


def test_arguments_are_not_changed():
    photo, heatmap = noise(30, 20), torch.rand(7, 7, requires_grad=True)
    array = np.random.default_rng(0).random((7, 7))
    before = pixels(photo), heatmap.detach().clone(), array.copy()
    array.setflags(write=False)
    overlay_heatmap(photo, heatmap, PhotoRegion(5, 5, 25, 18))
    overlay_heatmap(photo, array, PhotoRegion(5, 5, 25, 18))
    np.testing.assert_array_equal(pixels(photo), before[0])
    assert torch.equal(heatmap.detach(), before[1])
    np.testing.assert_array_equal(array, before[2])


@pytest.mark.parametrize("size", [(2, 2), (3000, 500), (1, 9)])
def test_any_size_keeps_its_size(size):
    region = Preprocessing.imagenet(224).region(size)
    picture = overlay_heatmap(Image.new("RGB", size, GREY), torch.rand(7, 7), region)
    assert picture.size == size
    assert picture.mode == "RGB"


def test_bad_arguments_are_named():
    photo, region = Image.new("RGB", (4, 4)), PhotoRegion(0, 0, 4, 4)
    with pytest.raises(ImageError, match=r"shape \(1, 2, 2\); allowed: \(h, w\)"):
        overlay_heatmap(photo, torch.zeros(1, 2, 2), region)
    with pytest.raises(ImageError, match="empty PhotoRegion"):
        overlay_heatmap(photo, torch.eye(2), PhotoRegion(2, 0, 2, 4))
    with pytest.raises(ImageError, match=r"opacity 1.5; allowed: 0 to 1"):
        overlay_heatmap(photo, torch.eye(2), region, opacity=1.5)
    with pytest.raises(UnknownNameError, match="try: inferno"):
        overlay_heatmap(photo, torch.eye(2), region, scale="infernal")


def test_strips_change_nothing(monkeypatch):
    heatmap = np.random.default_rng(1).random((5, 7))
    regions = [PhotoRegion(3.3, 4.6, 31.2, 38.4), PhotoRegion(-4, -2, 50, 45.5)]
    whole = [pixels(overlay_heatmap(noise(40, 43), heatmap, region)) for region in regions]
    monkeypatch.setattr(heatmap_overlay, "_STRIP_PIXELS", 170)
    for region, expected in zip(regions, whole, strict=True):
        found = pixels(overlay_heatmap(noise(40, 43), heatmap, region))
        np.testing.assert_array_equal(found, expected)
