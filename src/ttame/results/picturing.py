"""Explanations as pictures: the photo in its own frame, with what the maps say on it."""

# ruff: noqa: D102 - what the attributes of the protocol say stands in ttame.Explanation
from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from ttame.drawing.captions import percent
from ttame.drawing.colour_scales import apply_colours
from ttame.drawing.explanation_panel import ClassHeatmap, draw_panel
from ttame.drawing.figure import figure_of
from ttame.drawing.map_strength import DrawnMaps, Strength, compared_with, drawn_maps
from ttame.drawing.photo_overlay import SeenPhoto
from ttame.errors import ExplainerError, ImageError, TtameError
from ttame.images.photo_crop import PhotoCrop, PhotoRegion
from ttame.images.picture_files import Photo
from ttame.images.saliency_maps import resize_maps
from ttame.notebook import cards
from ttame.notebook.cells import in_notebook, show_jpeg
from ttame.notebook.picture_address import jpeg_bytes, picture_address
from ttame.results.prediction import place_of_class
from ttame.results.remembered_photo import RememberedPhoto, photo_of

MOST_DRAWN_CLASSES = 12
"""Of more explained classes only so many are drawn, the most probable ones."""

MOST_DRAWN_PHOTOS = 8
"""Of one picture for all photos of a batch."""

_MOST_TILE_CHARACTERS = 150_000
_TILE_SIDE = 320
_NOTEBOOK_WIDTH = 1280


class Explained(Protocol):
    """What of an explanation is drawn; see :class:`ttame.Explanation`."""

    @property
    def maps(self) -> Tensor: ...
    @property
    def classes(self) -> Tensor: ...
    @property
    def class_probabilities(self) -> Tensor: ...
    @property
    def has_evidence(self) -> Tensor: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def method(self) -> str: ...
    @property
    def of_pixels(self) -> bool: ...
    @property
    def photos(self) -> tuple[RememberedPhoto, ...]: ...
    def __len__(self) -> int: ...
    def one_image(self, image: int | None, what: str) -> int: ...
    def to_pil(
        self,
        photo: Photo | Sequence[Photo] | None = None,
        *,
        opacity: float = ...,
        colour_scale: str = ...,
        strength: Strength = ...,
    ) -> Image.Image: ...
    def known_crop(self) -> PhotoCrop: ...
    def class_label(self, index: int) -> str: ...
    def target_label(self, image: int, place: int) -> str: ...


def overlay_of(
    explained: Explained,
    image: int,
    photo: Photo | None,
    class_: int | str,
    strength: Strength,
    **look: Any,
) -> Image.Image:
    """One map on its photo, as the photo's pixels lie."""
    _refuse_class_as_photo(explained, image, photo)
    place = _place_of(explained, image, class_)
    seen = _seen(explained, image, photo)
    return _overlay(seen, _drawn_maps(explained, image, strength), place, **look)


def panel_of(
    explained: Explained, photos: Sequence[Photo | None], strength: Strength, **look: Any
) -> Image.Image:
    """The photos, each with an overlay for every class, below each other."""
    drawn = [
        _panel(explained, image, photos[image], strength, **look)
        for image in range(min(len(photos), MOST_DRAWN_PHOTOS))
    ]
    if len(drawn) == 1:
        return drawn[0]
    size = (max(each.width for each in drawn), sum(each.height for each in drawn))
    page, top = Image.new("RGB", size, "white"), 0
    for each in drawn:
        page.paste(each, (0, top))
        top += each.height
    return page


def figure_with(
    explained: Explained, photos: Sequence[Photo | None], strength: Strength, **look: Any
) -> Any:
    """The same as a figure of matplotlib."""
    pictures = []
    for image, photo in enumerate(photos[:MOST_DRAWN_PHOTOS]):
        seen = _seen(explained, image, photo)
        maps = _drawn_maps(explained, image, strength)
        pictures.append((seen.picture, _name(explained, image) or "Photo"))
        for place in _drawn_places(explained, image):
            label = explained.target_label(image, place)
            title = f"{label}\n{_figures(explained, image, place)}"
            upright = SeenPhoto(seen.picture, seen.region)
            pictures.append((_overlay(upright, maps, place, **look), title))
    return figure_of(pictures, per_row=min(4, 1 + len(_drawn_places(explained, 0))))


def show_picture(picture: Image.Image) -> None:
    """Show a picture: below the cell of a notebook, else in the system's viewer.

    Raises:
        ImageError: there is no viewer.
    """
    if in_notebook():
        small = picture.copy()
        small.thumbnail((_NOTEBOOK_WIDTH, 4 * _NOTEBOOK_WIDTH), Image.Resampling.LANCZOS)
        show_jpeg(jpeg_bytes(small))
    elif _without_screen() or not _viewed(picture):
        raise ImageError(
            "no program here that shows pictures",
            remedy='explanation.to_pil().save("why.png"), or a notebook',
        )


def _viewed(picture: Image.Image) -> bool:
    from PIL import ImageShow  # Takes half a second where IPython is installed: it asks for it.

    return ImageShow.show(picture, title="ttame")


def _without_screen() -> bool:
    """Whether nothing can open a window; Pillow would start a program that fails unseen."""
    return sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)


def card_of(explained: Explained, *, title: str) -> str:
    """What a notebook shows: the photos and their overlays, small.

    As many as fit into 200,000 characters; a remark says how many there are besides.
    """
    n_images = len(explained.maps)
    rows: list[str] = []
    remarks: list[str] = []
    characters = 0
    for image in range(n_images):
        new, remark = _tiles(explained, image)
        characters += sum(len(tile.address) for tile in new)
        if rows and characters > _MOST_TILE_CHARACTERS:
            break
        rows.append(cards.tiles(new))
        remarks += [remark] if remark and remark not in remarks else []
    if len(rows) < n_images:
        remarks.append(f"{len(rows)} of {n_images} photos; explanation[i] shows another one")
    return cards.card(title, *rows, *map(cards.line, remarks))


def _tiles(explained: Explained, image: int) -> tuple[list[cards.Tile], str]:
    """A tile for the photo and one for each class, or for the maps alone if there is no photo."""
    heatmaps = _drawn_maps(explained, image, "own").heatmaps
    places = _drawn_places(explained, image)
    tiles: list[cards.Tile] = []
    remarks: list[str] = []
    seen: SeenPhoto | None = None
    try:
        seen = _reduced(_seen(explained, image, None))
        tiles.append(_tile(seen.picture, _name(explained, image) or "Photo"))
    except TtameError as problem:
        remarks.append(f"Maps only, in the frame of the network's input: {problem}")
    characters = sum(len(tile.address) for tile in tiles)
    for place in places:
        picture = (
            seen.overlay(heatmaps[place])
            if seen is not None
            else _map_alone(heatmaps[place], explained.image_size)
        )
        label = explained.target_label(image, place)
        tile = _tile(picture, label, _figures(explained, image, place))
        characters += len(tile.address)
        if characters > _MOST_TILE_CHARACTERS:
            break
        tiles.append(tile)
    shown, n_classes = len(tiles) - (seen is not None), explained.classes.shape[1]
    if shown < n_classes:
        remarks.append(f"the {shown} most probable of {n_classes} classes")
    return tiles, "; ".join(remarks)


def _tile(picture: Image.Image, label: str, figures: str = "") -> cards.Tile:
    return cards.Tile(picture_address(picture, _TILE_SIDE), label, figures)


def _reduced(seen: SeenPhoto) -> SeenPhoto:
    """No larger than a tile, so that drawing takes no time; upright."""
    picture = seen.picture.copy()
    picture.thumbnail((_TILE_SIDE, _TILE_SIDE), Image.Resampling.LANCZOS)
    across = picture.width / seen.picture.width
    down = picture.height / seen.picture.height
    region = seen.region
    return SeenPhoto(
        picture,
        PhotoRegion(
            region.left * across, region.top * down, region.right * across, region.bottom * down
        ),
    )


def _map_alone(heatmap: Tensor, image_size: tuple[int, int]) -> Image.Image:
    factor = _TILE_SIDE / max(image_size)
    size = tuple(max(1, round(side * factor)) for side in image_size)
    stretched = resize_maps(heatmap[None, None].cpu().float(), (size[0], size[1]))[0, 0]
    return Image.fromarray(apply_colours(stretched.numpy()))


def _panel(
    explained: Explained, image: int, photo: Photo | None, strength: Strength, **look: Any
) -> Image.Image:
    seen = _seen(explained, image, photo)
    maps = _drawn_maps(explained, image, strength)
    probabilities = explained.class_probabilities[image].tolist()
    tiles = [
        ClassHeatmap(
            explained.target_label(image, place),
            probabilities[place],
            maps.heatmaps[place],
            _class_behind(explained, image, place),
            maps.shares[place],
            _blank(explained, image, place, strength),
        )
        for place in _drawn_places(explained, image)
    ]
    title = _name(explained, image)
    return draw_panel(seen.picture, seen.region, tiles, title=title, **look)


def _figures(explained: Explained, image: int, place: int) -> str:
    """What stands below a label: the probability, and whether the map says anything."""
    probability = percent(float(explained.class_probabilities[image, place]))
    figure = f"{_class_behind(explained, image, place)} {probability}".strip()
    blank = not bool(explained.has_evidence[image, place])
    return figure + (" · no evidence" if blank else "")


def _class_behind(explained: Explained, image: int, place: int) -> str:
    """The class whose probability is shown, where the label alone does not say it."""
    name = explained.class_label(int(explained.classes[image, place]))
    return "" if name == explained.target_label(image, place) else name


def _name(explained: Explained, image: int) -> str:
    return explained.photos[image].name if explained.photos else ""


def _seen(explained: Explained, image: int, photo: Photo | None) -> SeenPhoto:
    crop = explained.known_crop()
    return SeenPhoto.of(photo_of(explained.photos, image, photo), crop)


def _drawn_maps(explained: Explained, image: int, strength: Strength) -> DrawnMaps:
    """One for each explained class."""
    maps = explained.maps[image].detach().float().cpu()
    probabilities = explained.class_probabilities[image].detach().cpu()
    return drawn_maps(maps, probabilities, strength, of_pixels=explained.of_pixels)


def _overlay(
    seen: SeenPhoto, maps: DrawnMaps, place: int, *, scale: str, opacity: float
) -> Image.Image:
    return seen.overlay(maps.heatmaps[place], scale=scale, opacity=opacity * maps.shares[place])


def _blank(explained: Explained, image: int, place: int, strength: Strength) -> str:
    """What is said of a drawn map that is the same everywhere."""
    if strength != "contrast" or not bool(explained.has_evidence[image, place]):
        return "no evidence"
    other = compared_with(explained.class_probabilities[image])[place]
    return f"nowhere above {explained.target_label(image, other)}"


def _drawn_places(explained: Explained, image: int) -> list[int]:
    probabilities = explained.class_probabilities[image]
    if len(probabilities) <= MOST_DRAWN_CLASSES:
        return list(range(len(probabilities)))
    places: list[int] = probabilities.topk(MOST_DRAWN_CLASSES).indices.tolist()
    return places


def _refuse_class_as_photo(explained: Explained, image: int, photo: Photo | None) -> None:
    """The photo comes first, and is often remembered: a class may have taken its place.

    Raises:
        ImageError: the name of an explained class instead of a photo.
    """
    labels = [explained.target_label(image, place) for place in range(explained.classes.shape[1])]
    if isinstance(photo, str) and photo in labels and not Path(photo).exists():
        raise ImageError(
            f"{photo!r} as photo, which is an explained class", remedy=f"overlay(class_={photo!r})"
        )


def _place_of(explained: Explained, image: int, class_: int | str) -> int:
    """Where a class stands among the explained ones of an image."""
    count = explained.classes.shape[1]
    return place_of_class([explained.target_label(image, place) for place in range(count)], class_)


def checked_photos(count: int, photo: Photo | Sequence[Photo] | None) -> list[Photo | None]:
    """One photo for each image of a batch; ``None`` for those that are to be remembered.

    Raises:
        ExplainerError: another number of photos than images.
    """
    if photo is None:
        return [None] * count
    given = [photo] if isinstance(photo, Photo) else list(photo)
    if len(given) != count:
        raise ExplainerError(
            f"{len(given)} photo{'s' * (len(given) != 1)} and an explanation of {count} images",
            allowed="one photo for each image; explanation[i] is of one image",
        )
    return [*given]
