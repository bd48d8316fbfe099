"""What requests are answered with."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

from PIL import Image
from pydantic import BaseModel, Field
from torch import Tensor

from ttame.images.photo_crop import PhotoRegion
from ttame.images.photo_frame import PhotoFrame
from ttame.images.photos import full_size
from ttame.results.explanation import Explanation
from ttame.serving.requested import MapFormat
from ttame.serving.served_network import ServedMethod, ServedNetwork, picture_of
from ttame.serving.written_maps import (
    MapSize,
    drawn_heatmaps,
    float16_of,
    picture_png,
    png_of,
    sized_heatmaps,
)


class ProblemAnswer(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class ClassProbability(BaseModel):
    """A class of the classifier, and how probable it is."""

    index: int
    label: str
    probability: float


class Seen(BaseModel):
    """What the network saw of the photo, in fractions of the photo's sides; it may reach outside,
    where the network saw black."""

    left: float
    top: float
    right: float
    bottom: float


class PhotoFacts(BaseModel):
    """The photo that came, upright."""

    width: int
    height: int
    seen: Seen


class MapAnswer(BaseModel):
    """The map of one class."""

    index: int = Field(description="Of the class, or of the one that stands for the target.")
    label: str = Field(description="The class, or what else is explained.")
    probability: float
    has_evidence: bool = Field(description="False where the map is the same everywhere.")
    lowest: float = Field(description="The smallest number of the map, as the method computes it.")
    highest: float = Field(description="The largest one.")
    height: int
    width: int
    png: str | None = Field(None, description="Base64.")
    float16: str | None = Field(None, description="Base64.")


class MethodMaps(BaseModel):
    """What one method says."""

    method: str
    title: str
    one_map: bool = Field(description="Whether all classes have the same map.")
    of_pixels: bool
    classes: list[MapAnswer]
    safetensors: str | None = Field(None, description="Base64.")


class ExplanationAnswer(BaseModel):
    """The answer of ``POST /v1/explanations``."""

    classifier: str
    exclusive: bool = Field(description="Whether exactly one class is true of a photo.")
    input_size: list[int] = Field(min_length=2, max_length=2, description="Height, width.")
    photo: PhotoFacts | None = None
    prediction: list[ClassProbability]
    explanations: list[MethodMaps]
    input: str | None = Field(None, description="What the network sees: a PNG in base64.")


class PredictionAnswer(BaseModel):
    """The answer of ``POST /v1/predictions``."""

    classifier: str
    exclusive: bool
    photo: PhotoFacts | None = None
    hidden_share: float = Field(description="Of the network's input, in [0, 1].")
    prediction: list[ClassProbability]
    probabilities: list[float] = Field(description="Of all classes.")
    input: str | None = Field(None, description="What the network sees: a PNG in base64.")


class MethodAnswer(BaseModel):
    """A method that may be asked for."""

    name: str
    title: str
    family: str
    paper: str
    cost: str
    networks: str
    targets: list[str]
    class_specific: bool
    map_is: str
    licence_note: str
    all_classes_at_once: bool
    slow: bool = Field(description="Whether it takes many passes, and tells how far it is.")
    options: dict[str, Any]


class MethodsAnswer(BaseModel):
    """The answer of ``GET /v1/methods``; the first is taken where none is named."""

    methods: list[MethodAnswer]


class ClassifierAnswer(BaseModel):
    """The answer of ``GET /v1/classifier``."""

    name: str
    number_of_classes: int
    class_names: list[str]
    exclusive: bool
    input_size: list[int] = Field(min_length=2, max_length=2, description="Height, width.")
    channels: str
    preprocessing: str


class HealthAnswer(BaseModel):
    """The answer of the probes."""

    status: str


@dataclasses.dataclass(frozen=True)
class GivenPhoto:
    """What is kept of a photo that came: no pixels but the network's input.

    Attributes:
        input: what the network takes.
        size: (width, height) of the upright photo; ``None`` of a tensor.
        region: what the network sees of it, in its pixels.
        seen: what the network sees, as a picture, if that was asked for.
    """

    input: Tensor
    size: tuple[int, int] | None = None
    region: PhotoRegion | None = None
    seen: Image.Image | None = None

    @classmethod
    def of(
        cls, network: ServedNetwork, photo: Image.Image, *, prepared: bool, seen: bool
    ) -> GivenPhoto:
        """Prepare a photo."""
        size = full_size(photo)
        region = PhotoRegion(0, 0, *size) if prepared else network.preprocessing.region(size)
        pixels = network.pixels(photo, prepared=prepared)
        return cls(network.input_of(pixels), size, region, picture_of(pixels) if seen else None)

    def frame(self) -> PhotoFrame | None:
        """Where in the photo the network looked."""
        return PhotoFrame(self.size, self.region) if self.size and self.region else None

    def facts(self) -> PhotoFacts | None:
        """What the answer says of it."""
        if self.size is None or self.region is None:
            return None
        width, height = self.size
        region = self.region
        seen = Seen(
            left=region.left / width,
            top=region.top / height,
            right=region.right / width,
            bottom=region.bottom / height,
        )
        return PhotoFacts(width=width, height=height, seen=seen)


def top_classes(
    network: ServedNetwork, probabilities: Tensor, count: int
) -> list[ClassProbability]:
    """The most probable classes of (C,) probabilities.

    Args:
        network: whose classes they are.
        probabilities: in [0, 1].
        count: how many; fewer if there are not so many.
    """
    found = probabilities.topk(min(count, len(probabilities)))
    return [
        ClassProbability(index=index, label=network.label(index), probability=probability)
        for probability, index in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]


def method_answer(method: ServedMethod, *, slow: bool) -> MethodAnswer:
    """What is said of a method."""
    card = method.card
    return MethodAnswer(
        name=method.name,
        title=card.title,
        family=card.family,
        paper=card.paper,
        cost=card.cost,
        networks=card.networks,
        targets=list(card.targets),
        class_specific=card.class_specific,
        map_is=card.map_is,
        licence_note=card.licence_note,
        all_classes_at_once=method.all_at_once,
        slow=slow,
        options={name: _plain(value) for name, value in method.options.items()},
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def classifier_answer(network: ServedNetwork) -> ClassifierAnswer:
    """What is said of the classifier."""
    return ClassifierAnswer(
        name=network.name,
        number_of_classes=network.number_of_classes,
        class_names=list(network.class_names),
        exclusive=network.exclusive,
        input_size=list(network.preprocessing.input_size),
        channels=str(network.preprocessing.channels),
        preprocessing=network.preprocessing.in_words(),
    )


@dataclasses.dataclass(frozen=True)
class MapsWritten:
    """How maps are written.

    Attributes:
        format: the format of the maps.
        size: the size of the maps.
        most_values: in one answer.
    """

    format: MapFormat
    size: MapSize
    most_values: int

    def of(self, explanation: Explanation, method: ServedMethod, given: GivenPhoto) -> MethodMaps:
        """What one method says of one photo.

        Raises:
            Problem: 422, maps that are too large.
        """
        numbers = self.format in ("png", "float16")
        heat = (
            sized_heatmaps(explanation, self.size, given.frame(), self.most_values)
            if numbers
            else drawn_heatmaps(explanation)
        )
        file = None
        if self.format == "safetensors":
            file = base64.b64encode(explanation.to_bytes()).decode("ascii")
        return MethodMaps(
            method=method.name,
            title=method.card.title,
            one_map=not method.card.class_specific,
            of_pixels=explanation.of_pixels,
            classes=[self._map(explanation, place, heatmap) for place, heatmap in enumerate(heat)],
            safetensors=file,
        )

    def _map(self, explanation: Explanation, place: int, heatmap: Tensor) -> MapAnswer:
        raw = explanation.maps[0, place]
        index = int(explanation.classes[0, place])
        return MapAnswer(
            index=index,
            label=explanation.target_label(0, place),
            probability=float(explanation.probabilities[0, index]),
            has_evidence=bool(explanation.has_evidence[0, place]),
            lowest=float(raw.min()),
            highest=float(raw.max()),
            height=heatmap.shape[0],
            width=heatmap.shape[1],
            png=png_of(heatmap) if self.format == "png" else None,
            float16=float16_of(heatmap) if self.format == "float16" else None,
        )


def explanation_answer(
    network: ServedNetwork,
    given: GivenPhoto,
    explanations: list[Explanation],
    written: MapsWritten,
    top: int,
) -> ExplanationAnswer:
    """Everything that is said of one photo.

    Args:
        network: that was explained.
        given: the photo.
        explanations: the explanations of that photo by each method.
        written: how maps are written.
        top: how many of the most probable classes are named.

    Raises:
        Problem: 422, maps that are too large.
    """
    return ExplanationAnswer(
        classifier=network.name,
        exclusive=network.exclusive,
        input_size=list(network.preprocessing.input_size),
        photo=given.facts(),
        prediction=top_classes(network, explanations[0].probabilities[0], top),
        explanations=[
            written.of(each, network.methods[each.method], given) for each in explanations
        ],
        input=picture_png(given.seen) if given.seen else None,
    )
