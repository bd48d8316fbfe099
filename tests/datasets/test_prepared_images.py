from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.datasets.noise_photos import noise
from ttame.datasets.image_folder import ImageFolder
from ttame.datasets.photo_source import PhotoSource
from ttame.datasets.prepared_images import (
    Augmentation,
    FailedBatch,
    PreparedBatch,
    PreparedImages,
    SkippedPhoto,
    collate,
)
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.errors import DatasetError, ImageError
from ttame.images.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(input_size=(8, 10), resize=16)
CROPS: Augmentation = "random crop and flip"


class NoisePhotos(PhotoSource):
    """Photos of noise, those in ``broken`` unreadable; remembers which were read."""

    def __init__(self, length: int, broken: Sequence[int] = ()) -> None:
        self.length = length
        self.broken = broken
        self.read_indices: list[int] = []

    def __len__(self) -> int:
        return self.length

    def key(self, index: int) -> str:
        return f"photo {index}"

    def name(self, index: int) -> str:
        return f"folder/{self.key(index)}"

    def read(self, index: int) -> Image.Image:
        self.read_indices.append(index)
        if index in self.broken:
            raise ImageError(f"{self.name(index)} is cut off", remedy="a whole one")
        return noise(index)

    def label(self, index: int) -> None:
        return None


def batches(images: PreparedImages, workers: int = 0, **options: Any) -> list[PreparedBatch]:
    loader = DataLoader(images, batch_size=3, num_workers=workers, collate_fn=collate, **options)
    return list(loader)


def pixels(found: Sequence[PreparedBatch]) -> torch.Tensor:
    return torch.cat([batch.images for batch in found])


def merged(found: Sequence[PreparedBatch]) -> dict[str, str]:
    names: dict[str, str] = {}
    for batch in found:
        names |= dict(batch.skipped)
    return names


def test_without_augmentation_an_item_is_the_centre_crop() -> None:
    images = PreparedImages(NoisePhotos(5), PREPROCESSING, [4, 0, 2])
    item = images[1]
    assert torch.equal(item.image, PREPROCESSING.prepare(noise(0)))
    assert (item.index, item.skipped) == (0, ())
    batch = collate([images[0], images[2]])
    assert isinstance(batch, PreparedBatch)
    assert batch.images.shape == (2, 3, 8, 10)
    assert batch.images.dtype == torch.float32
    assert batch.indices.tolist() == [4, 2]
    assert batch.indices.dtype == torch.int64


def test_augmented_item_depends_only_on_seed_epoch_and_index() -> None:
    images = PreparedImages(NoisePhotos(30), PREPROCESSING, augmentation=CROPS, seed=5)
    images.set_epoch(2)
    first = torch.stack([images[position].image for position in range(30)])
    torch.manual_seed(99)
    # Another order, another subset, other positions, a pickled copy: the same pixels.
    shuffled = PreparedImages(
        NoisePhotos(30), PREPROCESSING, range(29, 9, -1), augmentation=CROPS, seed=5
    )
    shuffled.set_epoch(2)
    shuffled = pickle.loads(pickle.dumps(shuffled))
    for position in (7, 0, 19):
        item = shuffled[position]
        assert item.index == 29 - position
        assert torch.equal(item.image, first[item.index])
    for seed, epoch in ((6, 2), (5, 3)):
        others = PreparedImages(NoisePhotos(30), PREPROCESSING, augmentation=CROPS, seed=seed)
        others.set_epoch(epoch)
        differing = sum(not torch.equal(others[index].image, first[index]) for index in range(30))
        assert differing > 25


def test_crops_and_flips_cover_their_range(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float, bool]] = []

    def record(
        self: Preprocessing, photo: Image.Image, *, crop_at: tuple[float, float], flip: bool
    ) -> torch.Tensor:
        drawn.append((*crop_at, flip))
        return torch.zeros(3, 8, 10)

    monkeypatch.setattr(Preprocessing, "prepare", record)
    images = PreparedImages(NoisePhotos(2000), PREPROCESSING, augmentation=CROPS)
    for position in range(2000):
        images[position]
    down, across, flips = torch.tensor(drawn).T
    for places in (down, across):
        assert 0 <= places.min() < 0.01
        assert 0.99 < places.max() <= 1
        assert abs(places.mean() - 0.5) < 0.03  # the standard error is 0.0065
    assert abs(flips.mean() - 0.5) < 0.05
    # The three draws must not move together.
    assert torch.corrcoef(torch.stack([down, across, flips])).triu(1).abs().max() < 0.1


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_see_what_one_process_sees_in_every_epoch(persistent: bool) -> None:
    images = PreparedImages(NoisePhotos(11, broken=[4, 5]), PREPROCESSING, augmentation=CROPS)
    loader = DataLoader(
        images, batch_size=3, num_workers=2, collate_fn=collate, persistent_workers=persistent
    )
    seen = []
    for epoch in (0, 1):
        images.set_epoch(epoch)
        from_workers, from_here = list(loader), batches(images)
        assert torch.equal(pixels(from_workers), pixels(from_here))
        indices = [batch.indices.tolist() for batch in from_workers]
        assert indices == [[0, 1, 2], [3, 6, 6], [6, 7, 8], [9, 10]]
        assert [b.indices.tolist() for b in from_here] == indices
        assert merged(from_workers) == merged(from_here)
        seen.append(pixels(from_workers))
    assert not torch.equal(seen[0], seen[1])


def test_unreadable_photo_is_replaced_by_the_next_one_and_named() -> None:
    source = NoisePhotos(6, broken=[2, 3, 5])
    images = PreparedImages(source, PREPROCESSING, [0, 2, 3, 4, 5])
    asked = images[1]
    assert asked.index == 4
    assert asked.skipped == (
        SkippedPhoto("folder/photo 2", "is cut off"),
        SkippedPhoto("folder/photo 3", "is cut off"),
    )
    # After the last comes the first; photo 1 is not among the indices.
    assert images[4].index == 0
    found = batches(images)
    assert [batch.indices.tolist() for batch in found] == [[0, 4, 4], [4, 0]]
    assert merged(found) == {f"folder/photo {index}": "is cut off" for index in (2, 3, 5)}


def test_a_batch_names_each_skipped_photo_once() -> None:
    batch = collate([PreparedImages(NoisePhotos(2, [0]), PREPROCESSING)[0]] * 2)
    assert batch.skipped == (("folder/photo 0", "is cut off"),)


def test_a_long_run_of_unreadable_photos_is_read_once_and_not_named_over_and_over() -> None:
    source = NoisePhotos(200, broken=range(199))
    images = PreparedImages(source, PREPROCESSING)
    found = batches(images)
    assert len(merged(found)) == 199
    assert sum(len(batch.skipped) for batch in found) <= 2 * 199
    assert all(source.read_indices.count(index) == 1 for index in range(199))


def test_all_unreadable_is_an_error_that_names_the_first() -> None:
    images = PreparedImages(NoisePhotos(6, broken=range(6)), PREPROCESSING, [5, 1, 2, 3])
    message = (
        r"none of the 4 photos is readable \(folder/photo 5 is cut off; folder/photo 1 is cut off; "
        r"folder/photo 2 is cut off, and so on\)"
    )
    with pytest.raises(DatasetError, match=message):
        images[2]
    with pytest.raises(DatasetError, match=message):
        batches(images)


def test_error_in_a_worker_arrives_as_it_was() -> None:
    images = PreparedImages(NoisePhotos(3, broken=range(3)), PREPROCESSING)
    (batch,) = batches(images, workers=1)
    assert isinstance(batch, FailedBatch)
    for attribute in ("images", "indices", "skipped"):
        with pytest.raises(DatasetError, match=r"^none of the 3 photos is readable") as caught:
            getattr(batch, attribute)
        assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match=r"^none of the 3 photos is readable"):
        batch.to("cpu")


def test_wrong_items_of_a_dataset_in_a_worker_say_what_came() -> None:
    images = PreparedImages(WrappedDataset(["a.jpg"] * 3), PREPROCESSING)
    (batch,) = batches(images, workers=1)
    with pytest.raises(DatasetError, match=r"^item 0 of list is of type str") as caught:
        _ = batch.images
    assert caught.value.allowed.startswith("a PIL image")


def test_damaged_file_of_a_real_folder_is_skipped_with_its_path_and_reason(tmp_path: Path) -> None:
    for index in range(3):
        noise(index).save(tmp_path / f"{index}.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    item = PreparedImages(ImageFolder(tmp_path), PREPROCESSING)[1]
    assert item.index == 2
    ((name, reason),) = item.skipped
    assert name == str(tmp_path / "1.png")
    assert reason.startswith("is not a readable image (")


def test_batch_moves_to_a_device() -> None:
    batch = PreparedBatch(torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64), (("a", "b"),))  # type: ignore[arg-type]
    moved = batch.to("meta")
    assert moved.images.device.type == moved.indices.device.type == "meta"
    assert moved.skipped == batch.skipped


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(DatasetError, match="no photos"):
        PreparedImages(NoisePhotos(3), PREPROCESSING, [])
    with pytest.raises(DatasetError, match="photos 1 to 3; allowed: 0 to 2"):
        PreparedImages(NoisePhotos(3), PREPROCESSING, [1, 3])
    with pytest.raises(DatasetError, match="augmentation 'crop'; allowed: none or random crop"):
        PreparedImages(NoisePhotos(3), PREPROCESSING, augmentation="crop")  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        PreparedImages(NoisePhotos(3), PREPROCESSING)[3]
