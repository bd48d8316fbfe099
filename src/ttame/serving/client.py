"""A client of ``ttame serve``: typed, and without torch.

>>> from ttame.serving.client import ServerClient
>>> client = ServerClient("http://127.0.0.1:8000")                      # doctest: +SKIP
>>> found = client.explain("photo.jpg", classes=["top3"])               # doctest: +SKIP
>>> found.prediction[0].label, found.methods["few_shot"][0].values.shape  # doctest: +SKIP
('tabby', (28, 28))
"""

from __future__ import annotations

import base64
import dataclasses
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttame.errors import TtameError


class ServerError(TtameError):
    """What a server refused, or that it cannot be reached.

    Attributes:
        status: the HTTP status; 0 if the server cannot be reached.
        retry_after: seconds after which it may work; ``None`` if the server says nothing.

    Example:
        >>> ServerError(503, "64 requests are being worked on", retry_after=3).retry_after
        3
    """

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after


@dataclasses.dataclass(frozen=True)
class ServedClass:
    """A class, and how probable it is, in [0, 1]."""

    index: int
    label: str
    probability: float


@dataclasses.dataclass(frozen=True, eq=False)
class ServedMap:
    """The map of one class by one method.

    Attributes:
        index: the index of the class.
        label: the label of the class, or what else is explained.
        probability: in [0, 1].
        has_evidence: false where the map is the same everywhere.
        values: (h, w) float32 in [0, 1], rounded to float16.
        lowest: the smallest number of the map, as the method computes it.
        highest: the largest one.

    Example:
        >>> ServedMap(3, "cat", 0.75, True, np.ones((7, 7), np.float32), 0.0, 2.5).values.shape
        (7, 7)
    """

    index: int
    label: str
    probability: float
    has_evidence: bool
    values: NDArray[np.float32]
    lowest: float
    highest: float


@dataclasses.dataclass(frozen=True, eq=False)
class ServedExplanation:
    """What a server says of one photo.

    Attributes:
        classifier: its name.
        prediction: the most probable classes, the first ones first.
        methods: name to maps.
        seen: left, top, right and bottom of what the network saw, in fractions of the photo.

    Example:
        >>> found = ServedExplanation(
        ...     "cats", (ServedClass(3, "cat", 0.75),), {}, (0.0, 0.0, 1.0, 1.0))
        >>> found.prediction[0].label
        'cat'
    """

    classifier: str
    prediction: tuple[ServedClass, ...]
    methods: Mapping[str, tuple[ServedMap, ...]]
    seen: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class ServerClient:
    """Asks a server.

    Attributes:
        address: such as ``http://127.0.0.1:8000``.
        token: if the server asks for one.
        seconds: to wait for an answer.

    Example:
        >>> from ttame.explainers.methods.activation.cam import Cam
        >>> from ttame.serving.app import make_app
        >>> from ttame.serving.served_network import TorchNetwork
        >>> from ttame.serving.server import run_in_thread
        >>> from ttame.serving.settings import ServingSettings
        >>> from ttame.testing import tiny_classifier
        >>> network = TorchNetwork({"cam": Cam(tiny_classifier())})
        >>> settings = ServingSettings(port=0)
        >>> address, stop = run_in_thread(make_app(network, settings), settings)
        >>> ServerClient(address).classifier()["name"]
        'tiny cnn'
        >>> stop()
    """

    address: str
    token: str = dataclasses.field(default="", repr=False)
    seconds: float = 150.0

    def explain(
        self,
        photo: Path | str | bytes,
        *,
        methods: Sequence[str] = (),
        classes: Sequence[str | int] = ("top1",),
        rather_than: str | int | None = None,
        size: str = "grid",
    ) -> ServedExplanation:
        """Explain a photo.

        Args:
            photo: the path of an image file, or its content.
            methods: names; the server's first if not given.
            classes: names or indices; or ``["top3"]`` and the like.
            rather_than: a class that they are compared with.
            size: ``"grid"``, ``"input"``, ``"photo"`` or ``"224x224"``.

        Raises:
            ServerError: refused, or not reached.
        """
        fields = {
            "methods": [*methods],
            "classes": [str(each) for each in classes],
            "rather_than": [] if rather_than is None else [str(rather_than)],
            "size": [size],
            "maps": ["float16"],
        }
        return _explanation_in(self._post("/v1/explanations", fields, photo))

    def explanation_files(
        self,
        photo: Path | str | bytes,
        *,
        methods: Sequence[str] = (),
        classes: Sequence[str | int] = ("top1",),
    ) -> dict[str, bytes]:
        """Explain a photo, and get for each method the file that ``ttame.Explanation.load`` reads.

        Raises:
            ServerError: as :meth:`explain`.
        """
        fields = {
            "methods": [*methods],
            "classes": [str(each) for each in classes],
            "maps": ["safetensors"],
        }
        answer = self._post("/v1/explanations", fields, photo)
        return {
            each["method"]: base64.b64decode(each["safetensors"]) for each in answer["explanations"]
        }

    def predict(
        self, photo: Path | str | bytes, *, hide: Sequence[tuple[float, float, float, float]] = ()
    ) -> NDArray[np.float32]:
        """(C,) float32 probabilities of a photo, of which parts may be hidden.

        Args:
            photo: the path of an image file, or its content.
            hide: left, top, right and bottom of rectangles, in fractions of the photo.

        Raises:
            ServerError: as :meth:`explain`.
        """
        sides = ("left", "top", "right", "bottom")
        rectangles = [dict(zip(sides, each, strict=True)) for each in hide]
        answer = self._post("/v1/predictions", {"hide": [json.dumps(rectangles)]}, photo)
        return np.asarray(answer["probabilities"], dtype=np.float32)

    def methods(self) -> list[dict[str, Any]]:
        """What is said of each method."""
        found: list[dict[str, Any]] = self._get("/v1/methods")["methods"]
        return found

    def classifier(self) -> dict[str, Any]:
        """What is said of the classifier: its classes, its input."""
        return self._get("/v1/classifier")

    def is_ready(self) -> bool:
        """Whether the server answers requests."""
        try:
            return bool(self._get("/readyz")["status"] == "ready")
        except ServerError:
            return False

    def _get(self, path: str) -> dict[str, Any]:
        return self._sent(urllib.request.Request(self.address + path))

    def _post(
        self, path: str, fields: Mapping[str, Sequence[str]], photo: Path | str | bytes
    ) -> dict[str, Any]:
        content = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        body, kind = form_of(fields, content)
        request = urllib.request.Request(
            self.address + path, data=body, headers={"Content-Type": kind}, method="POST"
        )
        return self._sent(request)

    def _sent(self, request: urllib.request.Request) -> dict[str, Any]:
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=self.seconds) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as problem:
            raise _refusal(problem) from problem
        except OSError as problem:
            reason = getattr(problem, "reason", problem)
            raise ServerError(0, f"{self.address} cannot be reached ({reason})") from problem


def form_of(fields: Mapping[str, Sequence[str]], photo: bytes) -> tuple[bytes, str]:
    """A form with a photo as the body of a request, and its content type.

    Example:
        >>> body, kind = form_of({"classes": ["top3"]}, b"...")
        >>> kind[:30], body.count(b"form-data; name=")
        ('multipart/form-data; boundary=', 2)
    """
    boundary = secrets.token_hex(16)
    parts = []
    for name, values in fields.items():
        for value in values:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
            parts.append(head.encode() + value.encode() + b"\r\n")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="photo"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    parts.append(head.encode() + photo + f"\r\n--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _refusal(problem: urllib.error.HTTPError) -> ServerError:
    with problem:
        content = problem.read(100_000)
    try:
        detail = str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the server answers with status {problem.code}"
    wait = problem.headers.get("Retry-After", "")
    return ServerError(problem.code, detail, retry_after=int(wait) if wait.isdigit() else None)


def _explanation_in(answer: Mapping[str, Any]) -> ServedExplanation:
    seen = answer["photo"]["seen"]
    return ServedExplanation(
        classifier=answer["classifier"],
        prediction=tuple(ServedClass(**each) for each in answer["prediction"]),
        methods={
            each["method"]: tuple(_map_in(one) for one in each["classes"])
            for each in answer["explanations"]
        },
        seen=(seen["left"], seen["top"], seen["right"], seen["bottom"]),
    )


def _map_in(content: Mapping[str, Any]) -> ServedMap:
    values = np.frombuffer(base64.b64decode(content["float16"]), "<f2").astype(np.float32)
    same = ("index", "label", "probability", "has_evidence", "lowest", "highest")
    return ServedMap(
        values=values.reshape(content["height"], content["width"]),
        **{name: content[name] for name in same},
    )
