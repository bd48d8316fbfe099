"""Annotations of three formats: objects drawn by hand, matched by name and class, in one view."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ttame.datasets.annotations import Annotations, open_annotations
from ttame.datasets.coco_annotations import CocoAnnotations, decode_runs
from ttame.datasets.mask_images import MaskImages
from ttame.errors import DatasetError
from ttame.images.preprocessing import Preprocessing

SAME = Preprocessing(input_size=(4, 6), resize=(4, 6))
"""Photos of 6x4 pixels go in as they are."""
PHOTO = Image.new("RGB", (6, 4))
NAMES = ["tench, Tinca tinca", "goldfish, Carassius auratus", "crane", "crane"]


def coco(tmp_path: Path, *annotations: dict[str, Any], **changes: Any) -> Path:
    content: dict[str, Any] = {
        "images": [
            {"id": 5, "file_name": "train/tom.jpg", "width": 6, "height": 4},
            {"id": 6, "file_name": "train/ann.jpg", "width": 6, "height": 4},
        ],
        "annotations": [{"image_id": 5, "category_id": 1, **entry} for entry in annotations],
        "categories": [
            {"id": 1, "name": "Goldfish"},
            {"id": 2, "name": "tench, Tinca tinca"},
            {"id": 3, "name": "person"},
            {"id": 4, "name": "crane"},
        ],
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({**content, **changes}))
    return path


def voc(folder: Path, name: str, *boxes: tuple[Any, ...], size: str = "6 4") -> None:
    width, height = size.split()
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for label, a, b, c, d in boxes
    )
    path = folder / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><filename>wrong</filename><size><width>{width}</width>"
        f"<height>{height}</height></size>{objects}</annotation>"
    )


def marked(target: torch.Tensor | None) -> list[list[int]]:
    assert target is not None
    return target.int().tolist()  # type: ignore[no-any-return]


def test_a_box_marks_its_pixels(tmp_path: Path) -> None:
    annotations = open_annotations(coco(tmp_path, {"bbox": [1, 0, 2, 3]}), SAME)
    target = annotations("tom.jpg", 0, PHOTO)
    assert target is not None and target.dtype == torch.bool
    assert marked(target) == [[0, 1, 1, 0, 0, 0]] * 3 + [[0] * 6]
    assert annotations("ann.jpg", 0, PHOTO) is None
    assert annotations("eve.jpg", 0, PHOTO) is None


def test_a_fraction_of_a_pixel_is_marked_whole(tmp_path: Path) -> None:
    annotations = open_annotations(coco(tmp_path, {"bbox": [1.5, 0.2, 1.0, 0.1]}), SAME)
    assert marked(annotations("tom.jpg", 0, PHOTO)) == [[0, 1, 1, 0, 0, 0]] + [[0] * 6] * 3


def test_polygons_and_runs_are_preferred_to_boxes(tmp_path: Path) -> None:
    box = {"bbox": [0, 0, 6, 4]}
    square = {**box, "segmentation": [[1, 1, 2, 1, 2, 2, 1, 2], [4, 0, 5, 0, 5, 0, 4, 0]]}
    annotations = open_annotations(coco(tmp_path, square), SAME)
    shape = [[0, 0, 0, 0, 1, 1], [0, 1, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0] * 6]
    assert marked(annotations("tom.jpg", 0, PHOTO)) == shape
    runs = {**box, "segmentation": {"counts": [5, 2, 17], "size": [4, 6]}, "iscrowd": 1}
    annotations = open_annotations(coco(tmp_path, runs), SAME)
    shape = [[0] * 6, [0, 1, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0] * 6]
    assert marked(annotations("tom.jpg", 0, PHOTO)) == shape


def encode_runs(lengths: list[int]) -> str:
    """COCO's text, written from its description, to be read again."""
    text = ""
    for place, length in enumerate(lengths):
        value = length - lengths[place - 2] if place > 2 else length
        while True:
            bits, value = value & 31, value >> 5
            done = value == (-1 if bits & 16 else 0)
            text += chr(48 + bits + (0 if done else 32))
            if done:
                break
    return text


def test_compressed_runs_are_read() -> None:
    rng = np.random.default_rng(0)
    for spread in (3, 40, 3000):
        lengths = rng.integers(1, spread, 21).tolist()
        size = (1, sum(lengths))
        plain, read = decode_runs(lengths, size), decode_runs(encode_runs(lengths), size)
        assert np.array_equal(plain, read)
    # Sixteen needs a second character: its fifth bit would make it negative.
    assert decode_runs("`00" + encode_runs([16]), (4, 8)).sum() == 0
    with pytest.raises(ValueError, match="runs of 3 pixels for a mask of 2x2"):
        decode_runs([1, 2], (2, 2))
    with pytest.raises(ValueError, match="end within a number"):
        decode_runs("a", (2, 2))


def test_pascal_boxes_count_from_one_and_include_the_last_pixel(tmp_path: Path) -> None:
    voc(tmp_path, "val/tom", ("n01443537", 2, 1, 3, 3))
    voc(tmp_path, "val/ann", ("n01443537", 0, 0, 1, 1), ("n01443537", 6, 4, 6, 4))
    annotations = open_annotations(tmp_path, SAME, NAMES)
    assert marked(annotations("tom.JPEG", 0, PHOTO)) == [[0, 1, 1, 0, 0, 0]] * 3 + [[0] * 6]
    corners = [[1, 0, 0, 0, 0, 0], [0] * 6, [0] * 6, [0, 0, 0, 0, 0, 1]]
    assert marked(annotations("val/ann.JPEG", 3, PHOTO)) == corners


def draw(path: Path, mode: str, value: int) -> None:
    picture = Image.new(mode, (6, 4))
    if mode == "P":
        picture.putpalette([0] * 768)
    ImageDraw.Draw(picture).rectangle((1, 0, 2, 2), fill=value)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@pytest.mark.parametrize(("mode", "value"), [("1", 1), ("L", 1), ("L", 255), ("P", 7), ("RGB", 9)])
def test_masks_of_every_mode(tmp_path: Path, mode: str, value: int) -> None:
    draw(tmp_path / "cats" / "tom.png", mode, value)
    annotations = open_annotations(tmp_path, SAME, NAMES)
    assert marked(annotations("cats/tom.jpg", 2, PHOTO)) == [[0, 1, 1, 0, 0, 0]] * 3 + [[0] * 6]


def test_borders_in_palette_masks_are_no_object(tmp_path: Path) -> None:
    draw(tmp_path / "tom.png", "P", 255)
    assert open_annotations(tmp_path, SAME)("tom.jpg", 0, PHOTO) is None


def test_noise_of_jpeg_masks_is_no_object(tmp_path: Path) -> None:
    picture = Image.new("L", (64, 64))
    ImageDraw.Draw(picture).rectangle((13, 13, 36, 36), fill=255)
    picture.save(tmp_path / "tom.jpg", quality=30)
    ((entry),) = MaskImages(tmp_path).photo(0).objects
    assert abs(int(entry.draw().sum()) - 24 * 24) < 40


def test_masks_beside_photos(tmp_path: Path) -> None:
    Image.effect_noise((6, 4), 90).convert("RGB").save(tmp_path / "tom.jpg")
    draw(tmp_path / "tom_mask.png", "L", 255)
    source = MaskImages(tmp_path)
    assert source.names == ["tom.png"]
    assert int(Annotations(source, SAME)("tom.jpg", 0, PHOTO).sum()) == 6  # type: ignore[union-attr]


def test_photos_are_not_taken_for_masks(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "tom.png")
    with pytest.raises(DatasetError, match=r"tom\.png is a photo; .*_mask"):
        open_annotations(tmp_path, SAME).check(["tom.png"])


def test_a_full_name_is_preferred_to_a_synonym(tmp_path: Path) -> None:
    path = coco(tmp_path, *objects(1))
    annotations = open_annotations(path, SAME, ["carp, goldfish", "goldfish"])
    assert annotations("tom.jpg", 0, PHOTO) is None
    assert annotations("tom.jpg", 1, PHOTO) is not None


@pytest.mark.parametrize(
    "key",
    [
        "3:tom.jpg",
        "tom.jpg",
        "cats/train/tom.png",
        "3:train/tom.jpg",
        "train-0000.tar/tom.jpg",
        "tom",
    ],
)
def test_keys_match_by_the_end_of_their_paths(tmp_path: Path, key: str) -> None:
    annotations = open_annotations(coco(tmp_path, {"bbox": [0, 0, 1, 1]}), SAME)
    assert annotations(key, 0, PHOTO) is not None
    assert annotations.check(["nobody.jpg", key]) == 1


def test_the_longest_common_end_decides(tmp_path: Path) -> None:
    voc(tmp_path, "a/tom", ("x", 1, 1, 1, 1))
    voc(tmp_path, "b/tom", ("x", 2, 1, 2, 1), ("x", 3, 1, 3, 1))
    annotations = open_annotations(tmp_path, SAME)
    assert int(annotations("data/b/tom.jpg", 0, PHOTO).sum()) == 2  # type: ignore[union-attr]
    with pytest.raises(DatasetError, match=r"c/tom\.jpg matches two annotations, a/tom\.xml and"):
        annotations("c/tom.jpg", 0, PHOTO)


def objects(*categories: int) -> list[dict[str, Any]]:
    return [{"category_id": c, "bbox": [place, 0, 1, 1]} for place, c in enumerate(categories)]


@pytest.mark.parametrize(
    ("categories", "explained", "row"),
    [
        ((1, 2, 3), 1, [1, 0, 0, 0, 0, 0]),  # goldfish is a synonym, whatever its case
        ((1, 2, 3), 0, [0, 1, 0, 0, 0, 0]),  # the full name
        ((1, 2, 1), 1, [1, 0, 1, 0, 0, 0]),  # all objects of the class
        ((3, 3), 1, [1, 1, 0, 0, 0, 0]),  # a person is not a class: all objects count
        ((4,), 2, [1, 0, 0, 0, 0, 0]),  # two classes of one name: either may be meant
        ((4,), 3, [1, 0, 0, 0, 0, 0]),
    ],
)
def test_objects_of_the_explained_class_count(
    tmp_path: Path, categories: tuple[int, ...], explained: int, row: list[int]
) -> None:
    annotations = open_annotations(coco(tmp_path, *objects(*categories)), SAME, NAMES)
    assert marked(annotations("tom.jpg", explained, PHOTO)) == [row] + [[0] * 6] * 3


@pytest.mark.parametrize("name", ["tench", "Tinca tinca", "TENCH, Tinca tinca", "x, tinca tinca"])
def test_synonyms_on_either_side(tmp_path: Path, name: str) -> None:
    annotations = open_annotations(coco(tmp_path, *objects(2, 1)), SAME, ["goldfish", name])
    assert marked(annotations("tom.jpg", 1, PHOTO)) == [[1, 0, 0, 0, 0, 0]] + [[0] * 6] * 3


def test_a_photo_without_the_explained_class_has_no_target(tmp_path: Path) -> None:
    annotations = open_annotations(coco(tmp_path, *objects(1, 3)), SAME, NAMES)
    assert annotations("tom.jpg", 0, PHOTO) is None


@pytest.mark.parametrize(
    ("preprocessing", "size"),
    [
        (Preprocessing.imagenet(32), (80, 60)),
        (Preprocessing.imagenet(32), (41, 97)),
        (Preprocessing((24, 40), (30, 50)), (64, 64)),
        (Preprocessing((48, 48), 20), (30, 20)),  # padded
    ],
)
def test_targets_go_where_photos_go(
    tmp_path: Path, preprocessing: Preprocessing, size: tuple[int, int]
) -> None:
    photo = Image.new("RGB", size)
    box = (size[0] // 4, size[1] // 5, size[0] * 3 // 4, size[1] // 2)
    photo.paste((255, 255, 255), box)
    content = coco(
        tmp_path,
        {"bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]},
        images=[{"id": 5, "file_name": "tom.jpg", "width": size[0], "height": size[1]}],
    )
    target = open_annotations(content, preprocessing)("tom.jpg", 0, photo)
    assert target is not None and tuple(target.shape) == preprocessing.input_size
    seen = preprocessing.pixels(photo).mean(dim=0)
    assert bool((seen[target] > 0.35).all()) and bool((seen[~target] < 0.65).all())


def test_annotations_may_be_for_another_resolution(tmp_path: Path) -> None:
    annotations = open_annotations(coco(tmp_path, {"bbox": [0, 0, 3, 2]}), SAME)
    target = annotations("tom.jpg", 0, Image.new("RGB", (60, 40)))
    assert marked(target) == [[1, 1, 1, 0, 0, 0]] * 2 + [[0] * 6] * 2
    with pytest.raises(DatasetError, match=r"tom\.jpg has 4x6 pixels, but .* for 6x4"):
        annotations("tom.jpg", 0, Image.new("RGB", (4, 6)))


def test_annotations_that_match_no_image_show_one_name_of_each_side(tmp_path: Path) -> None:
    annotations = open_annotations(coco(tmp_path, {"bbox": [0, 0, 3, 2]}), SAME)
    with pytest.raises(DatasetError) as caught:
        annotations.check(["a/1.jpg", "a/2.jpg"])
    assert str(caught.value) == (
        "none of the 2 photos, such as a/1.jpg, is among the 2 annotated ones, such as "
        "train/tom.jpg; allowed: annotations named like the photos"
    )
    assert len(annotations) == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"segmentation": {"counts": [10**10], "size": [4, 6]}}, r"runs of 10000000000 pixels"),
        ({"segmentation": {"counts": [-1, 25], "size": [4, 6]}}, r"a whole number from 0 on"),
        ({"segmentation": {"counts": [True, 23], "size": [4, 6]}}, r"a whole number from 0 on"),
        ({"segmentation": {"counts": [0] * 25 + [24], "size": [4, 6]}}, r"26 runs"),
        ({"segmentation": {"counts": 24, "size": [4, 6]}}, r"counts that are int"),
        ({"segmentation": {"counts": "oooooooooooooooo0", "size": [4, 6]}}, r"not COCO's"),
        ({"segmentation": {"counts": "é", "size": [4, 6]}}, r"not COCO's"),
        ({"segmentation": [[0, 0, 1, 0, 1e18, 1]]}, r"leaves its photo"),
        ({"segmentation": [[0, 0, 1, 0, "1", 1]]}, r"'1' where a number should be"),
        ({"segmentation": ["123456"]}, r"where numbers should be"),
        ({"bbox": [0, 0, True, 1]}, r"True where a number should be"),
        ({"bbox": [4, 0, 4, 1]}, r"the box \(4, 0, 8, 1\) leaves its photo of 6x4 pixels"),
        ({"bbox": [-2, 0, 4, 1]}, r"leaves its photo"),
        ({"bbox": [0, 0, 1, 6]}, r"leaves its photo"),
        ({"bbox": [0, -3, 1, 4]}, r"leaves its photo"),
        ({"bbox": [2, 2, -1, 1]}, r"sides swapped"),
        ({"bbox": [2, 2, 1, float("nan")]}, r"holds NaN"),
        ({"bbox": [2, 2, 1]}, r"is not a COCO file"),
        ({}, r"tom\.jpg: no bbox"),
        ({"bbox": [0, 0, 1, 1], "category_id": 77}, r"no 77"),
        ({"segmentation": [[0, 0, 9, 0, 9, 1]]}, r"leaves its photo"),
        ({"segmentation": [[0, 0, 1, 0]]}, r"polygon of 4 numbers"),
        ({"segmentation": {"counts": [5], "size": [4, 6]}}, r"runs of 5 pixels"),
        ({"segmentation": {"counts": [24], "size": [6, 4]}}, r"a mask of .* \(6, 4\)"),
    ],
)
def test_broken_objects_are_refused(tmp_path: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        open_annotations(coco(tmp_path, entry), SAME).check(["tom.jpg"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "side", [0, -5, 5.5, True, "5", None, [5], 1e18, 10**18, 100_000, float("inf")]
)
def test_photos_of_impossible_size_are_refused(tmp_path: Path, side: object) -> None:
    image = {"id": 5, "file_name": "train/tom.jpg", "width": side, "height": 100_000}
    path = coco(tmp_path, {"bbox": [0, 0, 1, 1]}, images=[image])
    with pytest.raises(DatasetError, match="is not a COCO file") as caught:
        open_annotations(path, SAME).check(["tom.jpg"])
    assert "\n" not in str(caught.value)


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    boxes = tmp_path / "boxes"
    voc(boxes, "tom", ("x", 1, 1, 2, 2))
    text = (boxes / "tom.xml").read_text()
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]>' + text.replace(">x<", ">&e11;<")
    assert "&e11;" in bomb
    (boxes / "tom.xml").write_text(bomb)
    with pytest.raises(DatasetError, match="declares a document type"):
        open_annotations(boxes, SAME).check(["tom.jpg"])


def test_masks_are_opened_as_photos_only(tmp_path: Path) -> None:
    (tmp_path / "tom.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DatasetError, match="cannot identify"):
        open_annotations(tmp_path, SAME).check(["tom.jpg"])


def test_a_pixel_of_rounding_is_no_error(tmp_path: Path) -> None:
    annotations = open_annotations(coco(tmp_path, {"bbox": [-0.5, 0, 7.5, 4.9]}), SAME)
    assert bool(annotations("tom.jpg", 0, PHOTO).all())  # type: ignore[union-attr]


def test_broken_files_are_refused(tmp_path: Path) -> None:
    def refused(path: Path, message: str) -> None:
        with pytest.raises(DatasetError, match=message) as caught:
            open_annotations(path, SAME).check(["tom.jpg"])
        assert "\n" not in str(caught.value)

    refused(tmp_path / "none.json", "do not exist")
    (tmp_path / "a.json").write_text('{"images": [')
    refused(tmp_path / "a.json", "is not a COCO file")
    (tmp_path / "b.json").write_text("5")
    refused(tmp_path / "b.json", "holds an int")
    (tmp_path / "c.json").write_text('{"images": []}')
    refused(tmp_path / "c.json", "no annotations, categories")
    (tmp_path / "d.json").write_bytes(b"\xff\xfe\x00")
    refused(tmp_path / "d.json", "is not a COCO file")
    refused(coco(tmp_path, images=[{"id": 5}]), "no file_name")
    (tmp_path / "gtsegs_ijcv.mat").write_bytes(b"MATLAB")
    refused(tmp_path / "gtsegs_ijcv.mat", "allowed: a COCO .json file, a folder")
    boxes = tmp_path / "boxes"
    voc(boxes, "tom", ("x", 1, 1, 8, 1))
    refused(boxes, r"tom\.xml: the box \(0, 0, 8, 1\) leaves")
    refused(boxes / "tom.xml", "try: its folder")
    voc(boxes, "tom", ("x", 1, 1, "", 1))
    refused(boxes, "is not a Pascal VOC annotation")
    (boxes / "tom.xml").write_text("<annotation/>")
    refused(boxes, "no size/width")
    (boxes / "tom.xml").write_text("<annotation>")
    refused(boxes, "is not a Pascal VOC annotation")
    masks = tmp_path / "masks"
    masks.mkdir()
    refused(masks, "holds no photos")
    (masks / "tom.png").write_bytes(b"no picture")
    refused(masks, r"mask .*tom\.png cannot be read")


def test_annotations_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    path = coco(tmp_path, {"bbox": [1, 0, 2, 3]}, {"segmentation": [[0, 0, 1, 0, 1, 1]]})
    annotations = pickle.loads(pickle.dumps(open_annotations(path, SAME, NAMES)))
    assert annotations("tom.jpg", 1, PHOTO) is not None
    assert CocoAnnotations(path).photo(0) is not None
    pickle.dumps(CocoAnnotations(path).photo(0))
