"""A folder with explained images: pictures, maps, one JSON file and one page."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from PIL import Image

from ttame.drawing.colour_scales import DEFAULT_SCALE
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY
from ttame.drawing.map_strength import Strength
from ttame.errors import ExplainerError
from ttame.files.atomic_writing import whole_folder
from ttame.images.preprocessing import Preprocessing
from ttame.reporting.explained_image import skipped_record
from ttame.reporting.file_names import UniqueStems
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.photo_files import PhotoFiles
from ttame.reporting.record_spool import RecordSpool
from ttame.reporting.report_contents import Pictures, ReportFacts, write_contents
from ttame.results.explanation import Explanation
from ttame.results.prediction import FOUND_FROM


class ExplanationReportWriter:
    """Writes a report image by image; the folder appears whole when the block succeeds.

    By one method::

        index.html                  one page that opens offline and can be sent alone
        pages/1.html                where there are more photos than one page holds
        explanations.json           schema_version, methods, preprocessing, images
        explanations.csv            a row per photo, class and method
        pictures/NAME.jpg           photo and overlays side by side
        overlays/NAME/1-CLASS.jpg   each overlay at the photo's own size
        maps/NAME.safetensors       the raw maps, for Explanation.load

    By several methods, which the page shows side by side for each class::

        pictures/NAME/1-CLASS.jpg          photo and every method's overlay side by side
        overlays/NAME/1-CLASS/METHOD.jpg   each overlay at the photo's own size
        maps/NAME/METHOD.safetensors       the raw maps, for Explanation.load

    Of a photo of more than 26 megapixels, overlays have the size at which it was read
    (:func:`ttame.images.photos.read_photo`), and at most so many pixels. ``width``, ``height`` and
    ``region`` in ``explanations.json`` are those of the photo's file.

    Memory does not grow with the number of images, apart from their file names.

    Args:
        folder: where the report goes.
        preprocessing: the preprocessing of the classifier; says which part of each photo the
            network saw.
        title: heads the page.
        overwrite: replace an existing folder, once the new report is complete.
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
        opacity: opacity of the highest value in the pictures, in [0, 1].
        labels: method to what stands below its pictures; a method without one goes by its name.
        left_out: methods that do not take part, to the reason why; the page says so.
        pictures: ``"all"``, ``"overlays"`` (no panels) or ``"none"``; the page has its own pictures
            in any case.
        strength: the strength of the maps in the pictures: ``"own"``, ``"probability"`` or
            ``"contrast"``; see :data:`ttame.drawing.map_strength.Strength`. The page offers all
            three.

    Raises:
        UnknownNameError: no such colour scale, pictures or strength.
        ImageError: an opacity outside [0, 1].
        OutputError: on entering, if the folder exists and may not be overwritten; whenever the
            place cannot be written.

    Example:
        >>> import tempfile, torch
        >>> explanation = Explanation(torch.eye(2).reshape(1, 1, 2, 2), torch.tensor([[1]]),
        ...     torch.zeros(1, 2), image_size=(8, 8), class_names=("cat", "dog"))
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = Path(place) / "report"
        ...     preprocessing = Preprocessing.imagenet(8)
        ...     with ExplanationReportWriter(folder, preprocessing=preprocessing) as report:
        ...         report.add("rex.png", Image.new("RGB", (12, 9)), explanation)
        ...         report.skip("torn.png", "torn.png is not a readable image")
        ...     sorted(path.name for path in folder.iterdir())
        ['explanations.csv', 'explanations.json', 'index.html', 'maps', 'overlays', 'pictures']
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        preprocessing: Preprocessing,
        title: str = "Explanations",
        overwrite: bool = False,
        scale: str = DEFAULT_SCALE,
        opacity: float = DEFAULT_OPACITY,
        labels: Mapping[str, MethodLabel] | None = None,
        left_out: Mapping[str, str] | None = None,
        pictures: Pictures = "all",
        strength: Strength = "own",
    ) -> None:
        self.folder = Path(folder)
        self._facts = ReportFacts(
            preprocessing,
            title,
            labels=dict(labels or {}),
            left_out=dict(left_out or {}),
            scale=scale,
            opacity=opacity,
            pictures=pictures,
            strength=strength,
        )
        self._place = whole_folder(self.folder, overwrite=overwrite)
        self._spools = contextlib.ExitStack()
        self._stems = UniqueStems()

    def __enter__(self) -> ExplanationReportWriter:
        self._temporary = self._place.__enter__()
        self._records = self._spools.enter_context(RecordSpool(self._temporary))
        self._page_entries = self._spools.enter_context(RecordSpool(self._temporary))
        self._skipped = self._spools.enter_context(RecordSpool(self._temporary))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closed from the inside out: first the page, then the spools, then the folder's rename.
        with contextlib.ExitStack() as closing:
            closing.push(self._place)
            closing.push(self._spools)
            if problem is not None:
                raise problem
            write_contents(
                self._temporary, self._facts, self._records, self._page_entries, self._skipped
            )

    def add(
        self,
        name: str,
        photo: Image.Image,
        explanations: Explanation | Sequence[Explanation],
        index: int = 0,
    ) -> None:
        """Write everything about one image.

        Args:
            name: what the user calls the image, usually its path.
            photo: RGB, as it was opened, before any preprocessing; not changed.
            explanations: the explanations of a batch that holds this image; one per method, of the
                same classes, to show methods side by side.
            index: the index of the image in the batch.

        Raises:
            ExplainerError: the explanations come from other methods than those before, or are
                about different classes.
            ImageError: no such image in the batch.
            ClassSelectionError: no class was explained.
            NonFiniteMapError: a map holds NaN or infinity.
            OutputError: the disk is full.
        """
        given = [explanations] if isinstance(explanations, Explanation) else list(explanations)
        image = PhotoFiles(self._temporary, self._facts).image(name, photo, given, index)
        self._facts = _about_methods_of(given, self._facts)
        files = PhotoFiles(self._temporary, self._facts)
        record, entry = files.write(self._stems.take(name), image)
        self._records.append(record)
        self._page_entries.append(entry)

    def skip(self, name: str, reason: str) -> None:
        """Name an image that could not be explained.

        Args:
            name: what the user calls the image, usually its path.
            reason: one line for people.
        """
        self._skipped.append(skipped_record(name, reason))

    @property
    def n_explained(self) -> int:
        """Images added so far."""
        return len(self._records)

    @property
    def n_skipped(self) -> int:
        """Images skipped so far."""
        return len(self._skipped)


def _about_methods_of(explanations: Sequence[Explanation], facts: ReportFacts) -> ReportFacts:
    """The facts of a report, with the methods that its first photo is explained by.

    Raises:
        ExplainerError: methods that are not those of the photos before.
    """
    methods = [explanation.method for explanation in explanations]
    if facts.threshold is None and not all(each.exclusive for each in explanations):
        facts = dataclasses.replace(facts, threshold=FOUND_FROM)
    if not facts.methods:
        repeated = {method for method in methods if methods.count(method) > 1}
        if repeated or not methods:
            raise ExplainerError(
                f"explanations by {', '.join(methods) or 'no method'} of one image",
                allowed="one explanation per method",
            )
        return dataclasses.replace(
            facts,
            methods={each.method: dict(each.provenance) for each in explanations},
            labels={**{method: MethodLabel(method) for method in methods}, **facts.labels},
        )
    if methods != [*facts.methods]:
        raise ExplainerError(
            f"an explanation by {', '.join(map(repr, methods))} in a report about "
            f"{', '.join(map(repr, facts.methods))}",
            allowed="the same methods for every image",
            remedy="an ExplanationReportWriter for each",
        )
    return facts
