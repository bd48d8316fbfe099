"""Explaining with an exported file and ONNX Runtime."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ttame.classifiers.class_selection import ClassSelection, select_classes
from ttame.errors import ClassSelectionError, ExplainerError, ImageError, either, setting
from ttame.exporting.explainable_classifier import ExplainedPrediction
from ttame.exporting.exported_facts import ASKED, OUTPUTS, ExportedFacts, read_facts
from ttame.exporting.graph_formats import Arrays, Run, run_onnx
from ttame.exporting.onnx_contents import onnx_contents
from ttame.exporting.parity import Photo
from ttame.files.bounded_reading import UnreadableFileError, read_bounded
from ttame.images.photos import read_photo
from ttame.images.preprocessing import Preprocessing
from ttame.images.rgb_conversion import to_rgb
from ttame.results.explanation import Explanation
from ttame.results.remembered_photo import remembered

_LARGEST_FILE = 2**31
"""Bytes."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExportedExplainer:
    """An explainer in an ONNX file; :func:`load_exported` makes one.

    Attributes:
        facts: what the file says about itself.
        preprocessing: how a photo becomes its input.

    Example:
        >>> explainer = load_exported("why.onnx")  # doctest: +SKIP
        >>> explainer("photo.jpg", "top3").maps.shape  # doctest: +SKIP
        torch.Size([1, 3, 28, 28])
    """

    facts: ExportedFacts
    preprocessing: Preprocessing
    run: Run = dataclasses.field(repr=False)

    @property
    def method(self) -> str:
        """The explainer's name in the registry."""
        return self.facts.method

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names, or none."""
        return self.facts.class_names

    def __call__(
        self, images: Tensor | Photo | Sequence[Photo], classes: ClassSelection = None
    ) -> Explanation:
        """Explain photos.

        Args:
            images: photos (PIL images or paths); or a tensor as the file takes it, (B, H, W, 3)
                uint8 pixels or (B, 3, H, W) float images.
            classes: ``None`` for each image's top-1 class, or whatever else an explainer takes, as
                far as the file holds it: ``"top2"`` of a file that explains three; any classes of
                one that was exported with ``choose_classes``, or with ``top_k="all"``.

        Raises:
            ImageError: images of another kind.
            ClassSelectionError: classes that the file does not explain.
            ExplainerError: the file gives something other than it says.
        """

        def choose(scores: Tensor) -> Tensor:
            return select_classes(classes, scores, self.class_names)

        found = self.explained(self._input(images), choose, self._places(classes))
        return Explanation(
            maps=found.maps,
            classes=found.classes,
            logits=found.logits,
            image_size=self.preprocessing.input_size,
            class_names=self.class_names,
            method=self.method,
            provenance=self.facts.provenance,
            probabilities=found.probabilities,
            exclusive=self.facts.exclusive,
            crop=self.preprocessing.crop,
            photos=() if isinstance(images, Tensor) else remembered(images),
        )

    def explained(
        self, given: np.ndarray, choose: Callable[[Tensor], Tensor], at_first: np.ndarray
    ) -> ExplainedPrediction:
        """Run the file, and again with other classes if it is told them.

        Args:
            given: the first input, as the file takes it.
            choose: (B, C) scores to the (B, K) wanted classes.
            at_first: (1, K) classes for a file that is told them, before scores are known; -n for
                the n-th most probable one.

        Raises:
            ClassSelectionError: classes that the file does not explain.
            ExplainerError: the file gives something other than it says.
        """
        results = self._run(given, at_first)
        wanted = choose(torch.from_numpy(results["logits"]))
        held = torch.from_numpy(results["classes"])
        if self.facts.chooses_classes and not torch.equal(held, wanted):
            results = self._run(given, wanted.numpy())
            held = torch.from_numpy(results["classes"])
        maps = torch.from_numpy(results["maps"])
        positions = _positions(held, wanted)[:, :, None, None].expand(-1, -1, *maps.shape[2:])
        logits, probabilities = (torch.from_numpy(results[name]) for name in list(OUTPUTS)[:2])
        return ExplainedPrediction(logits, probabilities, wanted, maps.gather(1, positions))

    def _places(self, classes: ClassSelection) -> np.ndarray:
        """The most probable classes, as many as are asked for, for a file that is told them."""
        top = re.fullmatch(r"top-?(\d+)", classes) if isinstance(classes, str) else None
        count = min(int(top[1]) if top else 1, self.facts.number_of_classes)
        return -1 - np.arange(max(1, count), dtype=np.int64)[None]

    def _run(self, given: np.ndarray, classes: np.ndarray) -> Arrays:
        """Run the file, image by image if it takes one, and check what it gives."""
        step = self.facts.batch_size or len(given)
        if len(given) % step:
            raise ImageError(f"{len(given)} images", allowed=f"a multiple of {step}")
        parts = []
        for first in range(0, len(given), step):
            inputs = {self.facts.first_input: given[first : first + step]}
            if self.facts.chooses_classes:
                rows = np.broadcast_to(classes, (len(given), classes.shape[1]))
                inputs[ASKED] = np.ascontiguousarray(rows[first : first + step])
            parts.append(self._checked(self.run(inputs), step))
        return {name: np.concatenate([part[name] for part in parts]) for name in OUTPUTS}

    def _checked(self, results: Arrays, images: int) -> Arrays:
        """Refuse results that cannot be an explanation."""
        if set(results) != set(OUTPUTS):
            raise ExplainerError(f"a file that gives {', '.join(results)[:100]}")
        logits, maps, classes = (results[name] for name in ("logits", "maps", "classes"))
        count = self.facts.number_of_classes
        fits = (
            logits.shape == results["probabilities"].shape == (images, count)
            and maps.ndim == 4
            and min(maps.shape) > 0
            and maps.shape[:2] == classes.shape
            and len(maps) == images
            and classes.dtype == np.int64
            and all(results[name].dtype == np.float32 for name in OUTPUTS if name != "classes")
            and bool(((classes >= 0) & (classes < count)).all())
        )
        if not fits or not all(bool(np.isfinite(results[name]).all()) for name in results):
            raise ExplainerError(
                "a file whose results are not what it says, or not finite",
                remedy="ttame export, which makes it again",
            )
        return results

    def _input(self, images: Tensor | Photo | Sequence[Photo]) -> np.ndarray:
        if isinstance(images, Tensor):
            return self._checked_tensor(images).numpy()
        several = [images] if isinstance(images, Image.Image | str | Path) else list(images)
        if not several or not all(isinstance(photo, Image.Image | str | Path) for photo in several):
            raise ImageError("something other than photos", allowed="PIL images or paths")
        opened = [
            to_rgb(photo) if isinstance(photo, Image.Image) else read_photo(photo)
            for photo in several
        ]
        pixels = torch.stack([self.preprocessing.pixels(photo) for photo in opened])
        if self.facts.takes == "images":
            return self.preprocessing.normalise(pixels).numpy()
        return (pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

    def _checked_tensor(self, images: Tensor) -> Tensor:
        height, width = self.preprocessing.input_size
        pixels = self.facts.takes == "pixels"
        shape = (height, width, 3) if pixels else (3, height, width)
        dtype = torch.uint8 if pixels else torch.float32
        if (
            images.ndim != 4
            or images.shape[1:] != shape
            or images.dtype != dtype
            or not len(images)
        ):
            raise ImageError(
                f"{images.dtype} images of shape {tuple(images.shape)}",
                allowed=f"photos, or (B, {', '.join(map(str, shape))}) {dtype}",
            )
        return images.detach().cpu().contiguous()


def load_exported(path: Path | str) -> ExportedExplainer:
    """Load an ONNX file that ``ttame export`` wrote; it is run by ONNX Runtime.

    The file may come from a stranger: it is looked through before ONNX Runtime sees it. Files with
    weights in other files, with operators that are not ONNX's own, with loops, or whose graph is
    not the one that was exported are refused.

    Raises:
        ExplainerError: it is not such a file, was changed, or is of another version.
        MissingExtraError: ``pip install "ttame[export]"``.

    Example:
        >>> load_exported("why.onnx").method  # doctest: +SKIP
        'few_shot'
        >>> import ttame
        >>> try:
        ...     load_exported("nowhere.onnx")
        ... except ttame.TtameError as problem:
        ...     print(problem.allowed)
        an ONNX file that ttame export wrote
    """
    if Path(path).suffix.lower() == ".pt2":
        raise ExplainerError(
            f"{path}, a file of torch.export, which can run code when it is loaded",
            allowed="an ONNX file that ttame export wrote",
            remedy="torch.export.load, if you trust whoever made it; or the same explainer "
            f"exported with {setting('format', 'onnx')}",
        )
    if Path(path).suffix.lower() in (".xml", ".bin"):
        raise ExplainerError(
            f"{path}, a file of OpenVINO",
            allowed="an ONNX file that ttame export wrote",
            remedy="openvino.compile_model; or the same explainer exported with "
            f"{setting('format', 'onnx')}",
        )
    try:
        content = read_bounded(path, _LARGEST_FILE)
        found = onnx_contents(content)
        facts = read_facts(found.facts)
    except UnreadableFileError as problem:
        raise ExplainerError(
            f"{path} cannot be read as an exported explainer ({problem})",
            allowed="an ONNX file that ttame export wrote",
        ) from problem
    if facts.sha256 != found.sha256:
        raise ExplainerError(
            f"{path} was changed after it was exported: its graph is not the one that was checked",
            remedy="ttame export, which makes it again",
        )
    if facts.takes == "photos":
        raise ExplainerError(
            f"{path}, whose maps lie on photos of any size",
            allowed="files that take pixels or images, whose maps lie on the network's input",
            remedy="ONNX Runtime itself, or a file that was exported with "
            + setting("takes", "pixels"),
        )
    return ExportedExplainer(facts, facts.preprocess(), run_onnx(content))


def _positions(held: Tensor, wanted: Tensor) -> Tensor:
    """Where the wanted classes (B, K) stand among those that a file explains (B, N)."""
    same = held[:, None] == wanted[:, :, None]
    if not bool(same.any(dim=2).all()):
        missing = wanted[~same.any(dim=2)]
        raise ClassSelectionError(
            f"class {int(missing[0])}, which the file does not explain for each of these images",
            allowed=f"None, or top1 to top{held.shape[1]}",
            remedy="a file that was exported with "
            + either("choose_classes=True", "`ttame export --choose-classes`"),
        )
    return same.int().argmax(dim=2)
