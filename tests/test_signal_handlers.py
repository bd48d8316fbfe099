"""What a signal handler raises is not taken for an error of what it interrupted."""

from __future__ import annotations

import functools
import io
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.classifiers.small_networks import SMALL, small_cnn
from ttame.classifiers.classifier import Classifier
from ttame.datasets.mask_images import read_mask
from ttame.errors import ClassifierError
from ttame.explainers.known_explainers import make_explainer
from ttame.images.photos import read_photo
from ttame.signal_handlers import raised_by_signal_handler


class TooLateError(Exception):
    """A time limit of the user's."""


def too_late(*_: object) -> None:
    raise TooLateError


class Limit:
    def __call__(self, *_: object) -> None:
        raise TooLateError

    def strike(self, *_: object) -> None:
        raise TooLateError

    def anew(self, *_: object) -> None:
        self.strike()


HANDLERS: dict[str, Callable[..., Any]] = {
    "function": too_late,
    "callable object": Limit(),
    "method": Limit().strike,
    "method that calls another": Limit().anew,
    "partial": functools.partial(too_late, 1),
}


@pytest.fixture(params=HANDLERS)
def limit(request: pytest.FixtureRequest) -> Iterator[None]:
    found = signal.signal(signal.SIGALRM, HANDLERS[request.param])
    yield
    signal.signal(signal.SIGALRM, found)


def strike(*_: object) -> None:
    signal.raise_signal(signal.SIGALRM)


def test_an_exception_is_known_by_who_raised_it(limit: None) -> None:
    with pytest.raises(TooLateError) as found:
        strike()
    assert raised_by_signal_handler(found.value)
    with pytest.raises(TooLateError) as found:
        raise TooLateError
    assert not raised_by_signal_handler(found.value)


def test_a_time_limit_goes_through_a_network(limit: None) -> None:
    explainer = make_explainer("grad_cam", Classifier(small_cnn(), preprocessing=SMALL))
    explainer.classifier.network.register_forward_hook(strike)
    with pytest.raises(TooLateError):
        explainer(torch.zeros(1, 3, 32, 32), 0)


def test_what_a_network_raises_is_still_reported_in_words(limit: None) -> None:
    class Failing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise TooLateError("by itself")

    with pytest.raises(ClassifierError, match="by itself"):
        Classifier(Failing(), preprocessing=SMALL)


def test_a_time_limit_is_no_damage_of_a_photo(
    limit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    Image.new("L", (4, 4)).save(content, "PNG")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    monkeypatch.setattr(Image.Image, "convert", strike)
    monkeypatch.setattr(Image.Image, "getbands", strike)
    with pytest.raises(TooLateError):
        read_photo(tmp_path / "a.png")
    with pytest.raises(TooLateError):
        read_mask(tmp_path / "a.png")
