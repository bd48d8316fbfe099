"""What an exported file says about itself, as JSON: all that is needed to use it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, Literal

import pydantic

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.errors import TtameError
from ttame.exporting.explainable_classifier import ExplainableClassifier, Takes
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import checked_as, parse_json
from ttame.images.preprocessing import Preprocessing
from ttame.outputs import OwnOutputs
from ttame.version import __version__

SCHEMA_VERSION = 1

OUTPUTS = {
    "logits": "(B, C) float32, the scores of all classes",
    "probabilities": "(B, C) float32 in [0, 1]",
    "classes": "(B, K) int64, the explained classes",
    "maps": "(B, K, h, w) float32, a map of each of these classes; higher means more evidence",
}
"""Name to meaning, in their order."""

Precision = Literal["float32", "half", "int8"]
"""In what the network computes; all that is made of its features is float32."""

INPUTS: dict[Takes, str] = {
    "pixels": "(B, H, W, 3) uint8, red, green and blue of photos resized and cropped to H x W",
    "images": "(B, 3, H, W) float32, normalised with mean and std",
    "photos": "(B, height, width, 3) uint8, red, green and blue of upright photos of any size",
}

_MAPS_ON_PHOTOS = (
    "(B, K, height, width) float32, a map of each of these classes on the photo, 0 where the "
    "network did not look; higher means more evidence"
)

ASKED = "asked"
"""The name of the second input."""

_ASKED = "(B, K) int64, the classes to explain; -n for the n-th most probable one"

_Text = Annotated[str, pydantic.Field(max_length=10_000)]
_Count = Annotated[int, pydantic.Field(strict=True, ge=1, le=10**7)]


@dataclasses.dataclass(frozen=True)
class SavedRecipe:
    """How the classifier was loaded, without what the other facts say.

    Attributes:
        name: as passed to :func:`ttame.load_classifier`.
        weights: ``"default"``, ``"none"`` or a path.
        image_size: (H, W) in pixels if it was passed.
        network_options: for the library that builds the network.
        weights_seed: the seed of random weights.
        own_preprocessing: whether preprocessing was passed.
        own_class_names: whether class names were passed.
    """

    name: _Text
    weights: _Text
    image_size: tuple[_Count, _Count] | None
    network_options: dict[str, Any]
    weights_seed: Annotated[int, pydantic.Field(strict=True, ge=0, lt=2**63)] | None
    own_preprocessing: bool
    own_class_names: bool


@dataclasses.dataclass(frozen=True)
class ExportedFacts:
    """What is written next to the graph.

    Attributes:
        schema_version: the schema version of these facts.
        ttame_version: that wrote the file.
        method: the explainer's name in the registry.
        provenance: what the maps depend on besides the images.
        classifier: its name.
        fingerprint: SHA-256 of the network's weights.
        class_names: C names, or none.
        number_of_classes: C.
        outputs: their kind, see :class:`ttame.Outputs`.
        exclusive: whether one class is true of an image.
        preprocessing: as :meth:`ttame.Preprocessing.as_json` gives it.
        takes: what the first input is.
        top_k: K, or ``"all"``.
        chooses_classes: whether there is a second input, ``asked``.
        batch_size: images in each batch; ``None`` for any number.
        precision: in what the network computes.
        inputs: name to meaning.
        results: name to meaning.
        parity: how far the file's results are from PyTorch's, by name.
        sha256: of the graph, in ONNX files.
        recipe: how :func:`ttame.load_classifier` makes the classifier; ``None`` if it cannot.
    """

    schema_version: int
    ttame_version: _Text
    method: _Text
    provenance: dict[str, Any]
    classifier: _Text
    fingerprint: _Text
    class_names: tuple[_Text, ...]
    number_of_classes: _Count
    outputs: _Text
    exclusive: bool
    preprocessing: dict[str, Any]
    takes: Takes
    top_k: _Count | Literal["all"]
    chooses_classes: bool
    batch_size: _Count | None
    precision: Precision
    inputs: dict[str, _Text]
    results: dict[str, _Text]
    parity: dict[str, float]
    sha256: _Text = ""
    recipe: SavedRecipe | None = None

    def as_json(self) -> str:
        """One line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @property
    def first_input(self) -> str:
        """The name of the input that is a photo."""
        return self.takes

    def preprocess(self) -> Preprocessing:
        """How a photo becomes an input."""
        return Preprocessing.from_json(self.preprocessing)

    def classifier_recipe(self) -> ClassifierRecipe | None:
        """How the classifier can be loaded again; a stranger may have written it."""
        saved = self.recipe
        if saved is None:
            return None
        return ClassifierRecipe(
            saved.name,
            saved.weights,
            saved.image_size,
            saved.network_options,
            self.class_names if saved.own_class_names else None,
            self.outputs,
            saved.weights_seed,
            self.preprocess() if saved.own_preprocessing else None,
        )


def facts_of(
    module: ExplainableClassifier, *, chooses_classes: bool, precision: Precision = "float32"
) -> ExportedFacts:
    """What there is to say of a module that is going to be written.

    Args:
        module: in float32, whatever is written, so that the fingerprint is that of the classifier.
        chooses_classes: whether it takes classes.
        precision: the precision of what is going to be written.
    """
    classifier = module.classifier
    inputs: dict[str, str] = {module.takes: INPUTS[module.takes]}
    if chooses_classes:
        inputs[ASKED] = _ASKED
    return ExportedFacts(
        schema_version=SCHEMA_VERSION,
        ttame_version=__version__,
        method=module.method,
        provenance=module.provenance,
        classifier=classifier.name,
        fingerprint=classifier.fingerprint(),
        class_names=classifier.class_names,
        number_of_classes=classifier.number_of_classes,
        outputs=OwnOutputs.kind
        if isinstance(classifier.outputs, OwnOutputs)
        else classifier.outputs.kind,
        exclusive=classifier.outputs.exclusive,
        preprocessing=classifier.preprocessing.as_json(),
        takes=module.takes,
        top_k=module.top_k,
        chooses_classes=chooses_classes,
        batch_size=module.batch_size,
        precision=precision,
        inputs=inputs,
        results=OUTPUTS | ({"maps": _MAPS_ON_PHOTOS} if module.takes == "photos" else {}),
        parity={},
        recipe=_recipe_of(classifier),
    )


def _recipe_of(classifier: Classifier) -> SavedRecipe | None:
    recipe = classifier.recipe
    if recipe is None or isinstance(classifier.outputs, OwnOutputs):
        return None
    options = dict(recipe.network_options)
    try:
        json.dumps(options)
    except (TypeError, ValueError):  # only Python can say them
        return None
    return SavedRecipe(
        recipe.name,
        recipe.weights,
        recipe.image_size,
        options,
        recipe.weights_seed,
        recipe.preprocessing is not None,
        recipe.class_names is not None,
    )


def read_facts(text: str) -> ExportedFacts:
    """Read what :meth:`ExportedFacts.as_json` wrote, possibly from a stranger's file.

    Raises:
        UnreadableFileError: it is something else.
    """
    content = parse_json(text)
    if isinstance(content, dict) and content.get("schema_version") != SCHEMA_VERSION:
        raise UnreadableFileError(
            f"facts of version {str(content.get('schema_version'))[:20]}, where this ttame reads "
            f"version {SCHEMA_VERSION}"
        )
    facts = checked_as(ExportedFacts, content)
    try:
        height, width = facts.preprocess().input_size
    except (TtameError, TypeError, ValueError, OverflowError) as problem:
        raise UnreadableFileError(f"broken at 'preprocessing': {problem}") from problem
    if max(height, width) > _LONGEST_SIDE:
        raise UnreadableFileError(f"images of {height}x{width} pixels")
    if len(facts.class_names) not in (0, facts.number_of_classes):
        raise UnreadableFileError(
            f"{len(facts.class_names)} names of {facts.number_of_classes} classes"
        )
    return facts


_LONGEST_SIDE = 4096
"""Pixels, as in a recipe."""
